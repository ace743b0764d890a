"""MLflow's database, `mlflow.db`, where it keeps runs unless told otherwise: read, never written.

Tables: experiments, runs, metrics, params, tags. Infinities are the largest numbers there.
Source: mlflow/store/tracking/dbmodels/models.py.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from traindeck.core.base.files import reading
from traindeck.core.base.sanitize import printable
from traindeck.core.exchange import mlflow
from traindeck.core.exchange.runs import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_PARAMS,
    OutsideRun,
    Points,
    Unreadable,
    instant,
)

NAME = "mlflow.db"
_MAGIC = b"SQLite format 3\0"
_TABLES = {"experiments", "runs", "metrics", "params", "tags"}
_LONGEST = sys.float_info.max


def claims(path: Path) -> bool:
    """Whether a file is a database at all."""
    try:
        with reading(path, follow=True) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def runs(path: Path) -> list[tuple[str, partial[OutsideRun]]]:
    """The ids of all runs that are not deleted, and what reads each. Raises Unreadable."""
    asked = "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time"
    with _opened(path) as database:
        return [
            (str(found), partial(read, path, str(found))) for (found,) in database.execute(asked)
        ]


def read(path: Path, run_id: str) -> OutsideRun:
    """One run of the database. Raises Unreadable."""
    with _opened(path) as database:
        [about] = database.execute(
            "SELECT runs.name, status, start_time, end_time, experiments.name FROM runs"
            " LEFT JOIN experiments USING (experiment_id) WHERE run_uuid = ?",
            (run_id,),
        )
        name, status, started, ended, experiment = about
        tags = _texts(database, "tags", run_id)
        shown = str(name or tags.get("mlflow.runName") or run_id)
        run = OutsideRun("MLflow", path, shown, Points(path), part=run_id)
        run.state, run.reason = mlflow.state_of(status)
        run.started, run.ended = instant(started), instant(ended)
        run.params = {k: mlflow.typed(v) for k, v in _texts(database, "params", run_id).items()}
        mlflow.tell(run, tags, str(experiment or ""))
        asked = "SELECT key, timestamp, step, value, is_nan FROM metrics WHERE run_uuid = ?"
        for key, when, step, value, is_nan in database.execute(asked, (run_id,)):
            if type(value) in (int, float) and type(step) is int:
                series = printable(str(key))[:LONGEST_NAME]
                run.points.add(series, instant(when) or 0.0, step, _value(value, is_nan))
    run.points.sort()
    return run


def _value(value: float, is_nan: object) -> float:
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= _LONGEST else float(value)


def _texts(database: sqlite3.Connection, table: str, run_id: str) -> dict[str, str]:
    asked = (
        f"SELECT key, substr(value, 1, {LONGEST_TEXT}) FROM {table}"
        f" WHERE run_uuid = ? LIMIT {MOST_PARAMS}"
    )
    return {
        printable(str(key))[:LONGEST_NAME]: str(value)
        for key, value in database.execute(asked, (run_id,))
    }


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, read-only. Raises Unreadable for what is none, or not MLflow's.

    Only real tables are read: a view could compute without end.
    """
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            asked = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
            tables: dict[str, Any] = dict(database.execute(asked))
            plain = {n for n, sql in tables.items() if "VIRTUAL" not in str(sql)[:40].upper()}
            if not plain >= _TABLES:
                raise Unreadable(f"{path}: is a database, but none of MLflow's")
            yield database
    except (sqlite3.Error, ValueError) as error:
        raise Unreadable(f"{path}: cannot be read as MLflow's database: {error}") from None
