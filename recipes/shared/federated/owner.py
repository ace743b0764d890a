"""One data owner: a process of its own, with its home, keys, private data and policy.

It takes the one data scientist that it knows as a peer, offers its data set, reads each job that
asks for it (automatically by the hash of the script, or by hand), and runs what it has approved in
a sandbox. Between the script and the world stands the gate: what the script gives is checked,
clipped and hidden here before any of it leaves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.recipes.shared.federated import adapter, boxes, inbox, mail, modes, status, wire
from traindeck.recipes.shared.federated.jobserver import OUTSIDE, JobServer, die_with_parent
from traindeck.recipes.shared.federated.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.secagg import Refused
from traindeck.recipes.shared.randomness import Randomness

ENDING = 3.0  # seconds that a script has to end by itself once it is through
FARTHEST = 9.0  # standard deviations that noise can be away, see Randomness
LOOK = 0.05  # seconds between looks at the drive while nothing runs
KEYS = "syft keys"  # what an owner signs the hash of
COUNT = 0.5  # seconds between counts of what the processes use
MOST_NUMBERS = 64  # that a script may log
PATIENCE = 30.0  # seconds for a script to read or write a whole frame, once it has begun


@dataclass
class Policy:
    """What one owner is told when it is set up, by the people who trust each other.

    root         folder of the federation; session names it in every message
    pins         Ed25519 public keys of the other owners, hexadecimal; scientist: the hash of the
                 data scientist's syft keys
    agreed       path of the script that was agreed beforehand; agreed_params: SHA-256 of its
                 parameters, which say as much as the script how private its updates are
    approval     'auto': the agreed script runs; 'hand': somebody reads what was sent and decides
    clip         L2 norm that an update is clipped to
    noise        standard deviation of the Gaussian noise that this owner adds to each number of a
                 clipped update, its share of the noise of the sum; all owners then weigh the same
    ports        TCP ports of this machine that a job may use; tls: see `job.Session`
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
    approval: str = "auto"
    aggregation: str = "secagg"
    rounds: int = 1
    threshold: int = 2
    clip: float = 10.0
    noise: float = 0.0
    encrypt: bool = True
    keep: bool = False
    ports: list[int] = field(default_factory=list)
    tls: dict[str, str] | None = None
    seconds: float = 86400.0

    @property
    def home(self) -> Path:
        return self.root / "owners" / self.name

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self), default=str))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Policy:
        for name in ("root", "agreed", "shard", "mock"):
            facts[name] = Path(facts[name])
        return cls(**facts)


