"""The audit of one run: from what it left in its folder, and what follows from the verdict."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.errors import NotFoundError
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.privacy.audit.measure import FILE, AuditError, AuditResult, Scores, audit
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.report import at_least, at_most
from traindeck.core.run import events
from traindeck.core.run.state import ENDED

if TYPE_CHECKING:
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.document import RunDoc


def audit_run(doc: RunDoc) -> AuditResult:
    """Measure what a run gave away, and hold it against its claim; takes about 1 s.

    Raises NotFoundError when the run claims nothing or has no canaries, AuditError when their
    scores cannot be used.
    """
    privacy = doc["privacy"]
    if privacy is None or not privacy["events"]:
        raise NotFoundError(f"run {doc['id']} has released nothing under privacy: nothing to audit")
    try:
        scores = Scores.read(Path(doc["path"]) / "artifacts" / FILE)
    except FileNotFoundError:
        raise NotFoundError(
            f"run {doc['id']} has no audit: it trains with canaries under `-p audit=true`, and"
            " leaves their scores when it ends"
        ) from None
    mechanism = _mechanism(privacy["events"])
    claimed = math.inf if privacy["epsilon"] is None else float(privacy["epsilon"])
    return audit(scores, mechanism, float(privacy["delta"]), claimed)


def record(home: Home, doc: RunDoc, result: AuditResult) -> None:
    """Write the result into the run, once, and quarantine the run in its ledger when violated.

    Raises OSError, or a TraindeckError of the ledger's, when that cannot be written.
    """
    folder = Path(doc["path"])
    if (doc["privacy"] or {}).get("audit") != result.to_json():
        events.append(folder / "events.jsonl", "audit", result=result.to_json())
        if doc["state"] in ENDED:
            Catalogue(home).sync(folder)
    if result.violated:
        _quarantine(home, doc, result)


def _mechanism(released: list[dict[str, object]]) -> Mechanism:
    if len(released) != 1:
        raise AuditError(f"the run's claim is about {len(released)} mechanisms, not one")
    try:
        return Mechanism.from_json(released[0])
    except ValueError as error:
        raise AuditError(f"the run's claim cannot be read: {error}") from None


def _quarantine(home: Home, doc: RunDoc, result: AuditResult) -> None:
    from traindeck.core.privacy.ledger.ledgers import find

    name = (doc["privacy"] or {}).get("ledger")
    ledger = find(home.ledger, name) if name else None
    if ledger is None:
        return
    known = [charge for charge in ledger.account().runs if charge.id == doc["id"]]
    if known and not known[0].quarantined:
        ledger.quarantine(
            doc["id"],
            f"audit: epsilon is at least {at_least(result.lower)} with {result.confidence:.0%}"
            f" confidence, {at_most(result.claimed)} was claimed",
        )
