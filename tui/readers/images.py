"""Pictures as pixels: PNG by ourselves, what else there is by Pillow where that is installed."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traindeck.core.base.files import read_bounded
from traindeck.core.run.media import MOST_IMAGE_BYTES

MOST_PIXELS = 1 << 25
MOST_SIDE = 512  # of what is handed over: no terminal shows more
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A picture: red, green and blue as bytes (height, width, 3), and how large it is itself."""

    rgb: NDArray[np.uint8]
    width: int
    height: int


def read_image(path: Path) -> Pixels:
    """A picture from its file. Raises ValueError, saying why it cannot be shown; OSError."""
    data = read_bounded(path, MOST_IMAGE_BYTES)
    if data.startswith(_SIGNATURE):
        try:
            rgb = _png(data)
        except (struct.error, zlib.error, IndexError, KeyError) as error:
            raise ValueError(f"a damaged PNG: {error}") from None
    else:
        rgb = _by_pillow(data)
    height, width = rgb.shape[:2]
    return Pixels(smaller(rgb, MOST_SIDE, MOST_SIDE), width, height)


def smaller(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture at no more than this size, in its proportions: means of the pixels it had."""
    high, wide = rgb.shape[:2]
    share = min(1.0, width / wide, height / high)
    if share == 1.0:
        return rgb
    return resized(rgb, max(1, round(wide * share)), max(1, round(high * share)))


def resized(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture at this size: means where it shrinks, the same pixels again where it grows."""
    high, wide = rgb.shape[:2]
    rows, columns = np.arange(height) * high // height, np.arange(width) * wide // width
    if height >= high or width >= wide:
        chosen: NDArray[np.uint8] = rgb[rows][:, columns]
        return chosen
    sums = np.add.reduceat(np.add.reduceat(rgb.astype(np.float64), rows, 0), columns, 1)
    counts = np.diff([*rows, high])[:, None] * np.diff([*columns, wide])[None, :]
    means: NDArray[np.uint8] = (sums / counts[:, :, None]).astype(np.uint8)
    return means


def _png(data: bytes) -> NDArray[np.uint8]:
    """Decodes PNG of 8 bits, or of palettes, not interlaced (https://www.w3.org/TR/png-3/)."""
    at, packed, palette = len(_SIGNATURE), bytearray(), b""
    width = height = depth = kind = 0
    while at < len(data):
        length, tag = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        at += 12 + length
        if tag == b"IHDR":
            width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            if not 0 < width * height <= MOST_PIXELS:
                raise ValueError(f"a PNG of {width} x {height} pixels")
            if interlaced or (depth != 8 and not (kind == 3 and depth in (1, 2, 4))):
                return _by_pillow(data)
        elif tag == b"PLTE":
            palette = body
        elif tag == b"IDAT":
            packed += body
        elif tag == b"IEND":
            break
    channels = _CHANNELS[kind]
    line = (width * channels * depth + 7) // 8
    inflate = zlib.decompressobj()
    raw = inflate.decompress(bytes(packed), height * (line + 1))
    if len(raw) < height * (line + 1):
        raise ValueError("a damaged PNG: it is cut off")
    rows = np.frombuffer(raw, np.uint8, height * (line + 1)).reshape(height, line + 1)
    plain = _unfiltered(rows, channels)
    if depth < 8:
        plain = np.unpackbits(plain, axis=1).reshape(height, -1, depth)
        plain = plain @ (1 << np.arange(depth)[::-1])
        plain = plain[:, :width].astype(np.uint8)
    if kind == 3:
        colors = np.zeros((256, 3), np.uint8)
        table = np.frombuffer(palette, np.uint8)[: 256 * 3].reshape(-1, 3)
        colors[: len(table)] = table
        return colors[plain.reshape(height, width)]
    return _opaque(plain.reshape(height, width, channels))


def _unfiltered(rows: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Undoes each row's filter; `step` is the bytes of a pixel."""
    out = rows[:, 1:].copy()
    above = np.zeros(out.shape[1], np.uint8)
    for number, kind in enumerate(rows[:, 0].tolist()):
        line = out[number]
        if kind == 1:
            by_channel = line.reshape(-1, step)
            np.cumsum(by_channel, axis=0, dtype=np.uint8, out=by_channel)
        elif kind == 2:
            line += above
        elif kind in (3, 4):
            _predicted(line, above, step, kind)
        elif kind:
            raise ValueError(f"a damaged PNG: filter {kind}")
        above = line
    return out


def _predicted(line: NDArray[np.uint8], above: NDArray[np.uint8], step: int, kind: int) -> None:
    """Undoes the filters whose prediction needs the byte before: average (3) and Paeth (4)."""
    now, up = line.tolist(), above.tolist()
    for at, byte in enumerate(now):
        left = now[at - step] if at >= step else 0
        if kind == 3:
            now[at] = (byte + (left + up[at]) // 2) & 255
            continue
        corner = up[at - step] if at >= step else 0
        guess = left + up[at] - corner
        best = min((left, up[at], corner), key=lambda value: abs(guess - value))
        now[at] = (byte + best) & 255
    line[:] = now


def _opaque(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray or colored, on black where it is see-through."""
    channels = pixels.shape[2]
    if channels in (2, 4):
        alpha = pixels[:, :, -1:].astype(np.uint16)
        pixels = (pixels[:, :, :-1] * alpha // 255).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _by_pillow(data: bytes) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError:
        raise ValueError("to see it here, `pip install pillow`") from None
    import io

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"a picture of {image.width} x {image.height} pixels")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"no picture that can be read: {error}") from None
