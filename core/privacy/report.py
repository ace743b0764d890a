"""What is known of the privacy that one run has spent, as `show` and the screens give it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindeck.core.base import tolerant
from traindeck.core.privacy.audit.result import AuditResult
from traindeck.core.privacy.bounds import at_least, at_most, or_null
from traindeck.core.privacy.clipping import AdaptiveClipping
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.risk import Risk
from traindeck.core.run import events

UNREADABLE = "what was spent cannot be read: epsilon is not known"
_SAMPLERS = {
    "poisson": "Poisson sampling",
    "truncated": "truncated Poisson sampling",
    "shuffle": "shuffled passes, one release in each, not amplified,",
    "none": "all records in each batch",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """What the whole of a run is to spend: an epsilon, infinite without noise, in so many steps."""

    steps: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class RunPrivacy:
    """What one run has spent of its plan.

    epsilon        an upper bound on what has been spent so far, at delta; may be infinite
    sampling_rate  the share of all records that a batch holds, in expectation
    noise_multiplier  standard deviation of the noise over the clipping norm
    clipping_norm  at first, where it is `adaptive`; noise_multiplier is then that of gradients and
                   count together
    bands          of noise that later steps take back in part; 1: each step's is independent
    steps          how many steps epsilon covers, those of the runs it was resumed from included
    inherited      how many those were: they were paid for by the runs that took them
    events         the mechanisms released, for anyone to account for again
    audit          the measured lower bound, when the run was audited
    risk           in words and figures, of the whole plan
    planned        what the whole run is to spend
    label          why epsilon must not be relied upon; empty when nothing speaks against it
    exposed        that it made a budget's epsilon infinite; empty when it did not
    records        public bound on how many there are, of which a batch holds `batch_size`
    max_batch      and never more than these, where the sampler is truncated; 0 where it is not
    ledger         the data set whose budget is charged, if any is
    pretrained     what the public weights that it began with have seen, which epsilon is not about
    """

    epsilon: float
    delta: float
    unit: str
    relation: str
    sampler: str
    sampling_rate: float
    noise_multiplier: float
    bands: int
    clipping_norm: float
    adaptive: AdaptiveClipping | None
    steps: int
    inherited: int
    accountant: str
    events: tuple[Mechanism, ...]
    audit: AuditResult | None
    risk: Risk
    planned: Planned
    label: str
    exposed: str
    dataset: str
    records: int
    batch_size: int
    max_batch: int
    ledger: str | None
    pretrained: str

    @property
    def violated(self) -> bool:
        """Whether an audit has measured more than is claimed."""
        return self.audit is not None and self.audit.violated

    @property
    def reliable(self) -> bool:
        """Whether nothing speaks against its epsilon, and so against what is said of the risk."""
        return not self.label and not self.violated

    def to_json(self) -> dict[str, Any]:
        """As a run's document has it; an infinite epsilon is null."""
        return {
            "epsilon": or_null(self.epsilon),
            "delta": self.delta,
            "unit": self.unit,
            "relation": self.relation,
            "sampler": self.sampler,
            "sampling_rate": self.sampling_rate,
            "noise_multiplier": self.noise_multiplier,
            "bands": self.bands,
            "clipping_norm": self.clipping_norm,
            "adaptive": self.adaptive.to_json(self.noise_multiplier) if self.adaptive else None,
            "steps": self.steps,
            "inherited": self.inherited,
            "accountant": self.accountant,
            "events": [one.to_json() for one in self.events],
            "audit": self.audit.to_json() if self.audit else None,
            "risk": self.risk.to_json(),
            "planned": {
                "steps": self.planned.steps,
                "epsilon": or_null(self.planned.epsilon),
            },
            "label": self.label,
            "exposed": self.exposed,
            "dataset": self.dataset,
            "records": self.records,
            "batch_size": self.batch_size,
            "max_batch": self.max_batch,
            "ledger": self.ledger,
            "pretrained": self.pretrained,
        }

    @classmethod
    def from_json(cls, data: object) -> RunPrivacy | None:
        """The privacy of a run's document; None when the run accounts for none.

        What is missing, as in a document of an earlier version, is NaN, 0 or empty; an epsilon is
        infinite then.
        """
        if not isinstance(data, dict) or not data:
            return None
        known = data.get
        planned = known("planned")
        planned = planned if isinstance(planned, dict) else {}
        return cls(
            epsilon=_epsilon(data),
            delta=tolerant.number(known("delta")),
            unit=tolerant.text(known("unit")),
            relation=tolerant.text(known("relation")),
            sampler=tolerant.text(known("sampler")),
            sampling_rate=tolerant.number(known("sampling_rate")),
            noise_multiplier=tolerant.number(known("noise_multiplier")),
            bands=tolerant.count(known("bands")) or 1,
            clipping_norm=tolerant.number(known("clipping_norm")),
            adaptive=_adaptive(known("adaptive")),
            steps=tolerant.count(known("steps")) or 0,
            inherited=tolerant.count(known("inherited")) or 0,
            accountant=tolerant.text(known("accountant")),
            events=_mechanisms(known("events")),
            audit=AuditResult.from_json(known("audit")),
            risk=Risk.from_json(known("risk")),
            planned=Planned(tolerant.count(planned.get("steps")) or 0, _epsilon(planned)),
            label=tolerant.text(known("label")),
            exposed=tolerant.text(known("exposed")),
            dataset=tolerant.text(known("dataset")),
            records=tolerant.count(known("records")) or 0,
            batch_size=tolerant.count(known("batch_size")) or 0,
            max_batch=tolerant.count(known("max_batch")) or 0,
            ledger=tolerant.text(known("ledger")) or None,
            pretrained=tolerant.text(known("pretrained")),
        )


