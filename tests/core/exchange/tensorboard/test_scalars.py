"""Whatever counts as a scalar is read as protobuf reads it, and nothing else is."""

from __future__ import annotations

import contextlib
import math
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

from tests.core.exchange.tensorboard.event_files import (
    NAME,
    SCALARS,
    event,
    f32_bytes,
    put,
    short,
    simple,
    tensor,
)
from traindeck.core.exchange.tensorboard.events import EventFile, Point
from traindeck.core.exchange.tensorboard.scalars import Malformed, Scalars


def test_scalars_of_both_kinds_are_read(tmp_path: Path) -> None:
    path = put(
        tmp_path / NAME,
        event(0, simple("loss", 0.5), time=12.25),
        event(1, simple("loss", 0.25), simple("accuracy", math.nan)),
        event(300, tensor("new", 3.0)),
        event(-7, tensor("new", -math.inf)),
    )
    points = EventFile(path).read()
    assert points[0] == (12.25, 0, "loss", 0.5)
    assert math.isnan(points[2][3])
    assert short(points[3:]) == [(300, "new", 3.0), (-7, "new", -math.inf)]


def test_only_the_first_value_of_a_tag_need_name_the_plugin(tmp_path: Path) -> None:
    path = put(
        tmp_path / NAME,
        event(0, tensor("nameless", 9.0, metadata=False)),
        event(0, tensor("loss", 1.0)),
        event(1, tensor("loss", 2.0, metadata=False)),
        event(2, tensor("loss", 3.0, metadata=False)),
        event(3, tensor("nameless", 9.0)),
    )
    assert [value for *_, value in EventFile(path).read()] == [1.0, 2.0, 3.0]


def test_every_type_a_scalar_tensor_may_have_is_read() -> None:
    one = TensorShapeProto()
    of = {
        "f32 list": (TensorProto(dtype=1, float_val=[1.5]), 1.5),
        "f32": (TensorProto(dtype=1, tensor_shape=one, tensor_content=f32_bytes(1.5)), 1.5),
        "f64 list": (TensorProto(dtype=2, double_val=[0.1]), 0.1),
        "f64": (TensorProto(dtype=2, tensor_content=struct.pack("<d", 0.1)), 0.1),
        "i32 list": (TensorProto(dtype=3, int_val=[-5]), -5.0),
        "i32": (TensorProto(dtype=3, tensor_content=struct.pack("<i", -5)), -5.0),
        "i64 list": (TensorProto(dtype=9, int64_val=[-(1 << 40)]), -float(1 << 40)),
        "u64 list": (TensorProto(dtype=23, uint64_val=[1 << 63]), float(1 << 63)),
        "u32 list": (TensorProto(dtype=22, uint32_val=[7]), 7.0),
        "bool": (TensorProto(dtype=10, bool_val=[True]), 1.0),
        "half list": (TensorProto(dtype=19, half_val=[0x3C00]), 1.0),
        "half": (TensorProto(dtype=19, tensor_content=struct.pack("<e", 0.5)), 0.5),
        "bf16 list": (TensorProto(dtype=14, half_val=[0x3FC0]), 1.5),
        "bf16": (TensorProto(dtype=14, tensor_content=b"\xc0\x3f"), 1.5),
        "shape [1]": (
            TensorProto(
                dtype=1,
                tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
                float_val=[2.0],
            ),
            2.0,
        ),
    }
    for tag, (proto, expected) in of.items():
        value = Summary.Value(tag=tag, tensor=proto, metadata=SCALARS)
        assert short(scalars_of(event(1, value))) == [(1, tag, expected)], tag


