"""The plots of several runs' series: which lines lie in one, what they are called, their colors."""

from __future__ import annotations

from collections.abc import Iterable

from traindeck.tui.panels.curves_words import series_title
from traindeck.tui.plot.palette import COLORS
from traindeck.tui.plot.store import SeriesStore
from traindeck.tui.plot.view import Line, Plot


class Plots:
    """Those of the runs added to it. A plot stays the same object, for it holds a cache."""

    def __init__(self) -> None:
        self.stores: list[SeriesStore] = []
        self._runs: list[str] = []
        self._colors: dict[str, int] = {}
        self._plots: dict[tuple[str, ...], Plot] = {}

    def add(self, run: str, store: SeriesStore) -> None:
        self._runs.append(run)
        self.stores.append(store)
        self._plots.clear()

    def color(self, names: Iterable[str]) -> None:
        """Give each of these series a color of its own, which it keeps."""
        for name in names:
            self._colors.setdefault(name, len(self._colors))

    def of(self, *names: str) -> Plot:
        """The plot of some series of all runs."""
        plot = self._plots.get(names)
        if plot is None:
            plot = self._plots[names] = Plot(
                " + ".join(map(series_title, names)), self._lines(names)
            )
        return plot

    def _lines(self, names: tuple[str, ...]) -> list[Line]:
        lines = [
            Line(store, name, self._label(name, run, len(names)), color)
            for name in names
            for color, (run, store) in enumerate(zip(self._runs, self.stores, strict=True))
        ]
        own = [self._colors[line.series] for line in lines]
        if len(self._runs) == 1 and len({color % COLORS for color in own}) == len(own):
            # A series keeps the color that it has in the grid.
            for line, color in zip(lines, own, strict=True):
                line.color = color
        elif len(names) > 1:
            for color, line in enumerate(lines):
                line.color = color
        return lines

    def _label(self, name: str, run: str, series: int) -> str:
        if len(self._runs) == 1:
            return series_title(name)
        return run if series == 1 else f"{run} {series_title(name)}"
