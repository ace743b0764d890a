"""What a private run will release, settled before it starts: from its recipe and its parameters.

The plan is made once, by whoever launches the run, and kept in the run's folder as `privacy.json`;
the run trains by it and the ledger reserves it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import UsageError
from traindeck.core.base.files import read_json
from traindeck.core.privacy import PLAN_FILE
from traindeck.core.privacy.bounds import or_infinite, or_null
from traindeck.core.privacy.clipping import SENSITIVITY, ZEROED, AdaptiveClipping
from traindeck.core.privacy.mechanism import LARGEST_NOISE, MAX_STEPS, Mechanism, relation_of
from traindeck.core.privacy.risk import Risk, risk
from traindeck.core.recipe.accounting import Accounting
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe

CURVE_POINTS = 24
COUNT_NOISE = 20  # a batch has so many times the count's noise (Andrew et al. 2021, section 3.1)
FEW = 3.0
"""The noise of a count of few owners, over what it is at the least: updates then have 6 % more."""
MAX_RECORDS_FOR_DEFAULT_DELTA = 10**5
DEFAULT_DELTA = 1e-5
SEEDED = "seeded noise: not private"
NO_NOISE = "no noise: epsilon is infinite"


COSTS_BY = frozenset({
    "epsilon", "noise_multiplier", "delta", "batch_size", "epochs", "steps", "rounds",
    "local_steps", "noise_seed", "noise", "bands",
})  # fmt: skip
"""The parameters that decide what a plan costs; a clipping norm changes what noise does, not that.
"""


class PlanError(UsageError):
    """The parameters make no private run; the message says which and what would."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A private run before it starts.

    records     public bound on the number of training records
    batch_size  how many of them a batch holds in expectation: the sum of gradients is divided by it
    epsilon     what the whole plan costs at delta; infinite for a twin without privacy
    curve       epsilon after so many steps, at CURVE_POINTS places up to the last
    risk        what the whole plan lets an attacker find out
    seeded      sampler and noise come from a seed that is written down: not private
    adaptive    how the clipping norm moves from `clipping_norm` on, where it does
    pretrained  what the public weights that it begins with have seen, which epsilon is not about
    """

    dataset: str
    unit: str
    relation: str
    records: int
    batch_size: int
    clipping_norm: float
    delta: float
    mechanism: Mechanism
    epsilon: float
    curve: tuple[tuple[int, float], ...]
    accountant: str
    risk: Risk
    seeded: bool
    adaptive: AdaptiveClipping | None = None
    pretrained: str = ""

    @property
    def gradient_noise(self) -> float:
        """Standard deviation of the noise in a sum of gradients, over the clipping norm.

        It is the mechanism's, but where a noisy count of the same sample moves the clipping norm:
        the mechanism is then that of both together.
        """
        joint = self.mechanism.noise_multiplier
        return self.adaptive.gradient_noise(joint) if self.adaptive else joint

    @property
    def private(self) -> bool:
        """Whether the run may say that it has a finite epsilon."""
        return math.isfinite(self.epsilon) and not self.seeded

    @property
    def label(self) -> str:
        """Why its epsilon must not be relied upon; empty when nothing speaks against it."""
        return SEEDED if self.seeded else "" if self.private else NO_NOISE

    def epsilon_at(self, steps: int) -> float:
        """An upper bound on epsilon after so many steps: that of the curve's next place."""
        if steps <= 0:
            return 0.0
        place = bisect_left(self.curve, steps, key=lambda point: point[0])
        return self.curve[place][1] if place < len(self.curve) else math.inf

    def to_json(self) -> dict[str, Any]:
        """The plan as `privacy.json` keeps it; an infinite epsilon is null."""
        data = asdict(self) | {"mechanism": self.mechanism.to_json()}
        data["epsilon"] = or_null(self.epsilon)
        data["curve"] = [[steps, or_null(value)] for steps, value in self.curve]
        data["risk"] = self.risk.to_json()
        if not self.pretrained:  # as it was written before there were such fields
            del data["pretrained"]
        if self.adaptive is None:
            del data["adaptive"]
        else:
            data["adaptive"] = self.adaptive.to_json(self.mechanism.noise_multiplier)
        return data

    @classmethod
    def read(cls, folder: Path) -> Plan | None:
        """The plan of a run's folder; None when it has none or it is damaged."""
        data = read_json(folder / PLAN_FILE)
        try:
            return None if data is None else cls.from_json(data)
        except (KeyError, TypeError, ValueError):
            return None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        curve = tuple((int(steps), or_infinite(value)) for steps, value in data["curve"])
        parsed = {
            "mechanism": Mechanism.from_json(data["mechanism"]),
            "epsilon": or_infinite(data["epsilon"]),
            "curve": curve,
            "risk": Risk.from_json(data["risk"]),
            "adaptive": AdaptiveClipping.from_json(data.get("adaptive")),
        }
        return cls(**{**data, **parsed})


