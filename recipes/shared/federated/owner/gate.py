"""The gate: between a script that an owner has approved and the aggregator.

What the script gives is checked, clipped, noised and hidden here before any of it leaves, and what
the aggregator asks is checked before it gets to the script or to the keys. Neither is trusted.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from traindeck.core.federation.status import OwnerFile
from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.hiding.modes import OwnerSide
from traindeck.recipes.shared.federated.owner import release
from traindeck.recipes.shared.federated.owner.payer import Unpaid
from traindeck.recipes.shared.federated.owner.policy import Policy
from traindeck.recipes.shared.federated.post import mail, wire
from traindeck.recipes.shared.federated.post.mail import SCIENTIST
from traindeck.recipes.shared.training.dp.randomness import Randomness

MOST_NUMBERS = 64  # that a script may log, by different names
MOST_SENT = 1 << 50  # bytes that a script may say at once that it has sent
MOST_WORDS = 500  # characters of a script's that are repeated
PAUSE = 0.05  # seconds after what the drive did not take


class Guarded(Protocol):
    """Whom a gate guards: as much of an owner as its gate has to do with.

    mode  how its updates are hidden; randomness: where its share of the noise comes from
    """

    policy: Policy
    status: OwnerFile
    mail: mail.Mailbox
    mode: OwnerSide
    randomness: Randomness

    def stay(self) -> None:
        """Leave if that was asked. Raises SystemExit."""
        ...

    def count(self) -> None:
        """What its processes use, now and then."""
        ...

    def pay(self) -> None:
        """Account for a round's update, before it leaves. Raises `payer.Unpaid`."""
        ...

    def refuse(self, why: str, public: str = "", *, over_budget: bool = False) -> None:
        """Say why something was not done; public: what the scientist is told instead."""
        ...

    def notice(self, why: str) -> None:
        """Say that something which came was left aside."""
        ...


