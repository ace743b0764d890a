"""What a framework brings, from the metadata of what is installed. Nothing of it is imported."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from traindeck.core.base.installed import normal

DISTRIBUTIONS = {
    "torch": ("torch",),
    "tensorflow": ("tensorflow",),
    "syft": ("syft", "syft-rds"),
}
"""What is installed to have a framework."""

CACHES = {
    "torch": (".cache/torch/hub/checkpoints", ".cache/huggingface/hub"),
    "tensorflow": (".keras/models", ".cache/huggingface/hub"),
}
"""Folders in the user's home in which frameworks keep weights that were fetched."""

LONGEST = 32
"""Characters of a licence's name: some are whole sentences."""

_WEIGHTS = (".pt", ".pth", ".safetensors", ".keras", ".h5")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)([^;]*)(?:;(.*))?")
_EXTRA = re.compile(r"\bextra\s*==")


@dataclass(frozen=True, slots=True)
class Footprint:
    """The distributions that a framework needs, itself among them.

    bytes     as their records list their files
    licences  how many have each, in their own words
    versions  of those that were asked for
    """

    packages: frozenset[str]
    bytes: int
    licences: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@cache
def footprint(roots: tuple[str, ...], without: frozenset[str] = frozenset()) -> Footprint | None:
    """What these bring, less what is there already; None where one of them is not installed.

    Looked at once in a process: it takes a quarter of a second.
    """
    there = {
        normal(name): each for each in metadata.distributions() if (name := _said(each, "Name"))
    }
    if any(root not in there for root in roots):
        return None
    found = frozenset(_closure(roots, there) - without)
    licences: dict[str, int] = {}
    for name in sorted(found):
        word = _licence(there[name])
        word = word if len(word) <= LONGEST else f"{word[: LONGEST - 1]}…"
        licences[word] = licences.get(word, 0) + 1
    return Footprint(
        found,
        sum(_size(there[name]) for name in found),
        dict(sorted(licences.items(), key=lambda item: -item[1])),
        {root: there[root].version for root in roots},
    )


def cached_weights(framework: str) -> int:
    """Files of weights that are in the framework's caches."""
    count = 0
    for folder in CACHES.get(framework, ()):
        for _, _, names in os.walk(Path.home() / folder):
            count += sum(name.endswith(_WEIGHTS) for name in names)
    return count


def _closure(roots: tuple[str, ...], there: dict[str, metadata.Distribution]) -> set[str]:
    """What is needed and installed; what an extra alone would bring is not.

    Other markers are not evaluated: of what they leave out here nothing is installed for it, or
    something else has brought it.
    """
    todo, seen = list(roots), set[str]()
    while todo:
        name = todo.pop()
        if name in seen or name not in there:
            continue
        seen.add(name)
        for line in there[name].requires or ():
            match = _REQUIREMENT.match(line)
            if match and not _EXTRA.search(match[3] or ""):
                todo.append(normal(match[1]))
    return seen


def _said(one: metadata.Distribution, key: str) -> str:
    return str(one.metadata[key]) if key in one.metadata else ""


def _size(one: metadata.Distribution) -> int:
    return sum(file.size or 0 for file in one.files or ())


def _licence(one: metadata.Distribution) -> str:
    said = _said(one, "License-Expression")
    if said:
        return said
    for line in one.metadata.get_all("Classifier") or ():
        if line.startswith("License ::") and not line.endswith("OSI Approved"):
            return str(line).rpartition("::")[2].strip()
    first = _said(one, "License").strip().splitlines()
    return first[0] if first else "not said"
