"""How fast event files are read: ours beside TensorBoard's own readers, in one run.

    python tests/bench/bench_tfevents.py [POINTS]

Two files of POINTS points in four series (default 200,000), one as torch's SummaryWriter writes
them and one as tf.summary does. Each reader reads each file from its start, three times in turn;
the best time counts. All of it is computing, so CPU seconds are what tells on a busy machine.
Wanted: 100,000 points a second with every checksum verified.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

warnings.simplefilter("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from traindeck.core.exchange.tensorboard.events import EventFile  # noqa: E402

ROUNDS = 3
WANTED = 100_000
TAGS = ("train/loss", "train/accuracy", "step_seconds", "examples_per_second")


def write_files(folder: Path, points: int) -> dict[str, Path]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.summary.writer.record_writer import RecordWriter

    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))

    def simple(tag: str, number: float) -> Summary.Value:
        return Summary.Value(tag=tag, simple_value=number)

    def tensor(tag: str, number: float) -> Summary.Value:
        proto = TensorProto(dtype=1, tensor_shape=TensorShapeProto(), float_val=[number])
        return Summary.Value(tag=tag, tensor=proto, metadata=metadata)

    files = {}
    for kind, value in (("simple_value (torch)", simple), ("tensor (tf.summary)", tensor)):
        # TensorBoard's reader wants the usual name, its accumulator a folder of its own.
        path = folder / value.__name__ / "events.out.tfevents.1700000000.host.1.0"
        path.parent.mkdir()
        with path.open("wb") as file:
            records = RecordWriter(file)
            records.write(Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString())
            for number in range(points):
                step = number // len(TAGS)
                summary = Summary(value=[value(TAGS[number % len(TAGS)], 1 / (step + 1))])
                event = Event(wall_time=1.7e9 + number / 1e3, step=step, summary=summary)
                records.write(event.SerializeToString())
        files[kind] = path
    return files


def ours(path: Path) -> int:
    file = EventFile(path)
    count = len(file.read())
    while file.behind:
        count += len(file.read())
    assert file.problem is None, file.problem
    return count


def tensorboard_loader(path: Path) -> int:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return sum(len(event.summary.value) for event in EventFileLoader(str(path)).Load())


def tensorboard_accumulator(path: Path) -> int:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(path.parent), size_guidance={"tensors": 0, "scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    count = sum(len(accumulator.Scalars(tag)) for tag in tags["scalars"])
    return count + sum(len(accumulator.Tensors(tag)) for tag in tags["tensors"])


OURS = "traindeck EventFile"
READERS: dict[str, Callable[[Path], int]] = {
    OURS: ours,
    "tensorboard EventFileLoader": tensorboard_loader,
    "tensorboard EventAccumulator": tensorboard_accumulator,
}


def main() -> int:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        small = write_files(Path(folder), 8)
        for path in small.values():
            for reader in READERS.values():  # imports TensorFlow: not what is measured
                reader(path)
            path.unlink()
            path.parent.rmdir()
        files = write_files(Path(folder), points)
        for kind, path in files.items():
            size = path.stat().st_size / 1e6
            print(f"\n{points:,} points as {kind}, {size:.0f} MB")
            cpu = dict.fromkeys(READERS, float("inf"))
            wall = dict.fromkeys(READERS, float("inf"))
            for _ in range(ROUNDS):
                for name, reader in READERS.items():
                    start, cpu_start = time.perf_counter(), time.process_time()
                    count = reader(path)
                    cpu[name] = min(cpu[name], time.process_time() - cpu_start)
                    wall[name] = min(wall[name], time.perf_counter() - start)
                    assert count == points, f"{name} read {count} points of {points}"
            for name in READERS:
                print(
                    f"  {name:30}{points / cpu[name]:>10,.0f} points/CPU s"
                    f"{points / wall[name]:>10,.0f} points/s"
                    f"{cpu[name] / cpu[OURS]:>7.1f} × our CPU time"
                )
            slow |= points / cpu[OURS] < WANTED
    print(f"\nwanted: {WANTED:,} points/s, checksums verified:", "MISSED" if slow else "reached")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
