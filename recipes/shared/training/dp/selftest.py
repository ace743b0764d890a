"""What a private run checks about itself before it spends anything, in a second or two.

The recipe's own step is taken 136 times, on its model and data, with batches and noise that the
test chooses, and everything is put back. That epsilon is what the accountant says needs:

    a step's state after it is a function of (sum of clipped gradients + noise) and of nothing else
    of the data; a record moves that sum by the clipping norm at most; the noise is Gaussian, of the
    plan's scale, new at each step; a record is in a batch by a coin of its own

The first is measured end to end: a record is put in, and, in its stead, its clipped gradient (as
the framework computes it by itself, for that record alone) is added to the noise. Whatever then
differs, in any weight, average or statistic, now or a step later, is what no noise hides. So a step
that leaves a layer without noise, scales or divides it wrongly, does not clip, keeps a statistic of
its batch or looks at its loss is seen, whatever the optimiser makes of the released sum.

A step that is right now and wrong later, or what a recipe makes of the data beside its steps,
cannot be seen here. A check that fails ends the run with exit code 1 and says which it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from traindeck.core import track
from traindeck.core.privacy.clipping import SENSITIVITY
from traindeck.recipes.shared.training.dp import checks
from traindeck.recipes.shared.training.dp.checks import SelfTestError, norm, rms
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.rehearsal import (
    CLIPPING_NORM,
    Rehearsal,
    Rehearsed,
    StandIn,
    Step,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from traindeck.core.privacy.plan import Plan
    from traindeck.recipes.shared.training.dp.rehearsal import State

    Floats = NDArray[np.floating[Any]]

RECORDS = 4  # that are put in and taken out
LONG = 2  # of them, whose gradients are longer than the clipping norm
PROBED = 64  # records looked at for such
STRETCHES = (0.3, 1.0, 3.0, 10.0)  # of random weights, where none is so long at the run's own
ANOTHER = 0.7  # of the clipping norm, where it moves: the steps are taken from there
TIMES = 48  # steps with the run's own noise, and as many with the test's
IN_A_ROW = 12  # steps
VALUES = 50_000  # of noise, at least
HIDDEN = 1e-3  # of a clipping norm: less may differ between a record and its gradient in the noise
FLOAT32 = 2.0**-23  # relative: what the rounding of weights may leave between the two


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the self-test must know beside the step itself.

    records         number of training records
    plain_gradient  index → one record's gradient as the framework computes it by itself, flat and
                    unclipped, in the order in which a step draws its noise
    clipped_sum     indices → the sum of these records' clipped gradients, flat, where the recipe
                    has it as a function: it is then compared with that of a plain loop too
    tolerance       relative, by how much rounding lets two ways to one gradient differ
    """

    records: int
    plain_gradient: Callable[[int], Floats]
    clipped_sum: Callable[[Sequence[int]], Floats] | None = None
    tolerance: float = checks.TOLERANCE


def rehearse(
    test: SelfTest,
    plan: Plan,
    training: Rehearsed,
    randomness: Randomness,
    step_with: Callable[[Randomness], Step],
) -> Generator[Step, None, int]:
    """Have the recipe take test steps; ends the process when they are not what was promised.

    Returns how many values of noise each step must draw. The noise that is drawn here is thrown
    away with the steps; it releases nothing.
    """
    import numpy as np

    began = time.perf_counter()
    rehearsal = Rehearsal(training, randomness, step_with)
    try:
        norm_now = _norm_now(plan, rehearsal.start)
        chosen = _choose(test, rehearsal, norm_now)
        if test.clipped_sum:
            checks.gradients(list(chosen), norm_now, test.clipped_sum, chosen, test.tolerance)
        if plan.adaptive:  # a step that clips to the first norm for ever is wrong from another on
            norm_now *= ANOTHER
            rehearsal.start = rehearsal.start | {CLIPPING_NORM: np.array(norm_now)}
        if plan.gradient_noise:
            steps = _Steps(rehearsal, plan, test, chosen, norm_now)
            yield from steps.hidden()
            yield from steps.noise()
        how = plan.mechanism
        checks.sampler(rehearsal.randomness, test.records, how.sampling_rate, how.max_batch)
        if how.bands > 1:
            checks.cycles(rehearsal.randomness, test.records, how.sampling_rate, how.bands)
    except SelfTestError as error:
        track.abort(f"self-test: {error}", 1)
    rehearsal.end()
    longest = max(norm(gradient) for gradient in chosen.values())
    if longest <= norm_now:
        print("self-test: no record's gradient is so long that clipping shows", flush=True)
    print(
        "self-test passed: gradients, clipping, noise, sampling; the recipe's own step taken"
        f" {rehearsal.taken} times in {time.perf_counter() - began:.1f} s",
        flush=True,
    )
    values = len(next(iter(chosen.values()))) + (plan.adaptive is not None)
    return values if plan.gradient_noise else 0


