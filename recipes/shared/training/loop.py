"""The loop around a training step: it logs, reports progress, keeps checkpoints, tests and stops.

    schedule = Schedule(len(train_x), batch_size, epochs)
    for step in training_steps(run, schedule, first_step, means, save, evaluate):
        if step.needs_order:
            order = schedule.order(seed, step.epoch)
        batch = order[step.batch]
        ...  # a step of the optimiser, at schedule.learning_rate(highest, step.number)
        step.measured(loss, accuracy)

What is trained, and how, stays in the recipe.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from traindeck.core import track
from traindeck.recipes.shared.training.parallel.ranks import (
    ALONE,
    Meter,
    Ranks,
    check_divides,
    of_ranks,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WARMUP = 0.1  # share of all steps in which the learning rate rises
LOG_EVERY = 10  # steps: reading a loss waits for the device, every step would slow a GPU down

Measured = tuple[Any, Any]
"""Loss and accuracy of one step, as its framework has them."""


class Tested(NamedTuple):
    """What a test gives.

    loss      mean over the test examples
    accuracy  share of them that are right
    interval  where that share truly lies, with 95 % confidence; None where it is not asked
    """

    loss: float
    accuracy: float
    interval: tuple[float, float] | None = None

    def log(self, run: track.Run, step: int) -> None:
        run.log(step, {"test/loss": self.loss, "test/accuracy": self.accuracy})
        if self.interval is not None:
            low, high = self.interval
            run.log(step, {"test/accuracy_low": low, "test/accuracy_high": high})

    def __str__(self) -> str:
        text = f"test loss {self.loss:.4f}  test accuracy {self.accuracy:.4f}"
        if self.interval is None:
            return text
        low, high = self.interval
        return f"{text} (95 %: {low:.3f} to {high:.3f})"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Epochs over the training images, each in an order of its own.

    What does not fill an epoch's last batch comes in another epoch's order.
    """

    images: int
    batch_size: int
    epochs: int

    @property
    def steps_per_epoch(self) -> int:
        return self.images // self.batch_size

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def learning_rate(self, highest: float, step: int) -> float:
        """It rises to the highest in the first steps and is then lowered to 0 along a cosine."""
        warmup = min(1.0, (step + 1) / (WARMUP * self.total_steps))
        return highest * warmup * 0.5 * (1 + math.cos(math.pi * step / self.total_steps))

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Indices of all images, by seed and epoch alone, so that a resumed run agrees."""
        import numpy as np

        return np.random.default_rng((seed, epoch)).permutation(self.images)


@dataclass(slots=True)
class TrainingStep:
    """One training step.

    number       of all, from 0
    epoch        from 0
    batch        which places of the epoch's order it trains on (of several ranks, this one)
    needs_order  whether the epoch is new to this process: its first step, or where a run resumes
    values       what the recipe measured
    """

    number: int
    epoch: int
    batch: slice
    needs_order: bool
    values: Measured = field(init=False)

    def measured(self, loss: Any, accuracy: Any) -> None:
        self.values = loss, accuracy


def training_steps(
    run: track.Run,
    schedule: Schedule,
    first_step: int,
    means: Callable[[Sequence[Measured]], tuple[float, float]],
    save: Callable[[int], None],
    evaluate: Callable[[], Tested],
    ranks: Ranks = ALONE,
) -> Iterator[TrainingStep]:
    """The steps from `first_step` on, until all epochs are over or a stop is asked for.

    means     mean loss and accuracy of what some steps measured, read from the device at once
    save      writes the checkpoint after so many steps: called at each epoch's end and on a stop
    evaluate  tests the model, at the same times
    ranks     the run's processes: each step's batch is divided among them, and what they measure is
              averaged; rank 0 alone decides on a stop, logs, saves and evaluates
    """
    check_divides(schedule.batch_size, ranks.count)
    total, steps_per_epoch = schedule.total_steps, schedule.steps_per_epoch
    window: list[Measured] = []  # since the last log
    window_began = epoch_began = time.perf_counter()
    meter = Meter()
    for number in range(first_step, total):
        epoch, at = divmod(number, steps_per_epoch)
        batch = slice(at * schedule.batch_size, (at + 1) * schedule.batch_size)
        own = ranks.part(batch)
        step = TrainingStep(number, epoch, own, needs_order=at == 0 or number == first_step)
        yield step

        done = number + 1
        window.append(step.values)
        run.progress(done, total)
        stopping = ranks.agree(run.should_stop())
        epoch_over = stopping or done % steps_per_epoch == 0
        if epoch_over or len(window) == LOG_EVERY:
            means_of_ranks = ranks.gather(means(window))
            loss, accuracy = (sum(each) / ranks.count for each in zip(*means_of_ranks, strict=True))
            seconds = (time.perf_counter() - window_began) / len(window)
            run.log(done, {"train/loss": loss, "train/accuracy": accuracy})
            own_loss = {"train/loss": means_of_ranks[ranks.number][0]}
            run.log(done, of_ranks(ranks, own_loss | meter.read()))
            speed = schedule.batch_size / seconds
            run.log(done, {"step_seconds": seconds, "examples_per_second": speed})
            window, window_began = [], time.perf_counter()

        if epoch_over and ranks.number:  # rank 0 is waited for with the next step
            if stopping:
                return
            window_began = time.perf_counter()
        elif epoch_over:
            save(done)
            tested = evaluate()
            tested.log(run, done)
            now = time.perf_counter()
            epochs = f"{done / steps_per_epoch:.4g}/{schedule.epochs}"
            print(f"epoch {epochs}  {tested}  {now - epoch_began:.1f} s", flush=True)
            if stopping:
                print(f"stopped on request after step {done} of {total}", flush=True)
                return
            window_began = epoch_began = now
