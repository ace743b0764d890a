"""TensorBoard event files are read live, and nothing that is damaged is ever believed.

The files are framed by TensorBoard's own record writer and filled from its own messages; with
``-m framework`` also written by torch and TensorFlow and compared with TensorBoard's own loader.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

from traindeck.core.exchange.tensorboard import events as tfevents
from traindeck.core.exchange.tensorboard.crc32c import crc32c, masked, masked_crcs
from traindeck.core.exchange.tensorboard.events import EventFile, EventTree, Point, writer_pid
from traindeck.core.exchange.tensorboard.scalars import Malformed, Scalars

NAME = "events.out.tfevents.1700000000.host.4711.0"
SCALARS = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))


def record(data: bytes) -> bytes:
    class Buffer(io.BytesIO):
        def close(self) -> None: ...

    buffer = Buffer()
    RecordWriter(buffer).write(data)
    return buffer.getvalue()


def event(step: int, *values: Summary.Value, time: float = 1.7e9) -> bytes:
    return Event(wall_time=time, step=step, summary=Summary(value=values)).SerializeToString()


def simple(tag: str, value: float) -> Summary.Value:
    return Summary.Value(tag=tag, simple_value=value)


def tensor(tag: str, value: float, metadata: bool = True) -> Summary.Value:
    proto = TensorProto(dtype=1, tensor_shape=TensorShapeProto(), tensor_content=f32_bytes(value))
    return Summary.Value(tag=tag, tensor=proto, metadata=SCALARS if metadata else None)


def f32_bytes(value: float) -> bytes:
    return struct.pack("<f", value)


def f32(value: float) -> float:
    return float(struct.unpack("<f", f32_bytes(value))[0])


def version() -> bytes:
    return Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString()


def put(path: Path, *events: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(record, (version(), *events))))
    return path


def read_all(reader: EventFile | EventTree, max_bytes: int = 1 << 18) -> list[Point]:
    points = reader.read(max_bytes)
    while reader.behind:
        points += reader.read(max_bytes)
    return points


def short(points: list[Point]) -> list[tuple[int, str, float]]:
    return [(step, name, value) for _, step, name, value in points]


# The checksum


def test_crc32c_agrees_with_the_standard_and_with_tensorboard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    source = random.Random(1)
    for size in (*range(0, 700, 7), 4096, 100_001):
        data = source.randbytes(size)
        assert masked(crc32c(data)) == masked_crc32c(data), size


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 40), st.integers())
def test_crcs_of_rows_are_the_crcs_of_each_row(size: int, rows: int, seed: int) -> None:
    block = random.Random(seed).randbytes((size + 4) * rows)
    each = [masked(crc32c(block[at : at + size])) for at in range(0, len(block), size + 4)]
    assert masked_crcs(block, size + 4, size) == each


# What counts as a scalar


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


# Files that grow, tear, break, shrink


def some_events() -> list[bytes]:
    events = [event(step, simple("loss", step / 7), simple("b", step)) for step in range(3)]
    events += [event(step, tensor("accuracy", step / 9)) for step in range(3)]
    events += [event(step, simple("loss", step / 7)) for step in range(200, 203)]
    return [*events, event(9, Summary.Value(tag="i", image=Summary.Image(height=3)))]


def test_cut_anywhere_it_gives_whole_records_and_then_the_rest(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, *some_events())
    whole = path.read_bytes()
    expected = EventFile(path).read()
    assert len(expected) == 12
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        file = EventFile(path)
        first = read_all(file)
        assert first == expected[: len(first)]
        assert file.problem is None
        with path.open("ab") as more:
            more.write(whole[cut:])
        assert first + read_all(file) == expected


def test_a_flipped_bit_anywhere_gives_no_wrong_point_and_is_reported(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, *some_events())
    whole = bytearray(path.read_bytes())
    expected = EventFile(path).read()
    for place in range(len(whole)):
        whole[place] ^= 1 << place % 7
        path.write_bytes(whole)
        whole[place] ^= 1 << place % 7
        file = EventFile(path)
        points = read_all(file)
        assert points == expected[: len(points)]
        assert file.problem is not None
        assert str(path) in file.problem
        assert len(points) < len(expected) or place > len(whole) - 60


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_of_any_kind_gives_no_wrong_point(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = put(tmp_path_factory.getbasetemp() / "damage" / NAME, *some_events() * 8)
    whole = path.read_bytes()
    expected = EventFile(path).read()
    start = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, 100))
    path.write_bytes(whole[:start] + data.draw(st.binary(max_size=100)) + whole[start + length :])
    points = read_all(EventFile(path), data.draw(st.integers(1, 5000)))
    # Records cut out cleanly are not missed by anyone; what is there must be what was written.
    assert set(points) <= set(expected)


def test_a_damaged_record_is_located_and_reading_ends_there(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, event(0, simple("loss", 1.0)), event(1, simple("loss", 2.0)))
    whole = bytearray(path.read_bytes())
    second = len(whole) - len(record(event(1, simple("loss", 2.0))))
    whole[-6] ^= 1
    path.write_bytes(whole)
    file = EventFile(path)
    assert [value for *_, value in file.read()] == [1.0]
    assert f"at byte {second} is damaged" in (file.problem or "")
    with path.open("ab") as more:
        more.write(record(event(2, simple("loss", 3.0))))
    assert file.read() == []
    assert not file.behind


def test_a_sound_record_of_something_else_is_reported_too(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, event(0, simple("loss", 1.0)), b"\xff" * 30)
    file = EventFile(path)
    assert len(file.read()) == 1
    assert "does not hold a TensorBoard event" in (file.problem or "")


def test_a_file_that_shrank_or_was_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, *[event(step, simple("loss", step)) for step in range(5)])
    file = EventFile(path)
    assert len(file.read()) == 5
    put(path, event(0, simple("loss", 7.0)))
    assert short(file.read()) == [(0, "loss", 7.0)]
    other = Event(wall_time=1.8e9, file_version="brain.Event:2").SerializeToString()
    events = [event(step, simple("loss", -step)) for step in range(9)]
    path.write_bytes(b"".join(map(record, (other, *events))))
    assert len(file.read()) == 9
    path.unlink()
    assert file.read() == []


def test_a_file_that_grew_while_it_was_copied_over_is_continued(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, *[event(step, simple("loss", step)) for step in range(5)])
    file = EventFile(path)
    file.read()
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes() + record(event(5, simple("loss", 5.0))))
    copy.rename(path)
    assert short(file.read()) == [(5, "loss", 5.0)]


@pytest.mark.parametrize("max_bytes", [1, 13, 100, 1 << 20])
def test_reads_are_bounded_and_nothing_is_lost_between_them(tmp_path: Path, max_bytes: int) -> None:
    image = Summary.Value(tag="i", image=Summary.Image(encoded_image_string=bytes(5000)))
    events = [event(step, simple("loss", step), *([image] * (step % 3))) for step in range(50)]
    file = EventFile(put(tmp_path / NAME, *events))
    assert [step for _, step, *_ in read_all(file, max_bytes)] == list(range(50))


def test_a_huge_record_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfevents, "MAX_RECORD", 10_000)
    image = Summary.Value(tag="i", image=Summary.Image(encoded_image_string=bytes(20_000)))
    path = put(
        tmp_path / NAME,
        event(0, simple("loss", 1.0)),
        event(0, image),
        event(1, simple("loss", 2.0)),
    )
    whole = path.read_bytes()
    path.write_bytes(whole[:9000])
    file = EventFile(path)
    first = read_all(file, 1000)
    path.write_bytes(whole)
    assert short(first + read_all(file, 1000)) == [(0, "loss", 1.0), (1, "loss", 2.0)]


def test_tags_are_made_fit_for_one_line(tmp_path: Path) -> None:
    events = [event(0, simple("a\nb\x1b[31m", 1.0)), event(0, simple("", 2.0))]
    file = EventFile(put(tmp_path / NAME, *events, event(0, simple("x" * 5000, 3.0))))
    names = [name for *_, name, _ in file.read()]
    assert names == ["a\ufffdb\ufffd[31m", "untagged", "x" * 300]


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    assert file.read() == []
    assert "cannot be read" in (file.problem or "")
    os.mkfifo(tmp_path / "pipe")
    assert EventFile(tmp_path / "pipe").read() == []


# Trees of files


def grow(path: Path, step: int, tag: str = "loss", value: float = 1.0) -> None:
    if not path.exists():
        put(path)
    with path.open("ab") as file:
        file.write(record(event(step, simple(tag, value))))


def names_of(tree: EventTree) -> list[str]:
    tree.look()
    return sorted({name for *_, name, _ in read_all(tree)})


def test_a_single_folder_has_no_prefix_however_deep(tmp_path: Path) -> None:
    grow(tmp_path / "runs/Nov23_host" / NAME, 0)
    assert names_of(EventTree(tmp_path)) == ["loss"]


def test_keras_folders_become_prefixes_from_the_first_point_on(tmp_path: Path) -> None:
    tree = EventTree(tmp_path)
    grow(tmp_path / "logs/train" / NAME, 0)
    assert names_of(tree) == ["train/loss"]
    grow(tmp_path / "logs/validation" / NAME, 0)
    grow(tmp_path / "logs/train" / NAME, 1)
    assert names_of(tree) == ["train/loss", "validation/loss"]
    grow(tmp_path / "logs" / NAME, 0)
    assert names_of(tree) == ["loss"]


def test_folders_found_later_are_prefixed_and_rename_nothing(tmp_path: Path) -> None:
    tree = EventTree(tmp_path)
    grow(tmp_path / "runs/one" / NAME, 0)
    assert names_of(tree) == ["loss"]
    grow(tmp_path / "runs/one/eval" / NAME, 0)
    grow(tmp_path / "runs/two" / NAME, 0)
    grow(tmp_path / "runs/one/two" / NAME, 0)
    grow(tmp_path / "runs" / NAME, 0)
    grow(tmp_path / NAME, 0)
    grow(tmp_path / "runs/one" / NAME, 1)
    assert names_of(tree) == sorted(
        [
            "loss",
            "eval/loss",
            "two/loss",
            "runs/one/two/loss",
            "runs/loss",
            f"{tmp_path.name}/loss",
        ]
    )


def test_several_files_of_one_folder_are_one_set_of_series(tmp_path: Path) -> None:
    grow(tmp_path / NAME, 0)
    grow(tmp_path / f"{NAME}.v2", 1)
    points = read_all(EventTree(tmp_path))
    assert sorted(short(points)) == [(0, "loss", 1.0), (1, "loss", 1.0)]


def test_files_of_earlier_runs_are_left_alone(tmp_path: Path) -> None:
    grow(tmp_path / "old" / NAME, 0)
    os.utime(tmp_path / "old" / NAME, (1000, 1000))
    grow(tmp_path / "new" / NAME, 0)
    tree = EventTree(tmp_path, since=2000)
    assert len(read_all(tree)) == 1


def test_files_written_after_the_clock_was_set_back_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    grow(tmp_path / "old" / NAME, 0)
    os.utime(tmp_path / "old" / NAME, (began - 1800, began - 1800))
    grow(tmp_path / "goes-on" / NAME, 1)
    os.utime(tmp_path / "goes-on" / NAME, (began - 1800, began - 1800))
    tree = EventTree(tmp_path, since=began)
    assert read_all(tree) == []
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    grow(tmp_path / "new" / NAME, 2)
    grow(tmp_path / "goes-on" / NAME, 3)
    for folder in ("new", "goes-on"):
        os.utime(tmp_path / folder / NAME, (began - 3500, began - 3500))
    tree.look()
    assert sorted(step for _, step, _, _ in read_all(tree)) == [1, 2, 3]


def test_files_of_other_processes_can_be_left_alone(tmp_path: Path) -> None:
    grow(tmp_path / NAME, 0)
    grow(tmp_path / NAME.replace("4711", "4712"), 1)
    tree = EventTree(tmp_path, accept=lambda path: writer_pid(path) == 4712)
    assert short(read_all(tree)) == [(1, "loss", 1.0)]
    assert writer_pid(Path("events.out.tfevents.1700000000.a.b.c.99.0.v2")) == 99
    assert writer_pid(Path("events.out.tfevents.1700000000.host")) is None


def test_links_are_followed_once(tmp_path: Path) -> None:
    grow(tmp_path / "runs/one" / NAME, 0)
    (tmp_path / "runs/up").symlink_to(tmp_path)
    (tmp_path / "runs/self").symlink_to("self")
    tree = EventTree(tmp_path)
    assert len(read_all(tree)) == 1
    (tmp_path / "latest").symlink_to(tmp_path / "runs/one")
    tree.look()
    assert read_all(tree) == []
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "runs")
    assert len(read_all(EventTree(linked))) == 1


def test_one_damaged_file_is_reported_once_and_the_others_go_on(tmp_path: Path) -> None:
    grow(tmp_path / "a" / NAME, 0)
    grow(tmp_path / "b" / NAME, 0)
    whole = bytearray((tmp_path / "a" / NAME).read_bytes())
    whole[-6] ^= 1
    (tmp_path / "a" / NAME).write_bytes(whole)
    tree = EventTree(tmp_path)
    assert len(read_all(tree)) == 1
    grow(tmp_path / "a" / NAME, 1)
    grow(tmp_path / "b" / NAME, 1)
    assert len(read_all(tree)) == 1
    assert len(tree.problems) == 1
    assert str(tmp_path / "a" / NAME) in tree.problems[0]


def test_new_files_are_found_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfevents, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(tfevents, "_LOOK_SHARE", 1e9)
    (tmp_path / "runs").mkdir()
    tree = EventTree(tmp_path)
    assert tree.read() == []
    for number in range(5):
        grow(tmp_path / f"runs/{number}" / NAME, number)
        assert [step for _, step, *_ in tree.read()] == [number]


def test_big_trees_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfevents, "MAX_FOLDERS", 20)
    monkeypatch.setattr(tfevents, "MAX_FILES", 3)
    for number in range(30):
        (tmp_path / f"pictures/{number}").mkdir(parents=True)
    for number in range(5):
        grow(tmp_path / f"{NAME}{number}", 0)
    deep = tmp_path.joinpath(*"abcdefghijkl")
    grow(deep / NAME, 7)
    tree = EventTree(tmp_path)
    assert [step for _, step, *_ in read_all(tree)] == [0, 0, 0]
    assert sorted(problem.split(":")[1].split(";")[0] for problem in tree.problems) == [
        " more than 20 folders",
        " more than 3 TensorBoard files",
    ]


def test_a_vanished_folder_is_no_trouble(tmp_path: Path) -> None:
    tree = EventTree(tmp_path / "gone")
    assert tree.read() == []
    assert tree.problems == []


# What real writers write


TORCH = """
import sys, time
from pathlib import Path
import numpy as np
from torch.utils.tensorboard import SummaryWriter

