"""TensorBoard's folders as runs: each folder with event files is one, as TensorBoard shows it.

Folders that are parts of a run (train, validation, test …) are one run together with their parent,
their series prefixed, as they are where a run is followed live; so are those that are named by a
time, in which `add_hparams` writes a run's parameters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from traindeck.core.exchange.merging import Merged
from traindeck.core.exchange.params import HPARAMS, read_params
from traindeck.core.exchange.runs import LONGEST_NAME, OutsideRun, Points, Series, flat
from traindeck.core.exchange.tensorboard.events import EventFile
from traindeck.core.exchange.tensorboard.hparams import read_hparams

PARTS = frozenset({"train", "training", "val", "valid", "validation", "test", "eval", "evaluation"})
_TIME = re.compile(r"1[0-9]{9}(?:\.[0-9]+)?")
_HOST = re.compile(r"tfevents\.\d+\.(.+)\.\d+\.\d+(?:\.v2)?$")
_READ_BYTES = 4 << 20


def belongs_to_parent(folder: Path) -> bool:
    """Whether a folder with event files is part of its parent's run."""
    return folder.name.lower() in PARTS or _TIME.fullmatch(folder.name) is not None


def read(place: Path, files: Sequence[Path], name: str) -> OutsideRun:
    """The run whose event files these are, at or below a folder. Raises Unreadable, OSError."""
    run = OutsideRun("TensorBoard", place, name, Points(place))
    top = place if place.is_dir() else place.parent
    parts = []
    for path in sorted(files, key=_age):
        below = path.parent.relative_to(top).as_posix()
        is_top = below == "." or _TIME.fullmatch(path.parent.name) is not None
        parts.append(_read_file(run, path, "" if is_top else f"{below}/"))
        params, state = read_hparams(path)
        run.params |= flat(params)
        if state:
            run.state, run.reason = state, "as its hparams say"
    _combine(run, parts)
    run.params = {**read_params(top / HPARAMS), **run.params}
    if found := _HOST.search(files[0].name):
        run.source["host"] = found[1]
    return run


def _combine(run: OutsideRun, parts: Sequence[Points]) -> None:
    """Make one set of series of those of several files, by the rule for live ones (`merging`)."""
    several: dict[str, list[Series]] = {}
    for part in parts:
        for name, series in part.series.items():
            several.setdefault(name, []).append(series)
    for name, (first, *others) in several.items():
        run.points.series[name] = first
        merged = Merged(0, partial(list, first))
        for source, other in enumerate(others, 1):
            for point in list(merged.take(source, list(other))):
                first.add(*point)
        if merged.conflict is not None:
            run.remarks.append(
                f"{name}: two files have other values from step {merged.conflict} on; those of the"
                " file that was begun first are taken"
            )
    run.points.count = sum(map(len, run.points.series.values()))


def _read_file(run: OutsideRun, path: Path, prefix: str) -> Points:
    file, points = EventFile(path, prefix), Points(path)
    add = points.add
    while True:
        for when, step, name, value in file.read(_READ_BYTES):
            add(name[:LONGEST_NAME], when, step, value)
        if not file.behind:
            break
    if file.problem:
        run.remarks.append(file.problem)
    return points


def _age(path: Path) -> tuple[int, str]:
    found = re.search(r"tfevents\.(\d{1,12})", path.name)
    return int(found[1]) if found else 0, path.name
