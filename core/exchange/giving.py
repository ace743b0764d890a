"""Runs of ours in other tools' formats, by the names that people type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from traindeck.core.exchange import csv, jsonl, mlflow_write, parquet, pictures
from traindeck.core.exchange.own import folder_name, put, swap
from traindeck.core.exchange.runs import OutsideRun
from traindeck.core.exchange.tensorboard import write as tensorboard

_FILES: dict[str, Callable[[Path, OutsideRun], None]] = {
    "csv": csv.write,
    "jsonl": jsonl.write,
    "parquet": parquet.write,
    "tensorboard": tensorboard.write,
}
MLFLOW, STORE = "mlflow", "mlruns"
MEDIA = "media"


def give(run: OutsideRun, formats: Sequence[str], into: Path, private: bool = False) -> list[Path]:
    """Write a run in some formats into a folder; returns the folders it then lies in.

    What was written of it before is replaced. `private` is whether what it showed of private
    training data goes too. Raises OSError.
    """
    places = []
    if chosen := [_FILES[each] for each in formats if each in _FILES]:
        places.append(put(into, folder_name(run), partial(_all, chosen, run)))
    if MLFLOW in formats:
        store = into if into.name == STORE else into / STORE  # MLflow wants it for itself
        places.append(mlflow_write.write(store, run))
    if MEDIA in formats:
        shown, _ = pictures.found(run.place, private)
        if shown:
            write = partial(pictures.write, run=run.place, shown=shown)
            places.append(swap(into / folder_name(run), pictures.FOLDER, write))
    return places


def _all(chosen: Sequence[Callable[[Path, OutsideRun], None]], run: OutsideRun, at: Path) -> None:
    for write in chosen:
        write(at, run)
