"""Stand-ins for Flower's commands, and the recipe started over them."""

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
from traindeck.recipes.shared.federated.flower.env import VARIABLE

RECIPE = Path(traindeck.recipes.__file__).parent / "flower" / "fedavg.py"
PATIENCE = 600.0
LAYERS = (32, 64), (32,), (10, 32), (10,)  # as PyTorch has them, of 8×8 images
NODES = {"owner-1": "11", "owner-2": "22", "owner-3": "33"}
STAND_IN = """#!{python}
import json, os, pathlib, socket, subprocess, sys, time, tomllib
root = pathlib.Path(__file__).parent.parent
name = pathlib.Path(__file__).name
flags = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
folder = lambda text: pathlib.Path(json.loads(text.split("=", 1)[1]))
def say(where, lines):
    with (where / "journal.jsonl").open("a") as file:
        for line in lines:
            print(json.dumps(line), file=file, flush=True)
            time.sleep(0.02)
if name == "flower-superlink":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    server = socket.create_server(("127.0.0.1", int(flags["--port"])))
    time.sleep(600)
if name == "flower-supernode":
    own = folder(flags["--node-config"])
    print("INFO : SuperNode ID:", json.loads((root / "nodes.json").read_text())[own.name])
    sys.stdout.flush()
    if own.name == (root / "silent").read_text():
        time.sleep(600)
    assert (own / "data.npz").stat().st_mode & 0o777 == 0o600
    nodes = json.loads((root / "nodes.json").read_text())
    say(own, [{{"type": "message", "node": nodes[own.name], "round": 1}}])
    if own.name == (root / "dies").read_text():
        time.sleep(1.0)
        sys.exit("Error: the connection was refused")
    time.sleep(600)
if name == "flwr":
    given = tomllib.loads(pathlib.Path(flags["--run-config"]).read_text())
    here = pathlib.Path(given["folder"])
    (here / "weights.npz").write_bytes((root / "weights.npz").read_bytes())
    (here / "told.json").write_text(json.dumps(dict(os.environ)))
    logs = [here / (own + ".log") for own in json.loads((root / "nodes.json").read_text())]
    while not all("SuperNode ID" in log.read_text() for log in logs):
        time.sleep(0.02)
    joined, board = time.time(), here.parent / "coordinator.json"
    while board.stat().st_mtime <= joined or json.loads(board.read_text())["waiting_for"]:
        time.sleep(0.02)
    say(here, json.loads((root / "says.json").read_text()))
    ends = (root / "ends").read_text()
    if ends:
        sys.exit(int(ends) and "the app could not be read")
    time.sleep(600)
"""


def a_round(number: int, **lost: dict[str, str]) -> list[dict[str, Any]]:
    """What the aggregator writes of one round; nodes are `late` or `wrong`, with the reason."""
    facts = {"seconds": 1.5, "loss": 0.5, "accuracy": 0.8, "late": {}, "wrong": {}}
    return [
        {"type": "waiting", "round": number, "nodes": list(NODES.values())},
        {"type": "waiting", "round": number, "nodes": list(lost.get("late", ()))},
        {"type": "round", "round": number, **facts, **lost},
    ]


@dataclass
class StandIn:
    """An environment whose Flower does as it is told."""

    root: Path

    def does(
        self, says: list[dict[str, Any]], ends: str = "", dies: str = "", silent: str = ""
    ) -> None:
        (self.root / "says.json").write_text(json.dumps(says))
        (self.root / "nodes.json").write_text(json.dumps(NODES))
        (self.root / "ends").write_text(ends)
        (self.root / "dies").write_text(dies)
        (self.root / "silent").write_text(silent)
        np.savez(self.root / "weights.npz", *(np.zeros(shape, np.float32) for shape in LAYERS))


def packages(root: Path, *names: str) -> None:
    for name in names:
        (root / f"lib/python3.11/site-packages/{name}.dist-info").mkdir(parents=True)


def words(folder: Path, *flags: object) -> list[str]:
    return [sys.executable, str(RECIPE), f"--run-folder={folder}", *map(str, flags)]


def surroundings(tmp_path: Path, flower: str | Path = "") -> dict[str, str]:
    outside = {k: v for k, v in os.environ.items() if not k.startswith("TRAINDECK_")}
    return outside | {"TRAINDECK_HOME": str(tmp_path / "home"), VARIABLE: str(flower)}


def train(tmp_path: Path, flower: str | Path, *flags: object, code: int = 0) -> str:
    """Run the recipe to its end; what it printed on stdout, or on stderr if it had to fail."""
    done = subprocess.run(
        words(tmp_path / "run", *flags),
        env=surroundings(tmp_path, flower),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def series(folder: Path) -> dict[str, list[tuple[int, float]]]:
    tail = PointTail(folder)
    record = np.dtype([("t", "<f8"), ("step", "<i8"), ("series", "<u4"), ("value", "<f8")])
    points = np.frombuffer(tail.read().data, record)
    return {
        name: [(int(p["step"]), float(p["value"])) for p in points[points["series"] == number]]
        for number, name in enumerate(tail.names)
    }


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == kind]
