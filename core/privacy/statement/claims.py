"""What a statement claims of a data set's budget, or of one run.

It names no path and no private figure: data go by the keyed identity of the exports.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from traindeck import __version__
from traindeck.core.base.home import Home
from traindeck.core.privacy import accountant
from traindeck.core.privacy.audit.result import AuditResult
from traindeck.core.privacy.ledger.account import Account, Charge
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import shown
from traindeck.core.privacy.mechanism import Mechanism, covers, relation_of
from traindeck.core.privacy.plan import Plan
from traindeck.core.privacy.report import RunPrivacy, report
from traindeck.core.privacy.statement import figures, terms
from traindeck.core.privacy.statement.figures import Ran
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder

VIOLATED = "an audit measured a larger epsilon than is claimed"
NO_PLAN = "the run has no privacy accounting"
MOST_ORDER = 1024
"""Of the filter; a budget's own are at most 256."""


def of_budget(home: Home, ledger: Ledger) -> dict[str, Any]:
    """What all runs on a data set have spent. Raises LedgerDamaged and OSError."""
    account = ledger.account()
    runs = [charge_facts(run, _audit(home, run.id)) for run in account.runs]
    document = {
        **_made(),
        "subject": {"kind": "data set", "name": account.name, "data": data_of(ledger, account)},
        "guarantee": {"unit": account.unit, "relation": account.relation},
        "adaptivity": terms.ADAPTIVE,
        "mechanism": terms.MECHANISM,
        "sampling": _sampling(run.mechanism for run in account.runs),
        "trust": terms.trust(account.unit, False, ".owner" in account.name),
        "hyperparameters": terms.TUNED_HERE,
        "keys": terms.KEYS,
        "not_covered": list(terms.NOT_COVERED),
        "budget": {
            "epsilon": account.epsilon,
            "delta": account.delta,
            "order": account.order,
            "rho_budget": account.rho_budget,
        },
        "runs": runs,
        "exposed": exposures(account),
        "ledger": place_of(ledger, account),
    }
    return with_figures(document, account.delta)


def of_run(home: Home, folder: Path, ledger: Ledger | None, federated: bool) -> dict[str, Any]:
    """What one run has released. Raises LedgerDamaged and OSError.

    ledger  that of its data set, if there is one; it is named where the run stands in it
    """
    account = ledger.account() if ledger else None
    run = folder.name
    charge = next((one for one in account.runs if one.id == run), None) if account else None
    exposed = [one for one in exposures(account) if one["run"] == run] if account else []
    if not (charge or exposed):
        ledger = account = None
    privacy, plan = report(folder, account.name if account else None), Plan.read(folder)
    known = [run_facts(folder, plan, privacy, charge)] if privacy and plan else []
    data: dict[str, str | None] = {privacy.dataset: None} if privacy and privacy.dataset else {}
    if ledger and account:
        pinned = data_of(ledger, account)
        data = {name: pinned.get(name.lower()) for name in data} or pinned
    document = {
        **_made(),
        "subject": {"kind": "run", "name": run, "data": data},
        "guarantee": {
            "unit": privacy.unit if privacy else None,
            "relation": relation_of(privacy.unit, plan.mechanism) if privacy and plan else None,
        },
        "adaptivity": terms.FIXED if privacy else terms.NONE,
        "mechanism": terms.MECHANISM if privacy else "",
        "sampling": _sampling([plan.mechanism] if privacy and plan else []),
        "trust": terms.trust(privacy.unit if privacy else "", federated),
        "hyperparameters": terms.TUNED_HERE if charge else terms.NOT_TUNED,
        "keys": terms.KEYS,
        "not_covered": list(terms.NOT_COVERED),
        "budget": None,
        "runs": known,
        "exposed": exposed,
        "ledger": place_of(ledger, account) if ledger and account else None,
    }
    return with_figures(document, privacy.delta if privacy else None)


def charge_facts(run: Charge, audit: AuditResult | None) -> dict[str, Any]:
    """What the ledger says of a run."""
    return {
        "id": run.id,
        "recipe": run.recipe,
        "dataset": run.dataset,
        "state": run.state,
        "plan": run.mechanism.to_json(),
        "committed": run.committed,
        "settled": run.settled,
        "rho_per_step": run.rho,
        "inherited": 0,
        "void": run.quarantined or (VIOLATED if audit and audit.violated else ""),
        "audit": audit.to_json() if audit else None,
    }