def make(recipe: Recipe, params: Mapping[str, Value]) -> Plan | None:
    """The plan of a private recipe; None for any other.

    The standard parameters decide: epsilon (noise is solved for) or noise_multiplier, delta,
    clipping_norm, batch_size, epochs or steps, noise_seed; of federated recipes rounds, with
    local_steps in each; noise=banded, in so many bands; clipping=adaptive, to clipping_quantile by
    clipping_lr with count_noise, of owners' updates as well. Without a sampler all records are in
    each step, whatever batch_size.
    Takes 1 to 2 s, most of it the accountant's import. Raises PlanError.
    """
    recipe = recipe.chosen(params)
    declared = recipe.accounting
    if declared is None:
        return None
    from traindeck.core.privacy import accountant

    if declared.of not in ("", recipe.dataset):
        raise PlanError(
            f"dataset: the accounting of {recipe.name} is for {declared.of}, not {recipe.dataset}"
        )
    delta = _number(params, "delta", DEFAULT_DELTA)
    _check_delta(recipe.name, delta, declared.records)
    batch_size = int(_number(params, "batch_size", 0))
    if declared.sampler == "none":
        batch_size = declared.records
    if not 1 <= batch_size <= declared.records:
        units = "users" if declared.unit == "user" else "records"
        raise PlanError(f"batch_size: {batch_size} is not from 1 to the {declared.records} {units}")
    steps = _steps(params, declared.records, batch_size)
    mechanism = _mechanism(params, declared, batch_size, steps)
    clipping_norm = _number(params, "clipping_norm", 1.0)
    if not 0 < clipping_norm < math.inf:
        raise PlanError(f"clipping_norm: {clipping_norm:g} is not above 0 and finite")
    wanted = _number(params, "epsilon", math.inf)
    noise = given = _number(params, "noise_multiplier", 0.0)
    if given == 0.0:
        if wanted <= 0:
            raise PlanError("epsilon: must be above 0 (inf: without privacy)")
        try:
            noise = accountant.least_noise(wanted, delta, mechanism)
        except ValueError as error:
            raise PlanError(f"delta: {error}") from None
    elif not accountant.LEAST_NOISE <= given <= LARGEST_NOISE:
        raise PlanError(
            f"noise_multiplier: {given:g} is not from {accountant.LEAST_NOISE:g} to"
            f" {LARGEST_NOISE:g} (0: found from epsilon; a run without noise is one of epsilon inf)"
        )
    mechanism = replace(mechanism, noise_multiplier=noise)
    adaptive = _adaptive(params, declared, mechanism, batch_size)
    curve = accountant.curve(mechanism, delta, CURVE_POINTS)
    if noise and math.isinf(curve[-1][1]):
        raise PlanError(
            f"noise_multiplier: {noise:g} has no finite epsilon with the sampler"
            f" {declared.sampler}: take more"
        )
    if given and curve[-1][1] > wanted != recipe.defaults()["epsilon"]:
        raise PlanError(
            f"noise_multiplier: {given:g} costs an epsilon of {curve[-1][1]:.4g}, more than the"
            f" {wanted:g} that is asked for: leave one of the two out"
        )
    return Plan(
        dataset=recipe.dataset,
        unit=declared.unit,
        relation=relation_of(declared.unit, mechanism),
        records=declared.records,
        batch_size=batch_size,
        clipping_norm=clipping_norm,
        delta=delta,
        mechanism=mechanism,
        epsilon=curve[-1][1],
        curve=curve,
        accountant=accountant.bound([mechanism], delta).accountant,
        risk=risk([mechanism]),
        seeded=_number(params, "noise_seed", -1) >= 0,
        adaptive=adaptive,
        pretrained=declared.pretrained,
    )


def usual_delta(records: int) -> float:
    """What delta to take for so many records: the default, as long as it is far below 1/N."""
    small = records < MAX_RECORDS_FOR_DEFAULT_DELTA
    return DEFAULT_DELTA if small else float(f"{0.1 / records:.0e}")


