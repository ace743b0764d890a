"""What the data scientist says to owners and hears of them: asking, waiting, and who is lost.

Whatever is waited for has a time limit, and the screen names who is waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.core import track
from traindeck.core.federation import status
from traindeck.recipes.shared.federated.errors import Failed, Refused, Stopped
from traindeck.recipes.shared.federated.hiding.boxes import Boxes
from traindeck.recipes.shared.federated.owner import inbox
from traindeck.recipes.shared.federated.owner.owner import KEYS
from traindeck.recipes.shared.federated.post import mail
from traindeck.recipes.shared.federated.post import syft as adapter
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, Letter, address
from traindeck.recipes.shared.federated.scientist.options import Options

GONE_SECONDS = 3.0  # in which it is heard that somebody was ended, once others have failed


class Dialogue:
    """The data scientist's side of the mail; `federation.Federation` sets up what it needs."""

    owners: list[str]
    root: Path
    status: status.Coordinator
    _mail: mail.Mailbox
    _site: adapter.Site
    _pins: dict[str, str]
    _session: str
    _job: str
    options: Options
    _log: IO[str]

    def __init__(self, run: track.Run) -> None:
        self._run = run
        self._lost: dict[str, str] = {}
        self._told: dict[str, str] = {}  # of the lost, with the reason, in the log
        self._gone: list[str] = []  # of the lost, whose process or script was ended from outside
        self._late: set[str] = set()  # lost for no other reason than that
        self._heard: set[str] = set()  # who has said something since the round began
        self._proven: set[str] = set()
        self._over_budget: set[str] = set()  # whose budget was the reason to refuse
        self._asked = 0
        self._hands_told = False
        self._warm: subprocess.Popen[bytes] | None = None
        self._unread = b""  # of its lines, one that has not come whole

    def _ask(
        self,
        to: list[str],
        facts: Mapping[str, Any],
        own: Mapping[str, Mapping[str, Any]] | None = None,
        body: bytes = b"",
    ) -> dict[str, Letter]:
        """See `modes.Ask`: to all that are not lost when nobody is named."""
        to = to or self._alive()
        self._asked += 1
        asked = self._asked
        for name in to:
            self._post(name, {**facts, **(own or {}).get(name, {}), "ask": asked}, body)
        return self._collect(
            to, lambda letter: letter.type == "answer" and letter.facts.get("to") == asked
        )

    def _ask_all(
        self,
        to: list[str],
        facts: Mapping[str, Any],
        own: Mapping[str, Mapping[str, Any]] | None = None,
        body: bytes = b"",
    ) -> dict[str, Letter]:
        """As `_ask`, but the federation fails when one does not answer."""
        told = self._ask(to, facts, own, body)
        if missing := [name for name in to or self.owners if name not in told]:
            why = self._lost.get(missing[0]) or "no answer came in time"
            self._give_up(f"{missing[0]} has not agreed on keys: {why}")
        return told

    def _collect(self, names: list[str], wanted: Callable[[Letter], bool]) -> dict[str, Letter]:
        """The wanted letter of each of these, as far as they come in time and are not lost."""
        found: dict[str, Letter] = {}
        until = time.monotonic() + self.options.round_seconds
        looked = 0.0
        while waited := [name for name in names if name not in found and name not in self._lost]:
            if time.monotonic() > until:
                break
            if time.monotonic() - looked > 0.2:
                looked = time.monotonic()
                self._notice_ended()
                self.status.enter(self.status.phase, waited)
                if self._run.should_stop() and self.status.phase != "training":
                    raise Stopped
            for letter in self._letters(0.05):
                if letter.sender in waited and wanted(letter):
                    found[letter.sender] = letter
                    if letter.type == "update":
                        self.status.owner(letter.sender, "sent")
                else:
                    self._hear(letter)
        return found

    def _post(self, name: str, facts: Mapping[str, Any], body: bytes = b"") -> None:
        try:
            self._mail.send(name, dict(facts), body)
        except OSError as error:
            self._give_up(f"the folder of the drive cannot be written: {error.strerror}")

    def _letters(self, seconds: float = 0.0) -> list[Letter]:
        try:
            letter = self._mail.next(seconds)
        except mail.BadLetter as error:
            self._run.note(str(error))
            return []
        return [letter] if letter else []

    def _hear(self, letter: Letter) -> None:
        """What an owner says of itself, unasked."""
        self._heard.add(letter.sender)
        if letter.type == "approved":
            self._verify_keys(letter)
        if letter.type == "asked" and not self._hands_told:
            self._hands_told = True
            line = inbox.how(self.root, self.owners, letter.sender, self._job)
            print(line, flush=True)
            self._run.note(line)
        if letter.type in ("notice", "refused", "failed"):
            why = str(letter.facts.get("why"))
            self._run.note(f"{letter.sender}: {why}")
        if letter.facts.get("over_budget"):
            self._over_budget.add(letter.sender)
        if letter.type == "refused":
            if self.status.phase == "training" or "reached for" in why:
                self._lose(letter.sender, why, "refused")
            else:
                self.status.owner(letter.sender, "refused", why)
        if letter.type == "failed":
            if letter.facts.get("by_signal"):
                self._gone.append(letter.sender)
            self._lose(letter.sender, why)

    def _verify_keys(self, letter: Letter) -> None:
        """The keys that syft knows an owner by must be signed by the one that was agreed."""
        pins = {name: bytes.fromhex(key) for name, key in self._pins.items()}
        proof = Boxes(SCIENTIST, Ed25519PrivateKey.generate(), pins, self._session)
        try:
            proven = proof.proven(KEYS, letter.sender, letter.facts.get("keys", {})).decode()
        except Refused as error:
            self._give_up(str(error))
        if proven != self._site.fingerprint(address(letter.sender)):
            self._give_up(f"{letter.sender}: its keys in syft are not its own: they were swapped")
        self._proven.add(letter.sender)

    def _wait(self, phase: str, waited: list[str], until: float) -> None:
        """Wait a moment for these. Raises Failed when their time is over or one has ended."""
        self.status.enter(phase, waited)
        self._notice_ended()
        if self._run.should_stop():
            raise Stopped
        for letter in self._letters():
            self._hear(letter)
        if gone := [name for name in waited if name in self._lost]:
            self._blame(gone[0])
        if time.monotonic() > until:
            self._give_up(f"no answer of {', '.join(waited)} in time")
        time.sleep(0.05)

    def _notice_ended(self) -> None:
        """Learn which owners' processes have ended."""
        assert self._warm is not None and self._warm.stdout is not None
        while select.select([self._warm.stdout], [], [], 0)[0]:
            part = os.read(self._warm.stdout.fileno(), 1 << 16)
            if not part:
                for name in self._alive():
                    self._lose(name, "the process that owners are forked from has ended")
                return
            *lines, self._unread = (self._unread + part).split(b"\n")
            for facts in map(json.loads, lines):
                code = facts["exit"]
                signal = f"its process was ended by signal {-code}"
                self._gone.append(facts["owner"])
                self._lose(facts["owner"], signal if code < 0 else f"it ended with {code}")

    def _lose(self, name: str, why: str, state: str = "lost") -> None:
        if name in self._late:  # and is lost for good now
            self._late.remove(name)
            del self._lost[name]
        if name not in self._lost:
            self._lost[name] = why
            self._run.note(f"{name} is {state}: {why}")
            self.status.owner(name, state, why)

    def _blame(self, name: str, why: str = "") -> NoReturn:
        """Fail because of an owner; of owners that compute together, because of who went first.

        When the process of one is ended all others fail for its sake, and may be heard of before.
        """
        until = time.monotonic() + GONE_SECONDS
        while self.options.aggregation == "mpc" and not self._gone and self._alive():
            if time.monotonic() > until:
                break
            self._notice_ended()
            for letter in self._letters(0.05):
                self._hear(letter)
        name = next(iter(self._gone or self._lost), name)
        self._give_up(f"{name}: {self._lost.get(name) or why}")

    def _alive(self) -> list[str]:
        return [name for name in self.owners if name not in self._lost]

    def _who_is_lost(self) -> str:
        told = [f"{name}: {why}" for name, why in self._lost.items()]
        return f" ({'; '.join(told)})" if told else ""

    def _give_up(self, why: str, kind: type[Failed] = Failed) -> NoReturn:
        self.status.enter("failed", reason=why)
        raise kind(why)

    @contextlib.contextmanager
    def _quiet(self) -> Any:
        """syft speaks much; it goes to a log."""
        with contextlib.redirect_stdout(self._log):
            yield