def run_facts(
    folder: Path, plan: Plan, privacy: RunPrivacy, charge: Charge | None
) -> dict[str, Any]:
    """What a run's own folder says of it: of all steps that its model holds.

    Of what it and the ledger say, whichever is more counts.
    """
    steps = max(privacy.steps, privacy.inherited + (charge.released if charge else 0))
    void = VIOLATED if privacy.violated else privacy.label
    return {
        "id": folder.name,
        "recipe": charge.recipe if charge else "",
        "dataset": plan.dataset,
        "state": charge.state if charge else _state(folder),
        "plan": plan.mechanism.to_json(),
        "committed": min(steps, plan.mechanism.steps),
        "settled": None,
        "rho_per_step": None,
        "inherited": privacy.inherited,
        "void": (charge.quarantined if charge else "") or void,
        "audit": privacy.audit.to_json() if privacy.audit else None,
        "clipping_norm": plan.clipping_norm,
        "records_at_most": plan.records,
        "batch_size": plan.batch_size,
    }


def with_figures(document: dict[str, Any], delta: float | None) -> dict[str, Any]:
    """A statement's facts together with all that follows from them."""
    made = figures_of(document, delta)
    runs = [{**run, **more} for run, more in zip(document["runs"], made["runs"], strict=True)]
    guarantee = {**document["guarantee"], **made["guarantee"]}
    return {**document, "guarantee": guarantee, "runs": runs}


def figures_of(document: dict[str, Any], delta: float | None) -> dict[str, Any]:
    """What follows from a statement's facts, by the field that it belongs into.

    delta  of all its epsilons; None where no run has a plan

    Raises KeyError, TypeError or ValueError for facts that are none.
    """
    runs = document["runs"]
    ran = [ran_of(run) for run in runs]
    void = [
        *(f"run {one['run']} trained with {one['reason']}" for one in document["exposed"]),
        *(f"run {run['id']}: {run['void']}" for run in runs if run["void"]),
        *_of_other_relations(document, ran),
    ]
    if delta is None:
        if ran:
            raise ValueError("a run with a plan has a delta")
        none = {"infinite_because": [*void, NO_PLAN], "fixed_schedule": None}
        return {"guarantee": none, "runs": []}
    if not (isinstance(delta, float) and 0 < delta < 1):
        raise ValueError(f"delta {delta!r} is none")
    budget = document["budget"]
    if budget:
        order, rho_budget = budget["order"], budget["rho_budget"]
        if not (isinstance(order, float) and 1 < order <= MOST_ORDER):
            raise ValueError(f"order {order!r} is none")
        if not (isinstance(rho_budget, float) and 0 <= rho_budget < math.inf):
            raise ValueError(f"rho_budget {rho_budget!r} is none")
    guarantee: dict[str, Any] = {"infinite_because": void}
    if budget:
        guarantee["filter"] = figures.filtered(
            ran, budget["rho_budget"], delta, budget["order"], bool(void)
        )
    guarantee["fixed_schedule"] = figures.together(ran, delta, bool(void))
    if budget:
        guarantee["naive_sum"] = figures.naive(ran, delta, bool(void))
    else:
        whole = [Ran(one.plan, one.plan.steps, one.plan.steps, None) for one in ran]
        guarantee["whole_plan"] = figures.together(whole, delta, bool(void))
    each = [
        figures.of_run(one, delta, bool(run["void"])) for run, one in zip(runs, ran, strict=True)
    ]
    return {"guarantee": guarantee, "runs": each}


def _of_other_relations(document: dict[str, Any], ran: list[Ran]) -> Iterator[str]:
    """The runs whose epsilon is for a relation that is not the one stated, nor promises more.

    Budgets of before relations were told apart may have admitted such.
    """
    unit, relation = document["guarantee"]["unit"], document["guarantee"]["relation"]
    for run, one in zip(document["runs"], ran, strict=True):
        if not covers(relation, own := relation_of(unit, one.plan)):
            yield f"run {run['id']}: its epsilon is for {own}, not for {relation}"


def ran_of(run: dict[str, Any]) -> Ran:
    """A run's facts. Raises KeyError, TypeError or ValueError for what is none."""
    plan = Mechanism.from_json(run["plan"])
    if 0 < plan.noise_multiplier < accountant.LEAST_NOISE:
        raise ValueError(f"noise {plan.noise_multiplier:g} is too little to be accounted for")
    committed, settled, rho = run["committed"], run["settled"], run["rho_per_step"]
    for steps in (committed, committed if settled is None else settled, run["inherited"]):
        if type(steps) is not int or not 0 <= steps <= plan.steps:
            raise ValueError(f"{steps!r} are not steps of a plan of {plan.steps}")
    if rho is not None and not (isinstance(rho, float) and 0 < rho < math.inf):
        raise ValueError(f"rho_per_step {rho!r} is no cost")
    released = committed if settled is None else settled
    return Ran(plan, released, plan.steps if settled is None else settled, rho)


