"""The curves panel: what people see and do with the curves of a run, or of several."""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Footer, Input

from tests.tui.plotdata import NAMES, START, records, store_of, training
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.run.follow import PointTail
from traindeck.core.run.points import PointWriter
from traindeck.tui.panels import curves_words
from traindeck.tui.panels.curves import CurvesPanel
from traindeck.tui.plot.status import StatusLine, ago
from traindeck.tui.plot.store import SeriesStore


class Deck(App[None]):
    """A screen with the panel on it. It is always 3.2 s after the last point."""

    def __init__(self, *sources: tuple[str, SeriesStore]) -> None:
        super().__init__()
        self.sources = sources

    def compose(self) -> ComposeResult:
        yield CurvesPanel()
        yield Footer()

    def on_mount(self) -> None:
        panel = self.query_one(CurvesPanel)
        panel.focus()
        for label, store in self.sources:
            panel.add_source(label, store)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves_words, "now", lambda: START + 39.9 + 3.2)


def said(pilot: Pilot[None]) -> str:
    return pilot.app.query_one(StatusLine).text


def titles(pilot: Pilot[None]) -> list[str]:
    return [plot.title for plot in pilot.app.query_one(CurvesPanel).charts.plots]


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


SIZES = [(80, 24), (120, 30), (200, 50)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_grid_of_one_run(size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    async with Deck(("run", store_of(training()))).run_test(size=size) as pilot:
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "ansi-dark"])
@pytest.mark.slow
async def test_two_runs_over_each_other(theme: str, snapshot: SnapshotAssertion) -> None:
    worse = training(400, 0.5, 1) + records(range(250, 260), [float("nan")] * 10)
    app = Deck(("sgd-0.1", store_of(training())), ("sgd-0.01", store_of(worse)))
    async with app.run_test(size=(100, 26)) as pilot:
        app.theme = theme
        await press(pilot, "enter", "w", "w", "right", *["right"] * 30)
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_a_chart_is_enlarged_and_given_back() -> None:
    async with Deck(("run", store_of(training()))).run_test(size=(100, 30)) as pilot:
        assert titles(pilot) == NAMES
        await press(pilot, "right", "right", "enter")
        assert titles(pilot) == ["train/accuracy"]
        await press(pilot, "down")
        assert titles(pilot) == ["test/loss"]
        await press(pilot, "up", "up", "up")
        assert titles(pilot) == ["step_seconds"]
        await press(pilot, "escape")
        assert titles(pilot) == NAMES
        assert pilot.app.query_one(CurvesPanel).charts.chosen == 4


async def test_marked_series_are_laid_over_each_other() -> None:
    async with Deck(("run", store_of(training()))).run_test(size=(100, 30)) as pilot:
        await press(pilot, "space", "right", "space", "enter")
        assert titles(pilot) == ["train/loss + train/accuracy"]
        plot = pilot.app.query_one(CurvesPanel).charts.plots[0]
        assert [(line.label, line.color) for line in plot.lines] == [
            ("train/loss", 0),
            ("train/accuracy", 1),
        ]


async def test_several_runs_and_series_are_told_apart() -> None:
    app = Deck(("a", store_of(training())), ("b", store_of(training(seed=1))))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "space", "right", "space", "enter")
        lines = app.query_one(CurvesPanel).charts.plots[0].lines
        assert [line.label for line in lines] == [
            "a train/loss",
            "b train/loss",
            "a train/accuracy",
            "b train/accuracy",
        ]
        assert len({line.color for line in lines}) == 4


@pytest.mark.slow
async def test_filter_by_words() -> None:
    async with Deck(("run", store_of(training()))).run_test(size=(100, 30)) as pilot:
        await press(pilot, "slash", *"LOSS tr")
        assert titles(pilot) == ["train/loss"]
        assert "/loss tr" in said(pilot)
        await press(pilot, "enter")
        assert not isinstance(pilot.app.focused, Input)
        await press(pilot, "l")
        assert "log" in said(pilot)
        await press(pilot, "escape")
        assert titles(pilot) == NAMES
        await press(pilot, "slash", *"t*/acc", "escape")
        assert titles(pilot) == ["train/accuracy", "test/accuracy"]
        await press(pilot, "slash", *"nothing", "enter")
        assert titles(pilot) == []
        await press(pilot, "enter", "space", "left", "plus", "right", "w", "home")


