"""A run that puts other things where its files belong breaks no supervisor and no list."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND, until, wait_for_state
from traindeck.core.base.files import opened, read_json, tail
from traindeck.core.base.home import Home
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import ENDED
from traindeck.core.supervisor import clerk
from traindeck.core.supervisor.clerk import Clerks
from traindeck.core.supervisor.reporting import Reports

KINDS = {
    "pipe": "mkfifo {}",
    "device": "ln -s /dev/zero {}",
    "folder": "mkdir {}",
    "loop": "ln -s {} {}",
    "socket": "python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' {}",
}
REPORTED = ("points.bin", "points.names", "device.bin", "device.names", "events.jsonl", "user.json")
REPORTED += ("privacy.json", "output.log", "params.json", "supervisor.log")
VITAL = ("run.json", "exit.json")


def replaced(names: tuple[str, ...], make: str) -> str:
    """Shell words that put something else in place of files of the run's folder."""
    each = [f"rm -rf {name}; {make.format(*[name] * make.count('{}'))}" for name in names]
    return f"cd $TRAINDECK_RUN_FOLDER && {'; '.join(each)}; true"


@pytest.mark.slow
@pytest.mark.parametrize("names", [REPORTED, VITAL], ids=["reported", "vital"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_where_a_file_belongs_is_neither_waited_for_nor_followed(
    home: Home, start: Callable[..., RunFolder], kind: str, names: tuple[str, ...]
) -> None:
    good = start(shell="true")
    wait_for_state(good)
    bad = start(shell=replaced(names, KINDS[kind]))
    until(lambda: bad.state()[0] in ENDED, "its end")
    if names == REPORTED:
        assert bad.state()[0] == "finished"
    for words in (
        ("ls",),
        ("show", bad.id),
        ("logs", bad.id),
        ("metrics", bad.id),
        ("edit", good.id, "--notes", "x"),
        ("reindex",),
        ("run", "--wait", "--", "true"),
        ("rm", bad.id),
    ):
        done = subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr, (words, done.stderr)
        if words[0] not in ("logs", "metrics", "show", "rm"):
            assert done.returncode == 0, (words, done.stderr)


def test_no_special_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for make in (os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/zero", p)):
        make(path)
        assert read_json(path) is None and tail(path, 10) == b""
        with pytest.raises(OSError):
            opened(path, os.O_RDWR)
        os.rmdir(path) if path.is_dir() else os.unlink(path)


@pytest.mark.slow
def test_steps_at_the_end_of_all_numbers_end_no_run(start: Callable[..., RunFolder]) -> None:
    run = start(
        python="""
import time
far = 9007199254740990
for _ in range(600):
    for step in (-far, far):
        print('{"step": %d, "loss": 0.5}' % step)
print('{"step": 1e400, "loss": 1%s}' % ("0" * 400), flush=True)
time.sleep(1)
print("saved the model", flush=True)
"""
    )
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("finished", 0)
    assert b"Traceback" not in (run.path / "supervisor.log").read_bytes()


def test_what_only_reports_ends_nothing_and_is_told_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def broken() -> int:
        asked.append(1)
        raise ValueError("no such number")

    reports = Reports(tmp_path)
    assert [reports.do("metrics", broken, 7) for _ in range(3)] == [7, 7, 7]
    assert reports.do("samples", lambda: 3, 0) == 3
    assert len(asked) == 1
    [note] = (tmp_path / "events.jsonl").read_bytes().splitlines()
    said = (events.parse(note) or {})["text"]
    assert said == "metrics are not reported from now on: ValueError('no such number')"


def test_work_for_which_there_is_no_process_is_done_later(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, refusals = os.fork, iter(range(5))

    def fork() -> int:
        if next(refusals, None) is None:
            return really()
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(clerk.os, "fork", fork)
    done = tmp_path / "done"
    clerks = Clerks(home, tmp_path, lambda: ())
    clerks._start(done.touch)
    clerks.sync()
    assert not clerks.busy
    clerks.wait()
    assert done.exists() and next(refusals, None) is None
