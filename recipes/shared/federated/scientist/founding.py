"""How a federation comes about: owners as processes, peers, the job that they approve, the keys.

All of it is set up on this machine by people who trust each other, see `policy`; from then on
the owners believe nobody, the data scientist least of all.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.core import track
from traindeck.core.federation import status
from traindeck.recipes.shared.federated.errors import Failed, FederationOverBudget, Refused
from traindeck.recipes.shared.federated.hiding import modes
from traindeck.recipes.shared.federated.hiding.session import noise_shares
from traindeck.recipes.shared.federated.job import sandbox
from traindeck.recipes.shared.federated.job.leftovers import remove
from traindeck.recipes.shared.federated.job.server import ENVIRONMENT
from traindeck.recipes.shared.federated.owner.payer import libraries
from traindeck.recipes.shared.federated.owner.policy import Policy
from traindeck.recipes.shared.federated.post import mail
from traindeck.recipes.shared.federated.post import syft as adapter
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.scientist.dialogue import Dialogue
from traindeck.recipes.shared.federated.scientist.options import Options, threshold

Arrays = Mapping[str, npt.NDArray[Any]]

SETUP_SECONDS = 180.0


class Founding(Dialogue):
    """The data scientist's side until the first round; `federation.Federation` goes on from it."""

    def __init__(
        self,
        run: track.Run,
        script: Path,
        *,
        dataset: str,
        shards: Mapping[str, Arrays],
        mock: Arrays,
        params: Mapping[str, Any],
        size: int = 0,
        options: Options | None = None,
    ) -> None:
        super().__init__(run)
        self._script = script
        self._told_params = json.dumps(dict(params), indent=2).encode()
        self.options = options or Options()
        self.owners = sorted(shards, key=lambda name: (len(name), name))
        self._threshold = threshold(self.options, len(self.owners), run, sums=bool(size))
        self._size = size
        self._dataset = dataset
        self._session = secrets.token_hex(8)
        self._temporary = None if run.folder else tempfile.mkdtemp(prefix="traindeck-")
        self.root = Path(run.folder or self._temporary or "") / "federation"
        if place := sandbox.library_of(self.root):
            raise Failed(f"{self.root} lies in {place}, where jobs read libraries: name another")
        try:
            self._lay_out(shards, mock)
        except BaseException as error:
            remove(Path(self._temporary or self.root))
            if isinstance(error, OSError):
                raise Failed(f"the federation's folder cannot be written: {error}") from error
            raise
        mode = self.options.aggregation
        self.status = status.Coordinator(
            self.root / "coordinator.json",
            aggregation=mode,
            engine="syft",
            encryption=modes.encryption(mode, self.options.encrypt),
            visible=modes.visible(mode, bool(size), self.options.encrypt),
            rounds_total=self.options.rounds if size else 0,
            threshold=self._threshold if size else len(self.owners),
            owners=[{"name": name, "state": "warming", "reason": ""} for name in self.owners],
        )
        self.status.write()

    def found(self) -> None:
        """Start the owners, and agree with them on the job and on keys. Raises Failed."""
        self._start()
        self._befriend()
        self._submit()
        if self._size:
            self._agree_on_keys()

    def _lay_out(self, shards: Mapping[str, Arrays], mock: Arrays) -> None:
        os.umask(0o077)
        remove(self.root)
        (self.root / "drive" / "mail").mkdir(parents=True)
        np.savez(self.root / "mock.npz", allow_pickle=False, **mock)
        self._pins = {}
        for name in self.owners:
            home = self.root / "owners" / name
            home.mkdir(parents=True)
            identity = Ed25519PrivateKey.generate()
            (home / "identity").write_bytes(identity.private_bytes_raw())
            self._pins[name] = identity.public_key().public_bytes_raw().hex()
            np.savez(home / "shard.npz", allow_pickle=False, **shards[name])

    def _start(self) -> None:
        """Owners come to life while we make our own keys, which they are told the hash of."""
        options = self.options
        loaded = options.preload + libraries(options.plan, self._run.ledgers, self.owners)
        words = [sys.executable, "-m", "traindeck.recipes.shared.federated.owner.warm", *loaded]
        with (self.root / "owners.log").open("ab") as log:
            self._warm = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            )
        self._log = (self.root / "scientist.log").open("a")
        with self._quiet():
            self._site = adapter.Site(
                address(SCIENTIST),
                self.root / "scientist",
                self.root / "drive",
                owner=False,
                encrypt=options.encrypt,
            )
        self._mail = mail.Mailbox(
            self.root / "drive" / "mail", SCIENTIST, self._site, self._session, keep=options.keep
        )
        shares = noise_shares(len(self.owners), self._threshold)
        policies = [
            Policy(
                name=name,
                root=self.root,
                session=self._session,
                pins={other: key for other, key in self._pins.items() if other != name},
                scientist=self._site.fingerprint(),
                agreed=self._script,
                agreed_params=hashlib.sha256(self._told_params).hexdigest(),
                dataset=self._dataset,
                shard=self.root / "owners" / name / "shard.npz",
                mock=self.root / "mock.npz",
                summary=f"{self._dataset}, the part of {name}",
                ledgers=self._run.ledgers.absolute(),
                run=f"{self._run.id}.{name}",
                approval=options.approval,
                aggregation=options.aggregation if self._size else "transport",
                rounds=options.rounds,
                threshold=self._threshold,
                clip=options.clip,
                noise=options.noise / math.sqrt(shares),
                plan=options.plan,
                local_steps=options.local_steps,
                done=options.done,
                encrypt=options.encrypt,
                keep=options.keep,
                ports=options.ports,
                tls=options.tls,
            ).to_json()
            for name in self.owners
        ]
        assert self._warm.stdin is not None
        self._warm.stdin.write(json.dumps(policies).encode() + b"\n")
        self._warm.stdin.flush()

    def _befriend(self) -> None:
        """Become a peer of every owner and see its data set."""
        asked = False
        for phase in ("warming", "peers"):
            until = time.monotonic() + SETUP_SECONDS
            while True:
                with self._quiet():
                    if phase == "warming":
                        waited = [n for n in self.owners if not self._offers(n)]
                    elif not asked:
                        asked = True
                        for name in self.owners:
                            self._site.ask(address(name))
                        waited = self.owners
                    else:
                        waited = self._not_peers()
                if not waited:
                    break
                self._wait(phase, waited, until)
        with self._quiet():
            for name in self.owners:
                self.status.owner(name, "waiting")

    def _offers(self, name: str) -> bool:
        """Whether an owner's process is up; it says so in its own status."""
        try:
            facts = json.loads((self.root / "owners" / name / "status.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(facts["state"] != "warming")

    def _not_peers(self) -> list[str]:
        waited = self._site.not_ready([address(name) for name in self.owners])
        if not waited:
            self._site.sync()
            offered = self._site.datasets()
            waited = [address(n) for n in self.owners if address(n) not in offered]
        return [email.removesuffix(mail.ADDRESS) for email in waited]

    def _submit(self) -> None:
        """Ask each owner to run the script, and wait for what they decide."""
        self._job = f"{self._script.stem.replace('_', '-')}-{self._session[:6]}"
        code = self.root / "job"
        code.mkdir()
        shutil.copyfile(self._script, code / adapter.SCRIPT)
        (code / adapter.PARAMS).write_bytes(self._told_params)
        with self._quiet():
            for name in self.owners:
                self._site.submit(address(name), code, self._job)
        until = time.monotonic() + self.options.approval_seconds
        while True:
            with self._quiet():
                self._site.sync()
                answers = self._site.answers(self._job)
            waited = []
            for name in self.owners:
                state, reason = answers.get(address(name), ("", ""))
                if state in ("rejected", "failed"):
                    while heard := self._letters(0.0 if reason else 1.0):
                        self._hear(heard[0])
                        reason = reason or self.status.reason_of(name)
                    said = "has refused the job" if state == "rejected" else "has not run the job"
                    self.status.owner(name, "refused" if state == "rejected" else "lost", reason)
                    kind = FederationOverBudget if name in self._over_budget else Failed
                    self._give_up(f"{name} {said}: {reason or 'no reason was given'}", kind)
                if state in ("approved", "running", "done") and name in self._proven:
                    self.status.owner(name, "approved")
                else:
                    waited.append(name)
            if not waited:
                break
            self._wait("approval", waited, until)

    def _agree_on_keys(self) -> None:
        options = self.options
        self._mode: modes.AggregatorSide = modes.TransportAggregator()
        if options.aggregation == "secagg":
            self._mode = modes.SecAggAggregator(self._size, self._threshold)
        elif options.aggregation == "ckks":
            self._mode = modes.CkksAggregator(self._size)
        self.status.enter("keys", self.owners)
        try:
            self._mode.keys(self._ask_all)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._give_up(f"what owners have answered about keys is malformed: {error!r}")
        except Refused as error:
            self._give_up(str(error))
