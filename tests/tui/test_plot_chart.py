"""Charts as a widget: what is drawn, when, and what mouse and keys do."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.pilot import Pilot

from tests.tui.plotdata import NAMES, records, store_of, training
from traindeck.tui.plot import palette
from traindeck.tui.plot.buckets import CAPACITY
from traindeck.tui.plot.chart import Chart, Charts
from traindeck.tui.plot.layout import arrange, group_names
from traindeck.tui.plot.store import SeriesStore
from traindeck.tui.plot.strips import words_strip
from traindeck.tui.plot.view import Line, Plot, View


def plots_of(store: SeriesStore, names: Sequence[str]) -> list[Plot]:
    return [Plot(name, [Line(store, name, name, color)]) for color, name in enumerate(names)]


class One(App[None]):
    def __init__(self, charts: Charts) -> None:
        super().__init__()
        self.charts = charts

    def compose(self) -> ComposeResult:
        yield self.charts


def text_of(app: App[None]) -> str:
    lines = app.screen._compositor.render_strips(app.size)
    return "\n".join(strip.text for strip in lines)


async def until(pilot: Pilot[None], condition: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        await pilot.pause(0.01)


async def test_one_chart_fills_the_widget() -> None:
    store = store_of(training(200))
    chart = Chart(plots_of(store, ["train/loss"])[0])
    async with One(chart).run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        rows = text_of(pilot.app).splitlines()
        assert rows[0].startswith("train/loss ─")
        assert rows[0].rstrip().endswith("0.1770")
        assert any("┤" in row for row in rows)
        assert rows[15].split()[:3] == ["0", "50", "100"]


async def test_only_charts_in_sight_are_drawn() -> None:
    names = [f"layer{number}/norm" for number in range(200)]
    raw = records([1] * 200, [1.0] * 200, range(200))
    store = store_of(raw, names)
    charts = Charts([("", plots_of(store, names))])
    async with One(charts).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        drawn = [cell.drawn for cell in charts._cells]
        in_sight = {cell.number for cell in charts.cells_in_sight()}
        assert 4 <= len(in_sight) <= 12
        assert {number for number, count in enumerate(drawn) if count} == in_sight
        store.ingest(records([2] * 200, [2.0] * 200, range(200)), names)
        charts.refresh_data()
        await pilot.pause()
        again = [cell.drawn for cell in charts._cells]
        assert {n for n in range(200) if again[n] != drawn[n]} == in_sight
        charts.scroll_end(animate=False)
        await pilot.pause()
        assert charts._cells[-1].drawn == 1
        assert "layer199/norm" in text_of(pilot.app)


async def test_charts_whose_series_did_not_change_are_left_alone() -> None:
    store = store_of(training(200))
    charts = Charts([("", plots_of(store, NAMES[:2]))])
    async with One(charts).run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        before = [cell.strips for cell in charts._cells]
        store.ingest(records([900], [9.0], 1), NAMES)
        charts.refresh_data()
        await pilot.pause()
        assert charts._cells[0].strips is before[0]
        assert charts._cells[1].strips is not before[1]


async def test_hover_reads_the_values_of_all_charts_at_that_step() -> None:
    steps = list(range(100))
    raw = records(
        steps * 2, [float(s) for s in steps] + [-1.0 * s for s in steps], [0] * 100 + [1] * 100
    )
    charts = Charts([("", plots_of(store_of(raw, ["up", "down"]), ["up", "down"]))])
    async with One(charts).run_test(size=(80, 12)) as pilot:
        await pilot.pause()
        frame = charts._cells[0].frame
        assert frame is not None
        column = frame.column_of(50.0)
        await pilot.hover(charts, offset=(column, 5))
        await pilot.pause()
        assert charts.view.cursor == pytest.approx(50, abs=2)
        title = text_of(pilot.app).splitlines()[0].split()
        up, down = float(title[2]), float(title[-1])
        assert up == -down == pytest.approx(charts.view.cursor, abs=0.6)


async def test_dragging_selects_a_range_and_a_double_click_shows_all() -> None:
    chart = Chart(plots_of(store_of(training(500)), ["train/loss"])[0])
    async with One(chart).run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        await pilot.mouse_down(chart, offset=(20, 5))
        await pilot.hover(chart, offset=(40, 8))
        await pilot.mouse_up(chart, offset=(40, 8))
        await pilot.pause()
        window = chart.view.window
        assert window is not None
        assert 100 < window.x0 < 180 and 280 < window.x1 < 360
        assert not window.follow
        await pilot.click(chart, offset=(30, 5), times=2)
        await pilot.pause()
        assert chart.view.window is None


async def test_the_wheel_zooms_one_chart_and_scrolls_many() -> None:
    from textual.events import MouseScrollUp

    chart = Chart(plots_of(store_of(training(500)), ["train/loss"])[0])
    async with One(chart).run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        wheel = MouseScrollUp(chart, 30, 5, 0, -1, 0, False, False, False, 30, 5)
        chart.post_message(wheel)
        await pilot.pause()
        assert chart.view.window is not None
    charts = Charts([("", plots_of(store_of(training(500)), NAMES * 9))])
    async with One(charts).run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        charts.scroll_to(y=20, animate=False)
        await pilot.pause()
        charts.post_message(MouseScrollUp(charts, 30, 5, 0, -1, 0, False, False, False, 30, 5))
        await until(pilot, lambda: charts.scroll_offset.y < 20)
        assert charts.view.window is None


async def test_a_zoomed_curve_is_read_again_from_its_file(tmp_path: Path) -> None:
    source = tmp_path / "points.bin"
    count = CAPACITY * 32
    raw = records(range(count), [float(step % 2) for step in range(count)])
    source.write_bytes(raw)
    store = store_of(raw, ["loss"], source)
    plot = Plot("loss", [Line(store, "loss", "loss")])
    chart = Chart(plot)
    async with One(chart).run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        assert plot.points(chart.view) == (count, 32)
        for _ in range(8):
            chart.zoom(0.5, 1000.0)
            await until(pilot, lambda: not chart.reading_detail)
        await until(pilot, lambda: plot.points(chart.view)[1] == 1)
        seen, _ = plot.points(chart.view)
        window = chart.view.window
        assert window is not None
        assert seen == pytest.approx(window.x1 - window.x0, abs=2)
        chart.move_cursor(1)
        await pilot.pause()
        reading = plot.reading(chart.view, plot.lines[0])
        assert reading is not None
        assert (reading.count, reading.last) == (1, float(reading.first_step % 2))
        chart.view = View()
        await pilot.pause()
        assert plot.lines[0].detail is None


LEAVE_WHILE_READING = """
import asyncio, os, sys
from pathlib import Path
from textual.app import App
from tests.tui.plotdata import records, store_of
from traindeck.tui.plot.chart import Chart
from traindeck.tui.plot.buckets import CAPACITY
from traindeck.tui.plot.view import Line, Plot

