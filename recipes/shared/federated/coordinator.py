"""The data scientist's side: starts the owners, asks them for a job, aggregates their updates.

    with Federation(run, script, shards, mock, options) as federation:
        outcome = federation.round(1, weights)      # rounds of federated learning
        results = federation.results()              # or what each job gave as its result

Whatever is waited for has a time limit, and the screen names who is waited for. An owner that is
lost is left out: with secagg the round is recovered from the others' shares if enough are left. One
that was only late is asked again once it is heard of.
"""

from __future__ import annotations

import contextlib
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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.core import track
from traindeck.recipes.shared.federated import adapter, mail, modes, sandbox, secagg, status
from traindeck.recipes.shared.federated.dialogue import Dialogue
from traindeck.recipes.shared.federated.jobserver import ENVIRONMENT
from traindeck.recipes.shared.federated.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.options import (
    Failed,
    Options,
    Stopped,
    Unfit,
    threshold,
)
from traindeck.recipes.shared.federated.owner import Policy
from traindeck.recipes.shared.federated.secagg import Refused, Unrecoverable

__all__ = ["Failed", "Federation", "Options", "Outcome", "Stopped", "Unfit"]

Arrays = Mapping[str, npt.NDArray[Any]]

SETUP_SECONDS = 180.0


@dataclass(frozen=True)
class Outcome:
    """One round: mean update (d,) weighted by examples, from how many, and who was lost."""

    update: npt.NDArray[np.float64]
    examples: int
    lost: list[str]
    seconds: float


