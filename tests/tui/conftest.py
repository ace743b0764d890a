"""What tests of screens share: a home and the app on it, the same on every machine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual._wait import wait_for_idle

from tests.conftest import _end
from tests.tui.homes import NOW, make_home
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity
from traindeck.tui.app import TraindeckApp

MOST_TURNS = 1000
"""Of the event loop, in which something that never rests is waited for."""


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The same time zone, colors and home on every machine."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLORTERM", "truecolor")
    for name in ("SSH_CONNECTION", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pilots go on when the event loop has nothing left to do.

    Textual waits until the process works no more: so it does, too, where it gets no turn.
    """

    async def wait(least: float = 0.0) -> None:
        await wait_for_idle(least)
        loop = asyncio.get_running_loop()
        quiet = 0
        for _ in range(MOST_TURNS):
            await asyncio.sleep(0)
            quiet = 0 if loop._ready else quiet + 1  # type: ignore[attr-defined]
            if quiet == 3:
                break

    for place in ("textual.pilot", "textual.app"):
        monkeypatch.setattr(f"{place}.wait_for_idle", wait)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home; the real runs that a test leaves in it are ended. Made-up ones belong to us."""
    made = make_home(tmp_path / "home")
    yield made
    for folder in made.runs.iterdir():
        run = RunFolder(folder)
        supervisor = identity(run.spec() or {}, "supervisor")
        if supervisor is not None and supervisor.pid != os.getpid():
            _end(run)


@pytest.fixture
def app(home: Home) -> TraindeckApp:
    """The app on the home, where it is always the same moment."""
    return TraindeckApp(home, clock=lambda: NOW)
