"""What bears witness of a ledger outside its folder: lines cut off with their head are missed.

    <home>/ledger.witness/<name>.json      after each write
    <home>/runs/<run>/paid/<name>.json     after each write for this run, also in the trash

    {"entries": how many lines there were, "mark": of the last one's hash, "seal": of all that}

Mark and seal are HMAC-SHA-256 under the home's secret: a run's folder that comes from elsewhere
bears no witness here, and a mark tells nothing of the line. A witness is written when its lines
are on the disk, and is not waited for: after a crash it may count fewer lines than there are, never
more. What cannot be read, or is another home's, is no witness.

Standard library only: recipes and the supervisor import this.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.files import read_bounded
from traindeck.core.base.home import witnesses_of
from traindeck.core.base.secret import home_secret
from traindeck.core.privacy.ledger.lines import Problem

PAID = "paid"
"""The folder of these files in a run's."""
MOST_BYTES = 1024
NAMED = 3  # runs that a problem names


@dataclass(frozen=True, slots=True)
class Witness:
    """`who` knows a ledger of so many entries, the last of that mark."""

    who: str
    entries: int
    mark: str


class Witnesses:
    """Those of one ledger. Nothing here raises OSError: who cannot be asked bears no witness."""

    def __init__(self, folder: Path, name: str) -> None:
        """folder: where the ledgers of a home lie."""
        self._home = folder.parent
        self._folder = witnesses_of(folder)
        self._file = f"{name}.json"
        self._name = name

    @property
    def exists(self) -> bool:
        """Whether the home knows of such a ledger."""
        return os.path.lexists(self._folder / self._file)

    def of_home(self) -> list[Witness]:
        """The home's own, which knows the most: none, or one."""
        return self._read([("the home's witness", self._folder / self._file)])

    def all(self) -> list[Witness]:
        """The home's and those of all runs that paid; takes 10 µs a run."""
        return self.of_home() + self._read(
            (f"run {run}", folder / self._file) for run, folder in _paid(self._home)
        )

    def bear(self, entries: int, last: str, runs: Iterable[str]) -> None:
        """Note that so many entries, the last of that hash, are on the disk, for these runs too."""
        data = self._sealed(entries, last)
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            _replace(self._folder, self._file, data)
        for run in runs:
            folder = self._home / "runs" / run
            with contextlib.suppress(OSError):
                with contextlib.suppress(FileExistsError):
                    (folder / PAID).mkdir(mode=0o700)
                _replace(folder / PAID, self._file, data)

    def drop(self) -> None:
        """Forget a ledger that is taken away by who may. Raises OSError."""
        (self._folder / self._file).unlink(missing_ok=True)

    def against(self, known: Sequence[Witness], count: int, hashes: Sequence[str]) -> list[Problem]:
        """What witnesses, read before the ledger was, miss in it.

        count   entries that it has
        hashes  of them, in order; may be only the last: then no other is compared
        """
        missing = [one for one in known if one.entries > count]
        first = count - len(hashes) + 1
        changed = [
            one
            for one in known
            if first <= one.entries <= count
            and one.mark != self._mark(one.entries, hashes[one.entries - first])
        ]
        problems = []
        if missing:
            most = max(one.entries for one in missing)
            what = f"{most - count} of {most} entries are missing at the end: {_those(missing)}"
            problems.append(Problem(count + 1, f"{what} knew them"))
        if changed:
            line = min(one.entries for one in changed)
            problems.append(Problem(line, f"it is not the line that {_those(changed)} knew"))
        return problems

    def _read(self, files: Iterable[tuple[str, Path]]) -> list[Witness]:
        found = []
        for who, path in files:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                given = json.loads(read_bounded(path, MOST_BYTES))
                entries, mark, seal = (given[key] for key in ("entries", "mark", "seal"))
                if hmac.compare_digest(seal, self._seal(int(entries), str(mark))):
                    found.append(Witness(who, entries, mark))
        return found

    def _sealed(self, entries: int, last: str) -> bytes:
        mark = self._mark(entries, last)
        seal = self._seal(entries, mark)
        return json.dumps({"entries": entries, "mark": mark, "seal": seal}).encode() + b"\n"

    def _mark(self, entries: int, last: str) -> str:
        return self._hmac(f"line {entries} {last}")

    def _seal(self, entries: int, mark: str) -> str:
        return self._hmac(f"witness {entries} {mark}")

    def _hmac(self, text: str) -> str:
        secret = home_secret(self._home)
        return hmac.digest(secret, f"ledger {self._name} {text}".encode(), "sha256").hex()


def known(ledgers: Path, *, of_runs: bool = False) -> set[str]:
    """Names of the ledgers that the home knows of, or also its runs: these may be any text."""
    names = set()
    with contextlib.suppress(OSError):
        names.update(os.listdir(witnesses_of(ledgers)))
    for _, folder in _paid(ledgers.parent) if of_runs else ():
        with contextlib.suppress(OSError):
            names.update(os.listdir(folder))
    return {name.removesuffix(".json") for name in names if name.endswith(".json")}


def _paid(home: Path) -> Iterator[tuple[str, Path]]:
    """The runs that paid from any ledger, and where they say so."""
    for place in ("runs", "trash"):
        with contextlib.suppress(OSError):
            for run in sorted(os.listdir(home / place)):
                with contextlib.suppress(OSError):
                    if stat.S_ISDIR(os.lstat(f"{home}/{place}/{run}/{PAID}").st_mode):
                        yield run, home / place / run / PAID


def _those(witnesses: Sequence[Witness]) -> str:
    names = [one.who for one in witnesses]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED + 1 else ""
    return ", ".join(names[:NAMED] if more else names) + more


def _replace(folder: Path, name: str, data: bytes) -> None:
    """Replace a file in this very folder, behind no link, without waiting for the disk."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder, flags)
    part = f".{name}.{os.getpid()}-{threading.get_ident()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=descriptor)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(part, flags, 0o600, dir_fd=descriptor), "wb") as file:
            file.write(data)
        os.rename(part, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=descriptor)
        raise
    finally:
        os.close(descriptor)
