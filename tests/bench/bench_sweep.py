"""What a sweep costs above its trials: seconds a trial, beside optuna alone and Ray Tune.

    python tests/bench/bench_sweep.py [--trials 20] [--ray PYTHON]

Each searches the same two parameters of the same script, which ends at once, one trial after the
other; what the script takes alone (the median of nine, in between) is taken off. traindeck's trial
is a run with its folder, supervisor and log; optuna's and Ray's start the script and read what it
prints. `--ray` names an interpreter that has Ray Tune.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.common import head, row, throwaway_home
from traindeck.core.base.home import Home
from traindeck.core.recipe.read import read_recipe
from traindeck.core.sweeps import begin
from traindeck.core.sweeps.study import FINISHED, SweepRequest

SCRIPT = """\
# /// script
# [tool.traindeck]
# name = "swept"
# headline = "loss"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.1
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 64
# ///
from traindeck.core import track

with track.start() as run:
    run.log(1, loss=(run.params.lr - 0.01) ** 2 + run.params.batch_size / 1e6)
"""
OPTUNA = """\
import subprocess, sys, time
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
script, trials, place = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def objective(trial):
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    batch = trial.suggest_categorical("batch_size", [64, 128, 256])
    words = [sys.executable, script, f"--lr={lr}", f"--batch-size={batch}"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float(said.split()[-1])
study = optuna.create_study(storage=place or None, sampler=optuna.samplers.TPESampler(seed=0))
begun = time.perf_counter()
study.optimize(objective, n_trials=trials)
print((time.perf_counter() - begun) / trials)
"""
RAY = """\
import subprocess, sys, time
from ray import tune
script, trials, python = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def objective(config):
    words = [python, script, f"--lr={config['lr']}", f"--batch-size={config['batch_size']}"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return {"loss": float(said.split()[-1])}
space = {"lr": tune.loguniform(1e-4, 1e-1), "batch_size": tune.choice([64, 128, 256])}
options = tune.TuneConfig(num_samples=trials, max_concurrent_trials=1, metric="loss", mode="min")
begun = time.perf_counter()
tune.Tuner(objective, param_space=space, tune_config=options).fit()
print((time.perf_counter() - begun) / trials)
"""


def alone(script: Path) -> float:
    """Seconds that the script takes by itself: the median of nine."""
    taken = []
    for _ in range(9):
        begun = time.perf_counter()
        subprocess.run([sys.executable, script], check=True, capture_output=True)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def by_traindeck(home: Home, script: Path, trials: int, at_once: int) -> float:
    """Seconds a trial, from the command's start to the sweep's end."""
    request = SweepRequest(
        recipe=read_recipe(script),
        typed={"lr": "log:1e-4..1e-1", "batch_size": "64,128,256"},
        trials=trials,
        series="loss",
        direction="minimize",
        at_once=at_once,
    )
    begun = time.perf_counter()
    folder = begin.begin(home, request)
    while folder.driven():
        time.sleep(0.01)
    taken = (time.perf_counter() - begun) / trials
    assert folder.state()[0] == FINISHED, folder.state()
    return taken


def by_program(python: str, program: str, *words: str) -> float:
    """Seconds a trial, as a program that searches says at its end."""
    done = subprocess.run([python, "-c", program, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--ray", metavar="PYTHON", help="an interpreter that has Ray Tune")
    options = parser.parse_args(words)
    trials = str(options.trials)
    with throwaway_home() as home:
        script = home.root.parent / "swept.py"
        script.write_text(SCRIPT)
        head(f"a sweep of {trials} trials, seconds a trial above the script alone")
        figures: dict[str, float] = {}

        def measured(what: str, wanted: str, taken: float, bare: float) -> None:
            figures[what] = round(taken - bare, 3)
            row(what, f"{taken - bare:.3f} s ({taken:.3f} of which alone {bare:.3f})", wanted)

        for at_once in (1, 2):
            bare = alone(script)
            taken = by_traindeck(home, script, options.trials, at_once)
            measured(f"traindeck, {at_once} at once", "", taken, bare)
        bare = alone(script)
        taken = by_program(sys.executable, OPTUNA, str(script), trials, "")
        measured("optuna alone, in memory", "", taken, bare)
        place = f"sqlite:///{home.root.parent}/optuna.db"
        taken = by_program(sys.executable, OPTUNA, str(script), trials, place)
        measured("optuna alone, in SQLite", "", taken, bare)
        if options.ray:
            taken = by_program(options.ray, RAY, str(script), trials, sys.executable)
            measured("Ray Tune", "", taken, alone(script))
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