def report(folder: Path, ledger: str | None) -> RunPrivacy | None:
    """A run's privacy, from what lies in its folder; None when it has no plan."""
    from traindeck.core.privacy.plan import Plan  # with it come recipes, which lists do without

    plan = Plan.read(folder)
    if plan is None:
        return None
    log = folder / "events.jsonl"
    spent = events.last(log, "spend")
    released = plan.mechanism.with_steps(0)
    epsilon, inherited = 0.0, 0
    if spent is None and _is_long(log):  # it was reported before what is looked at
        released, epsilon = plan.mechanism, plan.epsilon
    elif spent is not None:
        try:
            released = Mechanism.from_json(spent.get("event") or {})
            epsilon = float(spent["epsilon"])
            inherited = int(spent.get("inherited", 0))
        except ValueError:
            epsilon = math.inf
    audited = events.last(log, "audit")
    mechanism = plan.mechanism
    return RunPrivacy(
        epsilon=epsilon,
        delta=plan.delta,
        unit=plan.unit,
        relation=plan.relation,
        sampler=mechanism.sampler,
        sampling_rate=mechanism.sampling_rate,
        noise_multiplier=mechanism.noise_multiplier,
        bands=mechanism.bands,
        clipping_norm=plan.clipping_norm,
        adaptive=plan.adaptive,
        steps=released.steps,
        inherited=inherited,
        accountant=plan.accountant,
        events=(released,) if released.steps else (),
        audit=AuditResult.from_json(audited.get("result")) if audited else None,
        risk=plan.risk,
        planned=Planned(mechanism.steps, plan.epsilon),
        label=plan.label or ("" if math.isfinite(epsilon) else UNREADABLE),
        exposed=exposes(ledger) if ledger and not plan.private else "",
        dataset=plan.dataset,
        records=plan.records,
        batch_size=plan.batch_size,
        max_batch=mechanism.max_batch,
        ledger=ledger,
        pretrained=plan.pretrained,
    )


def epsilon_of(data: object) -> float | None:
    """The epsilon alone of a document's privacy, for lists of thousands of runs.

    Infinite where the run says that there is no bound; None without accounting.
    """
    if not isinstance(data, dict):
        return None
    epsilon = tolerant.real(data.get("epsilon"))
    return math.inf if epsilon is None and data.get("label") else epsilon


