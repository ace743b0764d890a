"""Pictures in terminals that have graphics: here a pty, whose other end answers as they do."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import COMMAND, PATIENCE
from tests.tui.run_screens import finished
from traindeck.core.base.home import Home
from traindeck.core.track import Run
from traindeck.tui.widgets.graphics import BLOCKS, Graphics

pytest.importorskip("textual_image")
Image = pytest.importorskip("PIL.Image")

ROWS, COLUMNS, CELL = 30, 100, (9, 18)
SIXELS = b"\x1b[?62;4;22c"
NO_SIXELS = b"\x1b[?62;22c"
PICTURE = np.arange(12 * 8 * 3, dtype=np.uint8).reshape(12, 8, 3) / 255.0


class FakeTerminal:
    """A terminal that is none: it says what it has, and keeps what it is told to draw."""

    def __init__(self, which: bytes, *, kitty: bool = False, late: float = 0.0) -> None:
        self.written = b""
        self._which, self._kitty, self._late = which, kitty, late
        self._answered = 0
        self._end, app_end = pty.openpty()
        size = struct.pack("HHHH", ROWS, COLUMNS, COLUMNS * CELL[0], ROWS * CELL[1])
        fcntl.ioctl(app_end, termios.TIOCSWINSZ, size)
        env = dict(os.environ, TERM="xterm-kitty" if kitty else "xterm-256color")
        self._app = subprocess.Popen(
            [COMMAND],
            stdin=app_end,
            stdout=app_end,
            stderr=app_end,
            env=env,
            start_new_session=True,
        )
        os.close(app_end)

    def until(self, seen: Callable[[bytes], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not seen(self.written):
            assert time.monotonic() < end, self.written[-2000:]
            if select.select([self._end], [], [], 0.1)[0]:
                self.written += os.read(self._end, 1 << 16)
                self._answer()

    def until_shown(self, words: str) -> None:
        colors = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
        self.until(lambda written: words in colors.sub("", written.decode(errors="replace")))

    def _answer(self) -> None:
        asked = re.compile(rb"\x1b\[c|\x1b_Gi=(\d+),[^;]*a=q[^;]*;AAAA\x1b\\")
        for question in asked.finditer(self.written, self._answered):
            self._answered = question.end()
            if question[1] is None:
                time.sleep(self._late)
                self.press(self._which)
            elif self._kitty:
                self.press(b"\x1b_Gi=" + question[1] + b";OK\x1b\\")

    def press(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def close(self) -> None:
        self._app.terminate()
        with contextlib.suppress(OSError):
            while os.read(self._end, 1 << 16):
                pass
        self._app.wait(PATIENCE)
        os.close(self._end)


@pytest.fixture
def media(home: Home) -> Iterator[Callable[..., FakeTerminal]]:
    """A terminal in which the app shows a run's first picture."""
    folder: Path = home.runs / finished(home)
    run = Run(folder=folder, managed=True)
    run.image(0, "stripes", PICTURE)
    run.text(0, "words", "no picture at all")
    run.close()
    opened: list[FakeTerminal] = []

    def show(which: bytes, **how: object) -> FakeTerminal:
        terminal = FakeTerminal(which, **how)  # type: ignore[arg-type]
        opened.append(terminal)
        terminal.until_shown("mnist small")
        terminal.press(b"\r")
        terminal.until_shown("Media")
        terminal.press(b"M")
        terminal.until_shown("8 x 12 pixels")
        return terminal

    yield show
    for terminal in opened:
        terminal.close()


def test_sixels_where_the_terminal_has_them(media: Callable[..., FakeTerminal]) -> None:
    terminal = media(SIXELS)
    terminal.until(lambda written: re.search(rb"\x1bP[0-9;]*q.*?\x1b\\", written, re.DOTALL))
    drawn = re.search(rb'\x1bP[0-9;]*q"1;1;(\d+);(\d+)', terminal.written)
    assert drawn is not None
    wide, high = int(drawn[1]), int(drawn[2])
    assert wide % CELL[0] == 0 and high % CELL[1] == 0
    assert high > 10 * CELL[1] and abs(wide / high - 8 / 12) < 0.05
    terminal.press(b"n")
    terminal.until_shown("no picture at all")
    before = len(terminal.written)
    terminal.press(b"4")
    terminal.until(lambda written: b"Enlarge" in written[before:])
    assert b"\x1bP" not in terminal.written[before:]


def test_kittys_graphics_get_the_very_pixels(media: Callable[..., FakeTerminal]) -> None:
    terminal = media(NO_SIXELS, kitty=True)
    sent = re.compile(rb"\x1b_Gi=(\d+),m=([01]),f=100,q=2;([^\x1b]*)\x1b\\")
    terminal.until(lambda written: any(one[2] == b"0" for one in sent.finditer(written)))
    [first, *_] = sent.finditer(terminal.written)
    parts = [one[3] for one in sent.finditer(terminal.written) if one[1] == first[1]]
    image = Image.open(io.BytesIO(base64.b64decode(b"".join(parts)))).convert("RGB")
    back = np.asarray(image.resize((8, 12), Image.Resampling.BOX))
    assert np.abs(back.astype(int) - np.round(PICTURE * 255).astype(int)).max() <= 12
    terminal.press(b"n")
    terminal.until(lambda written: b"\x1b_Ga=d,I=" + first[1] in written)  # and it is forgotten


@pytest.mark.parametrize(
    ("which", "late"), [(NO_SIXELS, 0.0), (SIXELS, 0.2)], ids=["has none", "is far away"]
)
def test_half_blocks_elsewhere(
    media: Callable[..., FakeTerminal], which: bytes, late: float
) -> None:
    terminal = media(which, late=late)
    terminal.until_shown("▀")
    assert b"\x1bP" not in terminal.written and b"\x1b_G" not in terminal.written


def test_sizes_keep_proportions_and_whole_pixels() -> None:
    ten = Graphics(10, 20)
    assert ten.fit(28, 28, 80, 20) == (392, 392)  # 14 times
    assert ten.cells(392, 392) == (40, 20)
    assert ten.fit(1024, 512, 80, 20) == (800, 400)
    assert BLOCKS.fit(28, 28, 80, 20) == (28, 28)
    assert BLOCKS.fit(100, 1, 10, 10) == (10, 1)
