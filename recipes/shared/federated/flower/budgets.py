"""The privacy budgets of a Flower federation's owners, which it has no privacy to spend from."""

from __future__ import annotations

from traindeck.core import track
from traindeck.core.base.errors import FAILED, TraindeckError
from traindeck.core.privacy.gate import ledger_of


def ask(run: track.Run, owner: str, fingerprint: str) -> None:
    """End the recipe (5) where an owner's images have a budget of their own: this has no privacy.

    A budget of all the images was asked when the run was started.
    """
    whole = run.params.dataset
    try:
        asked = ledger_of(run.ledgers, whole)
        for data in (whole, f"{whole}-owners"):
            own = ledger_of(run.ledgers, f"{data}.{owner}", fingerprint)
            if own is not None and (asked is None or own.name != asked.name):
                run.over_budget(
                    f"{own.name} has a privacy budget and flower-fedavg would train on it with"
                    " no privacy: take syft-fedavg with dp"
                )
    except (OSError, TraindeckError) as error:
        track.abort(f"the ledger cannot be read: {error}", FAILED)