def words(privacy: RunPrivacy) -> dict[str, str]:
    """A run's report for people: epsilon with all that it depends on, and what it means."""
    facts = {
        "privacy": f"epsilon {at_most(privacy.epsilon)} at most, at delta {privacy.delta:g},"
        f" of one {privacy.unit} ({privacy.relation})",
        "by": f"{sampling(privacy)}, {clipping(privacy)}; {privacy.accountant}",
        "planned": f"epsilon {at_most(privacy.planned.epsilon)} at most after all"
        f" {privacy.planned.steps} steps",
        "risk": risk_in_words(privacy),
    }
    if privacy.steps == privacy.planned.steps:
        del facts["planned"]
    if privacy.inherited:
        facts["resumed"] = inherits(privacy)
    if privacy.pretrained:
        facts["public weights"] = f"what they have seen is not covered: {privacy.pretrained}"
    if privacy.exposed:
        facts["exposed"] = privacy.exposed
    if privacy.audit and privacy.violated:
        facts["audit"] = (
            f"VIOLATED: epsilon is at least {at_least(privacy.audit.lower)}, do not rely on what is"
            " claimed"
        )
    if privacy.label:
        facts["label"] = privacy.label
    if not privacy.reliable:  # what a claim says of the risk holds as long as it does
        del facts["risk"]
    return facts


def risk_in_words(privacy: RunPrivacy) -> str:
    """What the whole plan lets an attacker find out, said so where only part of it is spent."""
    sentence = privacy.risk.sentence
    partly = sentence and privacy.planned.steps != privacy.steps
    return f"its whole plan: {sentence}" if partly else sentence


def exposes(ledger: str) -> str:
    """Of a run without privacy that was admitted on a budgeted data set."""
    return f"this run exposed the budget of {ledger}: its epsilon is infinite, for ever"


def inherits(privacy: RunPrivacy) -> str:
    """Of a resumed run."""
    return (
        f"{privacy.inherited:,} of the {privacy.steps:,} steps were inherited from the"
        " checkpoint and paid for by the run that took them"
    )


def sampling(privacy: RunPrivacy) -> str:
    """How a run's batches are drawn and what is added to their sums."""
    drawn = _SAMPLERS.get(privacy.sampler, "?")
    if privacy.max_batch:
        drawn += f" of {privacy.max_batch} records at most"
    if privacy.bands > 1:
        drawn += f" from one of {privacy.bands} parts in turn"
    bands = f" in {privacy.bands} bands" if privacy.bands > 1 else ""
    return (
        f"{drawn} at rate {privacy.sampling_rate:.4g}, Gaussian noise (float){bands}"
        f" {privacy.noise_multiplier:.4g}, {privacy.steps} steps"
    )


def clipping(privacy: RunPrivacy) -> str:
    """What gradients, or owners' updates, are clipped to."""
    norm, how = f"clipping norm {privacy.clipping_norm:g}", privacy.adaptive
    if how is None:
        return norm
    whose = "updates" if privacy.unit == "owner" else "gradients"
    return (
        f"{norm} at first, moved to the quantile {how.quantile:g} by a count with noise"
        f" {how.count_noise:g} (the {whose}' is {gradient_noise(privacy):.4g})"
    )


def gradient_noise(privacy: RunPrivacy) -> float:
    """The noise multiplier of the gradients alone; of a damaged document NaN."""
    how = privacy.adaptive
    try:
        return how.gradient_noise(privacy.noise_multiplier) if how else privacy.noise_multiplier
    except ValueError:
        return math.nan


def in_short(privacy: RunPrivacy) -> str:
    """A run's epsilon for a list: infinite, too, when its noise is seeded."""
    if privacy.violated:
        return "violated"
    return at_most(math.inf if privacy.label else privacy.epsilon)


def _epsilon(data: dict[str, Any]) -> float:
    epsilon = tolerant.real(data.get("epsilon"))
    return math.inf if epsilon is None else epsilon


def _adaptive(data: object) -> AdaptiveClipping | None:
    try:
        return AdaptiveClipping.from_json(data)
    except ValueError:
        return None


def _mechanisms(data: object) -> tuple[Mechanism, ...]:
    """Those released; none when one of them cannot be read: what is left would say too little."""
    try:
        return tuple(Mechanism.from_json(one) for one in tolerant.records(data, tolerant.MOST))
    except ValueError:
        return ()


def _is_long(log: Path) -> bool:
    """Whether a run's events are more than are looked through for the last one of a type."""
    try:
        return log.stat().st_size > events.TAIL_BYTES
    except OSError:
        return False
