"""Federated runs as their coordinator and owners leave them on disk; nothing is trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.tui.homes import NOW, make_run
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.federation.inbox import RunInbox, ScriptRequest
from traindeck.core.federation.reader import read_federation
from traindeck.core.federation.status import FederationStatus

SCIENTIST = "scientist@traindeck.invalid"
ENCRYPTION = "Updates are masked with keys that only owners share, and sealed (syft)."
PRIVACY = {
    "unit": "example",
    "epsilon": 1.3021,
    "delta": 1e-5,
    "steps": 120,
    "epsilon_planned": 2.93,
    "steps_planned": 600,
    "ledger": "",
}
"""An owner's own account of a private run, as its status has it."""
PRICE = {
    "unit": "example",
    "epsilon": 2.93,
    "delta": 1e-5,
    "steps": 600,
    "ledger": "mnist.owner-2",
    "charged": "",
}
"""What such a run costs an owner that has a budget, as a request for approval has it."""
VISIBLE = "The aggregator can read only the sum over at least 2 owners, and no update."
SCRIPT = '''\
"""Trains on one owner's data: all that leaves is the update of each round."""

from traindeck.recipes.shared.federated import job

RATE = 0.05  # agreed

with job.session() as here:
    data = here.data()
    for round in here.rounds():
        update, loss = train(round.weights, data["x"], data["y"], RATE)
        round.send(update, examples=len(data["x"]), loss=loss)
'''


def federated_run(
    home: Home,
    number: int = 1,
    *,
    owners: int = 3,
    rounds: int = 2,
    total: int = 60,
    phase: str = "training",
    state: str = "running",
    index: bool = False,
    **more: Any,
) -> Path:
    """Makes a run in which so many rounds are done and the next goes on; returns its folder."""
    given = {"name": "fedavg", "recipe": "syft-fedavg", "framework": "syft", **more}
    given.setdefault("started_boottime", None)  # how long it has been running no picture shows
    run_id = make_run(home, number, state=state, index=index, **given)
    folder = home.runs / run_id
    (folder / "federation" / "owners").mkdir(parents=True)
    write_coordinator(folder, owners=owners, rounds=rounds, total=total, phase=phase)
    for each in range(1, owners + 1):
        write_status(folder, each, round=rounds + 1)
    return folder


def write_coordinator(
    folder: Path,
    *,
    owners: int = 3,
    rounds: int = 2,
    total: int = 60,
    phase: str = "training",
    states: dict[str, str] | None = None,
    owner_list: list[dict[str, str]] | None = None,
    **more: Any,
) -> None:
    """Owner 3 is lost in every seventh round."""
    names = [f"owner-{each}" for each in range(1, owners + 1)]
    every = []
    for number in range(1, rounds + 1):
        lost = ["owner-3"] if number % 7 == 0 else []
        every.append(
            {
                "number": number,
                "seconds": 0.2 + 0.01 * (number % 5),
                "accuracy": 0.95 - 0.6 * 0.9**number,
                "lost": lost,
                "states": {name: "lost" if name in lost else "sent" for name in names},
            }
        )
    said = {
        "v": 1,
        "aggregation": "secagg",
        "engine": "syft",
        "encryption": ENCRYPTION,
        "visible": VISIBLE,
        "phase": phase,
        "waiting_for": [],
        "reason": "",
        "round": min(rounds + 1, total),
        "rounds_total": total,
        "threshold": 2,
        "owners": owner_list
        or [
            {"name": name, "state": (states or {}).get(name, "training"), "reason": ""}
            for name in names
        ],
        "rounds": every,
        **more,
    }
    write_json(folder / "federation" / "coordinator.json", said)


def write_status(folder: Path, number: int, **more: Any) -> Path:
    """The own status of an owner; returns its folder."""
    owner = folder / "federation" / "owners" / f"owner-{number}"
    owner.mkdir(parents=True, exist_ok=True)
    said = {
        "v": 1,
        "name": f"owner-{number}",
        "pid": 1000 + number,
        "started": NOW - 60,
        "samples": 3000 + 481 * number,
        "state": "training",
        "reason": "",
        "round": 3,
        "loss": 0.1 + 0.01 * number,
        "seconds": 0.05,
        "bytes_out": {
            "ciphertext": 0,
            "masked": 203_600 * number,
            "metadata": 5_210,
            "mock": 25_000,
            "raw": 0,
        },
        "bytes_round": {"ciphertext": 0, "masked": 203_600},
        "cpu_seconds": 12.5,
        "memory": 312_000_000,
        "approval": "auto",
        "sandbox": "Landlock: reads its data set alone",
        "facts": {},
        "job": {
            "id": "fedavg-1",
            "script": "fedavg_torch.py",
            "sha256": hashlib.sha256(SCRIPT.encode()).hexdigest(),
            "submitted_by": SCIENTIST,
            "decision": "approved",
            "reason": "",
        },
        **more,
    }
    write_json(owner / "status.json", said)
    return owner


def ask(
    folder: Path,
    number: int = 2,
    *,
    job: str = "fedavg-1",
    script: str | bytes = SCRIPT,
    agreed: Path | None = None,
    params: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A script waits at an owner for a hand; returns the folder of the request."""
    data = script.encode() if isinstance(script, str) else script
    request = folder / "federation" / "owners" / f"owner-{number}" / "inbox" / job
    request.mkdir(parents=True)
    (request / "main.py").write_bytes(data)
    given = {"rounds": 60, "lr": 0.05, "batch_size": 32} if params is None else params
    (request / "params.json").write_text(json.dumps(given))
    said = {
        "v": 1,
        "job": job,
        "script": "fedavg_torch.py",
        "sha256": hashlib.sha256(data).hexdigest(),
        "submitted_by": SCIENTIST,
        "at": NOW - 90,
        "agreed": str(agreed) if agreed else None,
        **more,
    }
    write_json(request / "request.json", said)
    return request


def decision(request: Path) -> dict[str, Any]:
    """What was decided about a request."""
    facts: dict[str, Any] = json.loads((request / "decision.json").read_bytes())
    return facts


def large_run(home: Home, number: int = 1) -> Path:
    """16 owners, 200 rounds done; some train in the next, one refused, one was lost, one waits."""
    folder = federated_run(home, number, owners=16, rounds=200, total=240)
    states = {"owner-5": "refused", "owner-9": "lost", "owner-12": "waiting"}
    write_coordinator(folder, owners=16, rounds=200, total=240, states=states)
    for each in range(1, 17):
        state = "training" if each < 4 else states.get(f"owner-{each}", "sent")
        write_status(folder, each, round=201, state=state)
    return folder


def federation_in(folder: Path) -> FederationStatus:
    """What a run's federation says."""
    federation = read_federation(folder)
    assert federation is not None
    return federation


def only_request(folder: Path) -> ScriptRequest:
    """The one script that waits in a run, or was decided."""
    [request] = RunInbox(folder).read()
    return request
