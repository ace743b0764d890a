"""What a JSON value holds, place by place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """What a JSON value holds, by its place; lists by their length and parts."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{place}/{key}")
    elif isinstance(value, list):
        yield f"{place}/length", len(value)
        for number, part in enumerate(value):
            yield from leaves(part, f"{place}/{number}")
    else:
        yield place, value
