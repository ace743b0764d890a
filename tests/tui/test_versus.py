"""The comparison's screen: six axes, the twins' curves over each other, what makes the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from tests.core.versus.compared import DEVICES, made_mistakes, made_steps, made_twins
from tests.tui.homes import NOW
from tests.tui.pilots import shown, until, until_shown
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.versus import footprint
from traindeck.core.versus.footprint import Footprint
from traindeck.core.versus.syntax import Count
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.run.screen import RunScreen
from traindeck.tui.screens.versus import VersusScreen

SIZES = [(80, 24), (120, 40), (140, 66), (180, 50)]


@pytest.fixture(autouse=True)
def same_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed here is another machine's business."""

    def made(roots: tuple[str, ...], without: frozenset[str] = frozenset()) -> Footprint:
        return Footprint(frozenset(roots), 1_000_000 * len(roots[0]), {"MIT": 1}, {roots[0]: "1.0"})

    monkeypatch.setattr(footprint, "footprint", made)
    monkeypatch.setattr(footprint, "cached_weights", lambda framework: 0)
    counted = Count(77, ("torch.nn",) * 15)
    monkeypatch.setattr("traindeck.core.versus.axes.count", lambda source, packages: counted)
    monkeypatch.setattr("traindeck.core.versus.guarded._sensors", lambda: False)
    monkeypatch.setattr("traindeck.tui.readers.versus.found_devices", lambda: DEVICES)


async def open_versus(pilot: Pilot[Any]) -> VersusScreen:
    await until_shown(pilot, "Runs")
    await pilot.press("ampersand")
    await until(pilot, lambda: isinstance(pilot.app.screen, VersusScreen), "the comparison")
    screen = pilot.app.screen
    assert isinstance(screen, VersusScreen)
    return screen


async def test_without_runs_it_says_what_makes_them(app: TraindeckApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await open_versus(pilot)
        await until_shown(pilot, "traindeck versus run makes more")
        await until_shown(pilot, "lines of code")
        assert "not measured: no twin runs" in shown(pilot)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_axes_and_the_curves(
    home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    made_twins(home)
    made_steps(home)
    made_mistakes(home)
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await open_versus(pilot)
        await until_shown(pilot, "test/accuracy · x: step")
        await until_shown(pilot, "3.1 ±0.1")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_the_next_axis_is_scrolled_to(app: TraindeckApp, home: Home) -> None:
    made_twins(home)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_versus(pilot)
        await until_shown(pilot, "test/accuracy · x: step")
        assert "deployment and serving" not in shown(pilot)
        for axis in ("paradigm", "ecosystem", "privacy", "hardware", "deployment"):
            await pilot.press("tab")
            await until(pilot, _has_focus(screen, axis), axis)
        await until_shown(pilot, "deployment and serving")


def _has_focus(screen: VersusScreen, axis: str) -> Callable[[], bool]:
    return lambda: screen.focused is not None and screen.focused.id == f"axis-{axis}"


async def test_the_other_series_and_the_runs_themselves(app: TraindeckApp, home: Home) -> None:
    made_twins(home)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_versus(pilot)
        await until_shown(pilot, "test/accuracy · x: step")
        await pilot.press("D")
        await until_shown(pilot, "train/loss · x: step")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen), "the runs")
        await until_shown(pilot, "torch-digits")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)


async def test_it_is_made_anew_when_a_run_has_come(app: TraindeckApp, home: Home) -> None:
    made_twins(home, 1)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_versus(pilot)
        await until_shown(pilot, "test/accuracy · x: step")
        made_mistakes(home)
        await until_shown(pilot, "words for a wrong shape")
        await until_shown(pilot, "31")


async def test_the_first_line_leads_there_where_it_has_room(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "S Sweeps  & Versus")
        line = shown(pilot).splitlines()[0]
        await pilot.click(offset=(line.index("Versus"), 0))
        await until(pilot, lambda: isinstance(pilot.app.screen, VersusScreen), "the comparison")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "Sweeps" not in shown(pilot), "a narrow first line")