def exposures(account: Account) -> list[dict[str, Any]]:
    """The runs without a finite epsilon."""
    return [asdict(one) for one in account.exposures]


def place_of(ledger: Ledger, account: Account) -> dict[str, Any]:
    """How far the ledger had come, and the hash of its last entry.

    In a ledger of before, which holds a data set's SHA-256 itself, that hash would tell who guesses
    the data and the entries whether they are right: null.
    """
    kept = all(shown(ledger.folder, one) == one for one in ledger.datasets().values())
    head = account.head if kept else None
    return {"name": account.name, "entries": account.entries, "head": head}


def data_of(ledger: Ledger, account: Account) -> dict[str, str | None]:
    """The data sets that spend a budget, by the keyed identity of their contents."""
    known = {account.name: account.fingerprint}
    known |= {child.name: child.fingerprint for child in account.children}
    return {name: shown(ledger.folder, pinned) for name, pinned in known.items()}


def _made() -> dict[str, Any]:
    return {
        "issued": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "software": f"traindeck {__version__}",
        "accountant": accountant.library(),
    }


FIELDS = {"format", "key", "issued", "software", "accountant", "subject", "guarantee", "adaptivity"}
FIELDS |= {"mechanism", "sampling", "trust", "hyperparameters", "keys", "not_covered", "budget"}
FIELDS |= {"runs", "exposed", "ledger"}
_OF_RUN = {"id", "recipe", "dataset", "state", "plan", "committed", "settled", "rho_per_step"}
_OF_RUN |= {"inherited", "void", "audit", "event", "epsilon", "delta", "accountant"}
_BY_BUDGET = {"rho_spent", "rho_charged"}
_ALONE = {"batch_size", "clipping_norm", "records_at_most"}


def unknown_fields(document: dict[str, Any]) -> Iterator[str]:
    """What no statement of this kind has: a figure there would be read, and checked by nobody."""
    budget = bool(document["budget"])
    if document["budget"] is not None:
        of_budget = {"epsilon", "delta", "order", "rho_budget"}
        yield from (f"budget.{name}" for name in of_budget ^ set(document["budget"]))
    guarantee = {"unit", "relation", "infinite_because", "fixed_schedule"}
    if document["runs"] or budget:
        guarantee |= {"filter", "naive_sum"} if budget else {"whole_plan"}
    yield from document.keys() - FIELDS
    yield from (f"guarantee.{name}" for name in document["guarantee"].keys() - guarantee)
    for number, run in enumerate(document["runs"]):
        known = _OF_RUN | (_BY_BUDGET if run["rho_per_step"] is not None else set())
        known |= set() if budget else _ALONE
        yield from (f"runs[{number}].{name}" for name in run.keys() - known)


def unlike(document: dict[str, Any]) -> Iterator[str]:
    """The fields of words that say something else than this version's."""
    runs = [Mechanism.from_json(run["plan"]) for run in document["runs"]]
    known: dict[str, Any] = {
        "adaptivity": (terms.ADAPTIVE, terms.FIXED, terms.NONE),
        "mechanism": (terms.MECHANISM,) if runs else (terms.MECHANISM, ""),
        "sampling": (_sampling(runs),),
        "trust": (terms.CENTRAL, terms.OWNERS, terms.LOCAL, terms.PART),
        "hyperparameters": (terms.TUNED_HERE, terms.NOT_TUNED),
        "keys": (terms.KEYS,),
        "not_covered": (list(terms.NOT_COVERED),),
    }
    yield from (field for field, words in known.items() if document[field] not in words)


def _sampling(mechanisms: Iterable[Mechanism]) -> dict[str, str]:
    names = (f"{one.sampler} in bands" if one.bands > 1 else one.sampler for one in mechanisms)
    return {name: terms.SAMPLING[name] for name in dict.fromkeys(names)}


def _audit(home: Home, run: str) -> AuditResult | None:
    """What an audit measured of a run that still has its folder."""
    for place in (home.runs, home.trash):
        if audited := events.last(place / run / "events.jsonl", "audit"):
            return AuditResult.from_json(audited.get("result"))
    return None


def _state(folder: Path) -> str:
    return RunFolder(folder).state()[0]
