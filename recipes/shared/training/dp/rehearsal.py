"""Private steps taken for a test: the recipe's own, from weights that are then put back.

In place of the run's randomness such a step is given a stand-in, which hands out the batch and the
noise that the test chooses, and writes down what the step asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from traindeck.recipes.shared.training.dp.randomness import Randomness

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    State = dict[str, NDArray[np.float64]]

Step = TypeVar("Step")
CLIPPING_NORM = "clipping/norm"
"""What `snapshot` calls the clipping norm where it moves."""


class Rehearsed(Protocol):
    """What is trained, in any framework.

    snapshot  all that a step changes and that is released or that later steps start from, by name:
              weights as `model/…`, and so momentum, averages, statistics
    restore   puts it back; what else changes from step to step is counted from `step`
    """

    step: int

    def snapshot(self) -> State: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


class StandIn(Randomness):
    """In place of a run's randomness for one step.

    batch  which records come, in this order; None: as the run's randomness says
    noise  flat, of standard deviation `scale` in the sum of gradients; zeros beyond its end. A
           step that asks for another scale gets it in proportion. None: the run's own
    scale  one for all values, or one for each

    rates  chances that batches were asked for with, and `most` how many they may hold: 0 for any
    drawn  the run's own noise as it was given out, in units of what was asked for
    values how many values of noise were asked for
    """

    def __init__(
        self,
        randomness: Randomness,
        batch: Sequence[int] | None = None,
        noise: Floats | None = None,
        scale: float | Floats = 1.0,
        keep: bool = False,
    ) -> None:
        self.private = randomness.private
        self.rates: list[float] = []
        self.most: list[int] = []
        self.drawn: list[Floats] = []
        self.values = 0
        self._real = randomness
        self._batch, self._noise, self._scale, self._keep = batch, noise, scale, keep

    @property
    def name(self) -> str:
        return self._real.name

    @property
    def first(self) -> float:
        return self._real.first

    def restart(self) -> None:
        self._real.restart()

    def advance(self) -> None:
        self._real.advance()

    def poisson_batch(self, records: int, rate: float) -> NDArray[np.intp]:
        return self.truncated_batch(records, rate, 0)

    def truncated_batch(self, records: int, rate: float, most: int) -> NDArray[np.intp]:
        import numpy as np

        self.rates.append(rate)
        self.most.append(most)
        if self._batch is not None:
            return np.asarray(self._batch, np.intp)
        if most:
            return self._real.truncated_batch(records, rate, most)
        return self._real.poisson_batch(records, rate)

    def normal(self, shape: int | tuple[int, ...], scale: float) -> NDArray[np.float32]:
        import numpy as np

        size = int(np.prod(shape))
        at, self.values = self.values, self.values + size
        if self._noise is None:
            drawn = self._real.normal(shape, scale)
            if self._keep and scale:
                self.drawn.append(np.asarray(drawn, np.float64).ravel() / scale)
            return drawn
        given = np.zeros(size, np.float32)
        part = self._noise[at : at + size]
        planned = np.broadcast_to(self._scale, len(self._noise))[at : at + size]
        given[: len(part)] = part * (scale / planned)
        return given.reshape(shape)


class Rehearsal(Generic[Step]):
    """Steps of the recipe from where it stands, as often as a test likes.

    step_with  makes a step of a stand-in; whoever runs the generators takes it
    """

    def __init__(
        self, training: Rehearsed, randomness: Randomness, step_with: Callable[[Randomness], Step]
    ) -> None:
        self.training = training
        self.randomness = copy.deepcopy(randomness)  # a seeded one goes on as if nothing had been
        self.start = training.snapshot()
        self.taken = 0
        self._number = training.step
        self._first = self.start
        self._step_with = step_with

    def begin(self) -> None:
        """Go back to the start."""
        self.randomness.restart()
        self.training.restore(self.start)
        self.training.step = self._number

    def end(self) -> None:
        """Put back what the run stood at before the first rehearsal."""
        self.start = self._first
        self.begin()

    def sequence(self, *given: StandIn) -> Generator[Step, None, list[State]]:
        """One step after the other from the start; returns what is after each."""
        self.begin()
        states = []
        for stand_in in given:
            yield self._step_with(stand_in)
            self.taken += 1
            states.append(self.training.snapshot())
        return states
