"""What tests of screens share: a home and the app on it, the same on every machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import _end
from tests.tui.homes import NOW, make_home
from traindeck.core.home import Home
from traindeck.core.run import RunFolder
from traindeck.core.state import identity
from traindeck.tui.app import TraindeckApp


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
