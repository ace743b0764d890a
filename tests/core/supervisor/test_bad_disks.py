"""A disk that is full or read-only: runs go on, and what was recorded stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.conftest import process_of, until, wait_for_state
from tests.core.supervisor.runs import LOGGING, supervisor_that
from traindeck.core import launch
from traindeck.core.base.files import read_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.run.folder import RunFolder


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_disk_full(home: Home, start: Callable[..., RunFolder]) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", home.runs], check=True)
    try:
        run = start(python=LOGGING + "\nsys.exit(9)\n")
        points = run.path / "points.bin"
        until(lambda: points.exists() and points.stat().st_size > 28 * 20)
        filler = home.runs / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        flushed = points.read_bytes()
        time.sleep(0.5)  # let it run against the full disk
        os.kill(process_of(run, "child").pid, signal.SIGKILL)
        doc = wait_for_state(run)
        assert (doc["state"], doc["exit_code"]) == ("killed", -9)
        assert points.read_bytes().startswith(flushed)
        filler.unlink()
        until(lambda: not process_of(run, "supervisor").alive())
    finally:
        subprocess.run(["umount", "-l", home.runs], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a folder read-only needs root")
def test_home_read_only(home: Home, start: Callable[..., RunFolder]) -> None:
    run = start(shell="exit 0")
    wait_for_state(run)
    until(lambda: not process_of(run, "supervisor").alive())
    subprocess.run(["mount", "--bind", "-o", "ro", home.root, home.root], check=True)
    try:
        assert Library(home).find("@last")["state"] == "finished"
        assert len(Library(home).runs()) == 1
        with pytest.raises(launch.LaunchError, match="cannot be recorded in"):
            start(shell="exit 0")
        by_hand = subprocess.run(
            [
                sys.executable,
                "-c",
                "from traindeck.core import track\n"
                "with track.Run(folder=__import__('pathlib').Path(r'%s')) as run:\n"
                "    run.log(1, loss=2.0)\n    print('trained')" % (home.runs / "x"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "trained" in by_hand.stdout
        assert by_hand.stderr.count("training goes on") == 1
    finally:
        subprocess.run(["umount", home.root], check=True)


def test_a_supervisor_that_cannot_say_who_it_is_starts_nothing(
    home: Home, start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "def full(path, value): raise OSError(28, 'No space left on device', str(path))\n"
        "s.write_json = full",
    )
    with pytest.raises(launch.LaunchError, match="No space left on device"):
        start(shell="sleep 0.1")
    assert list(home.runs.iterdir()) == []


def test_what_could_not_be_written_is_written_once_there_is_room(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "writes, write = [], s.write_json\n"
        "def full(path, value):\n"
        "    writes.append(value['state'])\n"
        "    if value['state'] == 'running' and writes.count('running') < 3:\n"
        "        raise OSError(28, 'No space left on device')\n"
        "    write(path, value)\n"
        "s.write_json = full",
    )
    run = start(shell="sleep 60")
    until(lambda: (read_json(run.path / "run.json") or {})["state"] == "running")