source = Path(sys.argv[1])
os.mkfifo(source)
store = store_of(records(range(CAPACITY * 32), [1.0] * CAPACITY * 32), ["loss"], source)
chart = Chart(Plot("loss", [Line(store, "loss", "loss")]))

class One(App):
    def compose(self):
        yield chart

async def main():
    async with One().run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        for _ in range(8):
            chart.zoom(0.5, 1000.0)
            await pilot.pause(0.1)
        assert chart.reading_detail

asyncio.run(main())
"""


def test_leaving_does_not_wait_for_a_file_that_never_answers(tmp_path: Path) -> None:
    """A pipe nobody writes to: opening it waits for ever, as a hung network mount does."""
    left = subprocess.run(
        [sys.executable, "-c", LEAVE_WHILE_READING, tmp_path / "points.bin"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert left.returncode == 0, left.stderr


async def test_a_zoomed_view_at_the_end_follows_new_points() -> None:
    store = store_of(records(range(1000), [1.0] * 1000), ["loss"])
    plot = Plot("loss", [Line(store, "loss", "loss")])
    chart = Chart(plot)
    async with One(chart).run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        chart.zoom(0.1, 999.0)
        store.ingest(records(range(1000, 1500), [1.0] * 500), ["loss"])
        chart.refresh_data()
        await pilot.pause()
        sight = plot.in_sight(chart.view)
        assert sight is not None and sight[1] == 1499
        chart.pan(-1.0)
        store.ingest(records(range(1500, 1600), [1.0] * 100), ["loss"])
        still = plot.in_sight(chart.view)
        assert still is not None and still[1] < 1499


async def test_the_cursor_goes_from_point_to_point() -> None:
    plot = plots_of(store_of(records([0, 10, 500, 1000], [1.0, 2.0, 3.0, 4.0]), ["a"]), ["a"])[0]
    chart = Chart(plot)
    async with One(chart).run_test(size=(60, 16)) as pilot:
        await pilot.pause()
        seen = []
        for _ in range(4):
            chart.move_cursor(1)
            seen.append(chart.view.cursor)
        # 10 lies in the first column with 0: it is stepped over as long as it cannot be told apart.
        assert seen == [0, 500, 1000, 1000]
        chart.move_cursor(-1)
        assert chart.view.cursor == 500


async def test_resizing_to_any_size() -> None:
    store = store_of(training(100))
    charts = Charts([("train", plots_of(store, NAMES[:2])), ("test", plots_of(store, NAMES[2:4]))])
    async with One(charts).run_test(size=(120, 40)) as pilot:
        for size in [(1, 1), (5, 3), (20, 6), (200, 50), (37, 9), (80, 24), (2, 40), (300, 2)]:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert len(text_of(pilot.app).splitlines()) == size[1]


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "nord", "ansi-dark"])
async def test_every_theme_has_a_palette(theme: str) -> None:
    charts = Charts([("", plots_of(store_of(training(100)), NAMES))])
    app = One(charts)
    async with app.run_test(size=(80, 24)) as pilot:
        before = charts._palette
        app.theme = theme
        await pilot.pause()
        assert theme == "textual-dark" or charts._palette is not before
        assert "train/loss" in text_of(app)


def luminance(color: Color) -> float:
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize(
    ("colors", "background"),
    [(palette.ON_DARK, "#121212"), (palette.ON_DARK, "#2e3440"), (palette.ON_LIGHT, "#e0e0e0")],
)
def test_curves_stand_out_from_the_background(colors: Sequence[str], background: str) -> None:
    behind = luminance(Color.parse(background))
    for name in colors:
        light, dark = sorted((luminance(Color.parse(name)), behind), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, name


def test_charts_share_a_canvas() -> None:
    for groups in ([1], [2, 2, 2], [7], [40, 3, 1], [1, 1]):
        for width, height in [(80, 18), (120, 26), (200, 46), (20, 6), (10, 3)]:
            for headings in (False, True):
                grid = arrange(groups, width, height, headings)
                assert len(grid.regions) == sum(groups)
                for number, region in enumerate(grid.regions):
                    assert region.width >= 1 and region.height >= 3 and region.right <= width
                    assert region.bottom <= grid.height
                    assert not any(region.overlaps(r) for r in grid.regions[number + 1 :])


def test_groups_by_name() -> None:
    names = ["train/loss", "lr", "test/loss", "train/accuracy", "x/only", "test/accuracy"]
    assert group_names(names) == [
        ("train", ["train/loss", "train/accuracy"]),
        ("test", ["test/loss", "test/accuracy"]),
        ("", ["lr", "x/only"]),
    ]


def test_words_are_cut_by_cells_not_characters() -> None:
    styles = palette.Palette(palette.Style(), Color.parse("black"), Color.parse("white"), None)
    for width in range(12):
        strip = words_strip([("損失ab", 0), ("損失", 0)], [("12", 0)], width, styles)
        assert sum(segment.cell_length for segment in strip) == width


async def test_a_hidden_chart_is_not_drawn_and_catches_up_when_shown() -> None:
    store = store_of(records([0, 1], [1.0, 2.0]), ["a"])
    chart = Chart(plots_of(store, ["a"])[0])
    async with One(chart).run_test(size=(40, 10)) as pilot:
        await pilot.pause()
        drawn = chart._cells[0].drawn
        chart.display = False
        await pilot.pause()
        store.ingest(records([2], [7.5]), ["a"])
        chart.refresh_data()
        await pilot.pause()
        assert chart._cells[0].drawn == drawn
        chart.display = True
        await pilot.pause()
        assert "7.500" in text_of(pilot.app)


async def test_rows_scrolled_away_come_back_with_new_data() -> None:
    names = [f"s{number}" for number in range(40)]
    store = store_of(records([0] * 40, [1.0] * 40, range(40)), names)
    charts = Charts([("", plots_of(store, names))])
    async with One(charts).run_test(size=(80, 20)) as pilot:
        await pilot.pause()
        charts.scroll_end(animate=False)
        await pilot.pause()
        store.ingest(records([1] * 40, [8.25] * 40, range(40)), names)
        charts.refresh_data()
        charts.scroll_home(animate=False)
        await pilot.pause()
        assert text_of(pilot.app).splitlines()[0].count("8.250") == 2


async def test_a_bucket_without_a_number_reads_as_what_it_is() -> None:
    count = CAPACITY * 2
    values = [math.nan] * 100 + [1.0] * (count - 100)
    plot = plots_of(store_of(records(range(count), values), ["a"]), ["a"])[0]
    first = plot.reading(View(cursor=0.0), plot.lines[0])
    later = plot.reading(View(cursor=99.5), plot.lines[0])
    assert first is not None and later is not None
    assert (first.value, first.span, first.odd) == ("nan", "", 2)
    assert later.value == "nan"
    full = plot.reading(View(cursor=500.0), plot.lines[0])
    assert full is not None and full.value == "1.000" and full.odd == 0
