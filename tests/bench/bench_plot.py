"""CPU time of one frame: four noisy series of 10,000 points in 120 x 30 cells.

    python tests/bench/bench_plot.py [--frames 60]

A frame is what a live curve costs: a new point in each series, then the picture up to the escape
codes that go to the terminal. Peers that are installed are measured in the same way; install
textual-plot, textual-plotext and uniplot into an environment of their own to have them beside ours.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from textual.app import App
from textual.geometry import Region
from textual.widget import Widget

from traindeck.tui.plot.cell import Cell
from traindeck.tui.plot.chart import Chart
from traindeck.tui.plot.store import DTYPE, SeriesStore
from traindeck.tui.plot.view import Line, Plot, View

WIDTH, HEIGHT, SERIES, POINTS = 120, 30, 4, 10_000
NAMES = [f"series {number}" for number in range(SERIES)]
STEPS = np.arange(POINTS, dtype=np.float64)
NOISE = np.random.default_rng(0).normal(size=(SERIES, POINTS))
VALUES = np.array([np.exp(-STEPS / 3000) * (1 + n) for n in range(SERIES)]) + 0.05 * NOISE


def batch(first: int, count: int) -> bytes:
    """`count` points of each series from step `first` on."""
    records = np.zeros(count * SERIES, DTYPE)
    step = np.repeat(np.arange(first, first + count), SERIES)
    records["time"] = 1.7e9 + step * 0.1
    records["step"] = step
    records["series"] = np.tile(np.arange(SERIES), count)
    records["value"] = VALUES[records["series"], step % POINTS]
    return records.tobytes()


def our_plot() -> tuple[SeriesStore, Plot]:
    store = SeriesStore()
    store.ingest(batch(0, POINTS), NAMES)
    return store, Plot("loss", [Line(store, name, name, n) for n, name in enumerate(NAMES)])


def cpu(frame: Callable[[int], object], frames: int) -> float:
    """CPU milliseconds of a frame: the lowest tenth, to which other work adds least."""
    frame(0)
    times = []
    for number in range(1, frames + 1):
        began = time.process_time()
        frame(number)
        times.append(time.process_time() - began)
    return statistics.quantiles(times, n=10)[0] * 1e3


async def in_app(
    widget: Widget, change: Callable[[int], object], frames: int
) -> tuple[float, float]:
    """Milliseconds to change the data and paint the widget, and to paint it unchanged."""
    app: App[None] = App()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        await app.mount(widget)
        widget.styles.height = HEIGHT
        await pilot.pause()
        compositor = app.screen._compositor

        def again(_: int) -> None:
            compositor.render_update(full=True).render_segments(app.console)

        def paint(number: int) -> None:
            change(number)
            again(number)

        return cpu(paint, frames), cpu(again, frames)


def ours(frames: int) -> tuple[float, float]:
    store, plot = our_plot()
    chart = Chart(plot)

    def change(number: int) -> None:
        store.ingest(batch(POINTS + number, 1), NAMES)
        chart.refresh_data()

    return asyncio.run(in_app(chart, change, frames))


def our_pictures(frames: int) -> dict[str, float]:
    """Without Textual: from a new point to strips of styled text."""
    from rich.style import Style
    from textual.color import Color

    from traindeck.tui.plot.palette import Palette

    store, plot = our_plot()
    accents = {"error": Color.parse("red"), "primary": Color.parse("blue")}
    palette = Palette(Style(), Color.parse("#121212"), Color.parse("#e0e0e0"), accents)
    cell = Cell(0, plot, Region(0, 0, WIDTH, HEIGHT), "loss")
    spent = {}
    views = {"plain": View(), "log": View(log=True), "smoothed": View(weight=0.9)}
    at = POINTS
    for name, view in views.items():

        def frame(_: int, view: View = view) -> None:
            nonlocal at
            at += 1
            store.ingest(batch(at, 1), NAMES)
            cell.draw(view, palette)

        spent[name] = cpu(frame, frames)
    return spent


def textual_plot(frames: int) -> tuple[float, float]:
    from textual_plot import PlotWidget

    widget = PlotWidget()

    def change(number: int) -> None:
        widget.clear()
        for y in VALUES:
            widget.plot(STEPS + number, y)
        widget._rerender()

    return asyncio.run(in_app(widget, change, frames))


def textual_plotext(frames: int) -> tuple[float, float]:
    from textual_plotext import PlotextPlot

    widget: Any = PlotextPlot()

    def change(number: int) -> None:
        widget.plt.clear_data()
        for y in VALUES:
            widget.plt.plot((STEPS + number).tolist(), y.tolist())
        widget.refresh()

    return asyncio.run(in_app(widget, change, frames))


def uniplot(frames: int) -> tuple[float, float]:
    import uniplot

    def frame(number: int) -> None:
        uniplot.plot_to_string(
            xs=[STEPS + number] * SERIES, ys=list(VALUES), lines=True, color=True,
            width=WIDTH - 10, height=HEIGHT - 3,
        )  # fmt: skip

    return cpu(frame, frames), float("nan")


PEERS = {"textual_plot": textual_plot, "uniplot": uniplot, "textual_plotext": textual_plotext}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    frames = parser.parse_args().frames
    print(f"CPU ms a frame, {WIDTH} x {HEIGHT} cells, {SERIES} series of {POINTS:,} points")
    changed, unchanged = ours(frames)
    print(f"traindeck        {changed:6.1f}   unchanged {unchanged:.2f}   (reach 4.5)")
    for name, each in our_pictures(frames).items():
        print(f"  {name:14} {each:6.1f}   to strips, without painting")
    for module, measure in PEERS.items():
        name = module.replace("_", "-")
        if importlib.util.find_spec(module) is None:
            print(f"{name:16} not installed")
            continue
        try:
            changed, unchanged = measure(max(frames // 4, 5))
        except Exception as reason:  # a peer of another version
            print(f"{name:16} could not be measured: {reason!r}")
            continue
        print(f"{name:16} {changed:6.1f}   unchanged {unchanged:.2f}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
