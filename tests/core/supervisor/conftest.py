"""A way to start runs with a short grace, and a gate that holds them up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.supervisor.runs_that_end import GRACE, Gate
from traindeck.core import launch
from traindeck.core.base.home import Home
from traindeck.core.launch import LaunchRequest
from traindeck.core.run.folder import RunFolder


@pytest.fixture
def start(home: Home) -> Callable[..., RunFolder]:
    """Launch a Python or shell text with a short grace."""

    def begin(*, python: str = "", shell: str = "", grace: float = GRACE) -> RunFolder:
        command = ["bash", "-c", shell] if shell else [sys.executable, "-c", python]
        return RunFolder(
            Path(launch.launch(home, LaunchRequest(command=command, grace=grace))["path"])
        )

    return begin


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")