class Federation(Dialogue):
    """Owners as processes of this machine, and the data scientist that asks them.

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
        self._lay_out(shards, mock)
        mode = self.options.aggregation
        self.status = status.Coordinator(
            self.root / "coordinator.json",
            aggregation=mode,
            engine="syft",
            encryption=modes.encryption(mode, self.options.encrypt),
            visible=modes.visible(mode, bool(size), self.options.encrypt),
            rounds_total=self.options.rounds if size else 0,
            threshold=self._threshold,
            owners=[{"name": name, "state": "warming", "reason": ""} for name in self.owners],
        )
        self.status.write()

    # Setting up

    def __enter__(self) -> Self:
        try:
            self._start()
            self._befriend()
            self._submit()
            if self._size:
                self._agree_on_keys()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            if isinstance(error, OSError):  # of syft, from a folder that is full or gone
                raise Failed(f"the folder of the drive cannot be used: {error}") from error
            raise
        return self

    def _lay_out(self, shards: Mapping[str, Arrays], mock: Arrays) -> None:
        if place := sandbox.library_of(self.root):
            raise Failed(f"{self.root} lies in {place}, where jobs read libraries: name another")
        os.umask(0o077)
        shutil.rmtree(self.root, ignore_errors=True)
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
        words = [sys.executable, "-m", "traindeck.recipes.shared.federated.warm", *options.preload]
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
        fewest = secagg.fewest_summed(len(self.owners), self._threshold)
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
                approval=options.approval,
                aggregation=options.aggregation if self._size else "transport",
                rounds=options.rounds,
                threshold=self._threshold,
                clip=options.clip,
                noise=options.noise / math.sqrt(fewest),
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
                    while not reason and (heard := self._letters(1.0)):
                        self._hear(heard[0])
                        reason = self.status.reason_of(name)
                    said = "has refused the job" if state == "rejected" else "has not run the job"
                    self.status.owner(name, "refused" if state == "rejected" else "lost", reason)
                    self._give_up(f"{name} {said}: {reason or 'no reason was given'}")
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

    # Rounds

    def round(self, number: int, weights: npt.NDArray[np.float32]) -> Outcome:
        """One round from the model's weights (d,). Raises Failed when it cannot be completed."""
        began = time.monotonic()
        self.status.round = number
        for name in sorted(self._late & self._heard):
            self._late.remove(name)
            del self._lost[name]
            self._run.note(f"{name} is back: it is asked again from round {number} on")
            self.status.owner(name, "waiting", "it was late")
        self._heard.clear()
        alive = self._alive()
        for name in alive:
            self.status.owner(name, "training")
        self.status.enter("training", alive)
        body = np.ascontiguousarray(weights, "<f4").tobytes()
        for name in alive:
            self._post(name, {"type": "round", "number": number}, body)
        updates = self._collect(
            alive,
            lambda letter: letter.type == "update" and letter.facts.get("number") == number,
        )
        for name in updates:
            self.status.owner(name, "sent")
        lost = [name for name in self.owners if name not in updates]
        for name in lost:
            if name not in self._lost:
                self._lose(name, f"no update in {self.options.round_seconds:g} s")
                self._late.add(name)
        try:
            if len(updates) < self._threshold:
                raise Unrecoverable(
                    f"round {number}: {len(updates)} of {len(self.owners)} owners answered,"
                    f" {self._threshold} are needed"
                )
            update, examples = self._mode.mean(number, updates, self.owners, self._ask)
        except (Unrecoverable, Refused, ValueError, KeyError, TypeError) as error:
            self._give_up(f"{error}{self._who_is_lost()}")
        if update.shape != (self._size,) or not np.isfinite(update).all():
            self._give_up(f"round {number}: the sum is not of the model, or not finite")
        return Outcome(update, examples, lost, time.monotonic() - began)

    def tell(self, number: int, outcome: Outcome, **facts: float) -> None:
        """Show a finished round: its seconds, who was lost, and facts such as the accuracy."""
        states = {owner["name"]: owner["state"] for owner in self.status.owners}
        told = {"seconds": round(outcome.seconds, 4), "lost": outcome.lost, **facts}
        self.status.rounds.append({"number": number, **told, "states": states})
        self.status.enter("training")
        self._run.round(number, **told)

    def end_rounds(self) -> None:
        """Tell the owners that the last round is over, and let their jobs come to an end."""
        alive = self._alive()
        for name in alive:
            self._post(name, {"type": "end"})
        self._collect(alive, lambda letter: letter.type == "ended")

    def results(self, seconds: float | None = None) -> dict[str, dict[str, Any]]:
        """What each owner's job gave as its result, by owner. Raises Failed when one gave none."""
        until = time.monotonic() + (seconds or self.options.round_seconds)
        self.status.round = 0
        for name in self._alive():
            self.status.owner(name, "training")
        while True:
            for letter in self._letters():
                self._hear(letter)
            with self._quiet():
                self._site.sync()
                answers, outputs = self._site.answers(self._job), self._site.outputs(self._job)
            found = {}
            for name in self.owners:
                state, reason = answers.get(address(name), ("", ""))
                if state == "failed" or name in self._lost:
                    self._give_up(f"{name}: {self._lost.get(name) or reason or 'its job failed'}")
                path = outputs.get(address(name), Path()) / "result.json"
                if state == "done" and path.exists():
                    try:
                        found[name] = dict(json.loads(path.read_text()))
                    except (ValueError, TypeError, RecursionError) as error:
                        self._give_up(f"{name}: its result is malformed: {error!r:.200}")
                    self.status.owner(name, "sent")
            waited = [name for name in self.owners if name not in found]
            if not waited:
                return found
            self._wait("training", waited, until)

    # Ending

    def __exit__(
        self,
        type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._warm is not None:
            if error is None:
                for name in self._alive():
                    self.status.owner(name, "ended")
                total = self.status.rounds_total
                why = f"stopped on request after round {self.status.round} of {total}"
                self.status.enter("done", reason=why if self.status.round < total else "")
            elif self.status.phase != "failed":
                stopped = isinstance(error, Stopped)
                why = "stopped on request" if stopped else str(error) or error.__class__.__name__
                self.status.enter("failed", reason=why)
            assert self._warm.stdin is not None and self._warm.stdout is not None
            with contextlib.suppress(OSError):
                self._warm.stdin.close()
            try:
                self._warm.wait(10)
            except subprocess.TimeoutExpired:
                self._warm.kill()
                self._warm.wait()
            self._warm.stdout.close()
            self._log.close()
        shutil.rmtree(self.root / "job", ignore_errors=True)
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
