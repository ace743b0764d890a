"""Messages of the rounds: sealed by syft's keys, each a file in the drive folder, read once.

A letter's facts and its body are sealed together with who sends it to whom, in which session and
which number it has, so that one that is changed, forwarded to another or shown again is refused.
Its file name tells the sender's name and the number.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from traindeck.core.federation.status import ByteClass
from traindeck.recipes.shared.federated.post import plainfile

MOST = 512 << 20
POLL = 0.004  # seconds between looks into the folder
ADDRESS = "@traindeck.invalid"
SCIENTIST = "scientist"
_NAME = re.compile(r"[0-9]{10,}-([A-Za-z0-9-]{1,64})")  # of a letter's file: the sender


def address(name: str) -> str:
    """The address by which syft knows a party."""
    return name + ADDRESS


class Seal(Protocol):
    """What `syft.Site` does for a letter."""

    def seal(self, to: str, data: bytes) -> bytes: ...

    def unseal(self, sender: str, data: bytes) -> bytes: ...


class BadLetter(ValueError):
    """A letter that is not what it says it is: whose it claims to be, and why it is refused."""

    def __init__(self, sender: str, why: str) -> None:
        super().__init__(f"a message in the name of {sender} was refused: {why}")
        self.sender = sender


@dataclass(frozen=True)
class Letter:
    """A message that was opened: facts (JSON) with its type, and its body as bytes."""

    sender: str
    facts: dict[str, Any]
    body: bytes

    @property
    def type(self) -> str:
        return str(self.facts.get("type"))


class Mailbox:
    """One party's letters in and out.

    root     the folder of all mail, on the drive
    session  names this federation: a letter of another is refused
    left     told of what is sent: its class and size in bytes
    keep     keep letters that were read, in root/kept, to be looked at later
    """

    def __init__(
        self,
        root: Path,
        name: str,
        seal: Seal,
        session: str,
        *,
        left: Callable[[ByteClass, int], None] | None = None,
        keep: bool = False,
    ) -> None:
        self.name = name
        self._root = root
        self._own = root / name
        self._seal = seal
        self._session = session
        self._left = left
        self._kept = root / "kept" if keep else None
        self._sent = 0
        self._seen: dict[str, int] = {}
        self._own.mkdir(parents=True, exist_ok=True)
        if self._kept:
            self._kept.mkdir(exist_ok=True)

    def send(
        self, to: str, facts: dict[str, Any], body: bytes = b"", kind: ByteClass | None = None
    ) -> None:
        """Seal a letter and put it into a party's box. Raises OSError when the folder is full."""
        self._sent += 1
        head = {"from": self.name, "to": to, "session": self._session, "number": self._sent}
        text = json.dumps({**facts, "_": head}).encode()
        sealed = self._seal.seal(address(to), len(text).to_bytes(8, "little") + text + body)
        box = self._root / to
        box.mkdir(exist_ok=True)
        plainfile.replace(box / f"{self._sent:010d}-{self.name}", sealed)
        if self._left and kind:
            self._left(kind, len(sealed))

    def next(self, seconds: float = 0.0) -> Letter | None:
        """The next letter, waited for; None when none came in time.

        Raises BadLetter for one that is refused; it is gone then, and the next call goes on.
        """
        until = time.monotonic() + seconds
        while True:
            names = [name for name in os.listdir(self._own) if not name.startswith(".")]
            if names:
                return self._open(min(names))
            if time.monotonic() >= until:
                return None
            time.sleep(POLL)

    def _open(self, name: str) -> Letter:
        path = self._own / name
        named = _NAME.fullmatch(name)
        sender = named[1] if named else "nobody"
        try:
            if not named:
                raise OSError(errno.EINVAL, "its file has no letter's name")
            sealed, entry = plainfile.read(path, MOST)
        except OSError as error:  # a link, a pipe, a folder, or gone
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            raise BadLetter(sender, f"it is no letter ({error.strerror})") from None
        if self._kept:
            os.replace(path, self._kept / f"{self.name}-{name}")
        else:
            path.unlink()
        if entry.st_size > MOST:
            raise BadLetter(sender, f"{entry.st_size} bytes, of {MOST} at most")
        try:
            opened = self._seal.unseal(address(sender), sealed)
            length = int.from_bytes(opened[:8], "little")
            facts = json.loads(opened[8 : 8 + length])
            head = facts.pop("_")
            number = int(head["number"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadLetter(sender, f"it is not as {sender} sealed it ({error})") from None
        if (head["from"], head["to"]) != (sender, self.name):
            raise BadLetter(sender, "it was sealed by or for somebody else")
        if head["session"] != self._session:
            raise BadLetter(sender, "it belongs to another session")
        if number <= self._seen.get(sender, 0):
            raise BadLetter(sender, f"number {number} came before: it is shown again")
        self._seen[sender] = number
        return Letter(sender, facts, opened[8 + length :])
