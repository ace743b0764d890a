"""A user's own private step in numpy, and as much of a run as the loop around it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.plan import Plan
from traindeck.core.privacy.risk import Risk
from traindeck.recipes.shared.training.dp.loop import PrivateStep, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.selftest import SelfTest
from traindeck.recipes.shared.training.loop import Tested

Floats = NDArray[np.float64]
CLIP, NOISE, BATCH, RECORDS, LR = 0.5, 1.1, 64, 2000, 0.3


class Result:
    def telemetry(self, clipping_norm: float) -> dict[str, float]:
        return {}


class Training:
    """A right private step of linear regression, for others to be wrong in one place."""

    parts = ((0, 15), (15, 20))  # in two arrays

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(RECORDS, 20)), rng.normal(size=RECORDS)
        self.w = rng.normal(size=20)
        self.average = self.w.copy()
        self.statistic = np.zeros(20)
        self.step = 0
        self.saved: list[Floats] = []

    def snapshot(self) -> dict[str, Floats]:
        halves = {
            f"{name}/{number}": values[slice(*part)].copy()
            for name, values in (("model", self.w), ("average", self.average))
            for number, part in enumerate(self.parts)
        }
        return halves | {"statistic": self.statistic.copy()}

    def restore(self, state: Any) -> None:
        for number, part in enumerate(self.parts):
            self.w[slice(*part)] = state[f"model/{number}"]
            self.average[slice(*part)] = state[f"average/{number}"]
        self.statistic[:] = state["statistic"]

    def save(self) -> None:
        self.saved.append(self.w.copy())

    def plain_gradient(self, index: int) -> Floats:
        gradient: Floats = (self.x[index] @ self.w - self.y[index]) * self.x[index]
        return gradient

    def clip(self, gradients: Floats) -> Floats:
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        clipped: Floats = gradients * np.minimum(1, CLIP / np.maximum(norms, 1e-30))
        return clipped

    def clipped_sum(self, indices: Sequence[int]) -> Floats:
        gradients = np.array([self.plain_gradient(index) for index in indices]).reshape(-1, 20)
        total: Floats = self.clip(gradients).sum(0)
        return total

    def noise(self, step: PrivateStep) -> Floats:
        return step.randomness.normal(20, step.noise).astype(np.float64)

    def release(self, indices: Sequence[int], step: PrivateStep) -> Floats:
        released: Floats = (self.clipped_sum(indices) + self.noise(step)) / BATCH
        return released

    def update(self, released: Floats) -> None:
        self.w -= LR * released
        self.average += 0.1 * (self.w - self.average)
        self.step += 1

    def take(self, step: PrivateStep) -> None:
        indices = step.randomness.poisson_batch(RECORDS, step.rate)
        self.update(self.release(list(map(int, indices)), step))


class Run:
    """As much of a run as the loop asks for; `paid` counts its steps."""

    def __init__(self, noise: float, rate: float, steps: int = 4) -> None:
        mechanism = Mechanism(noise, rate, steps)
        self.plan = Plan(
            *("toy", "example", "add-or-remove-one", RECORDS, BATCH, CLIP, 1e-5, mechanism, 3.0),
            *((), "", Risk((), 0.0, ""), False),
        )
        self.paid = 0

    def spend(self) -> bool:
        self.paid += 1
        return True

    def should_stop(self) -> bool:
        return False

    def progress(self, done: int, total: int) -> None: ...

    def log(self, step: int, values: dict[str, float]) -> None: ...


def run(
    training: Training,
    randomness: Randomness | None = None,
    noise: float = NOISE,
    rate: float = BATCH / RECORDS,
    whole: bool = True,
) -> Run:
    """Train as a recipe does."""
    own: Any = Run(noise, rate)
    test = SelfTest(RECORDS, training.plain_gradient, training.clipped_sum if whole else None)
    tested = Tested(0.0, 0.0)
    for step in private_steps(own, training, randomness or Randomness(), lambda: tested, test):
        training.take(step)
        step.gave(Result())
    return own  # type: ignore[no-any-return]


def refused(capsys: pytest.CaptureFixture[str], training: Training, **options: Any) -> str:
    """Why the run was ended, before it paid for anything."""
    own: list[Run] = []
    spend = Run.spend
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "spend", lambda self: own.append(self) or spend(self))
        with pytest.raises(SystemExit) as ended:
            run(training, **options)
    assert ended.value.code == 1
    assert not own and not training.saved
    return capsys.readouterr().err.removeprefix("error: self-test: ")