async def test_the_status_says_what_is_drawn() -> None:
    data = training()
    async with Deck(("run", store_of(data))).run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        count = len(data) // 28
        assert said(pilot).startswith(f"last data 3.2 s ago · drawn from {count:,} points")
        await press(pilot, "enter")
        assert "drawn from 400 points" in said(pilot)
        await press(pilot, "plus")
        assert "drawn from 200 points" in said(pilot) and "zoomed" in said(pilot)
        await press(pilot, "x")
        assert said(pilot).endswith("time") and "zoomed" not in said(pilot)
        await press(pilot, "w", "w", "W")
        assert "smooth 0.3" in said(pilot)


async def test_a_merged_curve_says_so() -> None:
    store = store_of(records(range(20_000), [1.0] * 20_000), ["loss"])
    async with Deck(("run", store)).run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        assert "drawn from 20,000 points, up to 8 to a bucket" in said(pilot)


async def test_log_axis_says_what_it_leaves_out() -> None:
    async with Deck(
        ("run", store_of(records([0, 1, 2], [1.0, 0.0, 2.0]), ["a"]))
    ).run_test() as pilot:
        await press(pilot, "l")
        assert "values ≤ 0 left out" in said(pilot)


async def test_zoom_pan_and_cursor_by_keys() -> None:
    async with Deck(("run", store_of(training(1000)))).run_test(size=(100, 30)) as pilot:
        panel = pilot.app.query_one(CurvesPanel)
        await press(pilot, "enter", "end")
        assert panel.view.cursor == 999
        await press(pilot, "plus", "plus")
        window = panel.view.window
        assert window is not None and window.follow
        await press(pilot, "shift+left", "shift+left")
        window = panel.view.window
        assert window is not None and not window.follow
        await press(pilot, "home", "left", "left")
        assert panel.view.cursor is not None and panel.view.cursor < window.x0
        await press(pilot, "z", "0")
        assert panel.view.cursor is None and panel.view.window is None


async def test_points_that_arrive_are_drawn(tmp_path: Path) -> None:
    writer = PointWriter(tmp_path)
    tail, store = PointTail(tmp_path), SeriesStore(tmp_path / "points.bin")
    app = Deck(("run", store))
    async with app.run_test(size=(80, 24)) as pilot:
        panel = app.query_one(CurvesPanel)
        assert "no data yet" in app.export_screenshot() or titles(pilot) == []
        for step in range(5):
            writer.add(step, {"loss": 1.0 / (step + 1)} | ({"late": 1.0} if step > 3 else {}))
        writer.flush()
        store.ingest(tail.read().data, tail.names)
        panel.refresh_data()
        await pilot.pause()
        assert titles(pilot) == ["loss", "late"]
        assert "drawn from 6 points" in said(pilot)
    writer.close()


async def test_an_idle_panel_draws_nothing() -> None:
    async with Deck(("run", store_of(training()))).run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        panel = pilot.app.query_one(CurvesPanel)
        drawn = [cell.drawn for cell in panel.charts._cells]
        for _ in range(5):
            panel.refresh_data()
            await pilot.pause()
        assert [cell.drawn for cell in panel.charts._cells] == drawn


async def test_a_store_that_starts_over() -> None:
    store = store_of(training())
    async with Deck(("run", store)).run_test(size=(100, 30)) as pilot:
        panel = pilot.app.query_one(CurvesPanel)
        await press(pilot, "enter")
        store.clear()
        store.ingest(records([0], [1.0]), ["new"])
        panel.refresh_data()
        await pilot.pause()
        assert titles(pilot) == ["new"]


def test_every_key_can_be_remapped_and_is_explained() -> None:
    bindings = [b for b in CurvesPanel.BINDINGS if isinstance(b, Binding)]
    ids = [binding.id for binding in bindings]
    assert len(ids) == len(set(ids)) == len(CurvesPanel.BINDINGS)
    for binding in bindings:
        assert binding.id is not None and binding.id.startswith("curves.")
        assert binding.tooltip and binding.description
        assert hasattr(CurvesPanel, f"action_{binding.action}")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.31, "0.3 s ago"),
        (-5, "0.0 s ago"),
        (42, "42 s ago"),
        (3700, "1h1m ago"),
        (90_000, "1d1h ago"),
    ],
)
def test_ago(seconds: float, expected: str) -> None:
    assert ago(seconds) == expected


def test_the_manager_starts_without_the_plots() -> None:
    """numpy costs 0.2 s: nothing that runs before the first paint may import it."""
    import subprocess
    import sys

    code = "import sys, traindeck.tui.cli; print(any(m.startswith('numpy') for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
