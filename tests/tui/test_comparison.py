"""The table of runs laid over each other: no number of it is read that is only part of one."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.homes import NOW, make_run
from tests.tui.pilots import shown, until_shown
from tests.tui.run_screens import open_run
from traindeck.core.base.home import Home
from traindeck.core.run.points import PointWriter
from traindeck.tui.app import TraindeckApp
from traindeck.tui.panels.comparison import ComparisonPanel

VALUES = {"loss": 0.01834, "test/accuracy": 0.9123}


WHOLE = {"0.01834", "0.9123"}


async def compared(home: Home, pilot: Pilot[Any]) -> None:
    ids = [make_run(home, n, state="running", name=f"private-{n}", index=False) for n in (1, 2)]
    for run_id in ids:
        writer = PointWriter(home.runs / run_id)
        writer.add(1, VALUES)
        writer.close()
    await open_run(pilot, *ids)
    await pilot.press("5")
    await until_shown(pilot, "private-2")


def values(pilot: Pilot[Any], marker: str) -> set[str]:
    """What is shown in the columns of values of the first run."""
    line = next(line for line in shown(pilot).split("\n") if marker in line)
    return set(line.partition("running ")[2].split()) if "running" in line else set(line.split())


@pytest.mark.parametrize(
    ("width", "seen"),
    [
        (40, {"…"}),
        (48, {"0.9123"}),
        (53, {"0.9123", "…"}),
        (57, {"0.9123", "…"}),
        (58, WHOLE),
    ],
)
async def test_what_the_right_edge_cuts_is_an_ellipsis(
    home: Home, width: int, seen: set[str]
) -> None:
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=(width, 24)) as pilot:
        await compared(home, pilot)
        assert values(pilot, "private-1") == seen


async def test_what_the_left_edge_cuts_is_an_ellipsis(home: Home) -> None:
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=(22, 24)) as pilot:
        await compared(home, pilot)
        app.screen.query_one(ComparisonPanel).table.scroll_to(x=39, animate=False)
        await until_shown(pilot, "0.01834")
        assert values(pilot, "0.01834") == {"…", "0.01834"}
