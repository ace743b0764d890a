"""The comparison as a whole: six axes, the twins' curves, the machine, and every run behind it."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from traindeck.core.base.home import Home
from traindeck.core.base.installed import installed
from traindeck.core.catalogue.library import Library
from traindeck.core.versus import axes, guarded
from traindeck.core.versus.evidence import Evidence, Measured, gather
from traindeck.core.versus.measured import Axis, finite
from traindeck.core.versus.pairs import LOAD_TAG, Suite

MOST_POINTS = 200
VERSIONS = ("torch", "tensorflow", "keras", "syft", "numpy", "traindeck")


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's series: steps and values, at most 200 of them."""

    run: str
    side: int
    series: str
    points: tuple[tuple[float, float], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Used:
    """A run that is evidence: what was typed, and under which load of the machine it began."""

    id: str
    name: str
    command: str
    seed: str
    seconds: float | None
    load: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown. `curves` are those of the twins."""

    title: str
    labels: tuple[str, str]
    recipes: tuple[str, str]
    axes: tuple[Axis, ...]
    curves: tuple[Curve, ...]
    runs: tuple[Used, ...]
    machine: dict[str, str]
    versions: dict[str, str]
    created: float = field(compare=False)

    @property
    def missing(self) -> int:
        """Indicators of which a side was not measured."""
        return sum(None in one.sides for axis in self.axes for one in axis.indicators)

    @property
    def command(self) -> str:
        """The shortest `traindeck versus run` that makes some of what is missing, or ""."""
        made = {one.make for axis in self.axes for one in axis.indicators if None in one.sides}
        return min((words for words in made if words.startswith(axes.RUN)), key=len, default="")

    @property
    def count(self) -> int:
        return sum(len(axis.indicators) for axis in self.axes)

    def series(self) -> list[str]:
        """The series that both sides have, in their order."""
        names = dict.fromkeys(curve.series for curve in self.curves)
        return [
            name
            for name in names
            if {curve.side for curve in self.curves if curve.series == name} == {0, 1}
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "labels": list(self.labels),
            "recipes": list(self.recipes),
            "created": self.created,
            "machine": self.machine,
            "versions": self.versions,
            "command": self.command,
            "axes": [axis.to_json(self.labels) for axis in self.axes],
            "curves": [
                {
                    "run": curve.run,
                    "side": curve.side,
                    "series": curve.series,
                    "points": [[step, finite(value)] for step, value in curve.points],
                }
                for curve in self.curves
            ],
            "runs": [
                {key: getattr(run, key) for key in Used.__dataclass_fields__} for run in self.runs
            ],
        }


def make(
    home: Home,
    suite: Suite,
    *,
    library: Library | None = None,
    devices: Callable[[], list[str]] | None = None,
) -> Report:
    """The report of what there is now; takes a second. Raises OSError, CatalogueError."""
    evidence = gather(home, suite, library)
    return Report(
        title=_title(suite),
        labels=suite.labels,
        recipes=(suite.sides[0].recipe.name, suite.sides[1].recipe.name),
        axes=(
            axes.ease(evidence),
            axes.paradigm(evidence),
            axes.ecosystem(evidence),
            guarded.privacy(evidence),
            guarded.hardware(evidence, (devices or found_devices)()),
            axes.deployment(evidence),
        ),
        curves=_curves(evidence),
        runs=tuple(_used(run) for run in evidence.used()),
        machine=machine(),
        versions=versions(),
        created=time.time(),
    )


def found_devices() -> list[str]:
    """The devices that this machine can train on, in words."""
    from traindeck.core.devices.inventory import discover

    inventory = discover()
    cpu = inventory.cpu
    words = [f"{cpu.model}, {len(cpu.usable_cores)} cores"]
    return words + [f"{item.label} {item.name}" for item in (*inventory.gpus, *inventory.tpus)]


def machine() -> dict[str, str]:
    """Where the report is made, and how busy it is."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return {
        "system": platform.platform(),
        "processor": f"{platform.machine()}, {os.cpu_count() or 1} cores",
        "python": platform.python_version(),
        "load now": f"{load} (means of 1, 5 and 15 minutes)",
    }


def versions() -> dict[str, str]:
    """Of what is compared, as it is installed beside traindeck."""
    import sys

    there = installed(sys.path)
    return {name: there[name] for name in VERSIONS if name in there}


def _title(suite: Suite) -> str:
    if suite.labels == ("PyTorch", "TensorFlow"):
        return "PySyft with PyTorch against TensorFlow"
    return f"{suite.labels[0]} against {suite.labels[1]}"


def _curves(evidence: Evidence) -> tuple[Curve, ...]:
    made = []
    for side in (0, 1):
        for run in evidence.of("twin", side):
            for series in _plotted(run):
                points = [(float(step), value) for _, step, value in run.points(series)]
                if points:
                    made.append(Curve(run.doc["id"], side, series, _thinned(points)))
    return tuple(made)


def _plotted(run: Measured) -> list[str]:
    """The headline and the losses: the others are times."""
    headline = run.doc["headline"]
    names = [headline] if headline in run.doc["metrics"] else []
    return names + [
        name for name in run.doc["metrics"] if name.endswith("loss") and name != headline
    ]


def _thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most so many of them, evenly, the last among them."""
    every = max(1, -(-len(points) // MOST_POINTS))
    return tuple(points[::-1][::every][::-1])


def _used(run: Measured) -> Used:
    doc = run.doc
    seed = doc["params"].get("seed")
    return Used(
        doc["id"],
        doc["name"],
        " ".join(doc["command"]),
        "" if seed is None else str(seed),
        doc["seconds"],
        _load(run),
    )


def _load(run: Measured) -> float | None:
    """The load under which a run began, as its tag says; else what it measured itself."""
    for tag in run.doc["tags"]:
        if tag.startswith(LOAD_TAG):
            with contextlib.suppress(ValueError):
                return float(tag.removeprefix(LOAD_TAG))
    return run.last("load")
