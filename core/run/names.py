"""Names of runs that tell them apart: torch-digits, torch-digits-2, torch-digits-3."""

from __future__ import annotations

import re
from collections.abc import Collection

_NUMBERED = re.compile(r"(.*?)-([2-9]|[1-9]\d{1,5})")


def next_name(name: str, taken: Collection[str]) -> str:
    """The name itself where no run has it, else with the first number behind it that is free."""
    if name not in taken:
        return name
    numbered = _NUMBERED.fullmatch(name)
    stem = numbered[1] if numbered and numbered[1] in taken else name
    known = set(taken)
    number = 2
    while f"{stem}-{number}" in known:
        number += 1
    return f"{stem}-{number}"
