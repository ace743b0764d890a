"""What a run prints is kept whole, whatever it does to its own streams and whoever is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import process_of, until, wait_for_state
from tests.core.supervisor.runs_that_end import Gate, supervisor_that
from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.run.folder import RunFolder
from traindeck.core.supervisor.scribe import KEPT_BYTES, Book

PRINT = "for i in 1 2 3; do echo '{\"step\": '$i', \"loss\": 0.5}'; done"


def printed(run: RunFolder) -> bytes:
    return (run.path / "output.log").read_bytes()


@pytest.mark.parametrize("stream", ["/dev/stderr", "/dev/stdout", "/proc/self/fd/1"])
def test_opening_its_own_streams_anew_erases_nothing(
    start: Callable[..., RunFolder], stream: str
) -> None:
    run = start(shell=f"{PRINT}; echo warming up > {stream}; echo the end")
    doc = wait_for_state(run)
    assert doc["state"] == "finished"
    assert printed(run).count(b"\n") == 5
    assert doc["metrics"]["loss"]["count"] == 3


@pytest.mark.parametrize(
    "killed",
    [
        ("supervisor",),
        ("keeper",),
        ("scribe",),
        ("supervisor", "keeper"),
        ("keeper", "scribe"),
        ("supervisor", "keeper", "scribe"),
    ],
    ids="-".join,
)
def test_nothing_is_lost_that_is_printed_after_helpers_were_killed(
    home: Home, start: Callable[..., RunFolder], gate: Gate, killed: tuple[str, ...]
) -> None:
    run = start(shell=f"echo before; {gate.wait}; seq 100000; seq 100000; seq 100000; echo after")
    child = process_of(run, "child")
    helpers = [process_of(run, who) for who in killed]
    until(lambda: (run.path / "output.log").exists() and printed(run) == b"before\n")
    for helper in helpers:
        os.kill(helper.pid, signal.SIGKILL)
    until(lambda: not any(helper.alive() for helper in helpers))
    gate.open()
    if len(killed) > 1:
        library = Library(home)
        library.runs()
        library.tend()
    until(lambda: not child.alive())
    until(lambda: printed(run).endswith(b"after\n"), "the last line")
    assert printed(run).count(b"\n") == 300_002


def test_a_process_that_leaves_with_its_streams_holds_no_end_up(
    start: Callable[..., RunFolder], gate: Gate
) -> None:
    """One that cannot be ended, here since it has left for another run's, holds the pipe open."""
    run = start(
        shell=f"(TRAINDECK_SUPERVISOR=1 setsid bash -c {gate.wait!r} &); echo all", grace=0.5
    )
    doc = wait_for_state(run)
    gate.open()
    assert doc["state"] == "finished"
    assert printed(run) == b"all\n"


@pytest.mark.slow
def test_plain_text_is_written_at_200_megabytes_a_second(
    start: Callable[..., RunFolder], gate: Gate, tmp_path: Path
) -> None:
    took = tmp_path / "took"
    size = 400 << 20
    run = start(
        python="import os, time\n"
        f"line = (b'x' * 99 + b'\\n') * 10000; begun = time.monotonic(); n = 0\n"
        f"while n < {size}: n += os.write(1, line)\n"
        f"open({str(took)!r}, 'w').write(str(time.monotonic() - begun))"
    )
    until(took.exists)
    os.kill(process_of(run, "supervisor").pid, signal.SIGUSR1)
    seconds = float(until(took.read_text))
    assert size / seconds > 20e6, f"{size / seconds / 1e6:.0f} MB/s"  # a busy machine's share


def test_what_a_full_disk_does_not_take_is_kept_and_the_rest_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    broken = os.open("/dev/full", os.O_WRONLY)
    good = os.dup(file)
    book = Book(file)
    book.add(b"first\n")
    os.dup2(broken, file)
    for number in range(2 * KEPT_BYTES // 100):
        book.add(b"%099d\n" % number)
    os.dup2(good, file)
    book._retry_at = 0.0
    book.add(b"last\n")
    book.close()
    first, told, *kept, last, _ = path.read_bytes().split(b"\n")
    assert first == b"first"
    assert b"bytes of output were lost" in told
    assert last == b"last"
    assert int(told.split()[0][1:]) + sum(len(line) + 1 for line in kept) + 5 == (
        2 * KEPT_BYTES // 100 * 100 + 5
    )
    for descriptor in (file, broken, good):
        os.close(descriptor)


def test_a_run_prints_on_while_its_log_cannot_be_written(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "from traindeck.core.supervisor import scribe\n"
        "def refuse(*_): raise OSError(5, 'Input/output error')\n"
        "def write_down(reading, log, really=scribe._write_down):\n"
        "    os.write = refuse\n"
        "    scribe.LAST_SECONDS = 1.5\n"
        "    really(reading, log)\n"
        "scribe._write_down = write_down",
    )
    begun = time.monotonic()
    run = start(python="import sys\nfor i in range(40000): print('x' * 99)\nsys.exit(3)")
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 3)
    assert time.monotonic() - begun < 60
