"""A private step whose clipping norm moves: its count is tested as its gradients are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.private_steps import BATCH, CLIP, NOISE, RECORDS, Result, Run, Training
from traindeck.core.privacy.clipping import AdaptiveClipping
from traindeck.recipes.shared.training.dp.loop import PrivateStep, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.selftest import SelfTest
from traindeck.recipes.shared.training.loop import Tested as Outcome

Floats = NDArray[np.float64]
MOVES = AdaptiveClipping(0.5, 0.2, 4.0)


class Adaptive(Training):
    """A right step, for others to be wrong in one place."""

    def __init__(self) -> None:
        super().__init__()
        self.clipping_norm = CLIP
        self.norms: list[float] = []

    def snapshot(self) -> dict[str, Floats]:
        return super().snapshot() | {"clipping/norm": np.array(self.clipping_norm)}

    def restore(self, state: Any) -> None:
        super().restore(state)
        self.clipping_norm = float(state["clipping/norm"])

    def gradients(self, indices: Sequence[int]) -> Floats:
        return np.array([self.plain_gradient(index) for index in indices]).reshape(-1, 20)

    def follow(self, norms: Floats, step: PrivateStep) -> None:
        step.follow(norms)

    def take(self, step: PrivateStep) -> None:
        self.norms.append(step.clipping_norm)
        indices = list(map(int, step.randomness.poisson_batch(RECORDS, step.rate)))
        gradients = self.gradients(indices)
        norms = np.linalg.norm(gradients, axis=1)
        self.follow(norms, step)
        clipped = gradients * np.minimum(1, step.clipping_norm / np.maximum(norms, 1e-30))[:, None]
        self.update((clipped.sum(0) + self.noise(step)) / BATCH)


class Own(Run):
    def __init__(self, noise: float = NOISE, steps: int = 4, moves: Any = MOVES) -> None:
        super().__init__(noise, BATCH / RECORDS, steps)
        self.plan = replace(self.plan, adaptive=moves)
        self.logged: list[dict[str, float]] = []

    def log(self, step: int, values: dict[str, float]) -> None:
        self.logged.append(values)


def trained(training: Adaptive, own: Own | None = None, tested: bool = True) -> Own:
    own = own or Own()
    test = SelfTest(RECORDS, training.plain_gradient) if tested else None
    outcome = Outcome(0.0, 0.0)
    for step in private_steps(own, training, Randomness(), lambda: outcome, test):  # type: ignore[arg-type]
        training.take(step)
        step.gave(Result())
    return own


def refused(capsys: pytest.CaptureFixture[str], training: Adaptive) -> str:
    own = Own()
    with pytest.raises(SystemExit) as ended:
        trained(training, own)
    assert ended.value.code == 1 and not own.paid
    return capsys.readouterr().err.removeprefix("error: self-test: ")


def weighs(said: str) -> float:
    """What a record was measured to weigh in the count, in what it may."""
    match = re.search(r"clipping/norm by ([\d.]+) halves of a count", said)
    assert match, said
    return float(match[1])


@pytest.mark.slow
def test_the_right_step_passes_and_its_norm_moves(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        training = Adaptive()
        own = trained(training)
        assert own.paid == training.step == 4
        assert len(set(training.norms[-4:])) == 4 and training.norms[-4] == CLIP
        logged = [values["clipping_norm"] for values in own.logged if "clipping_norm" in values]
        assert logged == training.norms[-4:]
    assert capsys.readouterr().out.count("self-test passed") == 20


def test_noise_and_norm_go_together() -> None:
    training = Adaptive()
    own = Own(steps=1)
    [step] = [
        step
        for step in private_steps(own, training, Randomness(), lambda: Outcome(0.0, 0.0))  # type: ignore[arg-type]
        if not training.take(step) and not step.gave(Result())
    ]
    assert step.noise == pytest.approx(CLIP * (NOISE**-2 - 8.0**-2) ** -0.5)


def test_the_norm_finds_the_median_of_the_gradients_norms() -> None:
    class Still(Adaptive):
        def update(self, released: Floats) -> None:
            self.step += 1

    training = Still()
    training.clipping_norm = 50.0
    trained(training, Own(steps=300), tested=False)
    median = np.median(np.linalg.norm(training.gradients(range(RECORDS)), axis=1))
    assert training.clipping_norm == pytest.approx(median, rel=0.25)


def test_a_count_without_noise_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    class Bare(Adaptive):
        def follow(self, norms: Floats, step: PrivateStep) -> None:
            count = float((norms <= step.clipping_norm).sum()) - len(norms) / 2
            self.clipping_norm = MOVES.next_norm(self.clipping_norm, count, BATCH)

    said = refused(capsys, Bare())
    assert said.startswith("noise: a step asks its randomness for 20 values, and has 21")


def test_a_count_without_noise_is_seen_where_as_much_noise_is_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Idle(Adaptive):
        def follow(self, norms: Floats, step: PrivateStep) -> None:
            step.randomness.normal(1, step.count_noise)
            count = float((norms <= step.clipping_norm).sum()) - len(norms) / 2
            self.clipping_norm = MOVES.next_norm(self.clipping_norm, count, BATCH)

    assert refused(capsys, Idle()).startswith("noise: none reaches clipping/norm, which a record")


@pytest.mark.parametrize("factor", [0.3, 0.9])
def test_noise_of_another_scale_on_the_count(
    capsys: pytest.CaptureFixture[str], factor: float
) -> None:
    class Scaled(Adaptive):
        def follow(self, norms: Floats, step: PrivateStep) -> None:
            count = float((norms <= step.clipping_norm).sum()) - len(norms) / 2
            noise = float(step.randomness.normal(1, factor * step.count_noise)[0])
            self.clipping_norm = MOVES.next_norm(self.clipping_norm, count + noise, BATCH)

    said = refused(capsys, Scaled())
    assert said.startswith("sensitivity: measured by its noise, a record alone moves clipping/norm")
    assert weighs(said) == pytest.approx(1 / factor, rel=0.1)


def test_a_record_that_weighs_more_in_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    class Whole(Adaptive):
        def follow(self, norms: Floats, step: PrivateStep) -> None:
            step.follow(np.repeat(norms, 2))

    assert weighs(refused(capsys, Whole())) == pytest.approx(2, rel=0.1)


def test_a_norm_that_follows_the_mean_of_the_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    class Mean(Adaptive):
        def follow(self, norms: Floats, step: PrivateStep) -> None:
            step.follow(norms)
            if len(norms):
                self.clipping_norm *= 1 + 1e-3 * float(np.tanh(norms.mean()))

    assert refused(capsys, Mean()).startswith("sensitivity: ")


def test_a_step_that_goes_on_clipping_to_the_first_norm(capsys: pytest.CaptureFixture[str]) -> None:
    """Its noise shrinks with the norm, its sensitivity does not."""

    class First(Adaptive):
        def take(self, step: PrivateStep) -> None:
            step.clipping_norm = CLIP
            super().take(step)

    assert refused(capsys, First()).startswith("sensitivity: ")


def test_a_training_that_keeps_its_norm_out_of_the_snapshot(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Hidden(Adaptive):
        def snapshot(self) -> dict[str, Floats]:
            return Training.snapshot(self)

        def restore(self, state: Any) -> None:
            Training.restore(self, state)

    assert "a snapshot of the training has no clipping/norm" in refused(capsys, Hidden())


def test_without_noise_the_norm_follows_the_true_count() -> None:
    training = Adaptive()
    trained(training, Own(noise=0.0, moves=replace(MOVES, count_noise=0.0)))
    assert training.step == 4 and training.clipping_norm != CLIP
