"""Seconds a round of Flower's SecAgg+ between a SuperLink and SuperNodes, and where they go.

    TRAINDECK_FLOWER=ENVIRONMENT python tests/bench/bench_flower.py [--rounds N] [--no-secagg]

Three owners, 25,450 parameters, 12,000 images of MNIST by Dirichlet 0.5, one local epoch of batches
of 32: the setting of bench_federation.py, to be put beside it. The first round is left out. Each
stage of a round (four with SecAgg+, one without) is cut in three:

    start   from the aggregator's message until the last owner's app runs: a SuperNode looks for
            messages every 3 s, and starts a new Python process for each
    work    until the last owner's app has answered: keys, shares, training, masks
    return  until the aggregator has all answers: a SuperNode looks for them every 0.5 s
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import traindeck.recipes

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.bench.common import head, row

RECIPE = Path(traindeck.recipes.__file__).parent / "flower" / "fedavg.py"
SETTING = ("--dataset=mnist", "--examples=12000", "--owners=3", "--split=dirichlet", "--alpha=0.5")
TRAINING = ("--epochs=1", "--batch-size=32", "--lr=0.05", "--patience=600")
PARAMETERS = 25_450


@dataclass
class Shares:
    """Seconds of all stages of a round together."""

    start: float = 0.0
    work: float = 0.0
    back: float = 0.0


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def shares(federation: Path, number: int, owners: int) -> Shares:
    """Where the seconds of a round went, from what its parties wrote down."""
    said = lines(federation / "flower" / "journal.jsonl")
    waiting = [line for line in said if line["type"] == "waiting" and line["round"] == number]
    sent = [line["t"] for line in waiting if len(line["nodes"]) == owners]
    back = [line["t"] for line in waiting if not line["nodes"]]
    apps: dict[str, list[list[float]]] = {"message": [], "sent": []}
    for path in sorted(federation.glob("owners/*/journal.jsonl")):
        own = [line for line in lines(path) if line["round"] == number]
        for kind, times in apps.items():
            times.append([line["t"] for line in own if line["type"] == kind])
    total = Shares()
    for stage, (at, end) in enumerate(zip(sent, back, strict=True)):
        running, done = (max(times[stage] for times in apps[kind]) for kind in apps)
        total.start += running - at
        total.work += done - running
        total.back += end - done
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--secagg", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    way = "SecAgg+" if given.secagg else "plain"
    head(f"Flower, {way}, 3 owners on this machine, TLS")
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(RECIPE), f"--run-folder={folder}", *SETTING, *TRAINING]
        words += [f"--rounds={given.rounds}", "--secagg" if given.secagg else "--no-secagg"]
        done = subprocess.run(words, env=os.environ, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        federation = Path(folder) / "federation"
        rounds = json.loads((federation / "coordinator.json").read_text())["rounds"]
        with np.load(federation / "flower" / "weights.npz", allow_pickle=False) as weights:
            assert sum(array.size for array in weights.values()) == PARAMETERS
        parts = [shares(federation, one["number"], 3) for one in rounds[1:] or rounds]
        owners = [json.loads(path.read_text()) for path in federation.glob("owners/*/status.json")]
    seconds = [one["seconds"] for one in rounds[1:] or rounds]
    median = statistics.median(seconds)
    row("seconds a round, median", f"{median:.1f} ({min(seconds):.1f} to {max(seconds):.1f})")
    row("rounds a minute", f"{60 / median:.2f}")
    for name in ("start", "work", "back"):
        spent = statistics.median(getattr(part, name) for part in parts)
        row(f"  of a round: {name.replace('back', 'return')}", f"{spent:.1f} s")
    cpu = sum(owner["cpu_seconds"] for owner in owners) / len(rounds)
    row("CPU of all owners' processes a round", f"{cpu:.1f} s")
    out = sum(sum(owner["bytes_out"].values()) for owner in owners) / len(owners) / len(rounds)
    row("bytes that leave an owner a round", f"{out:,.0f}")
    row(f"accuracy after {len(rounds)} rounds", f"{rounds[-1]['accuracy']:.4f}")


if __name__ == "__main__":
    main()
