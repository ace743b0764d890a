"""The ledgers of a home: which data set spends which budget, and that none ever has two.

A data set is known by its name, by that of one which it was derived of, and by its contents.
"""

from __future__ import annotations

import contextlib
import hmac
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from traindeck.core.base.errors import BudgetRefused, NotFoundError, UsageError
from traindeck.core.base.files import locked
from traindeck.core.base.secret import home_secret
from traindeck.core.privacy.ledger.account import Account
from traindeck.core.privacy.ledger.book import Book
from traindeck.core.privacy.ledger.entries import is_name, new_entry
from traindeck.core.privacy.ledger.filter import OtherData
from traindeck.core.privacy.ledger.ledger import FOLDER_LOCK, Ledger, check_covered, decided
from traindeck.core.privacy.ledger.lines import Entry
from traindeck.core.privacy.ledger.witness import known
from traindeck.core.privacy.mechanism import relation_of

KEYED = "hmac:"
_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch


def create(
    folder: Path,
    name: str,
    *,
    epsilon: float,
    delta: float,
    order: float,
    rho_budget: float,
    unit: str = "example",
    relation: str | None = None,
    fingerprint: str | None = None,
    why: str = "",
    covers: Callable[[Account], None] = lambda _: None,
) -> Ledger:
    """Give a data set a budget.

    rho_budget   what runs may spend: Rényi divergence at `order`, covered by (epsilon, delta)
    relation     which data are neighbours; else that of the unit
    fingerprint  SHA-256 of the data's contents, in hexadecimal; else pinned at its first use
    why          the reason of whoever makes it
    covers       is asked whether that is enough, and raises BudgetRefused when it is not

    Raises BudgetRefused when the data set has a budget already, by its name, by one that it
    was derived of, or by its contents; LedgerDamaged when runs paid from one that is gone.
    """
    ledger = Ledger(folder, name)
    first = new_entry(
        "create",
        name=ledger.name,
        unit=unit,
        relation=relation or relation_of(unit),
        delta=delta,
        epsilon=epsilon,
        order=order,
        rho_budget=rho_budget,
        fingerprint=fingerprint and keyed(folder, fingerprint),
        **decided(why),
    )
    check_covered(rho_budget, epsilon, delta, order)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder / FOLDER_LOCK):
        other = find(folder, name, fingerprint)
        if other is not None:
            if other.name == ledger.name:
                whose, has = "", unit
            else:
                whose, has = f", that of {other.name}", other.account().unit
            mend = f"`traindeck budget set {other.name} --epsilon E` changes it"
            if has != unit:
                mend = (
                    f"it is for one {has}, and data has one budget, in one unit; `traindeck budget"
                    f" rm {other.name}` takes back one that was never used"
                )
            raise BudgetRefused(f"{name} has a privacy budget already{whose}: {mend}")
        if ledger.is_known:
            ledger.account(everyone=True)  # says what has been taken away
        covers(Book(ledger.name, first).account(1, ""))
        ledger.begin(first)
    return ledger


def find(folder: Path, dataset: str, fingerprint: str | None = None) -> Ledger | None:
    """The ledger whose budget a data set spends: its own, or that of one it was derived of.

    With a fingerprint, also one whose data has these contents under another name. Raises
    LedgerDamaged when it may be one that cannot be read.
    """
    dataset = dataset.lower()
    if is_name(dataset):  # what has another can have no budget by its name
        own = Ledger(folder, dataset)
        if own.exists:
            return own
        for ledger in ledgers(folder):
            if dataset in ledger.datasets():
                return Ledger(folder, ledger.name, dataset)
    return None if fingerprint is None else _find_contents(folder, fingerprint)


def named(folder: Path, dataset: str) -> Ledger:
    """The same, for whoever asks by name. Raises NotFoundError when there is none."""
    if not dataset:
        raise UsageError("say which data set; `traindeck budget ls` lists those with a budget")
    ledger = find(folder, dataset)
    if ledger is None:
        raise NotFoundError(
            f"{dataset} has no privacy budget; `traindeck budget create {dataset} --epsilon E"
            " --delta D` gives it one"
        )
    return ledger