def test_what_is_no_scalar_is_passed_over() -> None:
    vector = TensorShapeProto(dim=[TensorShapeProto.Dim(size=2)])
    others = [
        Summary.Value(tag="image", image=Summary.Image(encoded_image_string=b"x" * 5000)),
        Summary.Value(tag="histogram", histo={"min": 0, "max": 1, "bucket": [1.0]}),
        Summary.Value(tag="text", tensor=TensorProto(dtype=7, string_val=[b"hello"])),
        Summary.Value(
            tag="vector",
            metadata=SCALARS,
            tensor=TensorProto(dtype=1, tensor_shape=vector, float_val=[1.0, 2.0]),
        ),
        Summary.Value(tag="empty", metadata=SCALARS, tensor=TensorProto(dtype=1)),
        Summary.Value(tag="none", metadata=SCALARS),
    ]
    assert scalars_of(event(1, *others)) == []
    assert short(scalars_of(event(1, *others, simple("loss", 0.5)))) == [(1, "loss", 0.5)]
    for other in (
        Event(wall_time=1.0, graph_def=b"\x00" * 100),
        Event(wall_time=1.0, step=3, session_log=SessionLog(status=SessionLog.START)),
        Event(),
    ):
        assert scalars_of(other.SerializeToString()) == []


def scalars_of(data: bytes) -> list[Point]:
    points: list[Point] = []
    Scalars().take(data + bytes(4), [(0, len(data))], points)
    return points


STEPS = [0, 1, 127, 128, 200, 255, 16383, 16384, 1 << 40, (1 << 63) - 1, -1, -(1 << 63)]
UNKNOWN_FIELD = bytes([15 << 3 | 1]) + struct.pack("<d", 99.0)  # as long as a wall time


def any_value(source: random.Random) -> Summary.Value:
    tag = source.choice("abc")
    number = source.choice([0.0, 1.5, -2.0, math.inf])
    double = TensorProto(dtype=2, double_val=[number])
    return source.choice(
        [
            simple(tag, number),
            tensor(tag, number),
            tensor(tag, number, metadata=False),
            Summary.Value(tag=tag, tensor=double, metadata=SCALARS),
            Summary.Value(tag=tag + "long", tensor=double, metadata=SCALARS),
        ]
    )


def any_event(source: random.Random) -> bytes:
    values = [any_value(source) for _ in range(source.choice([0, 1, 1, 1, 1, 2]))]
    data = event(source.choice(STEPS), *values, time=source.choice([0.0, 1.7e9, 1.8e9, -1.5]))
    # Messages written one after the other are one; the last of a field's values counts.
    extra = source.random()
    if extra < 0.1:
        data = UNKNOWN_FIELD + data
    elif extra < 0.2:
        data += Event(step=source.choice(STEPS)).SerializeToString()
    elif extra < 0.3:
        data += event(0, any_value(source), time=0.0)
    return data


@pytest.mark.parametrize("seed", range(10))
def test_a_reader_that_remembers_layouts_agrees_with_protobuf(seed: int) -> None:
    source = random.Random(seed)
    remembering = Scalars()
    ours: list[Point] = []
    theirs: list[Point] = []
    plugins: dict[str, bool] = {}
    for _ in range(1000):
        data = any_event(source)
        remembering.take(data + bytes(4), [(0, len(data))], ours)
        message = Event.FromString(data)
        for value in message.summary.value:
            is_simple = value.WhichOneof("value") == "simple_value"
            named = value.metadata.plugin_data.plugin_name == "scalars"
            if plugins.setdefault(value.tag, is_simple or named) or is_simple:
                number = value.simple_value
                if not is_simple:
                    content = struct.iter_unpack("<f", value.tensor.tensor_content)
                    (number,) = [*value.tensor.double_val, *(n for (n,) in content)]
                theirs.append((message.wall_time, message.step, value.tag, number))
    assert ours == theirs


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_either_parse_or_are_called_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        scalars_of(data)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.binary(min_size=1, max_size=4), st.booleans())
def test_a_damaged_message_either_parses_or_is_called_malformed(
    place: int, damage: bytes, again: bool
) -> None:
    good = event(1000, tensor("loss", 1.0))
    at = place % len(good)
    bad = (good[:at] + damage + good[at + len(damage) :])[: len(good)]
    scalars = Scalars()
    points: list[Point] = []
    if again:
        scalars.take(good + bytes(4), [(0, len(good))], points)
    with contextlib.suppress(Malformed):
        scalars.take(bad + bytes(4), [(0, len(bad))], points)
