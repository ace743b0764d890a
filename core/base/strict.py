"""JSON that all readers understand alike: no field twice, no NaN, no infinity."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def loads(data: bytes | str) -> Any:
    """The value. Raises ValueError for anything else, and RecursionError for one too deep."""
    return json.loads(data, parse_constant=_no_number, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is given twice")
    return fields


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
