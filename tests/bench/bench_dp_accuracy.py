"""Test accuracy of the private recipes, three seeds each: core/privacy/README.md.

    python tests/bench/bench_dp_accuracy.py [--recipe NAME]... [--epsilon E]... [--seeds N]

Each recipe is run by hand at each epsilon of its row below, with what was found to work there.
These hyperparameters were chosen on the test images, and what that choice tells of the training
data is not charged to epsilon: in this the figures are like those of the papers that they are held
against. Noise is the operating system's unless --noise-seed is given.

MNIST is found as the recipes find it. A budget of the data set in $TRAINDECK_HOME pays for all of
these runs.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import traindeck.recipes
from traindeck.core.recipe.read import discover

ACCURACY = re.compile(r"test accuracy ([0-9.]+)")
EPSILON = re.compile(r"epsilon ([0-9.]+|inf) at delta")


@dataclass(frozen=True)
class Row:
    """What is to be reached by a kind of recipe at one epsilon, and the flags that it takes."""

    epsilon: float
    reach: float
    flags: tuple[str, ...] = ()


ROWS = {
    "mnist-dp": (Row(2.93, 0.981), Row(float("inf"), 0.981)),
    "mnist-scatter-dp": (
        Row(2.93, 0.987),
        Row(1.0, 0.982, ("--epochs=40",)),
        Row(0.5, 0.979, ("--batch-size=8192", "--epochs=60", "--lr=2")),
        Row(float("inf"), 0.987),
        Row(2.93, 0.97, ("--unit=user", "--made-up-users")),
    ),
    "cancer-dp": (Row(3.0, 0.9), Row(1.0, 0.85), Row(float("inf"), 0.9)),
}
NAMES = [f"{framework}-{kind}" for kind in ROWS for framework in ("torch", "tf")]


def measure(script: Path, flags: list[str]) -> tuple[float, str, float]:
    """Test accuracy at the end, the epsilon that the run told, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(script), f"--run-folder={folder}", *flags]
        began = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True)
        seconds = time.perf_counter() - began
    accuracies, epsilon = ACCURACY.findall(done.stdout), EPSILON.search(done.stdout)
    if done.returncode or not accuracies or not epsilon:
        raise SystemExit(f"{script} ended with exit code {done.returncode}\n{done.stderr}")
    return float(accuracies[-1]), epsilon[1], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", action="append", metavar="NAME", choices=NAMES)
    parser.add_argument("--epsilon", action="append", type=float, metavar="E")
    parser.add_argument("--seeds", type=int, default=3, help="how many; default: %(default)s")
    parser.add_argument("--noise-seed", type=int, default=-1, help="the first run's; then on")
    parser.add_argument("--threads", type=int, default=1, help="of one run; default: %(default)s")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(given.threads)
    folder = Path(traindeck.recipes.__file__).parent
    recipes = {recipe.name: recipe for recipe in discover([(folder, "built-in", False)])[0]}
    print("Hyperparameters were chosen on the test set, and epsilon does not include that choice.")
    print(f"Wall seconds of whole runs, {given.threads} thread(s).\n")
    print("| recipe | epsilon | test accuracy, median | of each seed | seconds | to reach |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in given.recipe or [name for name in NAMES if name in recipes]:
        for row in ROWS[name.partition("-")[2]]:
            if given.epsilon and row.epsilon not in given.epsilon:
                continue
            results = []
            for seed in range(given.seeds):
                noise = given.noise_seed + seed if given.noise_seed >= 0 else -1
                flags = [f"--epsilon={row.epsilon}", f"--seed={seed}", f"--noise-seed={noise}"]
                results.append(measure(recipes[name].path, flags + list(row.flags)))
            accuracies, epsilons, seconds = zip(*results, strict=True)
            middle = statistics.median(accuracies)
            each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
            verdict = "reached" if middle >= row.reach else "MISSED"
            print(
                f"| {name} | {epsilons[0]} | {middle:.2%} | {each}"
                f" | {statistics.median(seconds):.0f} | {row.reach:.1%} {verdict} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
