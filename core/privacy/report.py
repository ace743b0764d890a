"""What is known of the privacy that one run has spent, as `show` and the screens give it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traindeck.core.privacy.bounds import at_least, at_most
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.plan import SEEDED, Plan
from traindeck.core.run import events

NO_NOISE = "no noise: epsilon is infinite"
_SAMPLERS = {
    "poisson": "Poisson sampling",
    "shuffle": "shuffled batches, not amplified",
    "none": "all records in each batch",
}
UNREADABLE = "what was spent cannot be read: epsilon is not known"


def report(folder: Path, ledger: str | None) -> dict[str, Any] | None:
    """A run's privacy, or None when it has no plan. An infinite epsilon is None, and labelled.

    epsilon   an upper bound on what has been spent so far, at delta
    steps     how many releases that covers, those of the runs it was resumed from included
    inherited how many those were: they were paid for by the runs that took them
    exposed   that it made a budget's epsilon infinite; empty when it did not
    events    the mechanisms released, for anyone to account for again
    planned   what the whole run is to spend
    label     why the epsilon must not be relied upon; empty when nothing speaks against it
    audit     the measured lower bound, when the run was audited
    risk      in words and figures, of the whole plan
    """
    plan = Plan.read(folder)
    if plan is None:
        return None
    spent = events.last(folder / "events.jsonl", "spend")
    released = plan.mechanism.with_steps(0)
    epsilon, inherited = 0.0, 0
    if spent is None and _is_long(folder / "events.jsonl"):  # it was told before what is looked at
        released, epsilon = plan.mechanism, plan.epsilon
    elif spent is not None:
        try:
            released = Mechanism.from_json(spent.get("event") or {})
            epsilon = float(spent["epsilon"])
            inherited = int(spent.get("inherited", 0))
        except ValueError:
            epsilon = math.inf
    audit = events.last(folder / "events.jsonl", "audit")
    mechanism = plan.mechanism
    label = "" if math.isfinite(epsilon) else UNREADABLE
    if not math.isfinite(plan.epsilon):
        label = NO_NOISE
    if plan.seeded:
        label = SEEDED
    exposed = bool(ledger) and not plan.private
    return {
        "epsilon": epsilon if math.isfinite(epsilon) else None,
        "delta": plan.delta,
        "unit": plan.unit,
        "relation": plan.relation,
        "sampler": mechanism.sampler,
        "sampling_rate": mechanism.sampling_rate,
        "noise_multiplier": mechanism.noise_multiplier,
        "clipping_norm": plan.clipping_norm,
        "steps": released.steps,
        "inherited": inherited,
        "accountant": plan.accountant,
        "events": [released.to_json()] if released.steps else [],
        "audit": audit.get("result") if audit else None,
        "risk": plan.risk,
        "planned": {
            "steps": mechanism.steps,
            "epsilon": plan.epsilon if math.isfinite(plan.epsilon) else None,
        },
        "label": label,
        "exposed": exposes(str(ledger)) if exposed else "",
        "dataset": plan.dataset,
        "records": plan.records,
        "batch_size": plan.batch_size,
        "ledger": ledger,
    }


def words(privacy: Mapping[str, Any]) -> dict[str, str]:
    """A run's report for people: epsilon with all that it depends on, and what it means."""
    audit = privacy["audit"] or {}
    violated = audit.get("verdict") == "violated"
    told = {
        "privacy": f"epsilon {at_most(privacy['epsilon'])} at most, at delta {privacy['delta']:g},"
        f" of one {privacy['unit']} ({privacy['relation']})",
        "by": f"{sampling(privacy)}, clipping norm {privacy['clipping_norm']:g};"
        f" {privacy['accountant']}",
        "planned": f"epsilon {at_most(privacy['planned']['epsilon'])} at most after all"
        f" {privacy['planned']['steps']} steps",
        "risk": risk_in_words(privacy),
    }
    if privacy["steps"] == privacy["planned"]["steps"]:
        del told["planned"]
    if privacy.get("inherited"):
        told["resumed"] = inherits(privacy)
    if privacy.get("exposed"):
        told["exposed"] = privacy["exposed"]
    if violated:
        told["audit"] = (
            f"VIOLATED: epsilon is at least {at_least(audit.get('lower'))}, do not rely on what is"
            " claimed"
        )
    if privacy["label"]:
        told["label"] = privacy["label"]
    if violated or privacy["label"]:  # what a claim says of the risk holds as long as it does
        del told["risk"]
    return told


def risk_in_words(privacy: Mapping[str, Any]) -> str:
    """What the whole plan lets an attacker find out, said so where only part of it is spent."""
    risk = privacy.get("risk")
    sentence = str(risk.get("sentence") or "") if isinstance(risk, Mapping) else ""
    planned = privacy.get("planned") or {}
    partly = sentence and planned.get("steps") != privacy.get("steps")
    return f"its whole plan: {sentence}" if partly else sentence


def exposes(ledger: str) -> str:
    """Of a run without privacy that was admitted on a budgeted data set."""
    return f"this run exposed the budget of {ledger}: its epsilon is infinite, for ever"


def inherits(privacy: Mapping[str, Any]) -> str:
    """Of a resumed run."""
    return (
        f"{privacy['inherited']:,} of the {privacy['steps']:,} steps were inherited from the"
        " checkpoint and paid for by the run that took them"
    )


def sampling(privacy: Mapping[str, Any]) -> str:
    """How a run's batches are drawn and what is added to their sums."""
    return (
        f"{_SAMPLERS[privacy['sampler']]} at rate {privacy['sampling_rate']:.4g}, Gaussian noise"
        f" (float) {privacy['noise_multiplier']:.4g}, {privacy['steps']} steps"
    )


def in_short(privacy: Mapping[str, Any]) -> str:
    """A run's epsilon for a list: infinite, too, when its noise is seeded."""
    if (privacy["audit"] or {}).get("verdict") == "violated":
        return "violated"
    return at_most(None if privacy["label"] else privacy["epsilon"])


def _is_long(log: Path) -> bool:
    """Whether a run's events are more than are looked through for the last one of a type."""
    try:
        return log.stat().st_size > events.TAIL_BYTES
    except OSError:
        return False
