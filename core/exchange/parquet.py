"""Runs as Parquet: a point a row, in columns run, series, step, time and value.

Written as plainly as the format allows (required columns, plain encoding, no compression), so that
no library is needed for it. Formats: github.com/apache/parquet-format (parquet.thrift), Thrift's
compact protocol (github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from traindeck.core.exchange.protobuf import count
from traindeck.core.exchange.runs import OutsideRun

METRICS = "metrics.parquet"
MAGIC = b"PAR1"
ROWS_AT_ONCE = 500_000
_INT64, _DOUBLE, _BYTES = 2, 5, 6
_TEXT, _MICROSECONDS = 0, 10  # converted types
_PLAIN, _RLE = 0, 3
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12

Row = tuple[bytes, bytes, int, int, float]
Field = tuple[int, int, bytes]
"""Number, kind, and what it holds, as the compact protocol has it."""


def _texts(values: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def _integers(values: list[int]) -> bytes:
    return array("q", values).tobytes()


def _reals(values: list[float]) -> bytes:
    return array("d", values).tobytes()


_COLUMNS: tuple[tuple[str, int, int | None, Callable[..., bytes]], ...] = (
    ("run", _BYTES, _TEXT, _texts),
    ("series", _BYTES, _TEXT, _texts),
    ("step", _INT64, None, _integers),
    ("time", _INT64, _MICROSECONDS, _integers),
    ("value", _DOUBLE, None, _reals),
)


def write(folder: Path, run: OutsideRun) -> None:
    """Write a run as metrics.parquet, name and parameters in its metadata. Raises OSError."""
    rows, groups, total = _rows(run), [], 0
    with (folder / METRICS).open("wb") as file:
        file.write(MAGIC)
        while part := list(islice(rows, ROWS_AT_ONCE)):
            chunks, size = [], 0
            for (name, kind, _, plain), column in zip(
                _COLUMNS, zip(*part, strict=True), strict=True
            ):
                data = plain(column)
                page = _page(len(part), len(data)) + data
                chunks.append(_chunk(name, kind, len(part), len(page), file.tell()))
                file.write(page)
                size += len(page)
            groups.append(
                _struct((1, _LIST, _list(_STRUCT, chunks)), (2, _I64, _int(size)),
                        (3, _I64, _int(len(part))))
            )  # fmt: skip
            total += len(part)
        footer = _footer(run, groups, total)
        file.write(footer + struct.pack("<I", len(footer)) + MAGIC)


def _rows(run: OutsideRun) -> Iterator[Row]:
    run_id = run.part.encode()
    for name, series in run.points.series.items():
        encoded = name.encode("utf-8", "replace")
        for when, step, value in series:
            yield run_id, encoded, step, round(when * 1e6), value


def _page(values: int, size: int) -> bytes:
    about = _struct(
        (1, _I32, _int(values)),
        (2, _I32, _int(_PLAIN)),
        (3, _I32, _int(_RLE)),
        (4, _I32, _int(_RLE)),
    )
    return _struct(
        (1, _I32, _int(0)), (2, _I32, _int(size)), (3, _I32, _int(size)), (5, _STRUCT, about)
    )


def _chunk(name: str, kind: int, values: int, size: int, at: int) -> bytes:
    about = _struct(
        (1, _I32, _int(kind)),
        (2, _LIST, _list(_I32, [_int(_PLAIN), _int(_RLE)])),
        (3, _LIST, _list(_BINARY, [_text(name)])),
        (4, _I32, _int(0)),
        (5, _I64, _int(values)),
        (6, _I64, _int(size)),
        (7, _I64, _int(size)),
        (9, _I64, _int(at)),
    )
    return _struct((2, _I64, _int(at)), (3, _STRUCT, about))


def _footer(run: OutsideRun, groups: list[bytes], total: int) -> bytes:
    schema = [_struct((4, _BINARY, _text("schema")), (5, _I32, _int(len(_COLUMNS))))]
    for name, kind, converted, _ in _COLUMNS:
        fields: list[Field] = [
            (1, _I32, _int(kind)),
            (3, _I32, _int(0)),
            (4, _BINARY, _text(name)),
        ]
        if converted is not None:
            fields.append((6, _I32, _int(converted)))
        schema.append(_struct(*fields))
    facts = {"name": run.name, "state": run.state, "params": json.dumps(run.params, default=str)}
    said = [
        _struct((1, _BINARY, _text(f"traindeck.{key}")), (2, _BINARY, _text(value)))
        for key, value in facts.items()
    ]
    return _struct(
        (1, _I32, _int(1)),
        (2, _LIST, _list(_STRUCT, schema)),
        (3, _I64, _int(total)),
        (4, _LIST, _list(_STRUCT, groups)),
        (5, _LIST, _list(_STRUCT, said)),
        (6, _BINARY, _text("traindeck")),
    )


def _struct(*fields: Field) -> bytes:
    out, before = b"", 0
    for number, kind, data in fields:
        out += bytes(((number - before) << 4 | kind,)) + data
        before = number
    return out + b"\0"


def _list(kind: int, items: list[bytes]) -> bytes:
    few = len(items) < 15
    head = bytes((len(items) << 4 | kind,)) if few else bytes((0xF0 | kind,)) + count(len(items))
    return head + b"".join(items)


def _int(value: int) -> bytes:
    return count(value << 1 if value >= 0 else -value * 2 - 1)


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    return count(len(data)) + data
