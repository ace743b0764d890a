"""A federation as text: its phase, what left each owner, who reads what, each owner's figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content

from traindeck.core.base.format import compact, size
from traindeck.core.base.sanitize import WHOLE, plain
from traindeck.core.federation.status import (
    CLASSES,
    FederationStatus,
    OwnerStatus,
)
from traindeck.tui.panels.federation_rounds import NAME_MOST
from traindeck.tui.widgets.columns import fitted, fitting
from traindeck.tui.widgets.rows import Row, rows

WIDE = 108
"""Cells from which on each owner's figures and bytes stand in one line."""
_NONE = ("–", "dim")
_SAYS = {
    "warming": "owners load {framework}",
    "peers": "owners and scientist exchange their keys",
    "approval": "owners judge the script",
    "keys": "owners agree on the keys of this run",
    "training": "owners run the script",
    "done": "all that was asked for is done",
}
_FRAMEWORKS = {"torch": "PyTorch", "tensorflow": "TensorFlow"}
SOURCES = (
    "samples, loss, seconds, bytes and load: each owner's own status, which the aggregator does not"
    " see; states of past rounds, accuracy and seconds a round: the aggregator's"
)
Cell = tuple[str, str]
"""Text and its style."""


def phase(federation: FederationStatus, framework: str, live: bool) -> Content:
    """Where it stands, and who is waited for."""
    if not federation.heard:
        return Content.styled("the coordinator has said nothing yet", "dim")
    name = federation.phase
    if name == "training" and federation.rounds_total != 0:
        said = f"round {_number(federation.round)} of {_number(federation.rounds_total)}"
    else:
        said = _SAYS.get(name, "").format(framework=_loaded(federation, framework))
    style = "bold $text-primary" if live else "bold"
    style = {"failed": "bold $text-error", "done": "bold $text-success"}.get(name, style)
    if live and name == "warming":
        style = "bold $text-warning"
    parts: list[tuple[str, str]] = [(plain(name) or "no phase told", style)]
    if not live and name not in ("done", "failed"):
        parts.append((", broken off", "$text-warning"))
    if reason := plain(federation.reason, WHOLE):
        said = f"{said}: {reason}" if said and name != "done" else reason
    if said:
        parts.append((f": {said}", ""))
    if federation.waiting_for and live:
        parts.append((f" · waits for {named(federation.waiting_for)}", "$text-warning"))
    return Content.assemble(*parts)


def protection(federation: FederationStatus) -> Content:
    """What left all owners so far by class, the encryption in force, and who can read what."""
    totals = Counter[str]()
    for owner in federation.owners:
        totals.update(owner.bytes_out)
    parts: list[Cell] = []
    for name in dict.fromkeys((*CLASSES, *totals)):
        if totals[name] or name == "raw":
            loud = totals[name] and (name == "raw" or name not in CLASSES)
            style = "bold $text-error" if loud else "" if totals[name] else "dim"
            parts += [
                (" · " if parts else "", "dim"),
                (f"{plain(name)} {size(totals[name])}", style),
            ]
    heard = any(owner.heard for owner in federation.owners)
    lines = [
        Content.assemble(("left owners: ", "dim"), *(parts if heard else [("not told yet", "dim")]))
    ]
    said = (federation.encryption, federation.visible)
    return Content("\n").join([*lines, *(Content(plain(text, 400)) for text in said if text)])


def words(federation: FederationStatus, width: int) -> Content:
    """How updates are added up, how many owners that takes, who approves what."""
    pairs: list[Row] = [
        ("aggregation", _joined(federation.aggregation, f"by {plain(federation.engine)}")),
    ]
    if federation.threshold is not None:
        least, count = federation.threshold, len(federation.owners)
        enough = f"{least:,} of {count:,} owners are enough to go on"
        pairs.append(("threshold", enough if least < count else f"all {count:,} are needed"))
    for how, said in (("auto", "automatically, by SHA-256"), ("hand", "by hand")):
        owners = [owner.name for owner in federation.owners if owner.approval == how]
        if owners:
            pairs.append(("approval", f"{named(owners)}: {said}"))
    confined = dict.fromkeys(plain(owner.sandbox, WHOLE) for owner in federation.owners)
    for said in list(confined)[:3]:
        walls, _, left = said.partition("; not shut in: ")
        pairs += [("sandbox", walls), ("not shut in", left)]
    pairs += [("privacy", said) for said in _privacy(federation.owners)]
    for owner in federation.owners:
        why = owner.reason or (owner.job.reason if owner.job else "")
        if owner.state in ("refused", "lost", "ended") and why:
            pairs.append((owner.state, f"{plain(owner.name)}: {plain(why, WHOLE)}"))
    scripts = dict.fromkeys(
        f"{plain(owner.job.script)}, SHA-256 {plain(owner.job.sha256)[:16]}…"
        for owner in federation.owners
        if owner.job and owner.job.script
    )
    pairs += [("script", script) for script in list(scripts)[:3]]
    return rows([(name, value) for name, value in pairs if value], width)


