"""The models of a home: `models/NAME/<n>/`, each a bundle, numbered from 1.

    models/NAME/<n>/        a bundle, whole
    models/NAME/.<n>.part/  one that is being made
    models/NAME/labels.json {"stable": 3}: words that stand for a version
    models/NAME/.before     {"stable": 2}: what they stood for before that
    models/NAME/.last       the highest number that was ever given: none is given twice
    trash/models/NAME/<n>/  what was removed

Standard library only: recipes import this.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from traindeck.core.base.errors import NotFoundError, TraindeckError, UsageError
from traindeck.core.base.files import locked, read_json, write_json
from traindeck.core.base.home import Home

LABELS = "labels.json"
STABLE = "stable"
"""The label of the version that people rely on."""
BEFORE = ".before"
ABANDONED_SECONDS = 24 * 3600.0  # after which a part that nobody writes to is nobody's any more
_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
_label = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}").fullmatch
_number = re.compile(r"[1-9][0-9]{0,8}").fullmatch


class Shelf:
    """The models of one home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def names(self) -> list[str]:
        """Of all models that have a version."""
        try:
            return sorted(
                name
                for name in os.listdir(self._home.models)
                if _name(name) and self.versions(name)
            )
        except OSError:
            return []

    def versions(self, name: str) -> list[int]:
        """Its versions, lowest first; none where there is no such model."""
        return [number for number in numbered(self._home.models / name) if number > 0]

    def labels(self, name: str) -> dict[str, int]:
        """What words stand for which versions that are there."""
        return self._said(name, LABELS)

    def before(self, name: str) -> dict[str, int]:
        """What labels stood for before they were moved, where that is still there."""
        return self._said(name, BEFORE)

    def _said(self, name: str, file: str) -> dict[str, int]:
        there = set(self.versions(name))
        said = sorted(words_in(self._home.models / name / file).items())
        return {word: number for word, number in said if number in there}

    def folder(self, name: str, version: int | str | None = None) -> Path:
        """A bundle: of a version by its number or label; the highest by default.

        Raises NotFoundError with what there is.
        """
        versions = self.versions(name) if _name(name) else []
        if not versions:
            known = ", ".join(self.names()) or "none yet: `traindeck export RUN` makes one"
            raise NotFoundError(f"no model {name!r}; there are {known}")
        if version is None:
            number = versions[-1]
        elif isinstance(version, str) and not _number(version):
            labels = self.labels(name)
            if version not in labels:
                known = ", ".join(labels) or "none"
                raise NotFoundError(f"{name} has no label {version!r}; it has {known}")
            number = labels[version]
        else:
            number = int(version)
        if number not in versions:
            known = ", ".join(map(str, versions))
            raise NotFoundError(f"{name} has no version {number}; it has {known}")
        return self._home.models / name / str(number)

    def label(self, name: str, word: str, version: int | None) -> None:
        """Have a word stand for a version, or for none. Raises NotFoundError, UsageError."""
        if not _label(word):
            raise UsageError(f"label {word!r}: letters, digits, `.`, `_`, `-`, a letter first")
        folder = self.folder(name, version).parent
        with locked(folder / ".lock"):
            labels = self.labels(name)
            if version is None:
                if word not in labels:
                    raise NotFoundError(f"{name} has no label {word!r}")
                del labels[word]
            else:
                was = labels.get(word, version)
                if was != version:
                    write_json(folder / BEFORE, {**self.before(name), word: was})
                labels[word] = version
            write_json(folder / LABELS, labels)

    def roll_back(self, name: str, word: str = STABLE) -> int:
        """Have a label stand for the version that it was on before; which that is.

        Twice is where it began. Raises NotFoundError where it was on no other that is still there.
        """
        self.folder(name)
        before = self.before(name).get(word)
        if before is None:
            raise NotFoundError(
                f"{name}: the label {word!r} was on no other version that is still there;"
                f" `traindeck models label {name} {word} N` puts it on one"
            )
        self.label(name, word, before)
        return before

    def begin(self, name: str) -> tuple[int, Path]:
        """The number and folder of a version that is to be made. Raises UsageError, OSError."""
        check_name(name)
        folder = self._home.models / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            _sweep(folder)
            last = (read_json(folder / ".last") or {}).get("last", 0)
            number = max([last if type(last) is int else 0, *numbered(folder)]) + 1
            write_json(folder / ".last", {"last": number})
        part = folder / f".{number}.part"
        part.mkdir(mode=0o700)
        return number, part

    def finish(self, part: Path) -> Path:
        """Have a version that is whole stand under its number. Raises OSError."""
        place = part.with_name(part.name.removeprefix(".").removesuffix(".part"))
        part.rename(place)
        return place

    def trash(self, name: str, version: int | None = None) -> list[int]:
        """Move a version, or all of a model, to the trash; which they were.

        Raises NotFoundError, and TraindeckError for a version that a label stands for.
        """
        folder = self.folder(name, version).parent
        with locked(folder / ".lock"):
            labels = self.labels(name)
            named = [word for word, number in labels.items() if number == version]
            if named:
                raise TraindeckError(
                    f"{name}/{version} is labelled {', '.join(named)}: label another version so"
                    f" first, or remove all of {name}"
                )
            gone = [version] if version is not None else self.versions(name)
            for number in gone:
                target = self._trash / name / str(number)
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (folder / str(number)).rename(target)
            if version is None:
                for file in (LABELS, BEFORE):
                    (folder / file).unlink(missing_ok=True)
        return gone

    def trashed(self) -> list[tuple[str, int]]:
        """Names and versions of what is in the trash, the last that came there first."""
        there = []
        with contextlib.suppress(OSError):
            for name in filter(_name, os.listdir(self._trash)):
                for number, place in numbered(self._trash / name).items():
                    there.append((place.lstat().st_ctime, name, number))
        return [(name, number) for _, name, number in sorted(there, reverse=True)]

    def restore(self, name: str, version: int | None = None) -> list[int]:
        """Bring a version, or all of a model, back from the trash; which they were.

        Raises NotFoundError, OSError.
        """
        there = [number for each, number in self.trashed() if each == name]
        back = sorted(number for number in there if version in (None, number))
        if not back:
            what = f"{name}/{version}" if version is not None else repr(name)
            known = ", ".join(f"{each}/{number}" for each, number in self.trashed()) or "nothing"
            raise NotFoundError(f"no model {what} in the trash; in it: {known}")
        folder = self._home.models / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            for number in back:
                (self._trash / name / str(number)).rename(folder / str(number))
        return back

    @property
    def _trash(self) -> Path:
        return self._home.trash / "models"


def numbered(folder: Path) -> dict[int, Path]:
    """The versions in a folder: folders whose names are numbers, lowest first."""
    found: list[tuple[int, Path]] = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name.isascii() and path.name.isdigit() and path.is_dir():
                found.append((int(path.name), path))
    return dict(sorted(found))


def check_name(name: str) -> None:
    """Raises UsageError for what no model can be called."""
    if not _name(name):
        raise UsageError(
            f"{name!r} is no name of a model: letters, digits, `.`, `_`, `-`, 64 at most, a"
            " letter or digit first; --as gives another"
        )


def as_name(text: str) -> str:
    """A name for a model that is as near to a text as may be; empty where nothing is left."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")[:64]


def words_in(file: Path) -> dict[str, int]:
    """What a file of labels says, whether or not there are such versions."""
    said = read_json(file) or {}
    return {word: number for word, number in said.items() if type(number) is int}


def _sweep(folder: Path) -> None:
    """Remove what exports that were killed have left."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(part, ignore_errors=True)
