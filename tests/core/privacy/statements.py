"""Statements of a ledger in which something was spent, changed and signed anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from traindeck.core.base.home import Home
from traindeck.core.privacy import accountant
from traindeck.core.privacy.budget import create
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.statement import claims
from traindeck.core.privacy.statement.check import check
from traindeck.core.privacy.statement.signing import opened, sign

DATA = "a" * 64
POISSON = Mechanism(1.1, 0.05, 200)


def spent(home: Home) -> Ledger:
    """A budget with a run that is settled, one that goes on and one that released nothing."""
    made = create(home, "toy", 6.0, 1e-5, "example", DATA)
    for run, mechanism in (
        ("first", POISSON),
        ("goes-on", replace(POISSON, noise_multiplier=3.0)),
        ("nothing", replace(POISSON, steps=10)),
    ):
        spend(made, run, mechanism)
    made.commit("first", 150)
    made.settle("first", "finished", 140)
    made.commit("goes-on", 7)
    return made


def spend(ledger: Ledger, run: str, mechanism: Mechanism) -> None:
    account = ledger.account()
    rho = accountant.rho(mechanism, account.order, account.delta)
    ledger.reserve(run, "private", mechanism, rho, 1.0, None)


def stated(home: Home, ledger: Ledger) -> dict[str, Any]:
    return opened(sign(claims.of_budget(home, ledger), home.root)).document


def signed(document: dict[str, Any], signer: Path) -> bytes:
    known = {name: one for name, one in document.items() if name not in ("format", "key")}
    return sign(known, signer)


def wrong(document: dict[str, Any], home: Home, signer: Path | None = None) -> list[str]:
    """What a home says is wrong with a statement that says this and was signed anew."""
    lines = check(opened(signed(document, signer or home.root)), home)
    return [line.what for line in lines if line.ok is False]


def leaves(value: Any, *place: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place in a document that holds no further ones, and what is there."""
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, one in pairs:
            yield from leaves(one, *place, name)
    else:
        yield place, value


def changed(document: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    copy: Any = json.loads(json.dumps(document))
    at = copy
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    result: dict[str, Any] = copy
    return result
