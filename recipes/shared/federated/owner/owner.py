"""One data owner: a process of its own, with its home, keys, private data and policy.

It takes the one data scientist that it knows as a peer, offers its data set, reads each job that
asks for it (automatically by the hash of the script, or by hand), and runs what it has approved in
a sandbox, beside the gate that stands between the script and the world, see `gate`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.core.base.errors import BudgetRefused, TraindeckError
from traindeck.core.base.files import tail
from traindeck.core.federation.inbox import APPROVE, PARAMS, REFUSE, SCRIPT
from traindeck.core.federation.status import JobStatus, OwnerFile
from traindeck.core.privacy.ledger.filter import OtherData
from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.hiding import boxes, modes
from traindeck.recipes.shared.federated.job.leftovers import remove
from traindeck.recipes.shared.federated.job.script import OUTSIDE, die_with_parent, no_core
from traindeck.recipes.shared.federated.job.server import JobServer
from traindeck.recipes.shared.federated.owner import inbox
from traindeck.recipes.shared.federated.owner.gate import Gate
from traindeck.recipes.shared.federated.owner.payer import Payer
from traindeck.recipes.shared.federated.owner.policy import Policy
from traindeck.recipes.shared.federated.post import mail
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.post.syft import Site, SyftRequest, is_mock, sealed
from traindeck.recipes.shared.training.data import datasets
from traindeck.recipes.shared.training.dp.randomness import Randomness

ENDING = 3.0  # seconds that a script has to end by itself once it is through
FARTHEST = 9.0  # standard deviations that noise can be away, see Randomness
LOOK = 0.05  # seconds between looks at the drive while nothing runs
OTHER_DATA = "its data is not that of its budget: its log says more"
KEYS = "syft keys"  # what an owner signs the hash of
COUNT = 0.5  # seconds between counts of what the processes use
MOST_LINE = 2000  # bytes of a script's line that are repeated
PATIENCE = 30.0  # seconds for a script to read or write a whole frame, once it has begun
SETTLED = {"ended": "finished", "lost": "failed", "refused": "failed"}
"""How an owner's part has ended, as ledgers say it, by the owner's state; else it was stopped."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # a job's name, and its folder's


def main(facts: dict[str, Any]) -> None:
    """Be an owner until the data scientist's process ends or says so."""
    os.umask(0o077)
    no_core()
    die_with_parent()
    policy = Policy.from_json(facts)
    server = JobServer()  # before there are keys
    owner = Owner(policy, server)

    def leave(number: int, frame: FrameType | None) -> None:
        owner.leaving = True
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    try:
        owner.live()
    except SystemExit:
        if owner.status.state != "refused":  # which stays to be read
            owner.status.enter("ended")
    except Exception as error:
        owner.status.enter("lost", f"{type(error).__name__}: {error}")
        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        owner.status.write()  # with the last bytes that left
        server.close()


