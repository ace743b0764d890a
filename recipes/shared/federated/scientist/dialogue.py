"""What the data scientist says to owners and hears of them: asking, listening, waiting.

Whatever is waited for has a time limit, and the screen names who is waited for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.core import track
from traindeck.core.federation.status import Coordinator, Phase
from traindeck.recipes.shared.federated.errors import Failed, Refused, Stopped
from traindeck.recipes.shared.federated.hiding.boxes import Boxes
from traindeck.recipes.shared.federated.owner import inbox
from traindeck.recipes.shared.federated.owner.owner import KEYS
from traindeck.recipes.shared.federated.post.mail import (
    SCIENTIST,
    BadLetter,
    Letter,
    Mailbox,
    address,
)
from traindeck.recipes.shared.federated.post.syft import Site
from traindeck.recipes.shared.federated.scientist.options import Options
from traindeck.recipes.shared.federated.scientist.processes import Processes
from traindeck.recipes.shared.federated.scientist.roster import Roster

GONE_SECONDS = 3.0  # in which it is heard that somebody was ended, once others have failed


@dataclass
class Dialogue:
    """The data scientist's letters to and from the owners on a roster.

    root       the federation's folder
    pins       Ed25519 public keys of the owners, hexadecimal
    session    names the federation in every letter; job: its job, to syft
    log        what syft says goes there
    proven     whose keys in syft are signed by the key that was agreed
    """

    run: track.Run
    root: Path
    options: Options
    status: Coordinator
    roster: Roster
    mail: Mailbox
    site: Site
    processes: Processes
    pins: Mapping[str, str]
    session: str
    job: str
    log: IO[str]
    proven: set[str] = field(default_factory=set)
    _asked: int = 0
    _hands_named: bool = False

    # Asking

    def ask(
        self,
        to: list[str],
        facts: Mapping[str, Any],
        own: Mapping[str, Mapping[str, Any]] | None = None,
        body: bytes = b"",
    ) -> dict[str, Letter]:
        """See `modes.Ask`: to all that are not lost when nobody is named."""
        to = to or self.roster.alive()
        self._asked += 1
        asked = self._asked
        for name in to:
            self.post(name, {**facts, **(own or {}).get(name, {}), "ask": asked}, body)
        return self.collect(
            to, lambda letter: letter.type == "answer" and letter.facts.get("to") == asked
        )

    def ask_all(
        self,
        to: list[str],
        facts: Mapping[str, Any],
        own: Mapping[str, Mapping[str, Any]] | None = None,
        body: bytes = b"",
    ) -> dict[str, Letter]:
        """As `ask`, but the federation fails when one does not answer."""
        answers = self.ask(to, facts, own, body)
        if missing := [name for name in to or self.roster.owners if name not in answers]:
            why = self.roster.lost.get(missing[0]) or "no answer came in time"
            self.give_up(f"{missing[0]} has not agreed on keys: {why}")
        return answers

    def post(self, name: str, facts: Mapping[str, Any], body: bytes = b"") -> None:
        """Send one owner a letter. Raises Failed when the drive does not take it."""
        try:
            self.mail.send(name, dict(facts), body)
        except OSError as error:
            self.give_up(f"the folder of the drive cannot be written: {error.strerror}")

    def collect(self, names: list[str], wanted: Callable[[Letter], bool]) -> dict[str, Letter]:
        """The wanted letter of each of these, as far as they come in time and are not lost."""
        letters: dict[str, Letter] = {}
        until = time.monotonic() + self.options.round_seconds
        looked = 0.0
        while waited := [n for n in names if n not in letters and n not in self.roster.lost]:
            if time.monotonic() > until:
                break
            if time.monotonic() - looked > 0.2:
                looked = time.monotonic()
                self.notice_ended()
                self.status.enter(self.status.phase, waited)
                if self.run.should_stop() and self.status.phase != "training":
                    raise Stopped
            for letter in self.letters(0.05):
                if letter.sender in waited and wanted(letter):
                    letters[letter.sender] = letter
                    if letter.type == "update":
                        self.status.owner(letter.sender, "sent")
                else:
                    self.hear(letter)
        return letters

    def answers(self) -> dict[str, tuple[str, str]]:
        """State of the job and the reason for it, by owner, as syft has it now."""
        with self.quiet():
            self.site.sync()
            answers = self.site.answers(self.job)
        return {name: answers.get(address(name), ("", "")) for name in self.roster.owners}

    def outputs(self) -> dict[str, Path]:
        """Folders of the results of those whose job is done, by owner."""
        with self.quiet():
            outputs = self.site.outputs(self.job)
        return {n: outputs[address(n)] for n in self.roster.owners if address(n) in outputs}

    # Listening

    def letters(self, seconds: float = 0.0) -> list[Letter]:
        """The next letter, waited for, if one came; of one that is refused the run takes note."""
        try:
            letter = self.mail.next(seconds)
        except BadLetter as error:
            self.run.note(str(error))
            return []
        return [letter] if letter else []

    def hear(self, letter: Letter) -> None:
        """What an owner says of itself, unasked."""
        roster = self.roster
        roster.heard.add(letter.sender)
        if letter.type == "approved":
            self._verify_keys(letter)
        if letter.type == "asked" and not self._hands_named:
            self._hands_named = True
            line = inbox.how(self.root, roster.owners, letter.sender, self.job)
            print(line, flush=True)
            self.run.note(line)
        if letter.type in ("notice", "refused", "failed"):
            why = str(letter.facts.get("why"))
            self.run.note(f"{letter.sender}: {why}")
        if letter.facts.get("over_budget"):
            roster.over_budget.add(letter.sender)
        if letter.type == "refused":
            if self.status.phase == "training" or "reached for" in why:
                roster.lose(letter.sender, why, "refused")
            else:
                self.status.owner(letter.sender, "refused", why)
        if letter.type == "failed":
            if letter.facts.get("by_signal"):
                roster.gone.append(letter.sender)
            roster.lose(letter.sender, why)

    def _verify_keys(self, letter: Letter) -> None:
        """The keys that syft knows an owner by must be signed by the one that was agreed."""
        pins = {name: bytes.fromhex(key) for name, key in self.pins.items()}
        proof = Boxes(SCIENTIST, Ed25519PrivateKey.generate(), pins, self.session)
        try:
            proven = proof.proven(KEYS, letter.sender, letter.facts.get("keys", {})).decode()
        except Refused as error:
            self.give_up(str(error))
        if proven != self.site.fingerprint(address(letter.sender)):
            self.give_up(f"{letter.sender}: its keys in syft are not its own: they were swapped")
        self.proven.add(letter.sender)

    def notice_ended(self) -> None:
        """Learn which owners' processes have ended."""
        try:
            for name, code in self.processes.ended():
                signal = f"its process was ended by signal {-code}"
                self.roster.gone.append(name)
                self.roster.lose(name, signal if code < 0 else f"it ended with {code}")
        except EOFError:
            for name in self.roster.alive():
                self.roster.lose(name, "the process that owners are forked from has ended")

    # Waiting

    def wait(self, phase: Phase, waited: list[str], until: float) -> None:
        """Wait a moment for these. Raises Failed when their time is over or one has ended."""
        self.status.enter(phase, waited)
        self.notice_ended()
        if self.run.should_stop():
            raise Stopped
        for letter in self.letters():
            self.hear(letter)
        if lost := [name for name in waited if name in self.roster.lost]:
            self.blame(lost[0])
        if time.monotonic() > until:
            self.give_up(f"no answer of {', '.join(waited)} in time")
        time.sleep(0.05)

    def blame(self, name: str, why: str = "") -> NoReturn:
        """Fail because of an owner; of owners that compute together, because of who went first.

        When the process of one is ended all others fail for its sake, and may be heard of before.
        """
        roster = self.roster
        until = time.monotonic() + GONE_SECONDS
        while self.options.aggregation == "mpc" and not roster.gone and roster.alive():
            if time.monotonic() > until:
                break
            self.notice_ended()
            for letter in self.letters(0.05):
                self.hear(letter)
        name = next(iter(roster.gone or roster.lost), name)
        self.give_up(f"{name}: {roster.lost.get(name) or why}")

    def give_up(self, why: str, kind: type[Failed] = Failed) -> NoReturn:
        """Fail, and show it."""
        self.status.enter("failed", reason=why)
        raise kind(why)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """syft speaks much; it goes to a log."""
        with contextlib.redirect_stdout(self.log):
            yield
