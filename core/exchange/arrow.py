"""Runs as Parquet, read by pyarrow where that is installed: its columns are taken as those of CSV.

What `parquet` wrote has its run's name and parameters in the metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import MissingError
from traindeck.core.base.files import reading
from traindeck.core.exchange import csv
from traindeck.core.exchange.runs import OutsideRun, Points, Unreadable

ROWS_AT_ONCE = 65_536
_OURS = "traindeck."


def read(path: Path, name: str = "") -> OutsideRun:
    """The run of one Parquet file. Raises MissingError, Unreadable, OSError."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingError("Parquet is read with pyarrow: pip install pyarrow") from None
    run = OutsideRun("Parquet", path, name or path.stem, Points(path))
    with reading(path, follow=True) as file:
        changed = os.fstat(file.fileno()).st_mtime
        try:
            table = parquet.ParquetFile(file)
            facts = _facts(table.schema_arrow.metadata or table.metadata.metadata or {})
            run.name = name or facts.get("name") or run.name
            run.params = _params(facts)
            csv.take(run, list(table.schema_arrow.names), _rows(table), changed)
        except (pyarrow.ArrowException, NotImplementedError) as error:
            why = str(error).split("\n")[0]
            raise Unreadable(f"{path}: pyarrow cannot read it: {why}") from None
    return run


def _rows(table: Any) -> Iterator[list[str]]:
    for batch in table.iter_batches(ROWS_AT_ONCE):
        columns = [column.to_pylist() for column in batch.columns]
        yield from ([_text(value) for value in row] for row in zip(*columns, strict=True))


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else str(value)


def _facts(metadata: dict[bytes, bytes]) -> dict[str, str]:
    texts = {key.decode(errors="replace"): value for key, value in metadata.items()}
    return {
        key.removeprefix(_OURS): value.decode(errors="replace")
        for key, value in texts.items()
        if key.startswith(_OURS)
    }


def _params(facts: dict[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(facts.get("params", "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
