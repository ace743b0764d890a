"""CMA-ES without a memory of its own: made anew from the trials for each question.

Trials are taken in groups of a population's size, in the order of their numbers; after each whole
group that is complete the distribution moves. A trial is drawn from the distribution as it is then:
no trial waits for a group to be whole. Ranges alone are searched so; choices are drawn at random.

The algorithm is that of Hansen 2016 (arXiv 1604.00772) as the package `cmaes`, which optuna builds
on too, has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from traindeck.core.recipe.params import Value
from traindeck.core.sweeps.space import Range, Space
from traindeck.core.sweeps.study import Design
from traindeck.core.sweeps.trials import Trial

SPREAD = 1 / 6
"""Of the first draws, in the width of a range."""


def next_numbers(
    design: Design, space: Space, known: Sequence[Trial], number: int
) -> dict[str, Value]:
    """A value of each range for trial `number`."""
    import numpy as np
    from cmaes import CMA

    axes = [(axis.name, axis.range) for axis in space.axes if axis.range]
    sign = -1.0 if design.maximize else 1.0
    done = [
        (np.array([_place(one, trial.values[name]) for name, one in axes]), sign * trial.value)
        for trial in known
        if trial.value is not None and all(name in trial.values for name, _ in axes)
    ]
    optimizer = CMA(
        mean=np.full(len(axes), 0.5),
        sigma=SPREAD,
        bounds=np.array([[0.0, 1.0]] * len(axes)),
        seed=(design.seed + number) % 2**32,
    )
    size = optimizer.population_size
    for first in range(0, len(done) - size + 1, size):
        optimizer.tell(done[first : first + size])
    return {
        name: _value(one, float(place))
        for (name, one), place in zip(axes, optimizer.ask(), strict=True)
    }


def _place(one: Range, value: float) -> float:
    """Where in its range a value lies, from 0 to 1."""
    if one.log:
        return math.log(value / one.low) / math.log(one.high / one.low)
    return (value - one.low) / (one.high - one.low)


def _value(one: Range, place: float) -> Value:
    value = (
        one.low * (one.high / one.low) ** place
        if one.log
        else one.low + place * (one.high - one.low)
    )
    if one.step:
        value = one.low + round((value - one.low) / one.step) * one.step
    value = min(max(value, one.low), one.high)
    return round(value) if one.whole else value
