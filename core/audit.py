"""The audit of one run: from what it left in its folder, and what follows from the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.errors import NotFoundError
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.privacy import AUDIT_FILE
from traindeck.core.privacy.audit.measure import AuditError, Scores, audit
from traindeck.core.privacy.audit.result import AuditResult
from traindeck.core.privacy.bounds import at_least, at_most
from traindeck.core.privacy.report import RunPrivacy
from traindeck.core.run import events
from traindeck.core.run.state import ENDED

if TYPE_CHECKING:
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.document import RunDoc


def claim_of(doc: RunDoc) -> RunPrivacy:
    """What a run claims to have spent. Raises NotFoundError when it claims nothing."""
    recorded = doc["privacy"] or {}
    privacy = RunPrivacy.from_json(recorded)
    if privacy is None or not recorded.get("events"):
        raise NotFoundError(f"run {doc['id']} has released nothing under privacy: nothing to audit")
    return privacy


def audit_run(doc: RunDoc, claim: RunPrivacy) -> AuditResult:
    """Measure what a run gave away, and hold it against its claim; takes about 1 s.

    Raises NotFoundError when it has no canaries, AuditError when their scores cannot be used.
    """
    try:
        scores = Scores.read(Path(doc["path"]) / "artifacts" / AUDIT_FILE)
    except FileNotFoundError:
        raise NotFoundError(
            f"run {doc['id']} has no audit: it trains with canaries under `-p audit=true`, and"
            " leaves their scores when it ends"
        ) from None
    if len(claim.events) != 1:
        raise AuditError(f"the run's claim is about {len(claim.events)} mechanisms, not one")
    return audit(scores, claim.events[0], claim.delta, claim.epsilon)


def record(home: Home, doc: RunDoc, claim: RunPrivacy, result: AuditResult) -> None:
    """Write the result into the run, once, and quarantine the run in its ledger when violated.

    Raises OSError, or a TraindeckError of the ledger's, when that cannot be written.
    """
    folder = Path(doc["path"])
    if claim.audit != result:
        events.append(folder / "events.jsonl", "audit", result=result.to_json())
        if doc["state"] in ENDED:
            Catalogue(home).sync(folder)
    if result.violated and claim.ledger:
        _quarantine(home, claim.ledger, doc["id"], result)


def _quarantine(home: Home, dataset: str, run: str, result: AuditResult) -> None:
    from traindeck.core.privacy.ledger.ledgers import find

    ledger = find(home.ledger, dataset)
    if ledger is None:
        return
    charge = next((charge for charge in ledger.account().runs if charge.id == run), None)
    if charge is not None and not charge.quarantined:
        ledger.quarantine(
            run,
            f"audit: epsilon is at least {at_least(result.lower)} with {result.confidence:.0%}"
            f" confidence, {at_most(result.claimed)} was claimed",
        )
