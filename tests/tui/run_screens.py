"""Runs with all their files, and their screen."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.tui.homes import NOW, make_run
from tests.tui.pilots import until
from traindeck.core.base.home import Home
from traindeck.core.run.points import RECORD
from traindeck.tui.panels.log import LogPanel
from traindeck.tui.screens.run.screen import RunScreen
from traindeck.tui.widgets.log_view import LogView

LOG = b"".join(b"epoch %d  loss %.4f\n" % (epoch, 2.3 * 0.9**epoch) for epoch in range(60))


def write_points(folder: Path, stem: str, names: list[str], steps: int, rows: Any) -> None:
    """Points at one a second, ending at `NOW`; `rows` gives the values of a step."""
    (folder / f"{stem}.names").write_text("".join(f"{name}\n" for name in names))
    with (folder / f"{stem}.bin").open("wb") as file:
        for step in range(steps):
            for series, value in enumerate(rows(step)):
                file.write(RECORD.pack(NOW - steps + step, step, series, value))


def fill(folder: Path, seed: int = 1, log: bytes = LOG) -> None:
    """All the files of a run that trained for 200 steps."""
    rng = random.Random(seed)
    write_points(
        folder,
        "points",
        ["train/loss", "test/accuracy", "progress"],
        200,
        lambda step: (2.0 * 0.98**step + 0.1 * rng.random(), 1 - 0.98**step, 199.0),
    )
    write_points(
        folder,
        "device",
        ["cpu_percent", "memory_pss_bytes", "threads", "io_read_bytes", "gpu0/utilization_percent"],
        120,
        lambda step: (150.0 + step % 40, 8e8 + 4e6 * step, 14.0, 2.5e6 * step, float(step % 100)),
    )
    (folder / "output.log").write_bytes(log)
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "provenance.json").write_text(
        '{"python": {"executable": "/usr/bin/python3", "version": "3.11.9 (main)"},'
        ' "packages": {"numpy": "2.4.6", "torch": "2.13.0"}, "host": "lab-7",'
        ' "git": {"commit": "7f8bd7e0c1", "branch": "main", "dirty": true}}'
    )
    (source / "diff.patch").write_bytes(b"+" * 2345)


def finished(home: Home, number: int = 1, **more: Any) -> str:
    run_id = make_run(home, number, name="mnist small", index=False, **more)
    fill(home.runs / run_id, number)
    lines = [
        {"v": 1, "t": NOW + 60 * n, "type": "state", "state": state}
        for n, state in enumerate(("starting", "running"))
    ]
    (home.runs / run_id / "events.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    return run_id


def running(home: Home, number: int = 1, **more: Any) -> Path:
    """A run that goes on: it is supervised by this process."""
    run_id = make_run(home, number, state="running", name="live one", index=False, **more)
    return home.runs / run_id


def screen_of(pilot: Pilot[Any]) -> RunScreen:
    screen = pilot.app.screen
    assert isinstance(screen, RunScreen)
    return screen


def log_of(pilot: Pilot[Any]) -> LogView:
    return screen_of(pilot).query_one(LogPanel).view


async def open_run(pilot: Pilot[Any], *ids: str) -> RunScreen:
    pilot.app.open_runs(ids)
    await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
    screen = screen_of(pilot)
    await until(pilot, lambda: screen._picture.runs, "the first picture")
    return screen
