"""Private runs and budgets, as launching and training leave them on disk; no accountant is run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tests.tui.homes import make_run
from traindeck.core.base.home import Home
from traindeck.core.privacy import PLAN_FILE
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import create
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.run.events import append

MECHANISM = Mechanism(2.505, 4096 / 60000, 585)
ACCOUNTANT = "dp-accounting 0.6 PLD, interval 0.001"
SENTENCE = "an attacker allowed 1 false accusation in 100 finds at most 5 members in 100"
AUDIT = {
    "lower": 1.924,
    "lower_general": 1.2,
    "confidence": 0.95,
    "claimed": 2.93,
    "delta": 1e-5,
    "canaries": 5000,
    "guesses": 500,
    "correct": 400,
    "steps": 585,
    "method": "f-DP in one run",
    "method_general": "DP in one run",
    "verdict": "consistent",
}
"""What `traindeck audit` records."""


def private_run(
    home: Home,
    number: int = 1,
    *,
    steps: int = 585,
    epsilon: float = 2.93,
    planned: float | None = 2.93,
    seeded: bool = False,
    ledger: str | None = None,
    audit: dict[str, Any] | None = None,
    index: bool = False,
    **more: Any,
) -> str:
    """Makes a run that has spent so many of 585 planned steps, and returns its id."""
    from traindeck.core.catalogue.store import Catalogue

    given = {"name": "scatter", "recipe": "torch-mnist-scatter-dp", **more}
    run_id = make_run(home, number, ledger=ledger, privacy="dp-sgd", index=False, **given)
    folder = home.runs / run_id
    write_plan(folder, planned, seeded)
    if steps:
        event = MECHANISM.with_steps(steps).to_json()
        append(folder / "events.jsonl", "spend", event=event, epsilon=epsilon, delta=1e-5)
    if audit is not None:
        append(folder / "events.jsonl", "audit", result=audit)
    if index:
        Catalogue(home).sync(folder)
    return run_id


def write_plan(folder: Path, planned: float | None = 2.93, seeded: bool = False) -> None:
    """As the launch does; its curve grows like the square root of the steps."""
    noise = 0.0 if planned is None else MECHANISM.noise_multiplier
    mechanism = Mechanism(noise, MECHANISM.sampling_rate, MECHANISM.steps)
    places = [math.ceil(585 * k / 24) for k in range(1, 25)]
    plan = {
        "dataset": "mnist",
        "unit": "example",
        "relation": "add-or-remove-one",
        "records": 60000,
        "batch_size": 4096,
        "clipping_norm": 0.1,
        "delta": 1e-5,
        "mechanism": mechanism.to_json(),
        "epsilon": planned,
        "curve": [[n, None if planned is None else planned * math.sqrt(n / 585)] for n in places],
        "accountant": ACCOUNTANT,
        "risk": {"found": [], "advantage": 0.2, "sentence": SENTENCE},
        "seeded": seeded,
    }
    (folder / PLAN_FILE).write_text(json.dumps(plan))


def make_ledger(home: Home, name: str = "mnist", epsilon: float = 6.0) -> Ledger:
    """A budget at order 7.25, where a run of `MECHANISM` costs 585 times `RHO`."""
    from traindeck.core.privacy import accountant

    return create(
        home.ledger,
        name,
        epsilon=epsilon,
        delta=1e-5,
        order=7.25,
        rho_budget=accountant.rho_budget(epsilon, 1e-5, 7.25),
    )


RHO = 1.8187 / 585
"""What one step of `MECHANISM` costs at order 7.25."""


def reserve(ledger: Ledger, run: str, *, recipe: str = "torch-mnist-scatter-dp") -> None:
    ledger.reserve(run, recipe, MECHANISM, RHO, 2.93, None)