def main(facts: dict[str, Any]) -> None:
    """Be an owner until the data scientist's process ends or says so."""
    os.umask(0o077)
    die_with_parent()
    policy = Policy.from_json(facts)
    server = JobServer()  # before there are keys
    owner = Owner(policy, server)

    def leave(number: int, frame: FrameType | None) -> None:
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
        self.status = status.Owner(policy.home / "status.json", policy.name)
        self.status.approval = policy.approval
        self.status.write()
        self._server = server
        self._counted = 0.0
        self._randomness = Randomness()
        self._site = adapter.Site(
            address(policy.name),
            policy.home / "syft",
            policy.root / "drive",
            owner=True,
            encrypt=policy.encrypt,
            written=self._written,
        )
        self._mail = mail.Mailbox(
            policy.root / "drive" / "mail",
            policy.name,
            self._site,
            policy.session,
            left=self._left,
            keep=policy.keep,
        )
        identity = Ed25519PrivateKey.from_private_bytes((policy.home / "identity").read_bytes())
        pins = {name: bytes.fromhex(key) for name, key in policy.pins.items()}
        self._boxes = boxes.Boxes(policy.name, identity, pins, policy.session)
        self._mode: modes.OwnerSide = modes.TransportOwner()
        if policy.aggregation == "secagg":
            self._mode = modes.SecAggOwner(
                policy.name,
                identity,
                pins,
                policy.session,
                (1, policy.rounds),
                policy.threshold,
                policy.home / "answered",
                policy.clip + FARTHEST * policy.noise,
            )
        elif policy.aggregation == "ckks":
            self._mode = modes.CkksOwner(policy.name, self._boxes)
        with np.load(policy.shard, allow_pickle=False) as arrays:
            self.status.samples = max((len(arrays[name]) for name in arrays.files), default=0)

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
            self._count()
            time.sleep(LOOK)

    # Peers

    def _answer_peers(self) -> None:
        for email in self._site.asked_by():
            if email != address(SCIENTIST):
                self._site.turn_away(email)
                self._refuse(f"{email} was turned away: it is no approved scientist")
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

    def _consider(self, request: adapter.Request) -> None:
        facts = {
            "id": request.name,
            "script": self.policy.agreed.name,
            "sha256": request.sha256,
            "submitted_by": request.asked_by,
            "decision": "",
            "reason": "",
        }
        self.status.job = facts
        why = self._objection(request)
        approved = ("", "") if why else (request.sha256, request.params_sha256)
        decision, how = ("refuse", "auto") if why else ("approve", "auto")
        if not why and self.policy.approval == "hand":
            self._tell("asked", why="waits for somebody to read the script")
            decided = inbox.ask(self.policy.home, request, self.policy.agreed, self._waiting)
            decision, why, how = decided.decision, decided.reason, "manual"
        elif not why and request.sha256 != _sha256(self.policy.agreed):
            decision = "refuse"
            why = f"the script {request.sha256[:12]} is not the one that was agreed"
        elif not why and request.params_sha256 != self.policy.agreed_params:
            decision, why = "refuse", "its parameters are not those that were agreed"
        facts.update(decision="approved" if decision == "approve" else "refused", reason=why)
        if decision != "approve":
            self._site.refuse(request, why)
            self._refuse(f"{request.name} was refused: {why}")
            self._site.sync()
            return
        self._site.approve(request, how, why)
        self.status.enter("approved")
        self._site.sync()
        self._tell("approved", keys=self._boxes.signed(KEYS, self._site.fingerprint().encode()))
        self._site.run_approved(request, lambda: self._run(request, approved))
        self._site.sync()
        self._tell("ended")

    def _objection(self, request: adapter.Request) -> str:
        """Why a job is refused whatever its script does; empty: it is not."""
        if request.asked_by != address(SCIENTIST):
            return f"{request.asked_by} is no approved scientist"
        if request.files != (adapter.SCRIPT, adapter.PARAMS):
            return f"it has the files {', '.join(request.files)}: a script and its parameters"
        if request.run_script != self._site.run_script():
            return "its run.sh is not the one that syft writes: it was swapped"
        return ""

    def _waiting(self) -> None:
        self.status.enter("waiting", "a script waits for approval")
        self._count()
        time.sleep(LOOK)

    def _run(self, request: adapter.Request, approved: tuple[str, str]) -> int:
        """Run an approved script to its end, the gate beside it. Gives its exit code."""
        work = self.policy.home / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for name in (adapter.SCRIPT, adapter.PARAMS):
            shutil.copyfile(request.code / name, work / name)
        if tuple(_sha256(work / name) for name in (adapter.SCRIPT, adapter.PARAMS)) != approved:
            self._refuse(f"{request.name} was refused: it changed after it was approved")
            return OUTSIDE
        facts = {
            "owner": self.policy.name,
            "owners": sorted([self.policy.name, *self.policy.pins]),
            "data": str(self._data),
            "tls": self.policy.tls,
        }
        job = self._server.start(work, adapter.SCRIPT, facts, self.policy.ports)
        job.wire.settimeout(PATIENCE)
        gate = _Gate(self, job.wire, request.code / "outputs")
        try:
            gate.serve(time.monotonic() + self.policy.seconds)
        finally:
            job.wire.shutdown(socket.SHUT_RDWR)
            ended = self._server.ended(ENDING)
            job.stop()
            code = self._server.ended() if ended is None else ended
            assert code is not None
            job.wire.close()
            self._learn_sandbox()
        if gate.done and code == -signal.SIGKILL:
            code = 0  # it had given its result, and had no more to do
        if code and self.status.state != "refused":
            lines = (work / ".stderr").read_text(errors="replace").strip().splitlines()
            why = f"the script ended with {code}"
            self._refuse(f"{why}: {lines[-1] if lines else 'no message'}", why)
        elif not code:
            self.status.enter("ended")
        return code

    def _learn_sandbox(self) -> None:
        """What confines the script: the first line that its process says, before the script's."""
        if not self.status.sandbox:
            said = self.policy.home / "work" / ".stdout"
            with contextlib.suppress(OSError):
                self.status.sandbox = said.read_text(errors="replace").partition("\n")[0]

    # The world

    def _tell(self, type: str, **facts: Any) -> None:
        self._mail.send(SCIENTIST, {"type": type, **facts}, kind="metadata")

    def _refuse(self, why: str, told: str = "") -> None:
        """Say why something was not done: to the owner's screen and to the scientist.

        told: what the scientist is told instead, where the reason has the script's own words.
        """
        self.status.enter("refused", why)
        self._say("refused", why, told)

    def _notice(self, why: str) -> None:
        """Say that something which came was left aside; what went on goes on."""
        self.status.enter(self.status.state, why)
        self._say("notice", why)

    def _say(self, type: str, why: str, told: str = "") -> None:
        """To the owner's log and the scientist, as far as the disk takes it."""
        with contextlib.suppress(OSError):
            print(why, flush=True)
            try:
                if self._site.can_seal(address(SCIENTIST)):
                    self._tell(type, why=told or why)
            except OSError as error:
                print(f"the data scientist could not be told: {error}", flush=True)

    def _written(self, place: str, content: bytes) -> None:
        """syft has put an object on the drive."""
        body = content.partition(b"\n")[2]
        if body and adapter.sealed(body):
            kind = "ciphertext"
        elif adapter.is_mock(place):
            kind = "mock"
        else:
            kind = "metadata"
        self._left(kind, len(content))

    def _left(self, kind: str, size: int) -> None:
        self.status.left(kind, size)

    def _count(self) -> None:
        """What this owner's processes use, now and then."""
        if time.monotonic() - self._counted < COUNT:
            return
        self._counted = time.monotonic()
        own = psutil.Process()
        seconds, memory = 0.0, 0
        for process in (own, *own.children(recursive=True)):
            try:
                times, found = process.cpu_times(), process.memory_full_info()
            except psutil.Error:
                continue
            seconds += times.user + times.system
            memory += getattr(found, "pss", found.uss)
        self.status.cpu_seconds, self.status.memory = seconds, memory
        self.status.write(now=False)


