"""Accuracy and wall time of the built-in recipes, each at its defaults, in each of its modes.

    python tests/bench/bench_recipes.py [--only RECIPE]... [--all-modes] [--epochs N]

Needs MNIST (see the recipes' --data-dir). Reach: torch-mnist and tf-mnist at least 98.5 % within
3 minutes on 2 cores at their defaults; the digits recipes at least 95 % in seconds.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import traindeck.recipes
from traindeck.core.recipe.read import discover
from traindeck.core.recipe.recipe import Recipe

REACH = {  # least accuracy, most seconds
    "torch-digits": (0.95, 30),
    "tf-digits": (0.95, 30),
    "torch-mnist": (0.985, 180),
    "tf-mnist": (0.985, 180),
}
RESULT = re.compile(r"test accuracy ([0-9.]+)")


def measure(recipe: Recipe, flags: list[str]) -> tuple[float, float, float]:
    """Test accuracy at the end, seconds until the first epoch's end began to print, seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(recipe.path), f"--run-folder={folder}", *flags]
        began, first, accuracy = time.perf_counter(), 0.0, 0.0
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                match = RESULT.search(line)
                if match:
                    accuracy = float(match[1])
                    first = first or time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"{recipe.name} ended with exit code {process.returncode}")
    return accuracy, first, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="RECIPE", choices=list(REACH))
    parser.add_argument("--all-modes", action="store_true", help="not only each default mode")
    parser.add_argument("--epochs", type=int, help="in place of each recipe's default")
    given = parser.parse_args()
    folder = Path(traindeck.recipes.__file__).parent
    recipes = {recipe.name: recipe for recipe in discover([(folder, "built-in", False)])[0]}
    print(f"{'recipe':<14}{'mode':<8}{'accuracy':>9}{'1st epoch':>11}{'wall':>9}  reach")
    for name in given.only or REACH:
        recipe = recipes[name]
        mode = recipe.params["mode"]
        for value in mode.choices if given.all_modes else (str(mode.default),):
            flags = [f"--mode={value}"] + ([f"--epochs={given.epochs}"] if given.epochs else [])
            accuracy, first, wall = measure(recipe, flags)
            verdict = ""
            if value == mode.default and not given.epochs:
                least, most = REACH[name]
                good = accuracy >= least and wall <= most
                verdict = f"{'reached' if good else 'MISSED'} ({least:.1%} within {most} s)"
            print(
                f"{name:<14}{value:<8}{accuracy:>9.2%}{first:>9.1f} s{wall:>7.1f} s  {verdict}",
                flush=True,
            )


if __name__ == "__main__":
    main()