with SummaryWriter(sys.argv[1] + "/runs/one", flush_secs=1) as writer:
    writer.add_text("text", "hello")
    writer.add_image("image", np.zeros((3, 200, 200), np.uint8))
    for step in range(400):
        writer.add_scalar("train/loss", 1 / (step + 1), step)
        writer.add_scalar("new", step * 0.1, step, new_style=True)
        writer.add_scalar("double", 0.1, step, new_style=True, double_precision=True)
        writer.add_scalar("odd", [float("nan"), float("inf"), -0.0][step % 3], step)
        writer.add_scalars("both", {"a": step, "b": -step}, step)
        if step % 50 == 0:
            writer.add_histogram("weights", np.arange(1000.0), step)
            writer.flush()
            time.sleep(0.3)
"""

TENSORFLOW = """
import sys
import numpy as np
import tensorflow as tf

folder = sys.argv[1]
with tf.summary.create_file_writer(folder + "/first").as_default():
    for step in range(200):
        tf.summary.scalar("loss", 1 / (step + 1), step=step)
        tf.summary.scalar("half", tf.constant(0.5, tf.float16), step=step)
        tf.summary.histogram("weights", np.arange(100.0), step=step)
        tf.summary.text("text", "hello", step=step)
        if step % 20 == 0:
            tf.summary.image("image", np.zeros((1, 50, 50, 3), np.uint8), step=step)
            tf.summary.flush()

