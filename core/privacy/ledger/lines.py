"""The lines of a chain: sealed by their own hash, each after the one before, and verified.

See `chain` for what they are to hold on to.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

VERSION = 1
FIRST = "0" * 64
"""What the first line gives as the hash of the line before it."""
ENVELOPE = frozenset({"v", "n", "t", "type", "prev", "hash"})
"""The fields of every entry; `n` counts from 0, `t` is unix seconds."""

Entry = dict[str, Any]

_HASH_FIELD = b',"hash":"'
_SEAL = len(_HASH_FIELD) + 64 + len(b'"}')
_TAIL = len(b',"prev":"') + 64 + len(b'"') + _SEAL


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that should not be so.

    line      where, counted from 1; 0 is the file as a whole
    mendable  nothing acknowledged is concerned: the next writer mends it and says so in the file
    """

    line: int
    what: str
    mendable: bool = False

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}" if self.line else self.what


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole file, verified.

    size     bytes of its good lines; torn: bytes after them, of a write that was cut short
    last     the hash of the last good line
    summary  what the last writer found all these lines to mean; None when it did not get so far
    """

    entries: list[Entry]
    size: int
    last: str
    torn: int = 0
    problems: list[Problem] = field(default_factory=list)
    summary: dict[str, Any] | None = None

    @property
    def damage(self) -> Problem | None:
        """The first problem that cannot be mended."""
        return next((one for one in self.problems if not one.mendable), None)


@dataclass(frozen=True, slots=True)
class Head:
    """What the head says of the lines."""

    count: int
    size: int
    last: str
    stamp: list[int]
    summary: dict[str, Any]


def chained(entries: Iterable[Entry], count: int, last: str) -> tuple[bytes, str]:
    """The lines of entries that follow so many others, the last of that hash; and their last."""
    lines = []
    for number, entry in enumerate(entries, count):
        line, last = sealed({"v": VERSION, "n": number, **entry, "prev": last})
        lines.append(line)
    return b"".join(lines), last


def sealed(fields: dict[str, Any]) -> tuple[bytes, str]:
    """A line, and its hash."""
    body = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    digest = sha256(body).hexdigest()
    return body[:-1] + _HASH_FIELD + digest.encode() + b'"}\n', digest


def scan_of(data: bytes | None, head: Head | None) -> Scan:
    if data is None:
        knows = f": its head counts {head.count} entries" if head else ""
        return Scan([], 0, FIRST, problems=[Problem(0, f"the file is gone{knows}")])
    lines = data.split(b"\n")
    entries = _held(lines[:-1])
    count, last = len(entries), entries[-1]["hash"] if entries else FIRST
    size = sum(map(len, lines[:count])) + count
    torn, problems = 0, []
    if size < len(data):
        unfinished = count == len(lines) - 1
        never_whole = unfinished or (head is not None and unlike(lines[count]) != "")
        if never_whole and size >= (head.size if head else 0):
            torn = len(data) - size
            what = f"{torn} bytes of a write that was cut short and never acknowledged"
            problems.append(Problem(count + 1, what, mendable=True))
        else:
            problems.append(Problem(count + 1, _why(lines[count], count, last)))
            problems.extend(_broken(lines[count + 1 :], count + 2))
    if head and all(one.mendable for one in problems):
        if count < head.count:
            what = f"{head.count - count} of {head.count} entries are missing at the end"
            problems.append(Problem(count + 1, what))
        elif head.count and entries[head.count - 1]["hash"] != head.last:
            problems.append(Problem(head.count, "it is not the line that the head knows"))
    if head is None and count > 1:
        what = "the head is missing or damaged: lines taken off the end would not be missed"
        problems.append(Problem(0, what, mendable=True))
    current = head is not None and head.count == count
    return Scan(entries, size, last, torn, problems, head.summary if head and current else None)


def linked(lines: Sequence[bytes]) -> tuple[int, str]:
    """How many lines, from the first on, are as they were written and each after the one before.

    And the hash of the last of them.
    """
    last, count = FIRST.encode(), 0
    for line in lines:
        digest = sha256(line[:-_SEAL] + b"}").hexdigest().encode()
        if line[-_TAIL:] != b',"prev":"%b","hash":"%b"}' % (last, digest):
            break
        last = digest
        count += 1
    return count, last.decode()


def _held(lines: Sequence[bytes]) -> list[Entry]:
    """The entries of the lines, up to the first that is not as it was written, or not in place."""
    whole = lines[: linked(lines)[0]]
    try:
        entries: list[Entry] = json.loads(b"[%b]" % b",".join(whole))
    except ValueError:  # a line that was made by somebody else, and is no JSON
        known = itertools.takewhile(lambda entry: entry is not None, map(object_of, whole))
        entries = [entry for entry in known if entry]
    for number, entry in enumerate(entries):
        if type(entry) is not dict or _misplaced(entry, number):
            return entries[:number]
    return entries


def object_of(line: bytes) -> Entry | None:
    """The object that a line is; None when it is something else."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if type(entry) is dict else None


def _misplaced(entry: Entry, number: int) -> str:
    """Why a line, whole and as it was written, cannot be that entry; else nothing."""
    n, t = entry.get("n"), entry.get("t")
    if entry.get("v") != VERSION:
        return f"version {entry.get('v')!r} is not one that can be read"
    if type(n) is not int or n < number:
        return f"it is entry {n!r} and stands where entry {number} belongs"
    if n > number:
        return f"{n - number} of the entries before it are missing"
    if not isinstance(t, float) or not 0 <= t < math.inf:
        return f"t {t!r} is not a time"
    return ""


def _why(line: bytes, number: int, last: str) -> str:
    """What is wrong with a line that should be that entry and follow the one of that hash."""
    if wrong := unlike(line):
        return wrong
    entry = object_of(line)
    if entry is None:
        return "it is not one JSON object"
    if wrong := _misplaced(entry, number):
        return wrong
    if entry.get("prev") != last:
        return "the line before it is not the one that it was written after"
    return "its end is missing"


def unlike(line: bytes) -> str:
    """How a line differs from how it was written, by its own hash; else nothing."""
    hash_at = len(line) - _SEAL
    digest = sha256(line[:hash_at] + b"}").hexdigest().encode()
    if hash_at < 0 or line[hash_at:] != b'%b%b"}' % (_HASH_FIELD, digest):
        whole = line[hash_at:].startswith(_HASH_FIELD) and line.endswith(b'"}')
        return "it was changed" if whole else "it is not a whole line"
    return ""


def _broken(lines: Sequence[bytes], number: int) -> Iterator[Problem]:
    """Further lines, after a first damaged one, that are themselves not as they were written."""
    for line_number, line in enumerate(lines, number):
        if line and (wrong := unlike(line)):
            yield Problem(line_number, wrong)
