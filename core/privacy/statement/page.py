"""A statement as a page to read; all of it comes from its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from traindeck.core.base.sanitize import WHOLE, plain
from traindeck.core.privacy.bounds import at_least, at_most
from traindeck.core.privacy.statement.signing import fingerprint_of


def page(document: dict[str, Any]) -> str:
    """Markdown; what recipes and people wrote is on one line and harmless."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    subject, guarantee = document["subject"], document["guarantee"]
    key = fingerprint_of(bytes.fromhex(document["key"]))
    yield f"# Privacy statement: {subject['kind']} {_text(subject['name'])}"
    yield ""
    issued, software = _text(document["issued"]), _text(document["software"])
    yield f"Issued {issued} by {software}, signed by key {key}."
    yield "The page follows from the signed JSON beside it, which alone counts: `traindeck verify`."
    yield ""
    yield "| in the terms of NIST SP 800-226 | |"
    yield "| --- | --- |"
    for name, value in _facts(document):
        yield f"| {name} | {value} |"
    if document["runs"]:
        yield from ("", "| run | recipe | state | steps | noise | rate | sampler | epsilon |")
        yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
        for run in document["runs"]:
            event = run["event"]
            yield (
                f"| {_text(run['id'])} | {_text(run['recipe'])} | {_text(run['state'])}"
                f" | {event['steps']:,} of {run['plan']['steps']:,}"
                f" | {event['noise_multiplier']:g} | {event['sampling_rate']:.4g}"
                f" | {event['sampler']}{_bands(event)} | {at_most(run['epsilon'])} |"
            )
    if guarantee["infinite_because"]:
        yield from ("", "Epsilon is infinite:", "")
        yield from (f"- {_text(why)}" for why in guarantee["infinite_because"])
    yield from ("", "Not covered:", "")
    yield from (f"- {_text(what)}" for what in document["not_covered"])


def _facts(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    guarantee, budget, ledger = document["guarantee"], document["budget"], document["ledger"]
    yield "unit of privacy", _text(guarantee["unit"] or "none")
    yield "neighbouring relation", _text(guarantee["relation"] or "none")
    for field, name in _EPSILONS.items():
        if known := guarantee.get(field):
            by = f" ({_text(known['accountant'])})" if "accountant" in known else ""
            value = f"epsilon {at_most(known['epsilon'], 4)} at delta {known['delta']:.4g}{by}"
            yield name, value
    if budget:
        spent = guarantee["filter"]
        within = "" if spent["within_budget"] else "; **more is charged than it admits**"
        yield "budget", f"epsilon {budget['epsilon']:g} at delta {budget['delta']:g}{within}"
        yield (
            "filter's sum",
            f"Rényi divergence of order {budget['order']:g}: {spent['rho_spent']:.6g} spent,"
            f" {spent['rho_reserved']:.6g} reserved of {budget['rho_budget']:.6g}",
        )
    fixed = guarantee["fixed_schedule"]
    if fixed and fixed["risk"]:
        yield "risk, of a schedule fixed in advance", _text(fixed["risk"]["sentence"])
    yield "adaptivity", _text(document["adaptivity"])
    if document["mechanism"]:
        yield "mechanism", _text(document["mechanism"])
    for sampler, words in document["sampling"].items():
        yield f"sampler: {_text(sampler)}", _text(words)
    yield "accountant", _text(document["accountant"])
    yield "audits", _audits(document["runs"])
    yield "hyperparameter tuning", _text(document["hyperparameters"])
    yield "trust model", _text(document["trust"])
    yield "keys", _text(document["keys"])
    for name, identity in document["subject"]["data"].items():
        yield f"data: {_text(name)}", _text(identity or "not pinned")
    if ledger:
        yield "ledger", f"{_text(ledger['name'])}, entry {ledger['entries']}: {ledger['head']}"


_EPSILONS = {
    "filter": "runs chosen after seeing others",
    "fixed_schedule": "had the schedule been fixed in advance",
    "naive_sum": "each run's own added up",
    "whole_plan": "after the whole plan",
}


def _audits(runs: list[dict[str, Any]]) -> str:
    audited = [run for run in runs if run["audit"]]
    if not audited:
        return "none: nothing was measured"
    return "; ".join(
        f"{_text(run['id'])}: at least {at_least(run['audit']['lower'])} measured,"
        f" {at_most(run['audit']['claimed'])} claimed: {_text(run['audit']['verdict'])}"
        for run in audited
    )


def _text(value: object) -> str:
    """One line; nothing in it is markup of a table."""
    return plain(str(value), WHOLE).replace("|", "\\|").replace("<", "&lt;")


def _bands(event: dict[str, Any]) -> str:
    return f", {event['bands']} bands" if "bands" in event else ""