def keyed(folder: Path, fingerprint: str) -> str:
    """What the ledgers of a home know data of this SHA-256 by: nobody else can test guesses.

    Raises ValueError for what is no SHA-256.
    """
    if not _sha256(fingerprint):
        raise ValueError(f"fingerprint {fingerprint!r} is not 64 hexadecimal digits")
    secret = home_secret(folder.parent)
    return f"{KEYED}{hmac.digest(secret, b'data' + fingerprint.encode(), 'sha256').hex()}"


def shown(folder: Path, pinned: str | None) -> str | None:
    """A pinned fingerprint as it may leave the home: ledgers of before hold the SHA-256 itself."""
    return pinned if pinned is None or pinned.startswith(KEYED) else keyed(folder, pinned)


def shown_entries(folder: Path, entries: Iterable[Entry]) -> list[Entry]:
    """Entries as they may leave the home.

    The hash of an entry that holds data's own SHA-256, and so all that follow, would tell who
    guesses that data whether it is right: null.
    """
    made, tells = [], False
    for entry in entries:
        if tells:
            entry = {**entry, "prev": None, "hash": None}
        if "fingerprint" in entry:
            keyed_by = shown(folder, entry["fingerprint"])
            if keyed_by != entry["fingerprint"]:
                tells = True
                entry = {**entry, "fingerprint": keyed_by, "hash": None}
        made.append(entry)
    return made


def ledgers(folder: Path, *, of_runs: bool = False) -> list[Ledger]:
    """All ledgers of a home, by name; those too that are known to have been there.

    of_runs  known also to runs alone, which takes 10 µs a run
    """
    ends = (".jsonl", ".head.json")
    names = known(folder, of_runs=of_runs)
    with contextlib.suppress(FileNotFoundError):
        files = [path.name for path in folder.iterdir()]
        names |= {file.removesuffix(end) for file in files for end in ends if file.endswith(end)}
    found = [Ledger(folder, name) for name in sorted(names) if is_name(name)]
    return [each for each in found if each.is_known] if of_runs else found


def _find_contents(folder: Path, fingerprint: str) -> Ledger | None:
    either = (fingerprint, keyed(folder, fingerprint))
    for ledger in ledgers(folder):
        for name, pinned in ledger.datasets().items():
            if pinned in either:
                return Ledger(folder, ledger.name, name)
    return None


def pin(ledger: Ledger, fingerprint: str) -> None:
    """Say which data this is, by its SHA-256; from the first time on it is never any other.

    Raises OtherData when it is another one, or one that has a budget under another name.
    """
    key = keyed(ledger.folder, fingerprint)
    if ledger.datasets().get(ledger.dataset) in (fingerprint, key):
        return
    new = new_entry("pin", dataset=ledger.dataset, fingerprint=key)
    with locked(ledger.folder / FOLDER_LOCK):
        other = _find_contents(ledger.folder, fingerprint)
        if other is not None and other.name != ledger.name:
            raise OtherData(f"this data has a privacy budget, that of {other.name}, already")
        ledger.add(lambda now: [new])


def derive(
    ledger: Ledger, child: str, kind: str, fingerprint: str | None = None, why: str = ""
) -> None:
    """Declare that a data set is made of this one: it spends this budget.

    kind  subset or features: it has at most one record for each of this one's

    Raises BudgetRefused when the child has a budget already.
    """
    child = child.lower()
    new = new_entry(
        "derive",
        child=child,
        of=ledger.dataset,
        kind=kind,
        fingerprint=fingerprint and keyed(ledger.folder, fingerprint),
        **decided(why),
    )
    with locked(ledger.folder / FOLDER_LOCK):
        other = find(ledger.folder, child, fingerprint)
        if other is not None and (other.name != ledger.name or other.dataset == child):
            raise BudgetRefused(f"{child} spends the privacy budget of {other.name} already")
        ledger.add(lambda now: [new])
