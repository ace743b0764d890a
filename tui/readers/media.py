"""What a run shows besides numbers, read as it grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.run import media
from traindeck.core.run.follow import LineTail
from traindeck.core.run.media import Shown

if TYPE_CHECKING:
    from traindeck.tui.readers.images import Pixels

READ_BYTES = 1 << 20
MOST_SERIES = 500
MOST_KEPT = 500  # of a series; beyond that every other of the older half goes


@dataclass(frozen=True, slots=True)
class Series:
    """All that was shown under one name, by step."""

    kind: str
    name: str
    shown: tuple[Shown, ...] = ()

    @property
    def private(self) -> bool:
        return bool(self.shown) and self.shown[0].private


@dataclass(frozen=True, slots=True)
class MediaState:
    """Everything that was shown, by kind and name, and the one picture that was asked for.

    asked    the path of that picture, as its line has it
    problem  why it cannot be shown
    """

    series: tuple[Series, ...] = ()
    asked: str = ""
    pixels: Pixels | None = None
    problem: str = ""


@dataclass(slots=True)
class MediaLook:
    """Follows media.jsonl of a run's folder."""

    folder: Path
    wanted: str = ""
    state: MediaState = field(default_factory=MediaState)
    _series: dict[tuple[str, str], list[Shown]] = field(default_factory=dict)
    _tail: LineTail | None = None

    def read(self) -> tuple[bool, bool]:
        """Read a slice: (is there something new, is more waiting)."""
        if self._tail is None:
            self._tail = LineTail(self.folder / media.LOG)
        lines = self._tail.read(READ_BYTES)
        for line in lines:
            if shown := media.parse(line):
                self._take(shown)
        if lines:
            order = sorted(self._series, key=lambda key: (media.KINDS.index(key[0]), key[1]))
            series = tuple(Series(*key, tuple(self._series[key])) for key in order)
            state = self.state
            self.state = MediaState(series, state.asked, state.pixels, state.problem)
        return self._look() or bool(lines), bool(lines)

    def _take(self, shown: Shown) -> None:
        key = shown.kind, shown.name
        if key not in self._series and len(self._series) >= MOST_SERIES:
            return
        kept = self._series.setdefault(key, [])
        while kept and kept[-1].step >= shown.step:  # a resumed run: it replaces what lay beyond
            kept.pop()
        kept.append(shown)
        if len(kept) > MOST_KEPT:
            half = len(kept) // 2
            kept[:half] = kept[:half:2]

    def _look(self) -> bool:
        """Read the picture that is asked for, once."""
        wanted = self.wanted
        if wanted == self.state.asked:
            return False
        pixels, problem = None, ""
        if wanted:
            from traindeck.tui.readers.images import read_image

            try:
                pixels = read_image(self.folder / wanted)
            except (ValueError, OSError) as error:
                strerror = getattr(error, "strerror", None)
                problem = strerror or str(error)
        self.state = MediaState(self.state.series, wanted, pixels, problem)
        return True
