"""Pictures, histograms and texts in TensorBoard's events, which `scalars` passes over.

They come in two ways: as TensorFlow 1, torch's and tensorboardX's `SummaryWriter` write them
(`Summary.Image`, `HistogramProto`), or as tensors of the plugins `images`, `histograms` and `text`
(`tf.summary`, Keras, JAX; texts by all). Formats: tensorflow/core/framework/summary.proto,
tensor.proto, and tensorboard/plugins/*/summary.py. Standard library only.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.protobuf import BYTES, FIXED64, VARINT, Truncated, fields, varint
from traindeck.core.exchange.tensorboard.scalars import plugin_name

MOST_BINS = 512
MOST_TEXT = 64 << 10
MOST_NAME = 200
MOST_IMAGES = 16  # of one event
MOST_TAGS = 5000
_DT_FLOAT, _DT_DOUBLE, _DT_STRING = 1, 2, 7


class Histogram(NamedTuple):
    """`counts` of values between each two `edges`, which rise."""

    edges: list[float]
    counts: list[float]


class Summaries:
    """Reads what is no scalar in the values of one file."""

    def __init__(self) -> None:
        self._plugins: dict[bytes, bytes] = {}  # a writer may name it with a tag's first value only

    def read(self, value: bytes) -> Iterator[tuple[str, bytes | Histogram | str]]:
        """Names and what is shown by one Summary.Value: a picture's file, a histogram or a text.

        Nothing where it is something else, or not whole.
        """
        try:
            yield from self._read(value)
        except (Truncated, struct.error):
            return

    def _read(self, value: bytes) -> Iterator[tuple[str, bytes | Histogram | str]]:
        tag = plugin = b""
        parts: dict[int, bytes] = {}
        for number, kind, at, stop in fields(value, 0, len(value)):
            if kind != BYTES:
                continue
            if number == 1:
                tag = value[at:stop]
            elif number == 9:
                plugin = plugin_name(value, at, stop)
            else:
                parts[number] = value[at:stop]
        if plugin and len(self._plugins) < MOST_TAGS:
            self._plugins[tag] = plugin
        plugin = plugin or self._plugins.get(tag, b"")
        name = printable(tag[: 4 * MOST_NAME].decode("utf-8", "replace"))[:MOST_NAME] or "untagged"
        if 4 in parts:
            if image := b"".join(_all(parts[4], 4)[:1]):
                yield name, image
        elif 5 in parts:
            if histogram := _histogram(parts[5]):
                yield name, histogram
        elif 8 in parts and plugin == b"images":
            for number, image in enumerate(_all(parts[8], 8)[2 : 2 + MOST_IMAGES]):
                yield (f"{name}/{number}" if number else name), image
        elif 8 in parts and plugin == b"histograms":
            numbers = _numbers(parts[8])
            triples = list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=False))
            if histogram := _joined(triples):
                yield name, histogram
        elif 8 in parts and plugin == b"text":
            texts = [text.decode("utf-8", "replace") for text in _all(parts[8], 8)]
            if texts:
                yield name, "\n".join(texts)[:MOST_TEXT]


def _all(message: bytes, wanted: int) -> list[bytes]:
    """Every field of this number that holds bytes."""
    found = fields(message, 0, len(message))
    return [
        message[at:stop] for number, kind, at, stop in found if (number, kind) == (wanted, BYTES)
    ]


def _histogram(message: bytes) -> Histogram | None:
    """A HistogramProto: right edges and counts; the least and the greatest value end it."""
    ends: dict[int, float] = {}
    lists: dict[int, list[float]] = {6: [], 7: []}
    for number, kind, at, stop in fields(message, 0, len(message)):
        if number in (1, 2) and kind == FIXED64:
            ends[number] = struct.unpack_from("<d", message, at)[0]
        elif number in lists and kind in (BYTES, FIXED64):
            lists[number] += struct.unpack(f"<{(stop - at) // 8}d", message[at:stop])
    low, high = ends.get(1, 0.0), ends.get(2, 0.0)
    rights, counts = lists[6], lists[7]
    lefts = [-math.inf, *rights[:-1]]
    triples = zip(lefts, rights, counts, strict=False)
    return _joined(
        [(max(left, low), min(right, high), count) for left, right, count in triples if count]
    )


def _joined(triples: Sequence[tuple[float, float, float]]) -> Histogram | None:
    """One histogram of (left, right, count), in their order; None where nothing was counted.

    Between two of them that do not meet, nothing was counted. A width of 0 is that of one value.
    """
    sound = [each for each in triples if all(map(math.isfinite, each)) and each[2] > 0]
    if not sound:
        return None
    span = max(right for _, right, _ in sound) - min(left for left, _, _ in sound)
    width = span / MOST_BINS or max(abs(sound[0][0]), 1.0) / 2
    edges: list[float] = []
    counts: list[float] = []
    for left, right, count in sound:
        if not left < right:
            left, right = left - width / 2, left + width / 2
        if not edges:
            edges.append(left)
        elif left > edges[-1]:
            edges.append(left)
            counts.append(0.0)
        if right > edges[-1]:
            edges.append(right)
            counts.append(count)
        elif counts:
            counts[-1] += count
    while len(counts) > MOST_BINS:
        if len(counts) % 2:
            edges.append(edges[-1] + (edges[-1] - edges[-2]))
            counts.append(0.0)
        edges, counts = edges[::2], [sum(two) for two in pairwise(counts)][::2]
    return Histogram(edges, counts) if counts else None


def _numbers(tensor: bytes) -> list[float]:
    """The numbers of a TensorProto of floats or doubles, as they are packed."""
    dtype, content = 0, b""
    lists: dict[int, bytes] = {}
    for number, kind, at, stop in fields(tensor, 0, len(tensor)):
        if (number, kind) == (1, VARINT):
            dtype = varint(tensor, at, stop)[0]
        elif (number, kind) == (4, BYTES):
            content = tensor[at:stop]
        elif number in (5, 6):
            lists[number] = lists.get(number, b"") + tensor[at:stop]
    form, size, place = ("d", 8, 6) if dtype == _DT_DOUBLE else ("f", 4, 5)
    if dtype not in (_DT_FLOAT, _DT_DOUBLE):
        return []
    packed = content or lists.get(place, b"")
    return list(
        struct.unpack(f"<{len(packed) // size}{form}", packed[: len(packed) // size * size])
    )