def _norm_now(plan: Plan, state: State) -> float:
    """What gradients are clipped to where the run stands."""
    if not plan.adaptive:
        return plan.clipping_norm
    if CLIPPING_NORM not in state:
        raise SelfTestError(
            f"clipping: it is adaptive, and a snapshot of the training has no {CLIPPING_NORM}"
        )
    return float(state[CLIPPING_NORM].item())


def _choose(test: SelfTest, rehearsal: Rehearsal[Any], clipping_norm: float) -> dict[int, Floats]:
    """Records and their plain gradients, some longer than the clipping norm if that can be had.

    Where none is, as once a model fits its data, the rehearsals start from other weights.
    """
    import numpy as np

    rng = np.random.default_rng()
    first = rehearsal.start
    for stretch in (0.0, *STRETCHES):
        if stretch:
            rehearsal.start = {
                name: values + stretch * rng.standard_normal(values.shape)
                if name.startswith("model/")
                else values
                for name, values in first.items()
            }
        rehearsal.begin()
        chosen: dict[int, Floats] = {}
        longer = 0
        for index in range(min(PROBED, test.records)):
            gradient = np.asarray(test.plain_gradient(index), np.float64).ravel()
            if not np.isfinite(gradient).all():
                continue
            long = norm(gradient) > clipping_norm
            if long or len(chosen) < RECORDS:
                chosen[index] = gradient
                longer += long
            if longer >= LONG and len(chosen) >= RECORDS:
                break
        if not (chosen or stretch):
            raise SelfTestError("gradients: that of no record is finite")
        if longer:
            # Long ones first, so that others stand beside them in batches.
            by_length = sorted(chosen, key=lambda index: norm(chosen[index]) <= clipping_norm)
            return {index: chosen[index] for index in by_length[:RECORDS]}
        if not stretch:
            own = chosen
    rehearsal.start = first
    rehearsal.begin()
    return own


