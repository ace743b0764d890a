"""Runs with a short grace, what holds them up, and supervisors that differ from the real one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from traindeck.core.engines import boot

GRACE = 1.0


MINE = f"9{os.getpid()}"  # how long sleeps of this very test run last


LOGGING = """
import sys, time
from traindeck.core import track
with track.start() as run:
    for step in range(100000):
        run.log(step, loss=1.0 / (step + 1))
        time.sleep(0.001)
        if run.should_stop():
            print("checkpoint saved")
            break
"""


class Gate:
    """What a run's shell waits at until the test lets it go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wait = f"until [ -e {path} ]; do sleep 0.05; done"

    def open(self) -> None:
        self.path.touch()


def living(words: str) -> list[str]:
    listed = subprocess.run(["pgrep", "-f", words], capture_output=True, text=True)
    return listed.stdout.split()


def supervisor_that(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Let the next supervisor differ by some statements; `s` is its module, `k` the keeper's."""
    ends = "from traindeck.core.supervisor.main import main; main()"
    imports = (
        "from traindeck.core.supervisor import supervisor as s, keeper as k, cgroup\nimport os"
    )
    assert boot._ENTRY.endswith(ends)
    entry = boot._ENTRY.replace(ends, f"\n{imports}\n{change}\n{ends}")
    monkeypatch.setattr(boot, "_ENTRY", entry)
