"""TensorBoard's event files, written without TensorBoard: scalars, and parameters as hparams.

Values are `simple_value`, as torch's SummaryWriter writes them: every reader knows these, and they
are floats of 32 bits. For the frames see `records`, for the messages `scalars` and `hparams`.
"""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from traindeck.core.exchange.protobuf import encoded
from traindeck.core.exchange.runs import OutsideRun, bounds
from traindeck.core.exchange.tensorboard.crc32c import crc32c, masked, masked_crcs

_AT_ONCE = 8192
_ALIKE = 16  # so many events of one length are checked together
_LARGEST = 3.4028234663852886e38  # that 32 bits hold
_DOUBLE, _FLOAT, _LENGTH = struct.Struct("<d"), struct.Struct("<f"), struct.Struct("<Q")
_CRC = struct.Struct("<I")
_NO_TENSOR = encoded(1, 1) + encoded(2, b"")
_STATUS = {"finished": 1, "running": 3}


def write(folder: Path, run: OutsideRun) -> None:
    """Write a run's events into one file of a folder. Raises OSError."""
    first, _ = bounds(run.points)
    began = run.started or first or 0.0
    path = folder / f"events.out.tfevents.{int(began)}.traindeck.{run.part}"
    with path.open("wb") as file:
        for block in _framed(_events(run, began)):
            file.write(block)


def _events(run: OutsideRun, began: float) -> Iterator[bytes]:
    yield b"\x09" + _DOUBLE.pack(began) + encoded(3, b"brain.Event:2")
    if run.params:
        yield _hparams(began, b"start", encoded(3, _start(run.params, run.name, began)))
    points = [
        (when, step, tag, value)
        for name, series in run.points.series.items()
        for tag in [encoded(1, name.encode("utf-8", "replace"))]
        for when, step, value in series
    ]
    points.sort(key=lambda point: point[:2])
    for when, step, tag, value in points:
        summary = encoded(1, tag + b"\x15" + _FLOAT.pack(_narrow(value)))
        yield b"\x09" + _DOUBLE.pack(when) + encoded(2, step) + encoded(5, summary)
    if run.params:
        ended = run.ended or began
        status = encoded(1, _STATUS.get(run.state, 2)) + b"\x11" + _DOUBLE.pack(ended)
        yield _hparams(ended, b"end", encoded(4, status))


def _narrow(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) > _LARGEST else value


def _hparams(when: float, which: bytes, content: bytes) -> bytes:
    plugin = encoded(1, b"hparams") + encoded(2, content)
    value = encoded(1, b"_hparams_/session_" + which + b"_info") + encoded(8, _NO_TENSOR)
    summary = encoded(1, value + encoded(9, encoded(1, plugin)))
    return b"\x09" + _DOUBLE.pack(when) + encoded(5, summary)


def _start(params: Mapping[str, Any], name: str, began: float) -> bytes:
    said = b"".join(
        encoded(1, encoded(1, key.encode("utf-8", "replace")) + encoded(2, _value(value)))
        for key, value in params.items()
    )
    return said + encoded(4, name.encode("utf-8", "replace")) + b"\x29" + _DOUBLE.pack(began)


def _value(value: Any) -> bytes:
    """A google.protobuf.Value."""
    if isinstance(value, bool):
        return encoded(4, int(value))
    if isinstance(value, int | float):
        return b"\x11" + _DOUBLE.pack(value)
    return encoded(3, str(value).encode("utf-8", "replace"))


def _framed(events: Iterable[bytes]) -> Iterator[bytes]:
    """The events as records, many at once."""
    events = iter(events)
    heads: dict[int, bytes] = {}
    while block := list(islice(events, _AT_ONCE)):
        checks = _checks(block)
        out = bytearray()
        for event, check in zip(block, checks, strict=True):
            size = len(event)
            if size not in heads:
                length = _LENGTH.pack(size)
                heads[size] = length + _CRC.pack(masked(crc32c(length)))
            out += heads[size] + event + _CRC.pack(check)
        yield bytes(out)


def _checks(block: list[bytes]) -> list[int]:
    """The checksum of each event."""
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, event in enumerate(block):
        alike[len(event)].append(place)
    checks = [0] * len(block)
    for size, places in alike.items():
        if len(places) >= _ALIKE and size <= 512:
            found = masked_crcs(b"".join([block[place] for place in places]), size, size)
        else:
            found = [masked(crc32c(block[place])) for place in places]
        for place, check in zip(places, found, strict=True):
            checks[place] = check
    return checks
