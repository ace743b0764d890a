"""Scripts that wait for a data owner's hand, and what the hand decides.

    <run>/federation/owners/<name>/inbox/<job>/
        request.json    who asks for what
        main.py         the script, exactly as submitted
        params.json     its parameters
        decision.json   the answer: approve or refuse, with the SHA-256 of the main.py that was read

Whoever asks chose the contents, so every one of these files may hold anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindeck.core.base import schema
from traindeck.core.base.errors import NotFoundError, TraindeckError
from traindeck.core.base.files import locked, read_bounded, write_json
from traindeck.core.base.sanitize import plain
from traindeck.core.federation.privacy import OwnerPrice

SCRIPT, PARAMS = "main.py", "params.json"
APPROVE, REFUSE = "approve", "refuse"
MOST_OWNERS, MOST_REQUESTS = 256, 64
"""So many owners and requests of each are looked at; more are nothing a hand could answer."""
MAX_REQUEST, MAX_SCRIPT, MAX_PARAMS = 64 << 10, 1 << 20, 256 << 10
_REQUEST, _DECISION = "request.json", "decision.json"
_TEXT = 1000

Stamp = tuple[int, int, int]


class ScriptChanged(TraindeckError):
    """What would be approved is no longer what was read."""


@dataclass(frozen=True, slots=True)
class ScriptRequest:
    """A script that an owner was asked to run.

    sha256    of the script, as the request has it
    at        when it was asked, in unix seconds
    agreed    the script that was agreed on beforehand, if any
    price     what the whole of a private run costs the owner; None: it tells of no privacy
    decision  approve, refuse, or nothing while it waits
    stamps    change whenever the script or its parameters do
    """

    run: str
    owner: str
    job: str
    folder: Path
    script: str = SCRIPT
    sha256: str = ""
    submitted_by: str = ""
    at: float | None = None
    agreed: str | None = None
    decision: str = ""
    stamps: tuple[Stamp | None, ...] = ()
    price: OwnerPrice | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "owner": self.owner,
            "job": self.job,
            "script": self.script,
            "sha256": self.sha256,
            "submitted_by": self.submitted_by,
            "at": self.at,
            "agreed": self.agreed,
            "privacy": self.price.to_json() if self.price else None,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """approve or refuse, and why."""

    decision: str
    reason: str


def stamp(path: Path) -> Stamp | None:
    """Changes whenever the file does; None when it is not there."""
    try:
        entry = os.lstat(path)
    except (OSError, ValueError):
        return None
    return entry.st_mtime_ns, entry.st_size, entry.st_ino


def names(folder: Path, most: int) -> list[str]:
    """Sorted names of the folders in a folder, at most so many of them."""
    folders: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                folders.append(entry.name)
            if len(folders) >= most:
                break
    return sorted(folders, key=_natural)


class InboxReader:
    """The requests of one owner; files are read again only when they changed.

    run    the run's id
    owner  the owner's folder
    """

    def __init__(self, run: str, owner: Path) -> None:
        self._run, self._owner = run, owner
        self._folder = owner / "inbox"
        self._jobs: list[str] = []
        self._seen: object = None
        self._known: dict[str, tuple[object, ScriptRequest]] = {}

    def read(self) -> tuple[ScriptRequest, ...]:
        """Every request, decided ones too. Raises nothing."""
        seen = stamp(self._folder)
        if seen is None:
            return ()
        if seen != self._seen:
            self._seen, self._jobs = seen, names(self._folder, MOST_REQUESTS)
        requests = []
        for job in self._jobs:
            folder = self._folder / job
            marks = tuple(stamp(folder / name) for name in (_REQUEST, _DECISION))
            if marks[0] is None:
                continue
            stamps = tuple(stamp(folder / name) for name in (SCRIPT, PARAMS))
            known = self._known.get(job)
            if known is None or known[0] != (marks, stamps):
                request = _request(self._run, self._owner.name, folder, stamps)
                known = self._known[job] = ((marks, stamps), request)
            requests.append(known[1])
        return tuple(requests)


class RunInbox:
    """The requests to all owners of a run; files are read again only when they changed."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._folder = run / "federation" / "owners"
        self._seen: Stamp | None = None
        self._owners: dict[str, InboxReader] = {}

    def read(self) -> tuple[ScriptRequest, ...]:
        """Every request, decided ones too. Raises nothing."""
        seen = stamp(self._folder)
        if seen != self._seen:
            self._seen = seen
            self._owners = {
                name: self._owners.get(name) or InboxReader(self._run.name, self._folder / name)
                for name in names(self._folder, MOST_OWNERS)
            }
        return tuple(request for reader in self._owners.values() for request in reader.read())


