"""How a federation comes about: owners as processes, peers, the job that they approve, the keys.

All of it is set up on this machine by people who trust each other, see `policy`; from then on
the owners believe nobody, the data scientist least of all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.core import track
from traindeck.core.federation.inbox import PARAMS, SCRIPT
from traindeck.core.federation.status import Coordinator
from traindeck.recipes.shared.federated.errors import Failed, FederationOverBudget, Refused, Stopped
from traindeck.recipes.shared.federated.hiding import modes
from traindeck.recipes.shared.federated.hiding.session import noise_shares
from traindeck.recipes.shared.federated.job import sandbox
from traindeck.recipes.shared.federated.job.leftovers import forget, remove
from traindeck.recipes.shared.federated.owner.payer import libraries
from traindeck.recipes.shared.federated.owner.policy import Policy
from traindeck.recipes.shared.federated.post import mail
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.post.syft import Site
from traindeck.recipes.shared.federated.scientist.dialogue import Dialogue
from traindeck.recipes.shared.federated.scientist.federation import Federation
from traindeck.recipes.shared.federated.scientist.options import Options, threshold
from traindeck.recipes.shared.federated.scientist.processes import Processes
from traindeck.recipes.shared.federated.scientist.roster import Roster

Arrays = Mapping[str, npt.NDArray[Any]]

SETUP_SECONDS = 180.0


class Founding:
    """Owners as processes of this machine, who become a federation; it ends with this object.

    script    the job; it is agreed beforehand, by its hash
    dataset   what owners call their data set; shards: each owner's private arrays, by its name,
              mock: public ones of the same form; params: told to the job
    size      parameters of the model; 0 for a job without rounds

    Raises Failed. Owners end with this object, and with this process however it ends.
    """

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
        self._run = run
        self._script = script
        self._params = json.dumps(dict(params), indent=2).encode()
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
        self.status = Coordinator(
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
        self.roster = Roster(self.owners, run, self.status)
        self._processes: Processes | None = None
        self._ending = contextlib.ExitStack()

    def __enter__(self) -> Federation:
        """Start the owners, and agree with them on the job and on keys. Raises Failed."""
        try:
            dialogue = self._start()
            self._befriend(dialogue)
            self._submit(dialogue)
            mode = self._agree_on_keys(dialogue)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            if isinstance(error, OSError):  # of syft, from a folder that is full or gone
                raise Failed(f"the folder of the drive cannot be used: {error}") from error
            raise
        return Federation(dialogue, mode, size=self._size, threshold=self._threshold)

    def __exit__(
        self,
        type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._processes is not None:
            self._show_end(error)
            self._ending.close()
        remove(self.root / "job")
        if not self.options.keep and (left := forget(self.root)):
            warning = f"keys or data could not be removed: {', '.join(map(str, left))}"
            print(f"warning: {warning}", flush=True)
            self._run.note(warning)
        if self._temporary:
            remove(Path(self._temporary))

    def _show_end(self, error: BaseException | None) -> None:
        if error is None:
            for name in self.roster.alive():
                self.status.owner(name, "ended")
            total = self.status.rounds_total
            why = f"stopped on request after round {self.status.round} of {total}"
            self.status.enter("done", reason=why if self.status.round < total else "")
        elif self.status.phase != "failed":
            stopped = isinstance(error, Stopped)
            why = "stopped on request" if stopped else str(error) or error.__class__.__name__
            self.status.enter("failed", reason=why)

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

    def _start(self) -> Dialogue:
        """Owners come to life while we make our own keys, which they are told the hash of."""
        options = self.options
        modules = options.preload + libraries(options.plan, self._run.ledgers, self.owners)
        with (self.root / "owners.log").open("ab") as errors:
            processes = self._processes = Processes.start(modules, errors)
        self._ending.callback(processes.close)
        log = self._ending.enter_context((self.root / "scientist.log").open("a"))
        with contextlib.redirect_stdout(log):
            site = Site(
                address(SCIENTIST),
                self.root / "scientist",
                self.root / "drive",
                owner=False,
                encrypt=options.encrypt,
            )
        mailbox = mail.Mailbox(
            self.root / "drive" / "mail", SCIENTIST, site, self._session, keep=options.keep
        )
        processes.fork([policy.to_json() for policy in self._policies(site.fingerprint())])
        return Dialogue(
            run=self._run,
            root=self.root,
            options=options,
            status=self.status,
            roster=self.roster,
            mail=mailbox,
            site=site,
            processes=processes,
            pins=self._pins,
            session=self._session,
            job=f"{self._script.stem.replace('_', '-')}-{self._session[:6]}",
            log=log,
        )

    def _policies(self, scientist: str) -> list[Policy]:
        """What each owner is told; scientist: the hash of our keys."""
        options = self.options
        shares = noise_shares(len(self.owners), self._threshold)
        counted = options.count_noise
        if counted is not None:
            counted /= math.sqrt(shares)
        return [
            Policy(
                name=name,
                root=self.root,
                session=self._session,
                pins={other: key for other, key in self._pins.items() if other != name},
                scientist=scientist,
                agreed=self._script,
                agreed_params=hashlib.sha256(self._params).hexdigest(),
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
                count_noise=counted,
                plan=options.plan,
                local_steps=options.local_steps,
                done=options.done,
                charged=tuple((f"{run}.{name}", steps) for run, steps in options.charged),
                encrypt=options.encrypt,
                keep=options.keep,
                ports=options.ports,
                tls=options.tls,
            )
            for name in self.owners
        ]

    def _befriend(self, dialogue: Dialogue) -> None:
        """Become a peer of every owner and see its data set."""
        until = time.monotonic() + SETUP_SECONDS
        while waited := [name for name in self.owners if not self._is_up(name)]:
            dialogue.wait("warming", waited, until)
        until = time.monotonic() + SETUP_SECONDS
        with dialogue.quiet():
            for name in self.owners:
                dialogue.site.ask(address(name))
        waited = self.owners
        while waited:
            dialogue.wait("peers", waited, until)
            with dialogue.quiet():
                waited = self._not_peers(dialogue.site)
        for name in self.owners:
            self.status.owner(name, "waiting")

    def _is_up(self, name: str) -> bool:
        """Whether an owner's process is up; it says so in its own status."""
        try:
            facts = json.loads((self.root / "owners" / name / "status.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(facts["state"] != "warming")

    def _not_peers(self, site: Site) -> list[str]:
        waited = site.not_ready([address(name) for name in self.owners])
        if not waited:
            site.sync()
            offered = site.datasets()
            waited = [address(n) for n in self.owners if address(n) not in offered]
        return [email.removesuffix(mail.ADDRESS) for email in waited]

    def _submit(self, dialogue: Dialogue) -> None:
        """Ask each owner to run the script, and wait for what they decide."""
        code = self.root / "job"
        code.mkdir()
        shutil.copyfile(self._script, code / SCRIPT)
        (code / PARAMS).write_bytes(self._params)
        with dialogue.quiet():
            for name in self.owners:
                dialogue.site.submit(address(name), code, dialogue.job)
        until = time.monotonic() + self.options.approval_seconds
        while True:
            waited = []
            for name, (state, reason) in dialogue.answers().items():
                if state in ("rejected", "failed"):
                    self._give_up_for(dialogue, name, state, reason)
                if state in ("approved", "running", "done") and name in dialogue.proven:
                    self.status.owner(name, "approved")
                else:
                    waited.append(name)
            if not waited:
                break
            dialogue.wait("approval", waited, until)

    def _give_up_for(self, dialogue: Dialogue, name: str, state: str, reason: str) -> NoReturn:
        """Fail because of an owner that has not run the job; what it said of that is heard."""
        while letters := dialogue.letters(0.0 if reason else 1.0):
            dialogue.hear(letters[0])
            reason = reason or self.status.reason_of(name)
        refused = state == "rejected"
        self.status.owner(name, "refused" if refused else "lost", reason)
        kind = FederationOverBudget if name in self.roster.over_budget else Failed
        what = "has refused the job" if refused else "has not run the job"
        dialogue.give_up(f"{name} {what}: {reason or 'no reason was given'}", kind)

    def _agree_on_keys(self, dialogue: Dialogue) -> modes.AggregatorSide:
        """The aggregator's side of how updates are hidden; a job without rounds hides none."""
        mode: modes.AggregatorSide = modes.TransportAggregator()
        if not self._size:
            return mode
        if self.options.aggregation == "secagg":
            counts = self.options.count_noise is not None
            mode = modes.SecAggAggregator(self._size + counts, self._threshold)
        elif self.options.aggregation == "ckks":
            mode = modes.CkksAggregator(self._size)
        self.status.enter("keys", self.owners)
        try:
            mode.keys(dialogue.ask_all)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            dialogue.give_up(f"what owners have answered about keys is malformed: {error!r}")
        except Refused as error:
            dialogue.give_up(str(error))
        return mode
