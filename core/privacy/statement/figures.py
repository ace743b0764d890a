"""What of a statement follows from the rest of it: whoever makes it and whoever checks it ask here.

Epsilons and risks are bounds, rounded up to DIGITS: what is stated never promises more than what is
computed. Divergences of the filter are exact sums, as in the ledger.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from traindeck.core.privacy import accountant
from traindeck.core.privacy.ledger.filter import cost_of, exact, inexact
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.risk import Risk, risk

DIGITS = 6


@dataclass(frozen=True, slots=True)
class Ran:
    """One run, as far as its cost goes.

    plan      all that it may release
    released  steps whose noise may have been released
    charged   steps that count against the budget: the whole plan while the run goes on
    rho       what a step costs, at the filter's order; None without a budget
    """

    plan: Mechanism
    released: int
    charged: int
    rho: float | None

    @property
    def event(self) -> Mechanism:
        return self.plan.with_steps(self.released)


def up(value: float, digits: int = DIGITS) -> float | None:
    """A bound, rounded up; an infinite one is null."""
    if not math.isfinite(value):
        return None
    if value <= 0:
        return 0.0
    place = digits - 1 - math.floor(math.log10(value))
    rounded = float(f"{value:.{digits}g}")
    return rounded if rounded >= value else float(f"{rounded + 10.0**-place:.{digits}g}")


def of_run(ran: Ran, delta: float, void: bool) -> dict[str, Any]:
    """A run's event and epsilon, infinite where void; with a budget, what it takes of it."""
    bound = accountant.bound([ran.event], delta)
    figures: dict[str, Any] = {
        "event": ran.event.to_json(),
        "epsilon": None if void else up(bound.epsilon),
        "delta": delta,
        "accountant": bound.accountant,
    }
    if ran.rho is not None:
        figures["rho_spent"] = inexact(cost_of(ran.plan, ran.rho, ran.released))
        figures["rho_charged"] = inexact(cost_of(ran.plan, ran.rho, ran.charged))
    return figures


def together(runs: Sequence[Ran], delta: float, void: bool) -> dict[str, Any]:
    """What all runs come to had their schedule been fixed in advance; infinite where void."""
    events = [ran.event for ran in runs]
    bound = accountant.bound(events, delta)
    held = not void and math.isfinite(bound.epsilon)
    return {
        "epsilon": up(bound.epsilon) if held else None,
        "delta": delta,
        "accountant": bound.accountant,
        "risk": risk_of(risk(events)) if held else None,
    }


def naive(runs: Sequence[Ran], delta: float, void: bool) -> dict[str, Any]:
    """Each run's own epsilon, and delta, added up."""
    events = Counter(ran.event for ran in runs if ran.released)
    total = sum(count * accountant.epsilon([one], delta) for one, count in events.items())
    return {"epsilon": None if void else up(total), "delta": sum(events.values()) * delta}


def filtered(
    runs: Iterable[Ran], rho_budget: float, delta: float, order: float, void: bool
) -> dict[str, Any]:
    """What the Rényi filter has counted, and the epsilon that covers what was released."""
    spent = charged = 0
    for ran in runs:
        if ran.rho is None:
            raise ValueError("a run of a budget has no cost")
        spent += cost_of(ran.plan, ran.rho, ran.released)
        charged += cost_of(ran.plan, ran.rho, ran.charged)
    epsilon = accountant.epsilon_budget(inexact(spent), delta, order) if spent else 0.0
    return {
        "epsilon": None if void else up(epsilon),
        "delta": delta,
        "rho_spent": inexact(spent),
        "rho_reserved": inexact(charged - spent),
        "within_budget": charged <= exact(rho_budget),
    }


def risk_of(known: Risk) -> dict[str, Any]:
    """Of a risk, its bounds rounded up; the shares of members by the rate of false accusations."""
    return {
        "members": {f"{rate:g}": up(share) for rate, share in known.members},
        "advantage": up(known.advantage),
        "sentence": known.sentence,
    }