def _check_delta(name: str, delta: float, records: int) -> None:
    if not 0 < delta < 1:
        raise PlanError(f"delta: {delta:g} is not between 0 and 1")
    if delta >= 1 / records:
        raise PlanError(
            f"delta: {delta:g} is not below 1/{records}: one record in each data set could be"
            f" published whole at that delta; {usual_delta(records):g} is usual"
        )
    if delta == DEFAULT_DELTA and records >= MAX_RECORDS_FOR_DEFAULT_DELTA:
        raise PlanError(
            f"delta: name one; {delta:g} is no default for the {records} of {name},"
            f" {usual_delta(records):g} is usual"
        )


def _steps(params: Mapping[str, Value], records: int, batch_size: int) -> int:
    wanted = (
        _number(params, "steps", 0)
        or _number(params, "rounds", 0) * _number(params, "local_steps", 1)
        or _number(params, "epochs", 0) * records / batch_size
    )
    if wanted < 1:
        raise PlanError("steps or epochs: there is not one whole step to do")
    if wanted > MAX_STEPS:
        raise PlanError(f"steps or epochs: more than {MAX_STEPS} steps are too many")
    return int(wanted)


def _mechanism(
    params: Mapping[str, Value], declared: Accounting, batch_size: int, steps: int
) -> Mechanism:
    """What is released, with a noise that is still to be settled."""
    rate, sampler = batch_size / declared.records, declared.sampler
    if sampler != "truncated":
        return Mechanism(1.0, rate, steps, sampler, bands=_bands(params, declared, batch_size))
    from traindeck.core.privacy.truncation import max_batch

    _bands(params, declared, batch_size)
    if declared.unit == "owner" or "rounds" in params:
        raise PlanError("sampler: in a federation batches are not truncated: take poisson or none")
    most = max_batch(declared.records, rate)
    return Mechanism(1.0, rate, steps, sampler, max_batch=most, records=declared.records)


def _bands(params: Mapping[str, Value], declared: Accounting, batch_size: int) -> int:
    """Of the noise; 1 where that of each step is independent."""
    if params.get("noise") != "banded":
        return 1
    if declared.sampler != "poisson":
        raise PlanError(
            f"noise: banded noise needs the sampler poisson, not {declared.sampler}: each record is"
            " drawn in one step of each cycle"
        )
    if declared.unit == "owner" or "rounds" in params:
        raise PlanError("noise: in a federation each round's noise is independent of the others")
    bands = int(_number(params, "bands", 0))
    most = declared.records // batch_size
    if not 1 <= bands <= most:
        raise PlanError(
            f"bands: {bands} is not from 1 to {most}: a batch of {batch_size} is drawn from one of"
            f" so many parts of the {declared.records} records"
        )
    return bands


def _adaptive(
    params: Mapping[str, Value], declared: Accounting, mechanism: Mechanism, batch_size: int
) -> AdaptiveClipping | None:
    """How the clipping norm moves; None where it stays."""
    if params.get("clipping") != "adaptive":
        return None
    if mechanism.bands > 1:
        raise PlanError("clipping: adaptive clipping needs noise=independent, not banded noise")
    if mechanism.sampler == "shuffle":
        raise PlanError(
            "clipping: adaptive clipping needs another sampler than shuffle: its count is of"
            " records that are there or not, and a shuffled one is there with zeros"
        )
    owners, joint = declared.unit == "owner", mechanism.noise_multiplier
    if "rounds" in params and not owners:
        raise PlanError(
            f"clipping: in a federation whose unit is the {declared.unit} the norm of gradients"
            " stays as it was agreed on; adaptive clipping is of owners' updates (dp=central), and"
            " of gradients in recipes on one machine"
        )
    quantile = _number(params, "clipping_quantile", 0.5)
    if not 0 < quantile < 1:
        raise PlanError(f"clipping_quantile: {quantile:g} is not between 0 and 1")
    lr = _number(params, "clipping_lr", 0.2)
    if not 0 < lr < math.inf:
        raise PlanError(f"clipping_lr: {lr:g} is not above 0 and finite")
    sensitivity = ZEROED if owners else SENSITIVITY
    usual = max(batch_size / COUNT_NOISE, FEW * sensitivity * joint if owners else 0.0)
    noise = _number(params, "count_noise", 0.0) or usual
    if not 0 < noise < math.inf:
        raise PlanError(f"count_noise: {noise:g} is not above 0 and finite")
    moves = AdaptiveClipping(quantile, lr, noise if joint else 0.0, sensitivity)
    try:
        moves.gradient_noise(joint)
    except ValueError as error:
        raise PlanError(f"count_noise: {error}") from None
    return moves


def _number(params: Mapping[str, Value], name: str, default: float) -> float:
    value = params.get(name)
    return float(value) if isinstance(value, int | float) else default
