"""What other tools leave on disk, as they write it, without the tools."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc, document
from traindeck.core.exchange import protobuf as pb
from traindeck.core.exchange.find import find
from traindeck.core.exchange.making import Made, Maker
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import read_points

BEGAN = 1.7e9


def take(home: Home, place: Path) -> list[Made]:
    """Import all that lies in a place."""
    with Maker(home) as maker:
        return [maker.make(found.read()) for found in find(place)]


def shown(home: Home, made: Made) -> RunDoc:
    doc = document(RunFolder(home.runs / made.id))
    assert doc is not None
    return doc


def values(home: Home, made: Made, name: str) -> list[tuple[int, float]]:
    points = read_points(home.runs / made.id, [name])[name]
    return [(step, value) for _, step, value in points]


def times(home: Home, made: Made, name: str) -> list[float]:
    return [when for when, _, _ in read_points(home.runs / made.id, [name])[name]]


def mlflow_run(store: Path, run_id: str = "a" * 32, status: int = 3, name: str = "fit") -> Path:
    folder = store / "1" / run_id
    put(store / "1/meta.yaml", "experiment_id: '1'\nname: digits\nlifecycle_stage: active\n")
    ms = int(BEGAN * 1000)
    put(
        folder / "meta.yaml",
        f"end_time: {ms + 60_000}\nlifecycle_stage: active\nrun_id: {run_id}\nrun_name: {name}\n"
        f"start_time: {ms}\nstatus: {status}\n",
    )
    put(folder / "metrics/loss", f"{ms} 0.5 0\n{ms + 1000} 0.25 1\n")
    put(folder / "metrics/val/acc", f"{ms + 1000} 0.9 1\n")
    put(folder / "params/lr", "0.1")
    put(folder / "params/nested/layers", "3")
    put(folder / "params/flag", "True")
    put(folder / "tags/team", "blue")
    put(folder / "tags/mlflow.note.content", "a note")
    put(folder / "tags/mlflow.source.git.commit", "c0ffee")
    return folder


COLUMNS = {
    "experiments": "experiment_id, name",
    "runs": "run_uuid, name, status, start_time, end_time, lifecycle_stage, experiment_id",
    "metrics": "key, value, timestamp, run_uuid, step, is_nan",
    "params": "key, value, run_uuid",
    "tags": "key, value, run_uuid",
}


def mlflow_database(path: Path, **rows: list[tuple[Any, ...]]) -> Path:
    """What is read of MLflow's tables, with these rows."""
    with closing(sqlite3.connect(path)) as database:
        for table, columns in COLUMNS.items():
            database.execute(f"CREATE TABLE {table} ({columns})")
        for table, found in {"experiments": [(1, "digits")], **rows}.items():
            marks = ", ".join("?" * (COLUMNS[table].count(",") + 1))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", found)
        database.commit()
    return path


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def wandb_items(values: dict[str, Any]) -> bytes:
    items = (
        pb.encoded(1, name.encode()) + pb.encoded(16, json.dumps(value).encode())
        for name, value in values.items()
    )
    return b"".join(pb.encoded(1, item) for item in items)


def wandb_records(steps: int, exit_code: int | None = 0, width: int = 1) -> list[bytes]:
    config = pb.encoded(4, wandb_items({"lr": 0.1, "net": {"depth": 3}}))
    run = (
        pb.encoded(1, b"abc123") + pb.encoded(3, b"proj") + config + pb.encoded(8, b"quiet-moon-1")
    )
    run += pb.encoded(10, b"tag") + pb.encoded(17, pb.encoded(1, int(BEGAN)))
    records = [pb.encoded(17, run)]
    for step in range(steps):
        row = {"loss": 1 / (step + 1), "_timestamp": BEGAN + step, "_step": step, "img": "x"}
        row |= {f"m{n}": step * 0.001 for n in range(1, width)}
        history = wandb_items(row) + pb.encoded(2, pb.encoded(1, step))
        records.append(pb.encoded(2, history))
    if exit_code is not None:
        records.append(pb.encoded(18, pb.encoded(1, exit_code)))
    return records


def wandb_file(path: Path, records: list[bytes]) -> Path:
    """The records as W&B's datastore.py puts them into blocks."""
    out = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for record in records:
        rest, first = record, True
        while True:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            part, rest = rest[: room - 7], rest[room - 7 :]
            kind = (1 if first else 4) if not rest else (2 if first else 3)
            checksum = zlib.crc32(part, zlib.crc32(bytes((kind,))))
            out += struct.pack("<IHB", checksum, len(part), kind) + part
            first = False
            if not rest:
                break
    return put(path, bytes(out))
