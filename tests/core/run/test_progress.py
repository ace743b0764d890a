"""How far a run said it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from traindeck.core.run.points import PROGRESS, PointWriter, summarize
from traindeck.core.run.progress import first_progress, last_progress
from traindeck.core.track import Run


def said(folder: Path, *steps: int) -> None:
    writer = PointWriter(folder)
    for step in steps:
        writer.add(step, {PROGRESS: 10.0}, when=100.0 + step)
    writer.close()


def test_progress_is_found_from_the_end(tmp_path: Path) -> None:
    writer = PointWriter(tmp_path)
    writer.add(3, {PROGRESS: 10.0})
    for step in range(10000):
        writer.add(step, {"loss": 1.0})
    writer.close()
    writer = PointWriter(tmp_path)
    writer.add(4, {PROGRESS: 10.0}, when=7.0)
    writer.close()
    assert last_progress(tmp_path) == (7.0, 4, 10.0)
    assert (first_progress(tmp_path) or (0, 0))[1] == 3
    assert summarize(tmp_path).keys() == {"loss"}


def test_where_it_began_is_known_while_more_is_written(tmp_path: Path) -> None:
    assert first_progress(tmp_path) is None
    said(tmp_path, 2, 3)
    assert first_progress(tmp_path) == (102.0, 2)
    said(tmp_path, 4)
    assert first_progress(tmp_path) == (102.0, 2)
    said(tmp_path, 1, 2)
    assert first_progress(tmp_path) == (101.0, 1), "it began anew"


def test_where_it_began_is_that_of_the_file_that_lies_there(tmp_path: Path) -> None:
    said(tmp_path, 2, 3)
    assert first_progress(tmp_path) == (102.0, 2)
    (tmp_path / "points.bin").rename(tmp_path / "before")
    said(tmp_path, 5, 6, 7)
    assert first_progress(tmp_path) == (105.0, 5)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([(1, 3), (3, 3)], (3, 3.0)),
        ([(0.4, 1.5), (1.5, 1.5)], (1500, 1500.0)),
        ([(1, 3), (1.25, 3), (3, 3)], (3000, 3000.0)),
        ([(0.35, 1)], (350, 1000.0)),
        ([(np.float32(0.5), np.int64(2)), (np.int64(2), np.int64(2))], (2000, 2000.0)),
        ([(5, float("inf"))], (5, float("inf"))),
    ],
)
def test_parts_of_a_unit_are_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[tuple[float, float]],
    expected: tuple[int, float],
) -> None:
    monkeypatch.setattr("traindeck.core.track.PROGRESS_SECONDS", 0.0)
    with Run(folder=tmp_path / "run") as run:
        for done, total in told:
            run.progress(done, total)
    assert (last_progress(tmp_path / "run") or ())[1:] == expected
