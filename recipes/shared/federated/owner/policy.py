"""What each data owner is told when a federation is set up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from traindeck.core.privacy.origin import Charged
from traindeck.core.privacy.plan import Plan


@dataclass
class Policy:
    """What one owner is told when it is set up, by the people who trust each other.

    root         folder of the federation; session names it in every message
    pins         Ed25519 public keys of the other owners, hexadecimal; scientist: the hash of the
                 data scientist's syft keys
    agreed       path of the script that was agreed beforehand; agreed_params: SHA-256 of its
                 parameters, which say as much as the script how private its updates are
    approval     'auto': the agreed script runs; 'hand': somebody reads what was sent and decides,
                 with a plan of what was agreed alone: that is what is accounted
    clip         L2 norm that an update is clipped to
    noise        standard deviation of the Gaussian noise that this owner adds to each number of a
                 clipped update, its share of the noise of the sum; all owners then weigh the same
    count_noise  likewise, of what it adds to the count of updates that were not clipped; None: clip
                 stays. Else the norm comes with each round, and clip and noise are over it, see
                 `release`
    ledgers      folder of all privacy ledgers, and run: what they know this owner's part by
    plan         what the whole run may release; None: it has no differential privacy
    local_steps  steps of the plan in a round; done: rounds that the model holds already; charged:
                 what this owner's ledger may know their runs by, with the steps of each
    ports        TCP ports of this machine that a job may use; tls: see `JobSession`
    seconds      time limit of a job
    """

    name: str
    root: Path
    session: str
    pins: dict[str, str]
    scientist: str
    agreed: Path
    agreed_params: str
    dataset: str
    shard: Path
    mock: Path
    summary: str
    ledgers: Path
    run: str
    approval: str = "auto"
    aggregation: str = "secagg"
    rounds: int = 1
    threshold: int = 2
    clip: float = 10.0
    noise: float = 0.0
    count_noise: float | None = None
    plan: Plan | None = None
    local_steps: int = 1
    done: int = 0
    charged: Charged = ()
    encrypt: bool = True
    keep: bool = False
    ports: list[int] = field(default_factory=list)
    tls: dict[str, str] | None = None
    seconds: float = 86400.0

    @property
    def home(self) -> Path:
        return self.root / "owners" / self.name

    def to_json(self) -> dict[str, Any]:
        facts = {**asdict(self), "plan": self.plan.to_json() if self.plan else None}
        return json.loads(json.dumps(facts, default=str))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Policy:
        """The inverse of `to_json`."""
        paths = {name: Path(facts[name]) for name in ("root", "agreed", "shard", "mock", "ledgers")}
        plan = Plan.from_json(facts["plan"]) if facts["plan"] else None
        charged = tuple((str(run), int(steps)) for run, steps in facts["charged"])
        return cls(**{**facts, **paths, "plan": plan, "charged": charged})
