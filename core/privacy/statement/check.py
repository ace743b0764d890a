"""Whether a statement says what its events come to, and whether it is one of who is asked for.

A figure is wrong when it promises more than what is computed from the events, by a millionth (which
is what machines differ by); and when it says a thousandth more than that, for it is another's then
(a hundredth, where another version of dp-accounting made it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from traindeck.core.base.home import Home
from traindeck.core.privacy import accountant
from traindeck.core.privacy.ledger.account import Account
from traindeck.core.privacy.ledger.book import LedgerDamaged, replay
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.lines import Scan
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.statement import claims
from traindeck.core.privacy.statement.signing import Opened, own_fingerprint

TOO_LITTLE = 1e-6
TOO_MUCH = 1e-3
OTHER_VERSION = 1e-2


@dataclass(frozen=True, slots=True)
class Line:
    """What was checked: OK, wrong, or (None) not looked at, and why."""

    what: str
    says: str
    ok: bool | None

    def to_json(self) -> dict[str, Any]:
        return {"what": self.what, "says": self.says, "ok": self.ok}


def check(statement: Opened, home: Home, key: str = "") -> Iterator[Line]:
    """All that can be checked, in order; of what is not what was signed nothing else is.

    key  the fingerprint that its signer is known by; empty when nobody knows
    """
    if statement.wrong:
        yield Line("signature", statement.wrong, False)
        return
    asked = "".join(key.lower().split())
    if asked and asked != statement.key:
        yield Line("signature", f"signed by another key than {asked}: by {statement.key}", False)
    else:
        known = "" if asked else "; who that is the signature does not say: compare, or --key"
        yield Line("signature", f"of these very bytes, by key {statement.key}{known}", True)
    document = statement.document
    try:
        yield from _recomputed(document)
        yield from _asides(document)
        yield from _in_ledger(document, home, statement.key)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        yield Line("claims", f"they cannot be accounted for: {why}", False)


def _recomputed(document: dict[str, Any]) -> Iterator[Line]:
    """Each figure beside what it comes to."""
    known = document["budget"] or document["guarantee"]["fixed_schedule"]
    if strange := sorted(claims.unknown_fields(document)):
        yield Line("fields", f"{', '.join(strange)}: nothing that is checked", False)
    made = claims.figures_of(document, known["delta"] if known else None)
    same_version = document["accountant"] == accountant.library()
    for field, computed in made.items():
        yield from _compared(field, document[field], computed, same_version)


def _compared(what: str, stated: Any, computed: Any, same: bool) -> Iterator[Line]:
    """A figure, or all that are computed of an object; `same`: by the same accountant."""
    if isinstance(computed, dict) and isinstance(stated, dict):
        more = stated.keys() - computed.keys() if "." in what else set()
        for name in sorted(more):
            yield Line(f"{what}.{name}", "follows from nothing", False)
        for name in computed:
            yield from _compared(
                f"{what}.{name}", stated.get(name, "nothing"), computed[name], same
            )
    elif isinstance(computed, list) and isinstance(stated, list) and len(stated) == len(computed):
        for number, pair in enumerate(zip(stated, computed, strict=True)):
            yield from _compared(f"{what}[{number}]", *pair, same)
    elif _is_figure(stated) and _is_figure(computed) and ".event." not in what:
        fits = stated >= computed * (1 - TOO_LITTLE) and stated <= computed * (
            1 + (TOO_MUCH if same else OTHER_VERSION)
        )
        yield Line(what, f"stated {stated:.9g}, recomputed {computed:.9g}", fits)
    elif what.endswith((".accountant", ".sentence")) and not same:
        yield Line(what, f"{stated}; recomputed by {computed}", None)
    else:
        fits = stated == computed and type(stated) is type(computed)
        says = "" if fits else f", recomputed {_short(computed)}"
        yield Line(what, f"stated {_short(stated)}{says}", fits)


def _asides(document: dict[str, Any]) -> Iterator[Line]:
    """What is no figure of its own and must fit all the same."""
    budget = document["budget"]
    for field in claims.unlike(document):
        yield Line(
            field, "not in this traindeck's words: read them, nothing here checks them", None
        )
    for number, run in enumerate(document["runs"]):
        where, audit = f"runs[{number}]", run["audit"]
        if audit:
            more = audit["claimed"] is not None and audit["lower"] > audit["claimed"]
            violated = more or audit["verdict"] == "violated"
            says = f"measured at least {audit['lower']:.4g}, claimed {audit['claimed'] or 0:.4g}"
            yield Line(f"{where}.audit", says, bool(run["void"]) or not violated)
        if budget:
            plan = Mechanism.from_json(run["plan"])
            rho = accountant.rho(plan, budget["order"], budget["delta"])
            says = f"charged {run['rho_per_step']:.9g}, recomputed {rho:.9g}"
            fits = run["rho_per_step"] >= rho * (1 - TOO_LITTLE)
            yield Line(f"{where}.rho_per_step", says, fits)
    if budget and budget["epsilon"]:
        epsilon, delta, order = budget["epsilon"], budget["delta"], budget["order"]
        most = accountant.rho_budget(epsilon, delta, order)
        says = f"stated {budget['rho_budget']:.9g}, epsilon {epsilon:g} covers {most:.9g}"
        yield Line("budget.rho_budget", says, budget["rho_budget"] <= most * (1 + 1e-9))


def _in_ledger(document: dict[str, Any], home: Home, key: str) -> Iterator[Line]:
    """Whether a ledger here has the chain head, and says the same of the runs up to there."""
    named = document["ledger"]
    if named is None:
        return
    name, count, head = named["name"], named["entries"], named["head"]
    if head is None:
        yield Line("ledger", f"{name}: of an earlier version, whose hashes are not exported", None)
        return
    ours = (home.root / "statement.key").exists() and own_fingerprint(home.root) == key
    ledger = Ledger(home.ledger, name)
    if not ledger.exists:
        why = "this home signed it, and has no such ledger any more" if ours else "no such one here"
        yield Line("ledger", f"{name}: {why}", False if ours else None)
        return
    try:
        entries = ledger.history()
    except (LedgerDamaged, OSError) as error:
        yield Line("ledger", str(error), False)
        return
    if (
        type(count) is not int
        or not 0 < count <= len(entries)
        or entries[count - 1]["hash"] != head
    ):
        other = "its ledger here has no such entry" if ours else "another home's than the one here"
        yield Line("ledger", f"{name}, entry {count}: {other}", False if ours else None)
        return
    yield Line("ledger", f"{name}: entry {count} of {len(entries)} here has this chain head", True)
    scan = Scan(entries[:count], 0, head)
    account = replay(ledger.name, ledger.path, scan).account(count, head)
    if document["budget"] is None:
        yield from _run_in(account, document)
        return
    audits = {run["id"]: run["audit"] for run in document["runs"]}
    for number, charge in enumerate(account.runs):
        facts = claims.charge_facts(charge, None)
        stated = document["runs"][number] if number < len(document["runs"]) else {}
        kept = {name: stated.get(name) for name in facts}
        facts["audit"] = audits.get(charge.id)
        facts["void"] = facts["void"] or kept["void"]
        yield Line(f"runs[{number}]", f"{charge.id}: as the ledger has it", kept == facts)
    fits = len(account.runs) == len(document["runs"])
    yield Line("runs", f"{len(account.runs)} in the ledger up to there", fits)
    fits = document["exposed"] == claims.exposures(account)
    yield Line("exposed", f"{len(account.exposures)} in the ledger up to there", fits)
    kind = (account.unit, account.relation)
    stated = (document["guarantee"]["unit"], document["guarantee"]["relation"])
    yield Line("guarantee", f"for one {kind[0]} ({kind[1]}), by the ledger", kind == stated)
    budget = {name: getattr(account, name) for name in document["budget"]}
    yield Line("budget", "as the ledger has it", budget == document["budget"])
    data = claims.data_of(ledger, account)
    yield Line("subject.data", "as the ledger has it", data == document["subject"]["data"])


def _run_in(account: Account, document: dict[str, Any]) -> Iterator[Line]:
    """Whether the ledger has the run that is stated, and no more of it than is said."""
    run = document["subject"]["name"]
    if any(one.run == run for one in account.exposures):
        fits = document["exposed"] == [
            one for one in claims.exposures(account) if one["run"] == run
        ]
        yield Line("exposed", f"{run}, in the ledger up to there", fits)
    charge = next((one for one in account.runs if one.id == run), None)
    stated = sum(one["event"]["steps"] for one in document["runs"])
    if charge:
        plans = [Mechanism.from_json(one["plan"]) for one in document["runs"]]
        fits = all(plan.like(charge.mechanism) for plan in plans)
        yield Line("runs.plan", f"{run}: what was reserved in the ledger", fits)
        fits = document["guarantee"]["unit"] == account.unit
        yield Line("guarantee.unit", f"for one {account.unit}, by the ledger", fits)
        says = f"{run}: {stated:,} steps stated, {charge.released:,} charged in the ledger"
        yield Line("runs", says, stated >= charge.released)
    elif not document["exposed"]:
        yield Line("runs", f"{run} is not in the ledger up to there", False)


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 200 else f"{text[:199]}…"
