"""The loop around a private step: it pays before the noise is drawn, logs, keeps, tests and stops.

    for step in private_steps(run, training, randomness, evaluate, test, planted):
        batch = step.randomness.poisson_batch(planted.records, step.rate)
        result = clipped(*examples(planted.among(batch)))
        ...  # noisy_mean(sums, step.noise, …, step.randomness) once, and the optimiser's step
        step.gave(result)

The first steps that come out of the loop are the self-test's, if there is one: what they do is
looked at and put back, nothing of it is kept. Each one after them is paid for, and for one release:
noise that is drawn anywhere else would be a release that no budget knows of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from traindeck.core import track
from traindeck.core.base.errors import USAGE
from traindeck.core.privacy.clipping import SENSITIVITY
from traindeck.recipes.shared.training.dp import selftest
from traindeck.recipes.shared.training.dp.rehearsal import Rehearsed, StandIn
from traindeck.recipes.shared.training.loop import LOG_EVERY, Tested

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from traindeck.recipes.shared.training.dp.canaries import Canaries
    from traindeck.recipes.shared.training.dp.randomness import Randomness
    from traindeck.recipes.shared.training.dp.selftest import SelfTest

CHECKPOINTS = 10  # in the whole run


class BatchResult(Protocol):
    """What a batch gives, in any framework."""

    def telemetry(self, clipping_norm: float) -> dict[str, float]: ...


class PrivateTraining(Rehearsed, Protocol):
    """What is trained, in any framework; its `update` counts the steps."""

    def save(self) -> None: ...


class AdaptiveTraining(PrivateTraining, Protocol):
    """What is trained with adaptive clipping.

    clipping_norm  of the next step: a part of what `snapshot` gives, as `clipping/norm`, and saved
    """

    clipping_norm: float


@dataclass(slots=True)
class PrivateStep:
    """One private step, paid for or the self-test's.

    rate           chance of each record to be in the batch
    noise          its standard deviation, in the sum of clipped gradients
    randomness     what batch and noise are drawn from
    clipping_norm  what gradients are clipped to
    most           how many records the batch may hold, with truncated sampling: it is then drawn
                   by `randomness.truncated_batch(records, rate, most)`
    result         what the batch gave; no epsilon covers it
    """

    rate: float
    noise: float
    randomness: Randomness
    clipping_norm: float
    most: int = 0
    moved: Callable[[float], None] | None = None
    count_noise: float = 0.0
    result: BatchResult = field(init=False)

    def gave(self, result: BatchResult) -> None:
        self.result = result

    def follow(self, norms: ArrayLike) -> None:
        """With adaptive clipping, move the norm that the next step's gradients are clipped to.

        norms  (n,), of the batch's gradients before clipping

        It goes by how many are not clipped, with noise: the first that a step draws. Otherwise
        nothing is drawn, and nothing happens.
        """
        if self.moved is None:
            return
        import numpy as np

        kept = np.asarray(norms) <= self.clipping_norm
        count = float(np.count_nonzero(kept)) - kept.size * SENSITIVITY
        self.moved(count + float(self.randomness.normal(1, self.count_noise)[0]))


def check_records(run: track.Run, count: int, records: str) -> None:
    """End the recipe (2) where there are more records, such as `images`, than the plan is for."""
    most = run.plan.records
    if count > most:
        track.abort(f"more than {most} training {records}: epsilon is for so many at most", USAGE)


def announce(run: track.Run, randomness: Randomness, device: object, records: str) -> None:
    """Say what the run is about to release."""
    plan = run.plan
    multiplier = plan.mechanism.noise_multiplier
    source = randomness.name if multiplier else "no noise: not private"
    how = plan.adaptive
    count = ""
    if how:
        count = f" (gradients' {plan.gradient_noise:.4g}, and {how.count_noise:.4g} on a count)"
    print(
        f"training on {device}: {plan.mechanism.steps} steps of about {plan.batch_size} {records},"
        f" noise multiplier {multiplier:.4g}{count}, epsilon {plan.epsilon:.4g} at delta"
        f" {plan.delta:g}; {source}",
        flush=True,
    )


def private_steps(
    run: track.Run,
    training: PrivateTraining,
    randomness: Randomness,
    evaluate: Callable[[], Tested],
    test: SelfTest | None = None,
    planted: Canaries | None = None,
) -> Iterator[PrivateStep]:
    """The self-test's steps, then those left of the plan, each paid for, until a stop is asked for.

    Checkpoints are written and the model is tested ten times in the run and on a stop; the
    canaries' scores are kept at the end. Ends the process (1) when the self-test fails or a step
    that is paid for draws too little noise, before anything of it is kept, and (5) when the budget
    admits no further step. With banded noise a stop waits for the end of a cycle.
    """
    plan = run.plan
    total = plan.mechanism.steps
    norm, adaptive = plan.clipping_norm, cast("AdaptiveTraining", training)

    def step_with(source: Randomness) -> PrivateStep:
        source.advance()
        how, rate, most = plan.adaptive, plan.mechanism.sampling_rate, plan.mechanism.max_batch
        if how is None:
            return PrivateStep(rate, plan.gradient_noise * norm, source, norm, most)
        now = adaptive.clipping_norm

        def moved(count: float) -> None:
            adaptive.clipping_norm = how.next_norm(now, count, plan.batch_size)

        noise = plan.gradient_noise * now
        return PrivateStep(rate, noise, source, now, most, moved, how.count_noise)

    if planted and planted.count and plan.mechanism.max_batch:
        track.abort("audit: canaries are more records than the largest batch was made for", USAGE)
    values = 0
    if test:
        values = yield from selftest.rehearse(test, plan, training, randomness, step_with)
        if planted:
            planted.begin()
    bands = plan.mechanism.bands  # only after a multiple of them can a run be resumed
    part_steps = -(-total // (CHECKPOINTS * bands)) * bands
    logged = training.step
    window_began = part_began = time.perf_counter()
    stopping = False
    while training.step < total and not stopping:
        if not run.spend():  # paid for before its noise is released
            training.save()
            if planted:
                planted.save(run)
            run.over_budget()
        step = step_with(watched := StandIn(randomness))
        yield step
        if watched.values < values:
            drew = f"step {training.step} drew {watched.values} values of noise, not {values}"
            track.abort(f"{drew}: nothing of it is kept", 1)

        done = training.step
        run.progress(done, total)
        stopping = run.should_stop() and done % bands == 0
        part_over = stopping or done % part_steps == 0 or done == total
        if part_over or done % LOG_EVERY == 0:
            seconds = (time.perf_counter() - window_began) / (done - logged)
            run.log(done, step.result.telemetry(step.clipping_norm))
            if plan.adaptive:  # by noisy counts alone: it is released
                run.log(done, {"clipping_norm": step.clipping_norm})
            run.log(done, {"step_seconds": seconds})
            run.log(done, {"examples_per_second": plan.batch_size / seconds})
            logged, window_began = done, time.perf_counter()

        if part_over:
            training.save()
            tested = evaluate()
            tested.log(run, done)
            now = time.perf_counter()
            print(f"step {done}/{total}  {tested}  {now - part_began:.1f} s", flush=True)
            if stopping:
                print(f"stopped on request after step {done} of {total}", flush=True)
            window_began = part_began = now
    if planted:
        planted.save(run)
