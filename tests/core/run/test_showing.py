"""What a recipe shows besides numbers, as it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from traindeck.core.run import media
from traindeck.core.run.media import Shown
from traindeck.core.run.showing import BINS
from traindeck.core.track import Run
from traindeck.tui.readers.images import read_image


def shown(folder: Path) -> list[Shown]:
    lines = (folder / "media.jsonl").read_bytes().splitlines()
    found = [media.parse(line) for line in lines]
    assert None not in found
    return [one for one in found if one]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(folder=tmp_path, managed=True)


PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (PICTURE, PICTURE),
        (np.moveaxis(PICTURE, 2, 0), PICTURE),
        (PICTURE / 255, PICTURE),
        (PICTURE[:, :, 0], np.repeat(PICTURE[:, :, :1], 3, 2)),
        ([[0, 255], [255, 0]], np.repeat([[[0], [255]], [[255], [0]]], 3, 2)),
        (np.array([[True, False]]), np.repeat([[[255], [0]]], 3, 2)),
        (np.dstack([PICTURE, np.full((4, 6), 255)]), PICTURE),
    ],
)
def test_pictures_are_kept_as_they_were(run: Run, tmp_path: Path, given: Any, seen: Any) -> None:
    run.image(7, "samples", given)
    [one] = shown(tmp_path)
    assert (one.kind, one.name, one.step, one.private) == ("image", "samples", 7, False)
    assert np.array_equal(read_image(tmp_path / one.content["path"]).rgb, seen)


def test_a_file_is_copied(run: Run, tmp_path: Path) -> None:
    run.image(1, "a", PICTURE)
    kept = tmp_path / shown(tmp_path)[0].content["path"]
    run.image(2, "b", kept)
    run.image(3, "c", str(kept))
    assert [(tmp_path / one.content["path"]).read_bytes() for one in shown(tmp_path)] == [
        kept.read_bytes()
    ] * 3


def test_histograms_count_what_is_finite(run: Run, tmp_path: Path) -> None:
    run.histogram(1, "weights", [[0.0, 1.0, 1.0], [2.0, float("nan"), float("inf")]])
    run.histogram(2, "weights", np.zeros(5))
    first, second = (one.content for one in shown(tmp_path))
    assert (len(first["counts"]), sum(first["counts"]), first["left_out"]) == (BINS, 4, 2)
    assert (first["edges"][0], first["edges"][-1]) == (0.0, 2.0)
    assert sum(second["counts"]) == 5 and second["edges"][0] < 0 < second["edges"][-1]


def test_texts_and_tables(run: Run, tmp_path: Path) -> None:
    run.text(1, "sample", "once upon\na time")
    run.table(1, "confusion", [[5, np.int64(1)], [np.float32(0.5), float("nan")]], ["cat", "dog"])
    run.table(2, "mistakes", ({"image": n, "said": "cat"} for n in range(5000)))
    text, confusion, mistakes = shown(tmp_path)
    assert text.content == {"text": "once upon\na time"}
    assert confusion.content == {"columns": ["cat", "dog"], "rows": [[5, 1], [0.5, "nan"]]}
    assert mistakes.content["columns"] == ["image", "said"]
    assert len(mistakes.content["rows"]) == 1000


def test_all_of_a_private_run_is_private_unless_it_is_vouched_for(tmp_path: Path) -> None:
    run = Run(folder=tmp_path, managed=True)
    run._private = True
    run.image(1, "batch", PICTURE)
    run.text(1, "private/words", "w")
    run.histogram(1, "weights", [1, 2], public=True)
    names = [(one.name, one.private) for one in shown(tmp_path)]
    assert names == [("private/batch", True), ("private/words", True), ("weights", False)]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda run: run.image(1, "a", np.zeros((2, 3, 5, 7))),
        lambda run: run.image(1, "a", np.zeros((5000, 5000))),
        lambda run: run.image(1, "a", "/no/such.png"),
        lambda run: run.image(1, "a", "train.py"),
        lambda run: run.histogram(1, "a", [float("nan")]),
        lambda run: run.table(1, "a", [[1, 2], [3]]),
        lambda run: run.table(1, "a", [["x" * 150] * 2] * 1000),
    ],
)
def test_what_cannot_be_kept_costs_a_warning(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: Any
) -> None:
    wrong(run)
    assert "training goes on" in capsys.readouterr().err
    assert not (tmp_path / "media.jsonl").exists()


def test_by_hand_without_a_folder_nothing_is_kept() -> None:
    Run(managed=True).image(1, "a", PICTURE)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"kind": "film"},
        {"step": "1"},
        {"name": None},
        {"path": "media/../../secret.png"},
        {"path": "/etc/passwd"},
        {"path": "elsewhere/x.png"},
        {"kind": "histogram", "edges": [0, 1], "counts": [1, 2]},
        {"kind": "histogram", "edges": [1, 0], "counts": [1]},
        {"kind": "histogram", "edges": [0, 1], "counts": [-1]},
        {"kind": "table", "columns": ["a"], "rows": [[1, 2]]},
        {"kind": "text", "text": 3},
    ],
)
def test_foreign_lines_are_left_out(change: dict[str, Any]) -> None:
    line = {"v": 1, "t": 1.0, "kind": "image", "name": "a", "step": 1, "path": "media/x.png"}
    assert media.parse(json.dumps(line).encode())
    assert media.parse(json.dumps({**line, **change}).encode()) is None
