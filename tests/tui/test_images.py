"""Pictures are read as what they are, whoever wrote them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from traindeck.core.run.showing import png
from traindeck.tui.plot.heatmap import heat
from traindeck.tui.readers.images import MOST_SIDE, read_image, resized
from traindeck.tui.widgets.half_blocks import strips

Image = pytest.importorskip("PIL.Image")

SMOOTH = np.add.outer(np.arange(40) * 3, np.arange(50) * 2).astype(np.uint8)
COLORS = np.dstack([SMOOTH, SMOOTH[::-1], SMOOTH[:, ::-1]])


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("optimize", [False, True])
def test_png_of_others(tmp_path: Path, mode: str, optimize: bool) -> None:
    image = Image.fromarray(COLORS)
    if mode == "I;16":
        image = Image.fromarray(SMOOTH.astype(np.uint16) * 256)
    elif mode == "P":
        image = image.quantize(13)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.png", optimize=optimize)
    read = read_image(tmp_path / "a.png")
    assert (read.width, read.height) == (50, 40)
    if mode != "I;16":
        assert np.array_equal(read.rgb, np.asarray(image.convert("RGB")))


def test_what_is_written_here_others_read() -> None:
    for given in (COLORS, SMOOTH[:, :, None], np.dstack([COLORS, SMOOTH])):
        with Image.open(io.BytesIO(png(given))) as image:
            assert np.array_equal(np.asarray(image), given.squeeze())


@pytest.mark.parametrize("cut", [9, 20, 40, 60])
def test_damage_is_a_sentence(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.png").write_bytes(png(COLORS)[:cut])
    with pytest.raises(ValueError, match="PNG"):
        read_image(tmp_path / "a.png")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    data = bytearray(png(SMOOTH[:, :, None]))
    data[16:24] = (1 << 20).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match="1048576 x 1048576"):
        read_image(tmp_path / "a.png")


def test_a_large_picture_is_handed_over_small(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.full((2000, 1000, 3), 77, np.uint8)))
    read = read_image(tmp_path / "a.png")
    assert (read.width, read.height, read.rgb.shape) == (1000, 2000, (MOST_SIDE, MOST_SIDE // 2, 3))
    assert (read.rgb == 77).all()


def test_sizes_are_as_asked() -> None:
    for size in [(1, 1), (7, 3), (50, 40), (99, 120), (200, 10)]:
        assert resized(COLORS, *size).shape == (size[1], size[0], 3)


def test_a_heat_map_is_bright_where_many_are() -> None:
    low = ([0.0, 1.0, 2.0], [10, 0])
    high = ([0.0, 1.0, 2.0], [0, 10])
    for count, width in ((2, 10), (200, 10)):
        picture = heat([low] * (count // 2) + [high] * (count // 2), width, 8)
        bright: Any = picture.sum(axis=2) > 100
        assert picture.shape == (8, width, 3)
        assert bright[4:, : width // 2].all() and not bright[:4, : width // 2].any()
        assert bright[:4, width // 2 :].all() and not bright[4:, width // 2 :].any()


def test_two_pixels_a_cell() -> None:
    lines = strips(np.zeros((5, 8, 3), np.uint8))
    assert [line.text for line in lines] == ["▀" * 8] * 3
