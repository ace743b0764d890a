"""Canaries: synthetic records that measure, in the run itself, how much a private run gives away.

T. Steinke, M. Nasr, M. Jagielski: Privacy Auditing with One (1) Training Run, NeurIPS 2023; theirs
is the white-box attack with one dummy coordinate for each canary.

    canaries = Canaries(len(train_x), plan.clipping_norm, momentum=0.9)
    for ...:
        batch = canaries.among(randomness.poisson_batch(canaries.records, rate))
        sums = [...]  # of the batch's clipped per-example gradients, one for each parameter
        released = noisy_mean([*sums, canaries.sum(clip_weights)], ...)
        canaries.step(released.pop())
        ...  # a step of the optimiser with what is left
    canaries.save(run)

The model gets `count` more parameters that nothing uses. Canary i is a record whose gradient is 0
in all parameters but the i-th of these, and there it is far longer than the clipping norm. A coin
decides whether it is in the training data. In each step the recipe's own sampler draws from real
records and canaries alike, its own clipping shortens their gradients, its own noise and division
make of their sum what is released, and the optimiser adds it up. The score of canary i is where its
parameter ends. What is in the scores of canaries that were in and not in the others' is what an
attacker can see of one record at most: `traindeck audit` measures it.

Real records keep their guarantee. Differential privacy holds for one record whatever the others
are, and canaries are others: the Poisson sampler draws each record by itself, so who is in a batch
does not depend on there being canaries; the gradient of a real record is 0 in the dummy parameters
and no longer than before; the sum is divided by the public batch size, not by how many came; and
the dummy parameters get noise of their own, of the same scale. The noise in the model's parameters
is what it would have been. Nothing of the canaries reaches the model, which predicts as before, and
so nothing that is wrong in the model's weights alone reaches the canaries: the self-test sees that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from traindeck.core import track
from traindeck.core.privacy import AUDIT_FILE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]

COUNT = 5000
TOO_LONG = 10.0  # times the clipping norm: were clipping left out, it would show


class Canaries:
    """The canaries of one run. With a `count` of 0 all of this does nothing.

    real           number of training records
    clipping_norm  of one record's gradient
    momentum       the optimiser's (0: plain descent). The learning rate only scales the scores
    count          how many; about half of them are in the data

    The coins are the operating system's even when sampling and noise are seeded: they change
    nothing about the model. A resumed run flips new ones; its scores are of the steps it took.
    """

    def __init__(
        self, real: int, clipping_norm: float, momentum: float = 0.0, count: int = COUNT
    ) -> None:
        import numpy as np

        self.count = count
        self._real = real
        self._gradient = TOO_LONG * clipping_norm
        self._momentum = np.float32(momentum)
        self._included = (np.frombuffer(os.urandom(count), np.uint8) & 1).astype(bool)
        self.begin()

    def begin(self) -> None:
        """Forget the steps that were taken, as the self-test's."""
        import numpy as np

        self._drawn = np.zeros(0, np.intp)
        self._velocity = np.zeros(self.count, np.float32)
        self._position = np.zeros(self.count, np.float64)
        self._steps = 0

    @property
    def records(self) -> int:
        """How many records the sampler draws from: the real ones and then the canaries."""
        return self._real + self.count

    def among(self, batch: NDArray[np.intp]) -> NDArray[np.intp]:
        """The real records in a batch, and which canaries came with them is remembered.

        batch  indices below `records`, in any order
        """
        real = batch < self._real
        drawn = batch[~real] - self._real
        self._drawn = drawn[self._included[drawn]]
        return batch[real]

    def sum(self, clip: Callable[[Floats], ArrayLike]) -> Floats:
        """The clipped gradients of the batch's canaries, summed: (count,), to be released.

        clip  norms of gradients (n,) → what each gradient is multiplied by (n,), as the model's are
        """
        import numpy as np

        norms = np.full(len(self._drawn), self._gradient, np.float32)
        clipped = norms * np.asarray(clip(norms), np.float32)
        return np.bincount(self._drawn, clipped, self.count).astype(np.float32)

    def step(self, released: ArrayLike) -> None:
        """One step of the optimiser in the dummy parameters.

        released  (count,), the sum with noise added and divided as the model's
        """
        import numpy as np

        self._velocity *= self._momentum
        self._velocity += np.asarray(released, np.float32)
        self._position += self._velocity
        self._steps += 1

    def scores(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the parameters of the canaries that were in the data ended, and of the others.

        Gradients are added here, not subtracted: those that were in end higher.
        """
        return self._position[self._included], self._position[~self._included]

    def save(self, run: track.Run) -> None:
        """Leave the scores with the run, for `traindeck audit`. Failing costs a warning."""
        if not (self.count and self._steps):
            return
        import numpy as np

        included, excluded = self.scores()
        target = run.artifacts / AUDIT_FILE
        part = target.with_name(f"part-{os.getpid()}-{AUDIT_FILE}")
        try:
            np.savez(part, included=included, excluded=excluded, steps=self._steps)
            part.replace(target)
        except OSError as error:
            print(f"warning: no {target}: {error}", flush=True)
        else:
            run.artifact(target, "audit")
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
