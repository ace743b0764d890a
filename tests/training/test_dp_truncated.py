"""A private step with truncated batches: it must ask for them, and for no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.training.private_steps import BATCH, CLIP, NOISE, RECORDS, Result, Run, Training
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.truncation import max_batch
from traindeck.recipes.shared.training.dp.canaries import Canaries
from traindeck.recipes.shared.training.dp.loop import PrivateStep, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.selftest import SelfTest
from traindeck.recipes.shared.training.loop import Tested as Outcome

RATE = BATCH / RECORDS
MOST = max_batch(RECORDS, RATE)


class Truncating(Training):
    most = 0

    def take(self, step: PrivateStep) -> None:
        indices = step.randomness.truncated_batch(RECORDS, step.rate, self.most or step.most)
        self.update(self.release(list(map(int, indices)), step))


def trained(training: Training, planted: Any = None, truncated: bool = True) -> Run:
    own: Any = Run(NOISE, RATE)
    if truncated:
        how = Mechanism(NOISE, RATE, 4, "truncated", max_batch=MOST, records=RECORDS)
        own.plan = replace(own.plan, mechanism=how)
    test = SelfTest(RECORDS, training.plain_gradient, training.clipped_sum)
    done = Outcome(0.0, 0.0)
    for step in private_steps(own, training, Randomness(), lambda: done, test, planted):
        training.take(step)
        step.gave(Result())
    return own  # type: ignore[no-any-return]


def refused(capsys: pytest.CaptureFixture[str], training: Training, **given: Any) -> str:
    with pytest.raises(SystemExit):
        trained(training, **given)
    return capsys.readouterr().err.removeprefix("error: ")


def test_a_right_step_passes_and_trains() -> None:
    training = Truncating()
    assert trained(training).paid == training.step == 4


def test_a_step_that_asks_for_other_batches_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """One that cuts off more than was planned, or at all where nothing of that was priced."""
    less = Truncating()
    less.most = MOST - 1
    said = "self-test: sampling: a step asks its randomness for a batch of {} records at most"
    assert refused(capsys, less).startswith(said.format(MOST - 1) + f", not of {MOST}")
    assert refused(capsys, Training()).startswith(said.format("any"))
    unplanned = Truncating()
    unplanned.most = MOST
    assert refused(capsys, unplanned, truncated=False).startswith(
        said.format(MOST) + ", not of any"
    )


def test_canaries_would_make_batches_overflow(capsys: pytest.CaptureFixture[str]) -> None:
    planted = Canaries(RECORDS, CLIP, count=10)
    assert "canaries are more records than" in refused(capsys, Truncating(), planted=planted)
    trained(Truncating(), planted=Canaries(RECORDS, CLIP, count=0))
