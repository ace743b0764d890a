"""What the files of a run may hold: damaged ones are told from sound ones before they are used.

A schema names keys and what their values must be like; other keys are nobody's business.
Standard library only: the supervisor imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

EARLIEST = -1e9  # a run may have begun before the moment that is counted from
LATEST = 253_402_214_400.0  # unix seconds: the end of the year 9999, where calendars end

Check = Callable[[Any], bool]
Schema = Mapping[str, Check]


def fits(value: Mapping[str, Any], schema: Schema, optional: Schema) -> bool:
    """Whether a value has all of a schema's keys, and what it has of the optional ones, as told."""
    return all(key in value and check(value[key]) for key, check in schema.items()) and all(
        check(value[key]) for key, check in optional.items() if key in value
    )


def text(value: Any) -> bool:
    return isinstance(value, str)


def texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(text, value))


def record(value: Any) -> bool:
    return isinstance(value, dict)


def truth(value: Any) -> bool:
    return isinstance(value, bool)


def moment(value: Any) -> bool:
    """Seconds since some beginning: no NaN, and none that no calendar knows."""
    return type(value) in (int, float) and EARLIEST <= value <= LATEST


def whole(value: Any) -> bool:
    """An integer that JSON readers take."""
    return type(value) is int and abs(value) < 2**53


def wait_status(value: Any) -> bool:
    """What wait(2) tells of a process that has ended: an exit code or a signal."""
    return whole(value) and 0 <= value <= 0xFFFF and value & 0x7F != 0x7F


def one_of(*values: str) -> Check:
    return lambda value: value in values


def maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def queue(value: Any) -> bool:
    return record(value) and whole(value.get("place")) and text(value.get("reason"))
