"""The end of a run's spending."""

from __future__ import annotations

import os
from pathlib import Path

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.privacy import PLAN_FILE
from traindeck.core.run.spec import Spec
from traindeck.core.supervisor.reporting import tell_trouble


def give_back(home: Home, folder: Path, spec: Spec, state: str) -> None:
    """What a run has committed of its privacy budget stays spent; what it only reserved does not.

    Where the ledger cannot be written it stays reserved: whoever writes to it next tries again.
    """
    ledger = spec.get("ledger")
    if not ledger or not os.path.exists(folder / PLAN_FILE):
        return
    from traindeck.core.privacy.ledger.ledger import Ledger

    try:
        Ledger(home.ledger, ledger).settle(spec["id"], state)
    except (OSError, TraindeckError):
        tell_trouble()
