"""What is tried next follows from the runs alone, and gets better."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.core.sweeps.searched import a_design
from traindeck.core.sweeps import sampler
from traindeck.core.sweeps.space import Space, parse
from traindeck.core.sweeps.study import Design
from traindeck.core.sweeps.trials import COMPLETE, FAILED, RUNNING, Attempt, Trial

LR = {"lr": "log:1e-4..1", "n": "1..10", "b": "64,128,256"}


def made(
    number: int,
    values: Mapping[str, Any],
    value: float | None,
    state: str = COMPLETE,
    reports: tuple[float, ...] = (),
) -> Trial:
    run = Attempt(f"{number:08}", number, 0, values, state, "", value, reports, 0.0)
    return Trial(number, values, state, "", value if state == COMPLETE else None, None, (run,))


def loss(values: Mapping[str, Any]) -> float:
    return (math.log10(values["lr"]) + 2) ** 2 + 0.02 * (values.get("n", 6) - 6) ** 2


def search(design: Design, space: Space, trials: int) -> list[Trial]:
    known: list[Trial] = []
    for number in range(trials):
        values = sampler.ask(design, space, known, number)
        assert values is not None
        known.append(made(number, values, loss(values)))
    return known


def test_the_same_runs_make_the_same_question() -> None:
    design, space = a_design(typed=LR), parse(LR, None)
    known = search(design, space, 12)
    assert sampler.ask(design, space, known, 12) == sampler.ask(design, space, known, 12)
    assert sampler.ask(design, space, known, 12) != sampler.ask(design, space, known, 13)


def test_every_value_is_one_that_was_typed() -> None:
    for kind in ("tpe", "random", "cmaes"):
        design, space = a_design(typed=LR, sampler=kind), parse(LR, None)
        for trial in search(design, space, 15):
            assert set(trial.values) == set(LR)
            assert all(one.holds(trial.values[one.name]) for one in space.axes)


@pytest.mark.parametrize("kind", ["tpe", "cmaes"])
def test_what_came_of_trials_is_learned_from(kind: str) -> None:
    """Over five seeds the last ten trials are, in the middle, better than random ones."""
    typed = {"lr": LR["lr"], "n": LR["n"]}
    space = parse(typed, None)
    found: dict[str, list[float]] = {kind: [], "random": []}
    for each, losses in found.items():
        for seed in range(5):
            trials = search(a_design(typed=typed, sampler=each, seed=1000 * seed), space, 40)
            losses += [one.value or 0.0 for one in trials[-10:]]
    middle = {each: sorted(losses)[len(losses) // 2] for each, losses in found.items()}
    assert middle[kind] < middle["random"] / 2


def test_trials_at_once_differ() -> None:
    design, space = a_design(typed=LR), parse(LR, None)
    known = search(design, space, 12)
    for number in range(12, 16):
        values = sampler.ask(design, space, known, number)
        assert values is not None and values not in [one.values for one in known]
        known.append(made(number, values, None, RUNNING))


def test_a_parameter_without_a_say_is_not_asked_for() -> None:
    typed = {"lr": LR["lr"], "opt": "sgd,adam", "momentum": "0.0..0.9 if opt=sgd"}
    design, space = a_design(typed=typed), parse(typed, None)
    trials = search(design, space, 20)
    assert {("momentum" in one.values, one.values["opt"]) for one in trials} == {
        (True, "sgd"),
        (False, "adam"),
    }


def test_the_parameter_that_matters_is_said_to() -> None:
    design, space = a_design(typed=LR), parse(LR, None)
    weights = sampler.importance(design, space, search(design, space, 30))
    assert next(iter(weights)) == "lr" and weights["lr"] > 0.5
    assert sampler.importance(design, space, []) == {}


def heard(pruning: sampler.Pruning, curves: Mapping[int, Callable[[int], float]]) -> dict[int, int]:
    """At which value each of these trials is given up, told one after the other."""
    given_up = {}
    for number, curve in curves.items():
        for length in range(1, 28):
            reports = tuple(curve(k) for k in range(1, length + 1))
            trial = made(number, {}, None, RUNNING, reports)
            if number in pruning.hear([trial]):
                given_up[number] = length
                pruning.hear([made(number, {}, None, "pruned", reports)])
                break
        else:
            pruning.hear([made(number, {}, reports[-1], COMPLETE, reports)])
    return given_up


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_bad_trials_are_given_up_and_good_ones_are_not(pruner: str) -> None:
    design = a_design(pruner=pruner)
    curves = {n: lambda k, n=n: 1 / k + (5 if n % 2 and n > 8 else n / 100) for n in range(40)}
    given_up = heard(sampler.Pruning(design), curves)
    bad = {n for n in curves if n % 2 and n > 8}
    assert len(given_up.keys() & bad) > len(bad) / 2
    assert 0 not in given_up


def test_curves_that_were_heard_before_are_heard_again_by_a_new_driver() -> None:
    design = a_design(pruner="median")
    ended = [made(n, {}, 1.0, COMPLETE, tuple(1 / k for k in range(1, 6))) for n in range(6)]
    late = made(6, {}, None, RUNNING, (9.0, 9.0, 9.0))
    assert sampler.Pruning(design).hear([*ended, late]) == {6: "median: 9 after 3 values"}


def test_optunas_own_tools_open_what_is_exported(tmp_path: Path) -> None:
    design, space = a_design(typed=LR), parse(LR, None)
    known = [*search(design, space, 6), made(6, {"lr": 0.1, "n": 1, "b": "64"}, None, FAILED)]
    for target in (str(tmp_path / "sweep.journal"), f"sqlite:///{tmp_path}/sweep.db"):
        sampler.export(design, space, known, target)
    code = (
        "import optuna; from optuna.storages import JournalStorage as S;"
        "from optuna.storages.journal import JournalFileBackend as F;"
        f"studies = [optuna.load_study(study_name={sampler.study_name(design)!r}, storage=s)"
        f" for s in (S(F('{tmp_path}/sweep.journal')), 'sqlite:///{tmp_path}/sweep.db')];"
        "print([(len(s.trials), s.best_value, s.trials[6].state.name) for s in studies])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    best = min(one.value for one in known if one.value is not None)
    assert done.stdout.strip() == str([(7, best, "FAIL")] * 2)
