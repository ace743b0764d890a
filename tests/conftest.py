"""A home of its own for each test, and the real `traindeck` command to drive it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.document import RunDoc, document
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity
from traindeck.core.run.state import ENDED

COMMAND = Path(sys.executable).parent / "traindeck"
PATIENCE = 60.0  # how long anything may take on a busy machine before a test gives up
SUITE = "TRAINDECK_TEST_SUITE"
"""The environment variable by which everything that a suite starts, workers and all, is known."""
FOR_FRAMEWORKS = re.compile(r"^pytestmark = \[?pytest\.mark\.framework\b", re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[SUITE] = uuid.uuid4().hex
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `pytest &`; commands would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a file unread whose tests are all for frameworks where those are not asked for.

    To import it would take as long as ten of the others' tests.
    """
    if "not framework" in config.option.markexpr and collection_path.suffix == ".py":
        return True if FOR_FRAMEWORKS.search(collection_path.read_text(encoding="utf-8")) else None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: each goes to one process, and none should be left with one alone."""
    marks: dict[Path, set[str]] = {}
    for item in items:
        marks.setdefault(item.path, set()).update(mark.name for mark in item.iter_markers())
    items.sort(key=lambda item: [name not in marks[item.path] for name in ("framework", "slow")])


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what tests have left running: those that Ctrl-C interrupted could not."""
    if hasattr(config, "workerinput") or not sys.platform.startswith("linux"):
        return
    deadline = time.monotonic() + 2  # for what is about to end by itself
    while left := _of_this_suite():
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline + 2:
            break
        time.sleep(0.05)


def _of_this_suite() -> list[int]:
    mark = f"{SUITE}={os.environ[SUITE]}".encode()
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                pids.append(int(process.name))
    return [pid for pid in pids if pid != os.getpid()]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """An empty home; runs that a test leaves behind are ended with it."""
    made = Home(tmp_path / "home")
    made.make()
    monkeypatch.setenv("TRAINDECK_HOME", str(made.root))
    monkeypatch.delenv("TRAINDECK_RUN_FOLDER", raising=False)
    yield made
    for folder in made.runs.iterdir():
        _end(RunFolder(folder))


def _end(run: RunFolder) -> None:
    spec = run.spec()
    if spec is None or run.state()[0] in ENDED:
        return
    for who, number in (("supervisor", signal.SIGUSR1), ("child", signal.SIGKILL)):
        process = identity(spec, who)
        if process and process.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
    for who in ("supervisor", "keeper"):
        process = identity(spec, who)
        deadline = time.monotonic() + 10
        while process and process.alive() and time.monotonic() < deadline:
            time.sleep(0.02)


@pytest.fixture
def traindeck(home: Home) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command; `code` is the exit code it must end with."""

    def run(*words: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [COMMAND, *words], capture_output=True, text=True, timeout=PATIENCE * 4, **options
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    return run


def until(condition: Callable[[], Any], what: str = "what was waited for") -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {PATIENCE:.0f} s")


def wait_for_state(run: RunFolder, *states: str) -> RunDoc:
    """Wait until the run is in one of the states (default: any in which it has ended)."""
    wanted = states or ENDED
    until(lambda: run.state()[0] in wanted, f"state {wanted}, not {run.state()},")
    doc = document(run)
    assert doc is not None
    return doc


def process_of(run: RunFolder, who: str) -> Identity:
    """The run's `supervisor`, `keeper` or `child`, once it is recorded."""

    def look() -> Identity | None:
        return identity(run.spec() or {}, who)

    process: Identity = until(look, who)
    return process