class Gate:
    """Between an approved script and the aggregator, for as long as the script runs."""

    def __init__(self, owner: Guarded, job: socket.socket, outputs: Path) -> None:
        self._owner = owner
        self._job = job
        self._outputs = outputs
        self._expected = 0  # the round that the script is in
        self._size = 0
        self._clip = 0.0  # L2 norm that the round's update is clipped to
        self._began = 0.0
        # a round that came while it was in another
        self._next: tuple[int, bytes, float] | None = None
        self.done = False

    def serve(self, until: float) -> None:
        """Carry rounds in and updates out until the script ends, or its time is over."""
        while time.monotonic() < until:
            self._owner.stay()
            readable, _, _ = select.select([self._job], [], [], mail.POLL)
            try:
                if readable and not self._from_job():
                    return
                letter = self._owner.mail.next()
                if letter is not None and letter.sender == SCIENTIST:
                    self._from_aggregator(letter)
                if self._next is not None and not self._expected:
                    self._begin(*self._next)
            except mail.BadLetter as error:
                self._owner.notice(str(error))
            except wire.Closed:
                return
            except OSError as error:  # Refused among them
                public, unpaid = getattr(error, "public", ""), isinstance(error, Unpaid)
                self._owner.refuse(str(error), public, over_budget=unpaid)
                if not isinstance(error, Refused):
                    time.sleep(PAUSE)
            self._owner.count()
        self._owner.refuse(f"the script ran out of its {self._owner.policy.seconds:.0f} s")

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
            if not owner.policy.done < number <= owner.policy.rounds:
                raise Refused(f"round {number} of {owner.policy.rounds} was not agreed")
            if not np.isfinite(weights).all():
                raise Refused(f"round {number}: the model has values that are not finite")
            clip = owner.policy.clip
            if owner.policy.count_noise is not None:
                clip = release.norm(letter.facts["clipping_norm"], number)
            owner.status.round = number
            if self._expected:  # the script reads nothing before it has sent its update
                self._next = number, letter.body, clip
            else:
                self._begin(number, letter.body, clip)
        elif letter.type == "end":
            self.done = True
            wire.send(self._job, {"type": "end"})
        else:
            facts, body = owner.mode.answer(letter)
            answer = {**facts, "type": "answer", "to": letter.facts.get("ask")}
            owner.mail.send(SCIENTIST, answer, body, kind="ciphertext")

    def _begin(self, number: int, weights: bytes, clip: float) -> None:
        """Give the script the model of a round."""
        status = self._owner.status
        self._next, self._clip = None, clip
        self._expected, self._size, self._began = number, len(weights) // 4, time.monotonic()
        status.bytes_round = {}
        status.enter("training")
        wire.send(self._job, {"type": "round", "number": number}, weights)

    def _from_job(self) -> bool:
        """A frame of the script's; False when the script has ended."""
        try:
            facts, body = wire.receive(self._job)
        except (wire.Closed, wire.BadFrame):
            return False
        except TimeoutError:
            raise Refused("the script has left a message unfinished") from None
        owner = self._owner
        match facts.get("type"):
            case "log":
                for name, number in _numbers(facts.get("numbers")).items():
                    if name in owner.status.facts or len(owner.status.facts) < MOST_NUMBERS:
                        owner.status.facts[name] = number
                owner.status.write(now=False)
            case "sent":
                self._sent(facts.get("bytes"))
            case "update":
                self._reply(lambda: self._update(facts, body))
            case "result":
                self._reply(lambda: self._result(facts.get("result")))
            case "outside":
                what = "which is outside its data set"
                public = f"the script reached for a file {what}"
                path = str(facts.get("path"))[:MOST_WORDS]
                owner.refuse(f"the script reached for {path}, {what}", public)
        return True

    def _sent(self, count: Any) -> None:
        """Count what went to other owners' jobs, past this gate: as the script told of it."""
        if type(count) is not int or not 0 <= count <= MOST_SENT:
            raise Withheld(
                f"the script says that it has sent {count!r:.40} bytes",
                "the script has told of bytes that it cannot have sent",
            )
        status = self._owner.status
        status.left("ciphertext" if self._owner.policy.tls else "raw", count)
        status.write(now=False)

    def _reply(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (OSError, ValueError) as error:
            wire.send(self._job, {"refused": str(error)})
            if isinstance(error, OSError):
                raise
            raise Withheld(str(error), "what the script gave cannot be sent") from None
        wire.send(self._job, {})

    def _update(self, facts: dict[str, Any], body: bytes) -> None:
        number, owner = self._expected, self._owner
        examples = facts.get("examples")
        if facts.get("round") != number or not number:
            raise Withheld(
                f"an update of round {facts.get('round')!r:.40} came in round {number}",
                f"an update of another round came in round {number}",
            )
        if len(body) != 8 * self._size:
            raise Withheld(
                f"round {number}: {len(body) // 8} values came, the model has {self._size}",
                f"round {number}: the update is not as long as the model",
            )
        if not isinstance(examples, int) or not 0 < examples <= max(owner.status.samples, 1):
            raise Withheld(
                f"round {number}: {examples!r:.40} examples of {owner.status.samples}",
                f"round {number}: the update is not of the owner's number of examples",
            )
        update = np.frombuffer(body, np.float64)
        with np.errstate(over="ignore"):  # a norm that overflows is not finite
            norm = float(np.linalg.norm(update))
        if not np.isfinite(norm):
            if not owner.policy.noise:
                raise Refused(f"round {number}: the update has values that are not finite")
            update, norm = np.zeros_like(update), 0.0  # a refusal would tell of it without noise
        values = release.clipped(update, norm, self._clip, owner.policy, owner.randomness)
        if owner.policy.noise or owner.policy.count_noise is not None:
            examples = 1
        more, sealed = owner.mode.update(number, values, examples)
        self._expected = 0
        owner.pay()
        kind = owner.mode.kind if owner.policy.encrypt or owner.mode.kind == "masked" else "raw"
        owner.mail.send(SCIENTIST, {**more, "type": "update", "number": number}, sealed, kind=kind)
        owner.status.seconds = time.monotonic() - self._began
        loss = facts.get("loss")
        owner.status.loss = _numbers({"loss": loss}).get("loss")
        owner.status.facts["update_norm"] = norm
        owner.status.enter("sent")

    def _result(self, result: Any) -> None:
        if self.done:
            raise Refused("a script gives its result once")
        if self._owner.policy.plan is not None:
            raise Refused("a private run gives no result beside its rounds")
        if self._owner.policy.aggregation != "transport":
            raise Refused("a script whose updates are hidden gives no result besides")
        self._outputs.mkdir(exist_ok=True)
        (self._outputs / "result.json").write_text(json.dumps(result))
        self.done = True


class Withheld(Refused):
    """What was refused in full, for the owner; and what the data scientist is told of it.

    The script's own words and the data's figures stay with the owner.
    """

    def __init__(self, why: str, public: str) -> None:
        super().__init__(why)
        self.public = public


def _numbers(logged: Any) -> dict[str, float]:
    """What a script logs, as far as a status can hold it."""
    items = list(logged.items())[:MOST_NUMBERS] if isinstance(logged, dict) else []
    return {
        str(k)[:64]: v for k, v in items if isinstance(v, (int, float)) and abs(v) < float("inf")
    }
