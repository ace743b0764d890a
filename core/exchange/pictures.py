"""What a run showed, as files that people open: pictures, texts, tables and histograms as CSV.

A folder for each name, in it a file for each step; histograms of a name are one file.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindeck.core.base.files import reading
from traindeck.core.run import media
from traindeck.core.run.media import Shown

FOLDER = "media"
HISTOGRAMS = "histograms.csv"
_ODD = re.compile(r"[^\w.-]+")
_LONGEST = 100


def found(run: Path, private: bool) -> tuple[list[Shown], int]:
    """What a run showed, in order, and how much of it is private and left out. Raises OSError."""
    try:
        with reading(run / media.LOG) as file:
            shown = [one for line in file if (one := media.parse(line)) is not None]
    except FileNotFoundError:
        return [], 0
    kept = [one for one in shown if private or not one.private]
    return kept, len(shown) - len(kept)


def write(folder: Path, run: Path, shown: Sequence[Shown]) -> None:
    """Write it below a folder. Raises OSError; a picture that has gone is left out."""
    places: dict[str, Path] = {}
    taken: Counter[str] = Counter()
    for one in shown:
        place = places.get(one.name)
        if place is None:
            said = _ODD.sub("_", one.name)[:_LONGEST].strip("._") or "_"
            taken[said.casefold()] += 1
            number = taken[said.casefold()]
            place = places[one.name] = folder / (said if number == 1 else f"{said}~{number}")
            place.mkdir()
        _write(place, run, one)


def _write(place: Path, run: Path, one: Shown) -> None:
    if one.kind == "histogram":
        _add_histogram(place / HISTOGRAMS, one)
    elif one.kind == "text":
        _free(place, one.step, ".txt").write_text(one.content["text"], "utf-8", "replace")
    elif one.kind == "table":
        _rows(_free(place, one.step, ".csv"), [one.content["columns"], *one.content["rows"]])
    else:
        source = run / one.content["path"]
        try:
            with reading(source) as file, _free(place, one.step, source.suffix).open("wb") as copy:
                shutil.copyfileobj(file, copy)
        except FileNotFoundError:
            return


def _add_histogram(path: Path, one: Shown) -> None:
    edges, counts = one.content["edges"], one.content["counts"]
    bins = [[one.step, *bin] for bin in zip(edges, edges[1:], counts, strict=False)]
    head = [] if path.exists() else [["step", "from", "to", "count"]]
    _rows(path, [*head, *bins])


def _rows(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("a", encoding="utf-8", errors="replace", newline="") as file:
        csv.writer(file).writerows(rows)


def _free(place: Path, step: int, suffix: str) -> Path:
    """A file for a step; of a step that was shown twice, the second is `…~2`."""
    path, number = place / f"{step:010d}{suffix}", 1
    while path.exists():
        number += 1
        path = place / f"{step:010d}~{number}{suffix}"
    return path
