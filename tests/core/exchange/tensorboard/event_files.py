"""Event files made by TensorBoard's own record writer out of its own messages."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter

from traindeck.core.exchange.tensorboard.events import EventFile, EventTree, Point

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


def grow(path: Path, step: int, tag: str = "loss", value: float = 1.0) -> None:
    if not path.exists():
        put(path)
    with path.open("ab") as file:
        file.write(record(event(step, simple(tag, value))))