class _Steps(Generic[Step]):
    """The checks that take the recipe's own steps."""

    def __init__(
        self,
        rehearsal: Rehearsal[Step],
        plan: Plan,
        test: SelfTest,
        chosen: dict[int, Floats],
        clipping_norm: float,
    ) -> None:
        import numpy as np

        self._rehearsal = rehearsal
        self._hidden = max(HIDDEN, test.tolerance)
        self._rate = plan.mechanism.sampling_rate
        self._clipping_norm = clipping_norm
        self._scale = plan.gradient_noise * clipping_norm
        self._adaptive = plan.adaptive
        self._many = range(min(plan.batch_size, test.records))
        self._bands = plan.mechanism.bands
        self._most = plan.mechanism.max_batch
        scales = np.full(len(next(iter(chosen.values()))), self._scale)
        if plan.adaptive:  # the count comes first
            scales = np.concatenate(([plan.adaptive.count_noise], scales))
        self._scales: Floats = scales
        self._values = len(scales)
        self._chosen = chosen
        self._rng = np.random.default_rng()

    def hidden(self) -> Generator[Step, None, None]:
        """A record's whole effect is one that the noise can have: its clipped gradient's."""
        import numpy as np

        later = self._draw()
        signs = self._rng.choice([-1.0, 1.0], self._values) * self._scales
        ends = []
        for noise in (signs, -signs, 0 * signs):  # an even function tells none from the other
            after = yield from self._taken([], noise, later)
            ends.append(after)
        moved = [
            {
                name: np.maximum(abs(up[name] - down[name]) / 2, abs(up[name] - none[name]))
                for name in up
            }
            for up, down, none in zip(*ends, strict=True)
        ]
        gains = [{name: rms(by) / self._of(name)[0] for name, by in e.items()} for e in moved]
        self._reaches_all(moved[0], gains[0])
        indices = list(self._chosen)
        for place, record in enumerate(indices):
            others = [index for index in indices if index != record][:place]
            yield from self._hides(record, others, later, gains)
        crowd = [index for index in self._many if index != indices[0]]
        yield from self._hides(indices[0], crowd, later, gains)

    def noise(self) -> Generator[Step, None, None]:
        """The run's own noise has the plan's scale where it ends up, and is new each time."""
        import numpy as np

        own: list[Floats] = []
        first = self._rehearsal.randomness.first
        few = list(self._chosen)
        squares: dict[str, tuple[list[float], list[float]]] = {}
        for batch in ([], few):
            zero = yield from self._taken(batch, np.zeros(self._values))
            for kind in (0, 1):
                for _ in range(TIMES // 2):
                    if kind:
                        after = yield from self._taken(batch, first * self._draw())
                    else:
                        after = yield from self._taken(batch, None, own=own)
                    for name, values in after[0].items():
                        square = float(np.mean((values - zero[0][name]) ** 2))
                        squares.setdefault(name, ([], []))[kind].append(square)
        drawn = [row[: self._values] for row in own]
        if self._values > 1 and len({row.tobytes() for row in drawn}) < len(drawn):
            raise SelfTestError("noise: two steps get the same")
        while sum(map(len, drawn)) < VALUES:
            self._rehearsal.randomness.restart()
            more = self._rehearsal.randomness.normal(self._values, self._scale)
            drawn.append(np.asarray(more, np.float64) / self._scale)
        checks.gaussian(np.concatenate(drawn) * self._scale, first * self._scale)
        for name, each in squares.items():
            checks.same_spread(name, *each, self._rehearsal.start[name].size)
        correlated = self._bands > 1
        row = [
            self._stand_in([], keep=correlated)
            for _ in range(max(IN_A_ROW, 2 * self._bands) if correlated else IN_A_ROW)
        ]
        yield from self._rehearsal.sequence(*row)
        self._asked(row)
        if correlated:
            rows = [np.concatenate(one.drawn)[: self._values] for one in row]
            whitened = self._rehearsal.randomness.whitened(rows)
            checks.independent(whitened * self._scale, self._scale)

    def _hides(
        self, record: int, others: list[int], later: Floats, gains: list[dict[str, float]]
    ) -> Generator[Step, None, None]:
        noise = self._draw()
        put_in = yield from self._taken([*others, record], noise, later)
        in_noise = yield from self._taken(others, noise + self._released(record), later)
        for place, gain in enumerate(gains):
            for name, was in in_noise[place].items():
                left = norm(put_in[place][name] - was)
                worth = gain[name] * self._of(name)[1]
                if left <= self._hidden * worth + FLOAT32 * norm(was):
                    continue
                beside = f"beside {len(others)} others" if others else "alone"
                when = "" if not place else ", a step later"
                if not worth:
                    raise SelfTestError(
                        f"noise: none reaches {name}, which a record {beside} moves by"
                        f" {left:.3g}{when}"
                    )
                without = yield from self._taken(others, noise, later)
                moved = norm(put_in[place][name] - without[place][name]) / worth
                may = norm(was - without[place][name]) / worth
                raise SelfTestError(
                    f"sensitivity: measured by its noise, a record {beside} moves {name} by"
                    f" {moved:.4g} {self._of(name)[2]}{when}, its clipped gradient by {may:.4g}:"
                    f" {left / worth:.3g} of them are not hidden"
                )

    def _reaches_all(self, moved: State, gain: dict[str, float]) -> None:
        """Where noise reaches some values of an array, it reaches all."""
        for name, by in moved.items():
            expected = gain[name] * self._of(name)[0]
            still = by < 0.01 * expected
            still &= expected > 1024 * FLOAT32 * abs(self._rehearsal.start[name])
            if still.any():
                raise SelfTestError(
                    f"noise: none reaches {int(still.sum())} of the {still.size} values of {name}"
                )

    def _taken(
        self,
        batch: Sequence[int],
        noise: Floats | None,
        later: Floats | None = None,
        own: list[Floats] | None = None,
    ) -> Generator[Step, None, list[State]]:
        """What is after a step with this batch and noise and, with `later` noise, one after it."""
        import numpy as np

        given = [self._stand_in(batch, noise, keep=own is not None)]
        if later is not None:
            given.append(self._stand_in(list(self._chosen), later))
        states = yield from self._rehearsal.sequence(*given)
        self._asked(given)
        if own is not None:
            own.append(np.concatenate(given[0].drawn))
        return states

    def _asked(self, given: Sequence[StandIn]) -> None:
        """Each step asked for one batch at the plan's rate, and for noise for each parameter."""
        for one in given:
            if one.rates != [self._rate]:
                asked = ", ".join(f"{rate:.6g}" for rate in one.rates) or "none"
                raise SelfTestError(
                    f"sampling: a step asks its randomness for batches at the rates {asked},"
                    f" not for one at {self._rate:.6g}"
                )
            if one.most != [self._most]:
                raise SelfTestError(
                    f"sampling: a step asks its randomness for a batch of {one.most[0] or 'any'}"
                    f" records at most, not of {self._most or 'any'}"
                )
            if one.values < self._values:
                raise SelfTestError(
                    f"noise: a step asks its randomness for {one.values} values, and has"
                    f" {self._values} parameters"
                )

    def _stand_in(
        self, batch: Sequence[int], noise: Floats | None = None, keep: bool = False
    ) -> StandIn:
        return StandIn(self._rehearsal.randomness, batch, noise, self._scales, keep)

    def _draw(self) -> Floats:
        return self._rng.normal(0.0, self._scales)

    def _released(self, record: int) -> Floats:
        """What a record adds to what is released of a batch: to the count, if any, and the sum."""
        import numpy as np

        gradient = self._chosen[record]
        clipped = checks.clipped(gradient, self._clipping_norm)
        if not self._adaptive:
            return clipped
        kept = norm(gradient) <= self._clipping_norm
        return np.concatenate(([SENSITIVITY if kept else -SENSITIVITY], clipped))

    def _of(self, name: str) -> tuple[float, float, str]:
        """What moves an array: the scale of its noise, what a record adds at most, and its unit."""
        if self._adaptive and name == CLIPPING_NORM:
            return self._adaptive.count_noise, SENSITIVITY, "halves of a count"
        return self._scale, self._clipping_norm, "clipping norms"