def figures(federation: FederationStatus, width: int) -> Content:
    """Each owner's own numbers, and what left it by class; where they come from."""
    owner = _Column("owner", 8, lambda each: (plain(each.name), ""), grow=1, most=NAME_MOST)
    sent = [_sent(name) for name in CLASSES]
    own = [owner, *_OWN]
    if any(each.privacy for each in federation.owners):
        own.append(_EPSILON)
    if width >= WIDE + (own[-1].width + 1 if own[-1] is _EPSILON else 0):
        tables = [[*own, *sent]]
    else:
        tables = [own, [owner, *sent, *([] if federation.rounds_total == 0 else [_THIS_ROUND])]]
    parts = [_table(columns, federation.owners, width) for columns in tables]
    others = {
        name: count
        for each in federation.owners
        for name, count in each.bytes_out.items()
        if name not in CLASSES and count
    }
    if others:
        sizes = ", ".join(f"{plain(name)} {size(count)}" for name, count in others.items())
        parts.append(Content.styled(f"bytes of other classes: {sizes}", "bold $text-error"))
    for each in federation.owners:
        if each.facts:
            numbers = "  ".join(f"{plain(k)} {plain(_fact(k, v))}" for k, v in each.facts.items())
            parts.append(Content.assemble((f"{plain(each.name)} logged ", "dim"), numbers))
    parts.append(Content.styled(SOURCES, "dim italic"))
    return Content("\n").join(parts)


@dataclass(frozen=True, slots=True)
class _Column:
    id: str
    width: int
    cell: Callable[[OwnerStatus], Cell]
    right: bool = False
    rank: int = 0
    grow: int = 0
    most: int = 12


def _known(value: float | None, text: Callable[[float], str]) -> Cell:
    return _NONE if value is None else (text(value), "")


def _load(owner: OwnerStatus) -> Cell:
    """Per cent of a core; seconds in all while no load has been measured."""
    if owner.cpu_percent is not None:
        return f"{owner.cpu_percent:.0f} %", ""
    return _known(owner.cpu_seconds, lambda seconds: f"{compact(seconds)} s")


_OWN = (
    _Column("samples", 8, lambda each: _known(each.samples, lambda n: f"{n:,}"), True),
    _Column("round", 5, lambda each: _known(each.round, lambda n: f"{n:,}"), True),
    _Column("loss", 8, lambda each: _known(each.loss, compact), True),
    _Column("seconds", 8, lambda each: _known(each.seconds, compact), True),
    _Column("CPU", 7, _load, True),
    _Column("memory", 7, lambda each: _known(each.memory, size), True),
)


def _spent(owner: OwnerStatus) -> Cell:
    return (owner.privacy.spent, "") if owner.privacy else _NONE


_EPSILON = _Column("ε so far", 14, _spent, True)


def _privacy(owners: Sequence[OwnerStatus]) -> list[str]:
    """What the owners' epsilons are for, and who has a budget of its own to pay from."""
    accounts = [each.privacy for each in owners if each.privacy]
    terms = dict.fromkeys(
        f"each owner accounts for itself, at {plain(one.terms)}" for one in accounts
    )
    budgets = [one.ledger for one in accounts if one.ledger]
    bounds = ["≤: an upper bound, of the next place in the plan's curve"]
    bounds = bounds if any(one.bounded for one in accounts) else []
    paid = [f"paid from the budgets {named(budgets)}"] if budgets else []
    return [*list(terms)[:3], *bounds, *paid]


def _sent(name: str) -> _Column:
    def cell(owner: OwnerStatus) -> Cell:
        if not owner.heard:
            return _NONE
        count = owner.bytes_out.get(name, 0)
        style = "bold $text-error" if name == "raw" and count else "" if count else "dim"
        return size(count), style

    return _Column(name, 10 if name == "ciphertext" else 8, cell, True)


def _of_round(owner: OwnerStatus) -> Cell:
    count = sum(owner.bytes_round.values())
    return (size(count), "") if owner.heard else _NONE


_THIS_ROUND = _Column("this round", 10, _of_round, True)


def _table(columns: Sequence[_Column], owners: Iterable[OwnerStatus], width: int) -> Content:
    shown = fitting(width, columns)
    heads = " ".join(fitted(column.id, cells, column.right) for column, cells in shown)
    lines = [Content.styled(heads, "bold dim")]
    for owner in owners:
        parts: list[tuple[str, str]] = []
        for column, cells in shown:
            text, style = column.cell(owner)
            parts += [(fitted(text, cells, column.right), style), (" ", "")]
        lines.append(Content.assemble(*parts[:-1]))
    return Content("\n").join(lines)


def _loaded(federation: FederationStatus, framework: str) -> str:
    scripts = {owner.job.script for owner in federation.owners if owner.job}
    if any("_tf" in script or "tensorflow" in script for script in scripts):
        return "TensorFlow"
    if any("torch" in script for script in scripts):
        return "PyTorch"
    return _FRAMEWORKS.get(framework, "what they train with")


def named(names: Iterable[str], most: int = 4) -> str:
    """The first few of them, as people say them."""
    shown = [plain(name, 40) for name in names]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")


def _joined(*texts: str) -> str:
    return ", ".join(text for text in map(plain, texts) if text and text != "by")


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _fact(name: str, value: str | int | float | bool) -> str:
    if "bytes" in name and isinstance(value, (int, float)):
        return size(value)
    return compact(value) if isinstance(value, float) else str(value)
