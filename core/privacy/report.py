"""What is known of the privacy that one run has spent, as `show` and the screens give it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from traindeck.core import events
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.plan import SEEDED, Plan

NO_NOISE = "no noise: epsilon is infinite"
UNREADABLE = "what was spent cannot be read: epsilon is not known"


def report(folder: Path, ledger: str | None) -> dict[str, Any] | None:
    """A run's privacy, or None when it has no plan. An infinite epsilon is None, and labelled.

    epsilon   an upper bound on what has been spent so far, at delta
    steps     how many releases that covers, those of the runs it was resumed from included
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
    epsilon = 0.0
    if spent is None and _is_long(folder / "events.jsonl"):  # it was told before what is looked at
        released, epsilon = plan.mechanism, plan.epsilon
    elif spent is not None:
        try:
            released = Mechanism.from_json(spent.get("event") or {})
            epsilon = float(spent["epsilon"])
        except ValueError:
            epsilon = math.inf
    audit = events.last(folder / "events.jsonl", "audit")
    mechanism = plan.mechanism
    label = "" if math.isfinite(epsilon) else UNREADABLE
    if not math.isfinite(plan.epsilon):
        label = NO_NOISE
    if plan.seeded:
        label = SEEDED
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
        "accountant": plan.accountant,
        "events": [released.to_json()] if released.steps else [],
        "audit": audit.get("result") if audit else None,
        "risk": plan.risk,
        "planned": {
            "steps": mechanism.steps,
            "epsilon": plan.epsilon if math.isfinite(plan.epsilon) else None,
        },
        "label": label,
        "dataset": plan.dataset,
        "records": plan.records,
        "batch_size": plan.batch_size,
        "ledger": ledger,
    }


def _is_long(log: Path) -> bool:
    """Whether a run's events are more than are looked through for the last one of a type."""
    try:
        return log.stat().st_size > events.TAIL_BYTES
    except OSError:
        return False
