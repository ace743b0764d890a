"""Which values to try next, by optuna: a study made anew from the runs for each question.

Nothing is kept of it: the runs are the truth, so that nothing of optuna's can be damaged, locked or
left behind. A question takes 10 ms after 40 trials, 70 after 300. Trials that go on count as bad
ones (constant liar), so that those at once differ.

optuna takes half a second to import: only the process that asks imports this.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from traindeck.core.recipe.params import Value
from traindeck.core.sweeps.cmaes import next_numbers
from traindeck.core.sweeps.space import Axis, Range, Space
from traindeck.core.sweeps.study import Design
from traindeck.core.sweeps.trials import COMPLETE, PRUNED, RUNNING, WAITING, Trial

optuna.logging.set_verbosity(optuna.logging.ERROR)

STARTUP = 10
"""Trials that are drawn at random before TPE says anything."""
_STATES = {
    COMPLETE: TrialState.COMPLETE,
    PRUNED: TrialState.PRUNED,
    RUNNING: TrialState.RUNNING,
    WAITING: TrialState.RUNNING,
}


def ask(
    design: Design, space: Space, known: Sequence[Trial], number: int
) -> dict[str, Value] | None:
    """The values of trial `number`; None when a grid has no more."""
    if design.sampler == "grid":
        return next(islice(space.grid(), number, None), None)
    with _quietly():
        sampler = _sampler(design, space, number)
        made = study(design, space, known, sampler)
        trial = made.ask()
        chosen: dict[str, Value] = {}
        if design.sampler == "cmaes":
            chosen = next_numbers(design, space, known, number)
        for axis in space.axes:
            if not axis.active(chosen):
                chosen.pop(axis.name, None)
            elif axis.name not in chosen:
                chosen[axis.name] = _suggested(trial, axis)
    return {axis.name: chosen[axis.name] for axis in space.axes if axis.name in chosen}


def _sampler(design: Design, space: Space, number: int) -> optuna.samplers.BaseSampler:
    seed = design.seed + number
    if design.select:  # else whoever knows the seed knows by the best's values which one it was
        seed = secrets.randbits(32)
    if design.sampler != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    conditional = any(axis.when for axis in space.axes)
    return optuna.samplers.TPESampler(
        seed=seed,
        constant_liar=True,
        multivariate=True,
        group=conditional,
        n_startup_trials=min(STARTUP, max(2, design.trials // 4)),
    )


def study(
    design: Design,
    space: Space,
    known: Sequence[Trial],
    sampler: optuna.samplers.BaseSampler | None = None,
    storage: Any = None,
) -> optuna.Study:
    """The sweep as optuna knows it: each trial with its values, state and curve."""
    made = optuna.create_study(
        study_name=study_name(design),
        direction=design.direction,
        sampler=sampler,
        storage=storage,
    )
    made.add_trials([_frozen(space, one) for one in known])
    return made


def study_name(design: Design) -> str:
    """What the sweep is called in a storage of optuna's."""
    return f"{design.name} {design.id}"


def _frozen(space: Space, trial: Trial) -> FrozenTrial:
    state = _STATES.get(trial.state, TrialState.FAIL)
    params = {a.name: trial.values[a.name] for a in space.axes if _fits(a, trial.values)}
    reports = dict(enumerate(trial.reports, 1))
    value = trial.value
    if state == TrialState.PRUNED and reports:
        value = reports[len(reports)]
    made = create_trial(
        state=state,
        params=params,
        distributions={a.name: distribution(a) for a in space.axes if a.name in params},
        value=value,
        intermediate_values=reports,
        user_attrs={
            "runs": [one.run for one in trial.attempts],
            "number": trial.number,
            "spread": trial.spread,
        },
    )
    begun = datetime.fromtimestamp(trial.attempts[0].created)
    made.datetime_start = begun
    if state.is_finished():
        made.datetime_complete = max(begun, made.datetime_complete or begun)
    return made


