"""An owner and a data scientist in one process: each step is taken when a test says so."""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.federated import federated_tools as tools
from tests.federated.federated_tools import JOB
from traindeck.core.federation.inbox import PARAMS, SCRIPT
from traindeck.recipes.shared.federated.job.server import Job
from traindeck.recipes.shared.federated.owner import owner, policy
from traindeck.recipes.shared.federated.post import mail
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.post.syft import Site

SESSION = "a session"
NAME = "owner-1"


class NoJobs:
    """In place of an owner's job server: nothing may run."""

    started: list[str]

    def __init__(self) -> None:
        self.started = []

    def start(self, code: Path, entry: str, facts: dict[str, Any], ports: list[int]) -> Job:
        self.started.append((code / entry).read_text())
        ours, theirs = socket.socketpair()
        theirs.close()
        (code / ".stdout").touch()
        (code / ".stderr").write_text("it was cut off")
        ours.settimeout(60)
        return Job(ours, 2**22 + 1)

    def ended(self, seconds: float | None = None) -> int:
        return 1


@dataclass
class Pair:
    """An owner and a data scientist, in this process: each step is taken when a test says so."""

    root: Path
    scientist: Site
    owner: owner.Owner
    server: NoJobs
    box: mail.Mailbox

    def befriend(self) -> None:
        self.scientist.ask(self.owner._site.email)
        self.owner._answer_peers()
        assert self.scientist.not_ready([address(NAME)]) == []
        self.scientist.sync()

    def submit(self, script: str | None = None, params: str = "{}", **more: str) -> None:
        name = "a-job"
        code = self.root / f"code-{name}"
        code.mkdir()
        (code / SCRIPT).write_text(script or JOB.read_text())
        (code / PARAMS).write_text(params)
        for file, text in more.items():
            (code / file).write_text(text)
        self.scientist.submit(address(NAME), code, name)

    def consider(self) -> None:
        self.owner._site.sync()
        for request in self.owner._site.requests():
            self.owner._consider(request)

    def answer(self, name: str = "a-job") -> tuple[str, str]:
        self.scientist.sync()
        return self.scientist.answers(name)[address(NAME)]

    def letters(self) -> list[mail.Letter]:
        letters = []
        while (letter := self.box.next()) is not None:
            letters.append(letter)
        return letters

    def shown(self) -> dict[str, Any]:
        """What the owner's screen shows."""
        status: dict[str, Any] = json.loads((self.owner.policy.home / "status.json").read_text())
        return status


def make(root: Path, **more: Any) -> Pair:
    home = root / "owners" / NAME
    home.mkdir(parents=True)
    (home / "identity").write_bytes(bytes(32))
    for path, arrays in ((home / "shard.npz", tools.shards(20)[NAME]), (root / "mock", tools.MOCK)):
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    scientist = Site(address(SCIENTIST), root / "scientist", root / "drive", owner=False)
    rules = policy.Policy(
        name=NAME,
        root=root,
        session=SESSION,
        pins={},
        scientist=scientist.fingerprint(),
        agreed=JOB,
        agreed_params=hashlib.sha256(b"{}").hexdigest(),
        dataset="digits",
        shard=home / "shard.npz",
        mock=root / "mock",
        summary="digits",
        ledgers=root / "ledger",
        run=f"a-run.{NAME}",
        aggregation="transport",
        rounds=9,
    )
    server = NoJobs()
    made = owner.Owner(replace(rules, **more), server)  # type: ignore[arg-type]
    made._data = rules.shard
    box = mail.Mailbox(root / "drive" / "mail", SCIENTIST, scientist, SESSION)
    return Pair(root, scientist, made, server, box)
