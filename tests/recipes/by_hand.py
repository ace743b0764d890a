"""Recipes run by hand, as processes, and what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import traindeck.recipes
from traindeck.core.run.follow import PointTail

FOLDER = Path(traindeck.recipes.__file__).parent
PATIENCE = 240.0  # frameworks take long to load on a busy machine


@dataclass
class Ran:
    """A run that has ended."""

    folder: Path
    code: int
    out: str
    error: str

    @property
    def checkpoints(self) -> list[Path]:
        return sorted((self.folder / "artifacts").glob("checkpoint-*"))

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["type"] == kind]

    def spent(self) -> dict[str, Any]:
        """The last event in which the run said what it has released."""
        return self.events("spend")[-1]

    def series(self) -> dict[str, list[tuple[int, float]]]:
        tail = PointTail(self.folder)
        record = np.dtype([("t", "<f8"), ("step", "<i8"), ("series", "<u4"), ("value", "<f8")])
        points = np.frombuffer(tail.read().data, record)
        return {
            name: [(int(p["step"]), float(p["value"])) for p in points[points["series"] == number]]
            for number, name in enumerate(tail.names)
        }


def start(home: Path, recipe: Path, *flags: object, **environment: str) -> Ran:
    """Run a recipe to its end, in a folder of its own."""
    folder = home.parent / f"run-{len(list(home.parent.iterdir()))}"
    outside = {k: v for k, v in os.environ.items() if not k.startswith("TRAINDECK_")}
    one_core = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(recipe), f"--run-folder={folder}", *map(str, flags)],
        env=outside | {"TRAINDECK_HOME": str(home)} | one_core | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(folder, done.returncode, done.stdout, done.stderr)


def heavy_of_help(recipe: Path, *heavy: str) -> tuple[str, str]:
    """What a recipe prints for `--help`, and which of these modules it imports to do so."""
    script = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"except SystemExit: print(sorted(set({heavy!r}) & set(sys.modules)))"
    )
    words = [sys.executable, "-c", script, str(recipe), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    text, _, imported = done.stdout.strip().rpartition("\n")
    return text, imported
