"""Values from files that may hold anything: what is not as it should be counts as not there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

MOST, LONGEST = 256, 1000
"""So many texts of a list are taken, and so many characters of each."""
MOST_FACTS = 32


def records(value: object, most: int) -> Iterable[dict[str, Any]]:
    """The first objects of a list."""
    first = value[:most] if isinstance(value, list | tuple) else []
    return [each for each in first if isinstance(each, dict)]


def text(value: object) -> str:
    """A text, or the empty one."""
    return value[:LONGEST] if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """The first texts of a list."""
    first = value[:MOST] if isinstance(value, list) else []
    return tuple(each[:LONGEST] for each in first if isinstance(each, str))


def count(value: object) -> int | None:
    """A whole number that is not negative, as JSON readers take it."""
    return value if type(value) is int and 0 <= value < 2**63 else None


def real(value: object) -> float | None:
    """Any number, NaN and infinity as well."""
    if type(value) not in (int, float):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None


def number(value: object) -> float:
    """Any number; NaN where there is none."""
    known = real(value)
    return math.nan if known is None else known


def counts(value: object) -> dict[str, int]:
    """Bytes by class; a class that is not known here is kept too, for nothing may go uncounted."""
    first = list(value.items())[:MOST_FACTS] if isinstance(value, dict) else []
    return {name[:LONGEST]: size for name, each in first if (size := count(each)) is not None}


def facts(values: dict[str, Any]) -> dict[str, str | int | float | bool]:
    """Texts, truths and numbers by name; what is neither is left out."""
    kept: dict[str, str | int | float | bool] = {}
    for name, value in list(values.items())[:MOST_FACTS]:
        if isinstance(value, str | bool):
            kept[name[:LONGEST]] = value[:LONGEST] if isinstance(value, str) else value
        elif (number := real(value)) is not None:
            whole = isinstance(value, int) and abs(value) < 2**53
            kept[name[:LONGEST]] = value if whole else number
    return kept