with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    writer = tf.compat.v1.summary.FileWriter(folder + "/old", session.graph)
    value = tf.compat.v1.placeholder(tf.float32, [])
    tf.compat.v1.summary.scalar("loss", value)
    tf.compat.v1.summary.scalar("twice", 2 * value)
    tf.compat.v1.summary.histogram("weights", tf.fill([10], value))
    merged = tf.compat.v1.summary.merge_all()
    for step in range(20):
        writer.add_summary(session.run(merged, {value: step / 3}), step)
    writer.close()

model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
model.compile("sgd", "mse", metrics=["mae"])
x, y = np.zeros((20, 3)), np.ones((20, 1))
board = tf.keras.callbacks.TensorBoard(folder + "/keras", histogram_freq=1, update_freq=1)
model.fit(x, y, epochs=3, batch_size=5, validation_data=(x, y), callbacks=[board], verbose=0)
"""

# TensorBoard's own idea of what is in each file: {path: [[wall time, step, tag, value], …]}.
LOADER = """
import json, sys
from pathlib import Path
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

found = {}
for path in sorted(Path(sys.argv[1]).rglob("*tfevents*")):
    points = found[str(path)] = []
    plugins = {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
            if plugin == "scalars":
                number = tensor_util.make_ndarray(value.tensor).item()
                points.append([event.wall_time, event.step, value.tag, number])
print(json.dumps(found))
"""


def python(script: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-c", script, str(folder)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.framework
@pytest.mark.parametrize(
    ("script", "series"),
    [
        (TORCH, {"train/loss", "new", "double", "odd", "both_a/both", "both_b/both"}),
        (
            TENSORFLOW,
            {"loss", "half", "old/loss", "old/twice"}
            | {"keras/train/epoch_loss", "keras/validation/epoch_mae"},
        ),
    ],
    ids=["torch", "tensorflow"],
)
def test_live_reading_finds_what_tensorboard_finds(
    tmp_path: Path, script: str, series: set[str]
) -> None:
    began = time.time()
    tree = EventTree(tmp_path, since=began)
    live: list[Point] = []
    reads_with_points = 0
    writer = python(script, tmp_path)
    while writer.poll() is None:
        points = tree.read()
        live += points
        reads_with_points += bool(points)
        time.sleep(0.01)
    assert writer.returncode == 0, writer.communicate()[1]
    writer.communicate()
    tree.look()
    live += read_all(tree)
    assert reads_with_points > 2
    assert not tree.problems

    loader = python(LOADER, tmp_path)
    output, errors = loader.communicate()
    assert loader.returncode == 0, errors
    theirs = {Path(path): points for path, points in json.loads(output).items()}
    assert theirs
    for path, points in theirs.items():
        assert writer_pid(path) in (writer.pid, None)  # TensorFlow 1 does not tell
        assert repr([list(point) for point in read_all(EventFile(path))]) == repr(points)
    assert len(live) == sum(map(len, theirs.values())) > 400
    by_step = sorted((time, step, repr(value)) for time, step, _, value in live)
    assert by_step == sorted(
        (time, step, repr(value)) for points in theirs.values() for time, step, _, value in points
    )
    assert series <= {name for *_, name, _ in live}
