"""What is deleted comes back, until it is deleted for good."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND, PATIENCE, wait_for_state
from traindeck.core import trash
from traindeck.core.base.errors import UsageError
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder

Command = Callable[..., subprocess.CompletedProcess[str]]
RESUMING = """# /// script
# [tool.traindeck]
# name = "ck"
# [tool.traindeck.params.resume]
# type = "path"
# ///
import os
import pty
import re
from traindeck.core import track
with track.start() as run:
    print("resume", run.params.resume, os.path.isdir(run.params.resume or ""))
    run.artifact(run.artifacts / "model.pt", "checkpoint") if (
        (run.artifacts / "model.pt").write_text("x")
    ) else None
"""


@pytest.fixture
def large(traindeck: Command, home: Home) -> str:
    """A run of 5 MB that has ended."""
    script = "head -c 5000000 /dev/zero > $TRAINDECK_RUN_FOLDER/artifacts/model.bin"
    run = traindeck("run", "--", "sh", "-c", script).stdout.strip()
    wait_for_state(RunFolder(home.runs / run))
    return run


def used(home: Home) -> int:
    return int(subprocess.check_output(["du", "-sk", home.root]).split()[0])


def test_rm_purge_gives_the_disk_back(traindeck: Command, home: Home, large: str) -> None:
    before = used(home)
    said = traindeck("rm", "--yes", "--purge", large).stderr
    assert re.search(r"frees 5(\.\d+)? MB", said)
    assert used(home) < before - 4000
    assert list(home.trash.iterdir()) == list(home.runs.iterdir()) == []
    traindeck("rm", "--yes", "--purge", large, code=3)


def test_for_good_is_asked_on_a_terminal_and_needs_yes_elsewhere(
    traindeck: Command, home: Home, large: str
) -> None:
    refused = traindeck("rm", "--purge", large, code=2, stdin=subprocess.DEVNULL).stderr
    assert refused == f"error: nobody can be asked here; --yes deletes {large} for good\n"
    traindeck("rm", large)
    assert "--yes" in traindeck("trash", "empty", code=2, stdin=subprocess.DEVNULL).stderr
    for words, gone in ((["trash", "empty"], False), (["rm", "--purge", large], True)):
        ours, theirs = pty.openpty()
        asked = subprocess.Popen([COMMAND, *words], stdin=theirs, stderr=subprocess.PIPE, text=True)
        os.write(ours, b"y\n" if gone else b"n\n")
        said = asked.communicate(timeout=PATIENCE)[1]
        os.close(ours)
        os.close(theirs)
        assert f"Delete {large} for good? [y/N]" in said
        assert (asked.returncode, (home.trash / large).exists()) == (int(not gone), not gone)


def test_ctrl_c_at_a_question_is_an_interruption(home: Home, large: str) -> None:
    ours, theirs = pty.openpty()
    words = [COMMAND, "rm", "--purge", large]
    asked = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1 << 16)
    deadline = time.monotonic() + PATIENCE
    while asked.poll() is None and time.monotonic() < deadline:
        os.write(ours, b"\x03")  # one that comes before the read of the answer, Python only notes
        with contextlib.suppress(subprocess.TimeoutExpired):
            asked.wait(20)
    assert asked.returncode == 130
    os.close(ours)
    os.close(theirs)
    assert (home.runs / large).exists()


def test_rm_purge_deletes_what_is_in_the_trash_already(
    traindeck: Command, home: Home, large: str
) -> None:
    traindeck("rm", large)
    traindeck("rm", large, code=3)
    traindeck("rm", "--yes", "--purge", large)
    assert list(home.trash.iterdir()) == []


def test_a_run_that_goes_on_is_not_purged(traindeck: Command, home: Home) -> None:
    run = traindeck("run", "--", "sleep", "60").stdout.strip()
    assert "stop it first" in traindeck("rm", "--yes", "--purge", run, code=1).stderr
    traindeck("kill", run)
    wait_for_state(RunFolder(home.runs / run))
    assert (home.runs / run).is_dir()


def test_the_trash_is_shown_with_size_and_age_and_emptied_by_age(
    traindeck: Command, home: Home, large: str
) -> None:
    traindeck("rm", large)
    shown = traindeck("trash")
    line = shown.stdout.splitlines()[1]
    assert large in line and "MB" in line and "ago" in line
    [one] = json.loads(traindeck("trash", "--json").stdout)
    assert (one["id"], one["state"]) == (large, "finished")
    assert one["bytes"] >= 5_000_000 and 0 <= one["seconds"] < 60
    assert "0 of 0 deleted" in traindeck("trash", "empty", "--yes", "--older", "30d").stderr
    assert (home.trash / large).is_dir()
    time.sleep(1.1)
    assert "1 of 1 deleted" in traindeck("trash", "empty", "--yes", "--older", "1s").stderr
    assert "the trash is empty" in traindeck("trash").stderr


def test_what_cannot_be_meant_is_refused(traindeck: Command) -> None:
    traindeck("trash", "burn", code=2)
    for odd in ("", "d", "-1d", "1y", "1e9d", "9" * 400 + "d", "nan"):
        traindeck("trash", "empty", "--yes", "--older", odd, code=2) if odd in ("1y", "") else None
        with pytest.raises(UsageError):
            trash.age(odd)


def test_emptying_never_leaves_the_home_by_a_link(
    traindeck: Command, home: Home, large: str, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (home.runs / large / "artifacts" / "link").symlink_to(outside)
    (home.trash / large).symlink_to(outside)
    traindeck("trash", "empty", "--yes")
    traindeck("rm", "--yes", "--purge", large)
    assert (outside / "kept").exists()
    assert not os.path.lexists(home.trash / large)


def test_a_purged_run_stays_charged_and_its_ledger_whole(traindeck: Command, home: Home) -> None:
    traindeck("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-5")
    run = traindeck("run", "--", "true").stdout.strip()
    wait_for_state(RunFolder(home.runs / run))
    traindeck("rm", "--yes", "--purge", run)
    assert "whole" in traindeck("budget", "verify").stderr


def test_removed_models_lie_in_it_too(traindeck: Command, home: Home) -> None:
    (home.models / "digits" / "2").mkdir(parents=True)
    (home.models / "digits" / "2" / "model.onnx").write_bytes(b"x" * 20_000)
    traindeck("models", "rm", "digits/2")
    (there,) = json.loads(traindeck("trash", "--json").stdout)
    assert (there["id"], there["state"]) == ("models/digits/2", "model")
    assert there["bytes"] >= 20_000
    assert "1 of 1 deleted" in traindeck("trash", "empty", "--yes").stderr
    traindeck("models", "restore", "digits/2", code=3)
    assert json.loads(traindeck("trash", "--json").stdout) == []


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_home_that_was_moved_knows_its_checkpoints(
    traindeck: Command, home: Home, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (home.recipes / "ck.py").write_text(RESUMING)
    first = traindeck("run", "ck").stdout.strip()
    wait_for_state(RunFolder(home.runs / first))
    by_id = traindeck("run", "ck", "-p", f"resume={first[:7]}").stdout.strip()
    by_path = traindeck("run", "ck", "-p", f"resume={home.runs / first}").stdout.strip()
    for run in (by_id, by_path):
        wait_for_state(RunFolder(home.runs / run))
    spec = RunFolder(home.runs / by_id).spec()
    assert spec is not None and f"resume={first}" in spec["command"]
    moved = Home(home.root.parent / "moved")
    if how == "moved":
        home.root.rename(moved.root)
        home.make()
    else:
        shutil.copytree(home.root, moved.root)
    monkeypatch.setenv("TRAINDECK_HOME", str(moved.root))
    for run in (by_id, *([by_path] if how == "moved" else [])):
        said = traindeck("run", "--again", run, "--wait").stdout
        assert f"resume {moved.runs / first} True" in said or "finished" in said
        new = max(path.name for path in moved.runs.iterdir())
        log = (moved.runs / new / "output.log").read_text()
        assert log.startswith(f"resume {moved.runs / first} True")