def ask(
    folder: Path,
    *,
    script: bytes,
    params: bytes,
    sha256: str,
    submitted_by: str,
    agreed: Path,
    price: OwnerPrice | None,
) -> None:
    """Lay a script before somebody's eyes, see `ScriptRequest`; folder: the request's own.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCRIPT).write_bytes(script)
    (folder / PARAMS).write_bytes(params)
    request = {
        "v": 1,
        "job": folder.name,
        "script": agreed.name,
        "sha256": sha256,
        "submitted_by": submitted_by,
        "at": time.time(),
        "agreed": str(agreed),
        "privacy": price.to_json() if price else None,
    }
    part = folder / f".{_REQUEST}"
    part.write_text(json.dumps(request))
    os.replace(part, folder / _REQUEST)


def answer(folder: Path, sha256: str, params_sha256: str) -> Decision | None:
    """What was decided of a script and its parameters; None while nothing was.

    An approval of another script than this one does not count, and is removed.
    """
    path = folder / _DECISION
    try:
        facts = json.loads(path.read_text())
        decision, reason = facts["decision"], str(facts.get("reason") or "")
        read = (facts["sha256"], facts.get("params_sha256", params_sha256))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if decision == APPROVE and read == (sha256, params_sha256):
        return Decision(APPROVE, reason)
    if decision == APPROVE:
        path.unlink(missing_ok=True)
        return None
    return Decision(REFUSE, reason or "the data owner refused it") if decision == REFUSE else None


def decide(
    request: ScriptRequest,
    decision: str,
    *,
    sha256: str,
    params_sha256: str | None = None,
    reason: str = "",
) -> None:
    """Answer a request, once.

    sha256         of the script that was read; `params_sha256` of its parameters
    Raises ScriptChanged when what would be approved is not what was read, NotFoundError when the
    request was answered already, OSError when the answer cannot be written.
    """
    with locked(request.folder / "decision.lock"):
        if before := _decision(request.folder):
            raise NotFoundError(f"{_named(request)} was answered already: {before}")
        if decision == APPROVE:
            now = hashlib.sha256(read_bounded(request.folder / SCRIPT, MAX_SCRIPT)).hexdigest()
            if now != sha256:
                raise ScriptChanged(
                    f"{SCRIPT} of {_named(request)} changed since it was shown: its SHA-256 is"
                    f" {now} now, it was {plain(sha256)}; read it again"
                )
            if request.sha256 != now:
                raise ScriptChanged(
                    f"{SCRIPT} of {_named(request)} is not the script that was asked for: its"
                    f" SHA-256 is {now}, the request names {plain(request.sha256) or 'none'}"
                )
            params = hashlib.sha256(read_params(request)).hexdigest()
            if params_sha256 is not None and params != params_sha256:
                raise ScriptChanged(
                    f"the parameters of {_named(request)} changed since they were shown;"
                    " read them again"
                )
        write_json(
            request.folder / _DECISION,
            {
                "v": 1,
                "decision": decision,
                "sha256": sha256,
                **({"params_sha256": params_sha256} if params_sha256 else {}),
                "reason": reason,
                "at": time.time(),
            },
        )


def _named(request: ScriptRequest) -> str:
    return f"{plain(request.job)} at {plain(request.owner)}"


def _natural(name: str) -> tuple[str, int, str]:
    """owner-2 before owner-10."""
    head = name.rstrip("0123456789")
    digits = name[len(head) :][:18]
    return head, int(digits) if digits.isascii() and digits else 0, name


def _record(path: Path, limit: int) -> dict[str, Any]:
    try:
        value = json.loads(read_bounded(path, limit))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _decision(folder: Path) -> str:
    """What was decided; nothing while that cannot be told."""
    said = _record(folder / _DECISION, MAX_REQUEST).get("decision")
    return said if said in (APPROVE, REFUSE) else ""


def _request(run: str, owner: str, folder: Path, stamps: tuple[Stamp | None, ...]) -> ScriptRequest:
    said = _record(folder / _REQUEST, MAX_REQUEST)

    def text(key: str) -> str:
        value = said.get(key)
        return value[:_TEXT] if isinstance(value, str) else ""

    at = said.get("at")
    return ScriptRequest(
        run,
        owner,
        folder.name,
        folder,
        text("script") or SCRIPT,
        text("sha256"),
        text("submitted_by"),
        float(at) if at is not None and schema.moment(at) else None,
        text("agreed") or None,
        _decision(folder),
        stamps,
        OwnerPrice.read(said.get("privacy")),
    )


def read_params(request: ScriptRequest) -> bytes:
    """The bytes of the parameters; none when there is no such file."""
    try:
        return read_bounded(request.folder / PARAMS, MAX_PARAMS)
    except FileNotFoundError:
        return b""