class Owner:
    """An owner's process. See the module."""

    def __init__(self, policy: Policy, server: JobServer) -> None:
        self.policy = policy
        self.status = OwnerFile(policy.home / "status.json", policy.name)
        self.status.approval = policy.approval
        self._payer = Payer(policy)
        self.status.privacy = self._payer.spent()
        self.status.write()
        self._server = server
        self._counted = 0.0
        self.leaving = False
        self.randomness = Randomness()
        self._site = Site(
            address(policy.name),
            policy.home / "syft",
            policy.root / "drive",
            owner=True,
            encrypt=policy.encrypt,
            written=self._written,
        )
        self.mail = mail.Mailbox(
            policy.root / "drive" / "mail",
            policy.name,
            self._site,
            policy.session,
            left=self.status.left,
            keep=policy.keep,
        )
        identity = Ed25519PrivateKey.from_private_bytes((policy.home / "identity").read_bytes())
        pins = {name: bytes.fromhex(key) for name, key in policy.pins.items()}
        self._boxes = boxes.Boxes(policy.name, identity, pins, policy.session)
        self.mode: modes.OwnerSide = modes.TransportOwner()
        if policy.aggregation == "secagg":
            self.mode = modes.SecAggOwner(
                policy.name,
                identity,
                pins,
                policy.session,
                (1, policy.rounds),
                policy.threshold,
                policy.home / "answered",
                policy.clip + FARTHEST * max(policy.noise, policy.count_noise or 0.0),
            )
        elif policy.aggregation == "ckks":
            self.mode = modes.CkksOwner(policy.name, self._boxes)
        with np.load(policy.shard, allow_pickle=False) as arrays:
            held = [arrays[name] for name in sorted(arrays.files)]
        lengths = {len(array) for array in held}
        self.status.samples = lengths.pop() if len(lengths) == 1 else 0  # of a model: no rows
        self._fingerprint = datasets.fingerprint(*held)

    def live(self) -> None:
        """Offer the data, then answer peers and jobs."""
        policy = self.policy
        self._site.sync()
        scientist = address(SCIENTIST)
        self._data = self._site.offer(
            policy.dataset, policy.mock, policy.shard, policy.summary, [scientist]
        )
        policy.shard.unlink()  # it lies in syft's private folder now
        self.status.enter("waiting")
        while True:
            self._answer_peers()
            self._site.sync()
            for request in self._site.requests():
                self._consider(request)
            self.stay()
            self.count()
            time.sleep(LOOK)

    # Peers

    def _answer_peers(self) -> None:
        for email in self._site.asked_by():
            if email != address(SCIENTIST):
                self._site.turn_away(email)
                self.refuse(f"{email} was turned away: it is no approved scientist")
                continue
            keys = self._site.fingerprint(email)
            if not keys and self.policy.encrypt:
                continue  # they have not come yet
            if keys == self.policy.scientist:
                self._site.accept(email)
                keys = self._site.fingerprint(email)
            if keys != self.policy.scientist:
                raise Refused(f"the keys of {email} are not those agreed: they were swapped")

    # Jobs

    def _consider(self, request: SyftRequest) -> None:
        job = JobStatus(request.name, self.policy.agreed.name, request.sha256, request.asked_by)
        self.status.job = asdict(job)
        agreed = self.policy.approval == "auto" or self.policy.plan is not None
        why = self._objection(request) or (self._disagreement(request) if agreed else "")
        approved = ("", "") if why else (request.sha256, request.params_sha256)
        decision, how = REFUSE if why else APPROVE, "auto"
        if not why and self.policy.approval == "hand":
            self._tell("asked", why="waits for somebody to read the script")
            decided = inbox.ask(
                self.policy.home, request, self.policy.agreed, self._payer.price(), self._waiting
            )
            decision, why, how = decided.decision, decided.reason, "manual"
        over_budget = False
        if decision == APPROVE:
            try:
                self._payer.admit(self._fingerprint, self.policy.agreed.name)
            except OtherData as error:  # its words have hashes of the data
                print(error, flush=True)
                decision, why, over_budget = REFUSE, OTHER_DATA, True
            except (TraindeckError, OSError) as error:
                decision, why, over_budget = REFUSE, str(error), isinstance(error, BudgetRefused)
        shown = "approved" if decision == APPROVE else "refused"
        self.status.job = asdict(replace(job, decision=shown, reason=why))
        if decision != APPROVE:
            self.refuse(f"{request.name} was refused: {why}", over_budget=over_budget)
            self._site.refuse(request, why)
            self._site.sync()
            return
        try:
            self._site.approve(request, how, why)
            self.status.privacy = self._payer.spent()
            self.status.enter("approved")
            self._site.sync()
            self._tell("approved", keys=self._boxes.signed(KEYS, self._site.fingerprint().encode()))
            self._site.run_approved(request, lambda: self._run(request, approved))
        finally:
            self._payer.settle(SETTLED.get(self.status.state, "stopped"))
        self._site.sync()
        self._tell("ended")

    def _objection(self, request: SyftRequest) -> str:
        """Why a job is refused whatever its script does; empty: it is not."""
        if not _PLAIN.fullmatch(request.name):
            return "its name is none that can be shown"
        if request.asked_by != address(SCIENTIST):
            return f"{request.asked_by} is no approved scientist"
        if request.files != (SCRIPT, PARAMS):
            return f"it has the files {', '.join(request.files)}: a script and its parameters"
        if request.run_script != self._site.run_script():
            return "its run.sh is not the one that syft writes: it was swapped"
        return ""

    def _disagreement(self, request: SyftRequest) -> str:
        """How a job differs from what was agreed; of a private run that is what is accounted."""
        accounted = ", and it is that which is accounted" if self.policy.plan else ""
        if request.sha256 != _sha256(self.policy.agreed):
            return f"the script {request.sha256[:12]} is not the one that was agreed{accounted}"
        if request.params_sha256 != self.policy.agreed_params:
            return f"its parameters are not those that were agreed{accounted}"
        return ""

    def _waiting(self) -> None:
        self.stay()
        self.status.enter("waiting", "a script waits for approval")
        self.count()
        time.sleep(LOOK)

    def _run(self, request: SyftRequest, approved: tuple[str, str]) -> int:
        """Run an approved script to its end, the gate beside it. Gives its exit code."""
        work = self.policy.home / "work"
        remove(work)
        work.mkdir()
        for name in (SCRIPT, PARAMS):
            shutil.copyfile(request.code / name, work / name)
        if tuple(_sha256(work / name) for name in (SCRIPT, PARAMS)) != approved:
            self.refuse(f"{request.name} was refused: it changed after it was approved")
            return OUTSIDE
        facts = {
            "owner": self.policy.name,
            "owners": sorted([self.policy.name, *self.policy.pins]),
            "data": str(self._data),
            "tls": self.policy.tls,
        }
        job = self._server.start(work, SCRIPT, facts, self.policy.ports)
        job.wire.settimeout(PATIENCE)
        if job.report:
            self.status.sandbox = job.report.words()
            self.status.write()
        gate = Gate(self, job.wire, request.code / "outputs")
        patience = 0.0
        try:
            gate.serve(time.monotonic() + self.policy.seconds)
            patience = ENDING
        finally:
            job.wire.shutdown(socket.SHUT_RDWR)
            ended = self._server.ended(patience)
            job.stop()
            code = self._server.ended() if ended is None else ended
            assert code is not None
            job.wire.close()
        if gate.done and code == -signal.SIGKILL:
            code = 0  # it had given its result, and had no more to do
        if code and self.status.state != "refused":
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            self.fail(f"the script {how}", _last_line(work / ".stderr"), by_signal=code < 0)
        elif not code:
            self.status.enter("ended")
        return code

    # The world

    def _tell(self, type: str, **facts: Any) -> None:
        self.mail.send(SCIENTIST, {"type": type, **facts}, kind="metadata")

    def pay(self) -> None:
        """Account for a round's update, before it leaves. Raises `payer.Unpaid`."""
        self._payer.pay()
        self.status.privacy = self._payer.spent()

    def refuse(self, why: str, public: str = "", *, over_budget: bool = False) -> None:
        """Say why something was not done: to the owner's screen and to the scientist.

        public: what the scientist is told instead, where the reason has the script's own words;
        over_budget: the owner's privacy budget is the reason.
        """
        self.status.enter("refused", why)
        self._say("refused", why, public, over_budget=over_budget)

    def fail(self, why: str, own: str, *, by_signal: bool) -> None:
        """Say that a script came to no good end; its own last words are for the owner alone.

        Those of a private run, which no epsilon covers, are in its log, not in its status.
        """
        words = "what it said last is in output.log" if self.policy.plan else own or "no message"
        self.status.enter("lost", f"{why}: {words}")
        self._say("failed", f"{why}: {own}", why, by_signal=by_signal)

    def notice(self, why: str) -> None:
        """Say that something which came was left aside; what went on goes on."""
        self.status.enter(self.status.state, why)
        self._say("notice", why)

    def _say(self, type: str, why: str, public: str = "", **facts: Any) -> None:
        """To the owner's log and the scientist, as far as the disk takes it."""
        with contextlib.suppress(OSError):
            print(why, flush=True)
            try:
                if self._site.can_seal(address(SCIENTIST)):
                    self._tell(type, why=public or why, **facts)
            except OSError as error:
                print(f"the data scientist could not be told: {error}", flush=True)

    def _written(self, place: str, content: bytes) -> None:
        """syft has put an object on the drive."""
        body = content.partition(b"\n")[2]
        if body and sealed(body):
            self.status.left("ciphertext", len(content))
        else:
            self.status.left("mock" if is_mock(place) else "metadata", len(content))

    def stay(self) -> None:
        """Leave if that was asked where it was not heard: a destructor drops what is raised."""
        if self.leaving:
            raise SystemExit(0)

    def count(self) -> None:
        """What this owner's processes use, now and then."""
        if time.monotonic() - self._counted < COUNT:
            return
        self._counted = time.monotonic()
        own = psutil.Process()
        seconds, memory = 0.0, 0
        for process in (own, *own.children(recursive=True)):
            try:
                times, used = process.cpu_times(), process.memory_full_info()
            except psutil.Error:
                continue
            seconds += times.user + times.system
            memory += getattr(used, "pss", used.uss)
        self.status.cpu_seconds, self.status.memory = seconds, memory
        self.status.write(now=False)


def _last_line(log: Path) -> str:
    """What a script has said last, however much that was."""
    lines = tail(log, MOST_LINE).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