class _Gate:
    """Between an approved script and the aggregator, for as long as the script runs."""

    def __init__(self, owner: Owner, job: socket.socket, outputs: Path) -> None:
        self._owner = owner
        self._job = job
        self._outputs = outputs
        self._expected = 0  # the round that the script is in
        self._size = 0
        self._began = 0.0
        self.done = False

    def serve(self, until: float) -> None:
        """Carry rounds in and updates out until the script ends, or its time is over."""
        while time.monotonic() < until:
            readable, _, _ = select.select([self._job], [], [], mail.POLL)
            try:
                if readable and not self._from_job():
                    return
                letter = self._owner._mail.next()
                if letter is not None and letter.sender == SCIENTIST:
                    self._from_aggregator(letter)
            except mail.BadLetter as error:
                self._owner._notice(str(error))
            except wire.Closed:
                return
            except OSError as error:  # Refused among them
                self._owner._refuse(str(error), getattr(error, "told", ""))
            self._owner._count()
        self._owner._refuse(f"the script ran out of its {self._owner.policy.seconds:.0f} s")

    def _from_aggregator(self, letter: mail.Letter) -> None:
        try:
            self._follow(letter)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"a message {letter.type!r} is malformed: {error!r}") from None

    def _follow(self, letter: mail.Letter) -> None:
        owner = self._owner
        if letter.type == "round":
            number = int(letter.facts["number"])
            weights = np.frombuffer(letter.body, "<f4")
            if number <= owner.status.round:
                raise Refused(f"round {number} came before: it is shown again")
            if number > owner.policy.rounds:
                raise Refused(f"round {number} of {owner.policy.rounds} was not agreed")
            if not np.isfinite(weights).all():
                raise Refused(f"round {number}: the model has values that are not finite")
            self._expected, self._size, self._began = number, len(weights), time.monotonic()
            owner.status.round, owner.status.bytes_round = number, {}
            owner.status.enter("training")
            wire.send(self._job, {"type": "round", "number": number}, letter.body)
        elif letter.type == "end":
            self.done = True
            wire.send(self._job, {"type": "end"})
        else:
            facts, body = owner._mode.answer(letter)
            answer = {**facts, "type": "answer", "to": letter.facts.get("ask")}
            owner._mail.send(SCIENTIST, answer, body, kind="ciphertext")

    def _from_job(self) -> bool:
        """A frame of the script's; False when the script has ended."""
        try:
            facts, body = wire.receive(self._job)
        except (wire.Closed, wire.BadFrame):
            return False
        except TimeoutError:
            raise Refused("the script has left a message unfinished") from None
        owner = self._owner
        owner._learn_sandbox()
        match facts.get("type"):
            case "log":
                owner.status.facts.update(_numbers(facts.get("numbers")))
                owner.status.write(now=False)
            case "update":
                self._reply(lambda: self._update(facts, body))
            case "result":
                self._reply(lambda: self._result(facts.get("result")))
            case "outside":
                what = "which is outside its data set"
                told = f"the script reached for a file {what}"
                owner._refuse(f"the script reached for {facts.get('path')}, {what}", told)
        return True

    def _reply(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, ValueError) as error:
            wire.send(self._job, {"refused": str(error)})
            if isinstance(error, OSError):
                raise
            raise _Withheld(str(error), "what the script gave cannot be sent") from None
        wire.send(self._job, {})

    def _update(self, facts: dict[str, Any], body: bytes) -> None:
        number, owner = self._expected, self._owner
        examples = facts.get("examples")
        if facts.get("round") != number or not number:
            raise _Withheld(
                f"an update of round {facts.get('round')!r:.40} came in round {number}",
                f"an update of another round came in round {number}",
            )
        if len(body) != 8 * self._size:
            raise _Withheld(
                f"round {number}: {len(body) // 8} values came, the model has {self._size}",
                f"round {number}: the update is not as long as the model",
            )
        if not isinstance(examples, int) or not 0 < examples <= max(owner.status.samples, 1):
            raise _Withheld(
                f"round {number}: {examples!r:.40} examples of {owner.status.samples}",
                f"round {number}: the update is not of the owner's number of examples",
            )
        update = np.frombuffer(body, np.float64)
        norm = float(np.linalg.norm(update))
        if not np.isfinite(norm):
            raise Refused(f"round {number}: the update has values that are not finite")
        if norm > owner.policy.clip:
            update = update * (owner.policy.clip / norm)
        if owner.policy.noise:
            update = update + owner._randomness.normal(update.shape, owner.policy.noise)
            examples = 1
        told, sealed = owner._mode.update(number, update, examples)
        self._expected = 0
        kind = owner._mode.kind if owner.policy.encrypt or owner._mode.kind == "masked" else "raw"
        owner._mail.send(SCIENTIST, {**told, "type": "update", "number": number}, sealed, kind=kind)
        owner.status.seconds = time.monotonic() - self._began
        loss = facts.get("loss")
        owner.status.loss = _numbers({"loss": loss}).get("loss")
        owner.status.facts["update_norm"] = norm
        owner.status.enter("sent")

    def _result(self, result: Any) -> None:
        if self.done:
            raise Refused("a script gives its result once")
        if self._owner.policy.aggregation != "transport":
            raise Refused("a script whose updates are hidden gives no result besides")
        self._outputs.mkdir(exist_ok=True)
        (self._outputs / "result.json").write_text(json.dumps(result))
        self.done = True


class _Withheld(Refused):
    """What was refused in full, for the owner; and what the data scientist is told of it.

    The script's own words and the data's figures stay with the owner.
    """

    def __init__(self, why: str, told: str) -> None:
        super().__init__(why)
        self.told = told


def _numbers(found: Any) -> dict[str, float]:
    """What a script logs, as far as a status can hold it."""
    items = list(found.items())[:MOST_NUMBERS] if isinstance(found, dict) else []
    return {
        str(k)[:64]: v for k, v in items if isinstance(v, (int, float)) and abs(v) < float("inf")
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
