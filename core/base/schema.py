"""What files may hold: damaged ones are told from sound ones before they are used.

The keys of a file and what their values must be like are the annotations of a `TypedDict`; other
keys are nobody's business. Standard library only: the supervisor imports this.

    annotation                what a value must be
    str, int, bool            that; an integer such as JSON readers take
    list[T], dict[…]          a list of T, an object
    another TypedDict         an object that fits it
    Literal[…], X | Y         one of these
    Annotated[T, check]       what `check` says: see `moment`
    NotRequired[T]            T, or no such key at all; so all keys of a TypedDict with total=False
    Any                       anything
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

EARLIEST = -1e9  # a run may have begun before the moment that is counted from
LATEST = 253_402_214_400.0  # unix seconds: the end of the year 9999, where calendars end

Check = Callable[[Any], bool]


class Schema:
    """The checks that a TypedDict's annotations stand for."""

    def __init__(self, shape: type) -> None:
        self._required: dict[str, Check] = {}
        self._optional: dict[str, Check] = {}
        partial: frozenset[str] = getattr(shape, "__optional_keys__", frozenset())
        for key, hint in get_type_hints(shape, include_extras=True).items():
            may_lack = key in partial or get_origin(hint) is NotRequired
            known = self._optional if may_lack and not _is_required(hint) else self._required
            known[key] = _check(hint)

    def fits(self, value: Any) -> bool:
        """Whether a value is an object with all required keys, and each is as it must be."""
        return (
            isinstance(value, dict)
            and all(key in value and check(value[key]) for key, check in self._required.items())
            and all(check(value[key]) for key, check in self._optional.items() if key in value)
        )

    def sound(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """What of a value is as it must be; other keys are left out."""
        checks = {**self._required, **self._optional}
        return {key: value[key] for key in checks if key in value and checks[key](value[key])}


def json_types(hint: Any) -> tuple[type, ...]:
    """The types that values of an annotation have once they were read from JSON."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return tuple(each for part in get_args(hint) for each in json_types(part))
    if origin in (Annotated, NotRequired, Required):
        return json_types(get_args(hint)[0])
    if is_typeddict(hint):
        return (dict,)
    return (float, int) if hint is float else (origin or hint,)


def moment(value: Any) -> bool:
    """Seconds since some beginning: no NaN, and none that no calendar knows."""
    return type(value) in (int, float) and EARLIEST <= value <= LATEST


def wait_status(value: Any) -> bool:
    """What wait(2) tells of a process that has ended: an exit code or a signal."""
    return _whole(value) and 0 <= value <= 0xFFFF and value & 0x7F != 0x7F


def one_of(*values: str) -> Check:
    return lambda value: value in values


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**53


_PLAIN: dict[Any, Check] = {
    str: lambda value: isinstance(value, str),
    int: _whole,
    bool: lambda value: isinstance(value, bool),
    dict: lambda value: isinstance(value, dict),
    NoneType: lambda value: value is None,
    Any: lambda value: True,
}


def _check(hint: Any) -> Check:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        check: Check = parts[1]
        return check
    if origin in (NotRequired, Required):
        return _check(parts[0])
    if origin is Literal:
        return one_of(*parts)
    if origin in (Union, UnionType):
        either = [_check(part) for part in parts]
        return lambda value: any(check(value) for check in either)
    if origin is list:
        each = _check(parts[0])
        return lambda value: isinstance(value, list) and all(map(each, value))
    if is_typeddict(hint):
        return Schema(hint).fits
    return _PLAIN[origin or hint]


def _is_required(hint: Any) -> bool:
    return get_origin(hint) is Required
