"""Runs of which nothing is left but what they printed: a log, read as that of a live run is."""

from __future__ import annotations

import os
from pathlib import Path

from traindeck.core.base.files import reading
from traindeck.core.exchange.printed import StdoutMetrics
from traindeck.core.exchange.runs import OutsideRun, Points, Unreadable

_READ_BYTES = 1 << 18
_CLAIM_BYTES = 1 << 18
MOST_BYTES = 4 << 30


def claims(path: Path) -> bool:
    """Whether metrics are understood in how a log begins."""
    try:
        with reading(path) as file:
            metrics = StdoutMetrics()
            return bool(metrics.feed(file.read(_CLAIM_BYTES)) or metrics.finish())
    except OSError:
        return False


def read(path: Path, name: str = "") -> OutsideRun:
    """The run of one log. Raises Unreadable, OSError.

    A log says nothing of when its lines were written that could be trusted: all points have the
    file's time of change.
    """
    run = OutsideRun("a log", path, name or path.stem, Points(path))
    metrics = StdoutMetrics()
    with reading(path, follow=True) as file:
        info = os.fstat(file.fileno())
        if info.st_size > MOST_BYTES:
            raise Unreadable(f"{path}: a log of more than {MOST_BYTES >> 30} GiB; cut it first")
        while block := file.read(_READ_BYTES):
            for step, name_, value in metrics.feed(block):
                run.points.add(name_, info.st_mtime, step, value)
        for step, name_, value in metrics.finish():
            run.points.add(name_, info.st_mtime, step, value)
    if not run.points.count:
        raise Unreadable(
            f"{path}: no line of it is understood as metrics; `traindeck import` reads CSV, JSON"
            " lines, TensorBoard's, MLflow's and W&B's files, and logs with named values"
        )
    return run