def _fits(axis: Axis, values: Mapping[str, Any]) -> bool:
    return axis.name in values and axis.holds(values[axis.name])


def distribution(axis: Axis) -> BaseDistribution:
    """An axis as optuna has it."""
    if axis.range is None:
        return CategoricalDistribution([*axis.choices])
    one = axis.range
    if not one.whole:
        return FloatDistribution(one.low, one.high, log=one.log, step=one.step)
    return IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))


def _suggested(trial: optuna.Trial, axis: Axis) -> Value:
    if axis.range is None:
        value: Value = trial.suggest_categorical(axis.name, [*axis.choices])
        return value
    return _number(trial, axis.name, axis.range)


def _number(trial: optuna.Trial, name: str, one: Range) -> Value:
    if one.whole:
        low, high = int(one.low), int(one.high)
        return trial.suggest_int(name, low, high, log=one.log, step=int(one.step or 1))
    return trial.suggest_float(name, one.low, one.high, log=one.log, step=one.step)


def importance(design: Design, space: Space, known: Sequence[Trial]) -> dict[str, float]:
    """How much of the value each parameter decides, from 0 to 1, the most first (PED-ANOVA).

    Empty while fewer than four trials are complete.
    """
    complete = [one for one in known if one.state == COMPLETE]
    if len(complete) < 4:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with _quietly():
        try:
            found = get_param_importances(
                study(design, space, complete), evaluator=PedAnovaImportanceEvaluator()
            )
        except (ValueError, RuntimeError, ZeroDivisionError):  # all values alike, or no shared axis
            return {}
    return {name: round(float(value), 4) for name, value in found.items()}


class Pruning:
    """Which trials are not worth going on with, by optuna's pruners.

    A study in memory hears every curve, of trials that ended before this process began as well, in
    the order of their numbers; a curve's place is its count of values, since steps do not compare
    where batches have different sizes.
    """

    def __init__(self, design: Design) -> None:
        pruner = (
            optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
            if design.pruner == "median"
            else optuna.pruners.HyperbandPruner(min_resource=1, reduction_factor=3)
        )
        self._name = design.pruner
        with _quietly():
            self._study = optuna.create_study(
                study_name=design.id, direction=design.direction, pruner=pruner
            )
        self._trials: dict[int, optuna.Trial] = {}
        self._heard: dict[int, int] = {}
        self._told: set[int] = set()

    def hear(self, known: Sequence[Trial]) -> dict[int, str]:
        """Take in all curves; returns the trials that are to be pruned now, and why."""
        pruned = {}
        with _quietly():
            for one in known:
                if one.number in self._told:
                    continue
                if (why := self._report(one)) and one.state == RUNNING:
                    pruned[one.number] = why
                if one.state not in (RUNNING, WAITING):
                    self._tell(one)
        return pruned

    def _report(self, one: Trial) -> str:
        trial = self._trials.get(one.number)
        if trial is None:
            trial = self._trials[one.number] = self._study.ask()
        why = ""
        for place in range(self._heard.get(one.number, 0) + 1, len(one.reports) + 1):
            trial.report(one.reports[place - 1], place)
            self._heard[one.number] = place
            if trial.should_prune():
                why = f"{self._name}: {one.reports[place - 1]:.6g} after {place} values"
        return why

    def _tell(self, one: Trial) -> None:
        self._told.add(one.number)
        state = _STATES.get(one.state, TrialState.FAIL)
        self._study.tell(self._trials[one.number], one.value, state=state)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without optuna's warnings of what is experimental, or of a curve that reports anew."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def export(design: Design, space: Space, known: Sequence[Trial], target: str) -> None:
    """Write the sweep as a study that optuna's own tools open.

    target  a storage's URL, such as `sqlite:///sweep.db`, or the path of a journal to be made
    """
    storage: Any = target
    if "://" not in target:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        storage = JournalStorage(JournalFileBackend(target))
    with _quietly():
        study(design, space, known, storage=storage)
