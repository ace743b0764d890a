"""In what runs differ: parameters, code, packages, where they ran. Does I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindeck.core.base.files import read_json, reading
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.run.state import LIVE

MOST_BYTES = 1 << 20
MOST_RUNS = 8
MOST_DIFF_LINES = 20_000
ABSENT = "–"

_NOT_SOURCE = ("provenance.json", "diff.patch")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run was made of, as its folder kept it.

    scripts   text of each file kept, by its name
    patch     what the work tree had changed against its commit
    packages  version of each
    facts     interpreter, commit, host and the like, in words
    """

    scripts: Mapping[str, str] = field(default_factory=dict)
    patch: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Differences:
    """What is not the same in all runs: by its name, one value a run in the runs' order.

    What is not recorded of a run differs from nothing.

    diffs   for each run after the first, the unified diff from the first run's code to its own
    kept    of which of "packages" and "code" all the runs' folders tell
    untold  for each run, in words, what is not recorded of it, or not yet; empty where all is
    """

    params: Mapping[str, Sequence[Any]]
    facts: Mapping[str, Sequence[Any]]
    packages: Mapping[str, Sequence[Any]]
    diffs: Sequence[Sequence[str]]
    kept: frozenset[str] = frozenset()
    untold: Sequence[str] = ()

    @property
    def alike(self) -> list[str]:
        """Of parameters, packages and code those that are the same in all, as far as was kept."""
        differ = {
            "parameters": bool(self.params),
            "packages": bool(self.packages) or "packages" not in self.kept,
            "code": any(self.diffs) or "code" not in self.kept,
        }
        return [word for word, differs in differ.items() if not differs]


def differences(docs: Sequence[RunDoc]) -> Differences:
    """Read the runs' folders and lay them beside each other; what cannot be read is left out."""
    origins = [origin(Path(doc["path"])) for doc in docs]
    launched: list[Mapping[str, Any]] = [
        {
            "recipe": doc["recipe"],
            "command": "" if doc["recipe"] else " ".join(doc["command"]),
        }
        for doc in docs
    ]
    devices = [{"device": doc["device"]} if doc["device"] else None for doc in docs]
    pending = [
        doc["state"] in LIVE and not each.facts for doc, each in zip(docs, origins, strict=True)
    ]
    names = [f"{doc['name']} {doc['id']}" for doc in docs]
    return Differences(
        unlike([doc["params"] for doc in docs]),
        {
            **unlike(launched),
            **unlike(devices),
            **unlike([each.facts or None for each in origins]),
        },
        unlike([each.packages or None for each in origins]),
        [
            [] if pending[0] or late else list(_diff(origins[0], each, names[0], name))
            for each, name, late in zip(origins[1:], names[1:], pending[1:], strict=True)
        ],
        frozenset(
            word
            for word, known in (
                ("packages", [each.packages for each in origins]),
                ("code", [each.scripts or each.facts.get("commit") for each in origins]),
            )
            if all(known)
        ),
        [_untold(doc, each) for doc, each in zip(docs, origins, strict=True)],
    )


def _untold(doc: RunDoc, made_of: Origin) -> str:
    what = "packages" if made_of.facts else "code, packages and machine"
    when = "not known yet" if doc["state"] in LIVE else "not recorded"
    return "" if made_of.packages else f"{what} {when}"


def unlike(values: Sequence[Mapping[str, Any] | None]) -> dict[str, list[Any]]:
    """What differs, in the order it is first met; ABSENT where one has no such thing.

    One of which nothing is known, None, differs from none.
    """
    known = [each for each in values if each is not None]
    names = dict.fromkeys(name for each in known for name in each)
    return {
        name: [ABSENT if each is None else each.get(name, ABSENT) for each in values]
        for name in names
        if any(each.get(name, ABSENT) != known[0].get(name, ABSENT) for each in known)
    }


def origin(folder: Path) -> Origin:
    """What a run's folder tells; what is missing, damaged or over 1 MiB is left out."""
    source = folder / "source"
    known = read_json(source / "provenance.json") or {}
    scripts = {}
    try:
        files = sorted(path for path in source.iterdir() if path.name not in _NOT_SOURCE)
    except OSError:
        files = []
    for path in files:
        text = _text(path)
        if text is not None:
            scripts[path.name] = text
    packages = known.get("packages")
    return Origin(
        scripts,
        _text(source / "diff.patch") or "",
        {str(k): str(v) for k, v in packages.items()} if isinstance(packages, dict) else {},
        _facts(known),
    )


def _facts(known: Mapping[str, Any]) -> dict[str, str]:
    def table(name: str) -> Mapping[str, Any]:
        value = known.get(name)
        return value if isinstance(value, dict) else {}

    python, git = table("python"), table("git")
    facts = {
        "python": str(python.get("version") or "").split(" (")[0],
        "interpreter": python.get("executable"),
        "commit": git.get("commit"),
        "branch": git.get("branch"),
        "changed": "yes" if git.get("dirty") else "no" if git else "",
        "host": known.get("host"),
        "platform": known.get("platform"),
        "folder": known.get("cwd"),
        **{f"${name}": value for name, value in table("environment").items()},
    }
    return {name: str(value) for name, value in facts.items() if value}


def _text(path: Path) -> str | None:
    try:
        if not path.is_file():
            return None
        with reading(path) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError:
        return None
    return None if len(data) > MOST_BYTES else data.decode("utf-8", "replace")


def _diff(one: Origin, other: Origin, name: str, other_name: str) -> Iterator[str]:
    count = 0
    for file, before, after in _pairs(one, other):
        if before == after:
            continue
        lines = difflib.unified_diff(
            before.splitlines(),
            after.splitlines(),
            f"{file[0]} of {name}",
            f"{file[1]} of {other_name}",
            lineterm="",
        )
        for line in lines:
            count += 1
            if count > MOST_DIFF_LINES:
                yield f"… more than {MOST_DIFF_LINES:,} lines differ"
                return
            yield line


def _pairs(one: Origin, other: Origin) -> Iterator[tuple[tuple[str, str], str, str]]:
    """Files by both their names; a single script each is compared though it was renamed."""
    if len(one.scripts) == len(other.scripts) == 1:
        ((name, before),), ((other_name, after),) = one.scripts.items(), other.scripts.items()
        yield (name, other_name), before, after
    else:
        for name in dict.fromkeys([*one.scripts, *other.scripts]):
            yield (name, name), one.scripts.get(name, ""), other.scripts.get(name, "")
    yield ("changes to the work tree",) * 2, one.patch, other.patch
