"""Frames and words to Textual's strips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from traindeck.tui.plot import raster

Words = list[tuple[str, int]]  # text and its style number


@dataclass(slots=True)
class Painting:
    """A frame as strips, one a row. The next frame's rows that look the same are the same strips,
    which saves making them and, further on, sending them to the terminal."""

    frame: raster.Frame
    palette: Mapping[int, Style]
    strips: list[Strip]


def paint(
    frame: raster.Frame, palette: Mapping[int, Style], before: Painting | None = None
) -> Painting:
    """The frame's strips; `before` is what was painted last in its place."""
    if (
        before is None
        or before.palette is not palette
        or before.frame.cells.shape != frame.cells.shape
    ):
        return Painting(frame, palette, _strips(frame.cells, frame.styles, palette))
    same = (before.frame.cells == frame.cells) & (before.frame.styles == frame.styles)
    changed = (~same.all(axis=1)).nonzero()[0]
    strips = before.strips.copy()
    if len(changed):
        fresh = _strips(frame.cells[changed], frame.styles[changed], palette)
        for row, strip in zip(changed.tolist(), fresh, strict=True):
            strips[row] = strip
    return Painting(frame, palette, strips)


def _strips(
    cells: NDArray[np.uint32], styles: NDArray[np.int16], palette: Mapping[int, Style]
) -> list[Strip]:
    height, width = cells.shape
    # A blank cell shows no color: let it continue its neighbor's style, for fewer segments.
    vacant = (cells == ord(" ")) & (styles == raster.PLAIN)
    source = np.maximum.accumulate(np.where(vacant, 0, np.arange(width)), axis=1)
    filled = np.take_along_axis(styles, source, axis=1)
    styles = np.where(filled >= raster.HIGHLIGHT, styles, filled)
    begins = np.ones((height, width), np.bool_)
    np.not_equal(styles[:, 1:], styles[:, :-1], out=begins[:, 1:])
    starts = begins.ravel().nonzero()[0]
    numbers = styles.ravel()[starts].tolist()
    text = cells.astype("<u4").tobytes().decode("utf-32-le")
    places = starts.tolist()
    segments = [
        Segment(text[start:stop], palette[number])
        for start, stop, number in zip(places, [*places[1:], height * width], numbers, strict=True)
    ]
    ends = begins.sum(axis=1).cumsum().tolist()
    return [
        Strip(segments[start:stop], width) for start, stop in zip([0, *ends], ends, strict=False)
    ]


def words_strip(
    left: Words, right: Words, width: int, palette: Mapping[int, Style], fill: str = " "
) -> Strip:
    """One row: `left`, then `right` at the other end; what does not fit of `left` is cut.

    `fill` is drawn between the two as a rule in the axis' style.
    """
    if words_width(right) > width // 2:
        right = cut_words(right, width // 2)
    right_width = words_width(right)
    left = cut_words(left, width - right_width - bool(right_width))
    gap = width - right_width - words_width(left)
    middle = [(fill * gap, raster.AXIS)] if gap else []
    segments = [Segment(text, palette[style]) for text, style in [*left, *middle, *right] if text]
    return Strip(segments, width)


def words_width(words: Words) -> int:
    """Cells that the words take."""
    return sum(cell_len(text) for text, _ in words)


def cut_words(words: Words, width: int) -> Words:
    """The words in at most `width` cells, ended by an ellipsis if something had to go."""
    if words_width(words) <= width:
        return words
    out: Words = []
    room = max(width - 1, 0)
    for text, style in words:
        fitting = cell_cut(text, room)
        out.append((fitting, style))
        room -= cell_len(fitting)
        if fitting != text:
            break
    if width > 0:
        text, style = out[-1]
        out[-1] = (text + "…", style)
    return out


def cell_cut(text: str, width: int) -> str:
    """The start of `text` that takes at most `width` cells (some characters take two)."""
    while cell_len(text) > width:
        text = text[: max(min(len(text) - 1, width), 0)]
    return text
