"""The scalars in serialized TensorBoard ``Event`` messages.

Reads as much of the protocol buffer wire format (protobuf.dev/programming-guides/encoding) and of
event.proto, summary.proto and tensor.proto (tensorflow/core) as that takes:

    Event          wall_time = 1 (double), step = 2 (int64), summary = 5
    Summary        value = 1, repeated
    Summary.Value  tag = 1, simple_value = 2 (float), tensor = 8, metadata = 9
    metadata       plugin_data = 1 { plugin_name = 1 }
    TensorProto    dtype = 1, tensor_shape = 2 { dim = 2 { size = 1 }, unknown_rank = 3 },
                   tensor_content = 4 or one of the typed lists

Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    SIGN,
    VARINT,
    Truncated,
    fields,
    signed,
    varint,
)

Point = tuple[float, int, str, float]
"""Wall time in unix seconds, step, series name, value."""

MAX_SERIES = 20_000  # in one file: tags made anew at each step would fill memory
MAX_NAME = 300  # characters
_MAX_LAYOUT = 512  # bytes of an event worth remembering
_MAX_LAYOUTS = 256

_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")
_HALF = struct.Struct("<e")
_BFLOAT16 = 14  # has no struct: it is the upper half of a float
# How one value of each DataType (types.proto) is packed in tensor_content.
_CONTENT = {
    1: _FLOAT,
    2: _DOUBLE,
    3: struct.Struct("<i"),
    4: struct.Struct("<B"),
    5: struct.Struct("<h"),
    6: struct.Struct("<b"),
    9: struct.Struct("<q"),
    10: struct.Struct("<?"),
    _BFLOAT16: struct.Struct("<H"),
    17: struct.Struct("<H"),
    19: _HALF,
    22: struct.Struct("<I"),
    23: struct.Struct("<Q"),
}
# The field of TensorProto that lists values of each DataType; all but the first two hold varints.
_LIST = {1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 9: 10, 10: 11, 14: 13, 17: 7, 19: 13, 22: 16, 23: 17}


class Malformed(ValueError):
    """The event that starts at ``at`` is not the message it should be."""

    def __init__(self, at: int) -> None:
        super().__init__(f"no Event message at byte {at}")
        self.at = at


class Rest(NamedTuple):
    """A Summary.Value that is no scalar, as it stands in an event of this time and step."""

    time: float
    step: int
    prefix: str
    value: bytes


class _Value(NamedTuple):
    number: float
    at: int
    form: struct.Struct | None  # how it is packed at ``at``; None when its place may move


class _Layout(NamedTuple):
    """Where the value is in events of one length."""

    before: int  # bytes from its first byte to the event's end
    after: int  # bytes from behind it to the event's end
    unpack: Callable[[bytes, int], tuple[Any, ...]]
    names: dict[bytes, str]  # the series, by all the bytes that are neither time, step nor value


class Scalars:
    """Takes the points out of the events of one file; series are named ``prefix`` + tag."""

    def __init__(self, prefix: str = "") -> None:
        self.full = False
        """Whether points were left out because the file has more than MAX_SERIES tags."""
        self.rest: list[Rest] | None = None
        """Where what is no scalar goes; None: nowhere."""
        self._prefix = prefix
        self._names: dict[bytes, str] = {}
        self._scalar_tags: dict[bytes, bool] = {}
        # Events of one series differ in time, step and value alone, and these have fixed places:
        # all bytes that give an event its structure are among those that must be equal.
        self._layouts: dict[int, _Layout] = {}

    def take(self, data: bytes, spans: Iterable[tuple[int, int]], points: list[Point]) -> None:
        """Append the points of the events at ``spans``; the 4 bytes after each must exist.

        Raises Malformed; ``points`` then has those of the events before.
        """
        layout_of = self._layouts.get
        wall_time = _DOUBLE.unpack_from
        for start, end in spans:
            at = start + 9
            step = shift = 0
            if at < end and data[at] == 0x10:
                at += 1
                while at < end and data[at] > 127:
                    step |= (data[at] & 127) << shift
                    shift += 7
                    at += 1
                step |= data[at] << shift
                at += 1
            layout = layout_of(end - at)
            if layout is not None and step < SIGN and data[start] == 0x09:
                before, after, unpack, names = layout
                name = names.get(data[at : end - before] + data[end - after : end])
                if name is not None:
                    (time,) = wall_time(data, start + 1)
                    points.append((time, step, name, unpack(data, end - before)[0]))
                    continue
            try:
                points += self._take(data, start, end, at)
            except (Truncated, struct.error) as error:
                raise Malformed(start) from error

    def _take(self, data: bytes, start: int, end: int, summary_key: int) -> list[Point]:
        time, step = 0.0, 0
        scalars: list[tuple[str, _Value]] = []
        others: list[bytes] = []
        for number, kind, at, stop in fields(data, start, end):
            if (number, kind) == (1, FIXED64):
                (time,) = _DOUBLE.unpack_from(data, at)
            elif (number, kind) == (2, VARINT):
                step = signed(varint(data, at, stop)[0])
            elif (number, kind) == (5, BYTES):
                for inner, inner_kind, value_at, value_stop in fields(data, at, stop):
                    if (inner, inner_kind) == (1, BYTES):
                        found = self._value(data, value_at, value_stop)
                        scalars += found
                        if not found and self.rest is not None:
                            others.append(data[value_at:value_stop])
        if self.rest is not None:
            self.rest += [Rest(time, step, self._prefix, other) for other in others]
        # Worth remembering if a summary of one value follows time and step and ends the event.
        if (
            len(scalars) == 1
            and not others
            and end - summary_key <= _MAX_LAYOUT
            and data[start] == 0x09
            and data[summary_key] == 0x2A
        ):
            size, at = varint(data, summary_key + 1, end)
            if at + size == end:
                self._remember(data, summary_key, end, *scalars[0])
        return [(time, step, name, value.number) for name, value in scalars]

    def _remember(self, data: bytes, start: int, end: int, name: str, value: _Value) -> None:
        if value.form not in (_FLOAT, _DOUBLE):
            return
        before = end - value.at
        after = before - value.form.size
        layout = self._layouts.get(end - start)
        if layout is None or (layout.before, layout.after) != (before, after):
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            layout = _Layout(before, after, value.form.unpack_from, {})
            self._layouts[end - start] = layout
        layout.names[data[start : value.at] + data[end - after : end]] = name

    def _value(self, data: bytes, start: int, end: int) -> list[tuple[str, _Value]]:
        """The name and number of a Summary.Value; empty when it is no scalar."""
        tag = plugin = b""
        simple: int | None = None
        tensor: tuple[int, int] | None = None
        for number, kind, at, stop in fields(data, start, end):
            if (number, kind) == (1, BYTES):
                tag = data[at:stop]
            elif (number, kind) == (9, BYTES):
                plugin = plugin_name(data, at, stop)
            elif 2 <= number <= 8 and number != 7:  # one of: the last one written counts
                simple = at if (number, kind) == (2, FIXED32) else None
                tensor = (at, stop) if (number, kind) == (8, BYTES) else None
        if tag not in self._scalar_tags:
            if len(self._scalar_tags) >= MAX_SERIES:
                self.full = True
                return []
            # Writers may name the plugin with a tag's first value only.
            self._scalar_tags[tag] = simple is not None or plugin == b"scalars"
        value = None
        if simple is not None:
            value = _Value(_FLOAT.unpack_from(data, simple)[0], simple, _FLOAT)
        elif tensor is not None and self._scalar_tags[tag]:
            value = _tensor(data, *tensor)
        return [] if value is None else [(self._name(tag), value)]

    def _name(self, tag: bytes) -> str:
        name = self._names.get(tag)
        if name is None:
            text = tag[: 4 * MAX_NAME].decode("utf-8", "replace")[:MAX_NAME]
            name = self._prefix + (printable(text) or "untagged")
            self._names[tag] = name
        return name


def plugin_name(data: bytes, start: int, end: int) -> bytes:
    name = b""
    for number, kind, at, stop in fields(data, start, end):
        if (number, kind) == (1, BYTES):
            for inner, inner_kind, name_at, name_stop in fields(data, at, stop):
                if (inner, inner_kind) == (1, BYTES):
                    name = data[name_at:name_stop]
    return name


def _tensor(data: bytes, start: int, end: int) -> _Value | None:
    """The number in a TensorProto of one number; None for any other tensor."""
    dtype = 0
    content: tuple[int, int] | None = None
    lists: dict[int, tuple[int, int] | None] = {}
    for number, kind, at, stop in fields(data, start, end):
        if (number, kind) == (1, VARINT):
            dtype = varint(data, at, stop)[0]
        elif (number, kind) == (2, BYTES):
            if not _holds_one(data, at, stop):
                return None
        elif (number, kind) == (4, BYTES):
            content = (at, stop)
        elif number > 4:
            lists[number] = None if number in lists else (at, stop)
    if dtype not in _CONTENT:
        return None
    if content is not None and content[0] < content[1]:
        at, stop = content
        form = _CONTENT[dtype]
    else:
        place = lists.get(_LIST[dtype])
        if place is None:
            return None
        at, stop = place
        if dtype > 2:
            bits, behind = varint(data, at, stop)
            return _Value(_from_varint(bits, dtype), at, None) if behind == stop else None
        form = _CONTENT[dtype]
    if stop - at != form.size:
        return None
    (value,) = form.unpack_from(data, at)
    if dtype == _BFLOAT16:
        value = _from_varint(value, dtype)
    return _Value(float(value), at, form)


def _from_varint(bits: int, dtype: int) -> float:
    if dtype == _BFLOAT16:
        return float(_FLOAT.unpack(struct.pack("<HH", 0, bits & 0xFFFF))[0])
    if _CONTENT[dtype] is _HALF:
        return float(_HALF.unpack(struct.pack("<H", bits & 0xFFFF))[0])
    return float(bits if dtype == 23 else signed(bits))


def _holds_one(data: bytes, start: int, end: int) -> bool:
    """Whether a TensorShapeProto is that of a single number."""
    for number, kind, at, stop in fields(data, start, end):
        if (number, kind) == (3, VARINT) and data[at]:
            return False
        if (number, kind) == (2, BYTES):
            sizes = [
                varint(data, size_at, size_stop)[0]
                for inner, inner_kind, size_at, size_stop in fields(data, at, stop)
                if (inner, inner_kind) == (1, VARINT)
            ]
            if sizes != [1]:
                return False
    return True
