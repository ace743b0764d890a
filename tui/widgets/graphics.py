"""Pictures by the terminal's own graphics, sixels or kitty's, where it says that it has them."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OF_KITTY = ("xterm-kitty", "xterm-ghostty")
"""Terminals of kitty's graphics with placeholders, by TERM; of the others none draws them well."""
SIXEL = b"4"  # in the answer to "which are you?" (VT510's DA1, and xterm's ctlseqs)
PATIENCE_SECONDS = 0.5
NEAR_SECONDS = 0.05
"""A terminal that answers later is far away: half blocks are fewer bytes, and textual-image waits
0.1 s for an answer; what comes later would be taken for keys."""


@dataclass(frozen=True)
class Graphics:
    """How pictures are drawn: the pixels of a cell, and textual-image's widget if it draws them."""

    cell_width: int
    cell_height: int
    widget: Any = None

    def fit(self, wide: int, high: int, width: int, height: int) -> tuple[int, int]:
        """A picture's size for so many cells, in its proportions; its pixels grow to whole ones."""
        share = min(width * self.cell_width / wide, height * self.cell_height / high)
        if share > 1:
            share = int(share)
        return max(1, round(wide * share)), max(1, round(high * share))

    def cells(self, wide: int, high: int) -> tuple[int, int]:
        """The cells that so many pixels take."""
        return -(-wide // self.cell_width), -(-high // self.cell_height)

    @staticmethod
    def picture(rgb: NDArray[np.uint8]) -> Any:
        """What the widget takes as its `image`: of colors (height, width, 3)."""
        from PIL import Image

        return Image.fromarray(rgb)


BLOCKS = Graphics(1, 2)


def of_terminal() -> Graphics | None:
    """What this terminal has; to be asked before the app takes the keyboard, as it waits."""
    if find_spec("textual_image") is None or not _has_graphics():
        return None
    from textual_image import renderable
    from textual_image._terminal import get_cell_size
    from textual_image.widget import Image

    if renderable.Image not in (renderable.SixelImage, renderable.TGPImage):
        return None
    cell = get_cell_size()
    return Graphics(cell.width, cell.height, Image)


def _has_graphics() -> bool:
    stdin, stdout = sys.__stdin__, sys.__stdout__
    if stdin is None or stdout is None or not (stdin.isatty() and stdout.isatty()):
        return False
    keyboard = stdin.fileno()
    if _waits(keyboard, 0):
        return False  # keys that were pressed early are the app's
    begin = time.monotonic()
    answer = _asked(keyboard, stdout.fileno())
    if time.monotonic() - begin > NEAR_SECONDS:
        return False
    what = answer.removeprefix(b"\x1b[?").removesuffix(b"c").split(b";")
    return SIXEL in what or os.environ.get("TERM") in OF_KITTY


def _asked(keyboard: int, screen: int) -> bytes:
    """The terminal's answer to what it is; empty where none comes."""
    before = termios.tcgetattr(keyboard)
    answer, end = b"", time.monotonic() + PATIENCE_SECONDS
    try:
        tty.setcbreak(keyboard, termios.TCSANOW)
        os.write(screen, b"\x1b[c")
        while not answer.endswith(b"c") and _waits(keyboard, end - time.monotonic()):
            answer += os.read(keyboard, 1)
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
    return answer


def _waits(keyboard: int, seconds: float) -> bool:
    return bool(select.select([keyboard], [], [], max(0.0, seconds))[0])
