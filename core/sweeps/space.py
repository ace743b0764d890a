"""What a sweep tries: each parameter's values as they are typed, `lr=log:1e-4..1e-1`.

    1e-4..1e-1        any number between, both ends among them; whole ones for a whole parameter
    log:1e-4..1e-1    as many between 1e-4 and 1e-3 as between 1e-3 and 1e-2
    0..1/0.25         from 0 in steps of 0.25
    64,128,256        one of these
    0.1               this value in every trial
    =a,b              the text `a,b` in every trial, whatever stands in it
    … if optimizer=sgd    only in trials in which that parameter has that value

A recipe's header says of which type a parameter is and what it may be; a command's parameters are
numbers where both ends of a range are, and text otherwise.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from traindeck.core.base.errors import UsageError
from traindeck.core.recipe.params import Param, ParamError, Value
from traindeck.core.recipe.recipe import Recipe

MOST_POINTS = 100_000
_NUMBER = r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(
    rf"(?P<log>log:)?(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?:/(?P<step>{_NUMBER}))?"
)
_CONDITION = re.compile(r"(?P<domain>.*\S)\s+if\s+(?P<name>[A-Za-z_]\w*)=(?P<value>\S+)")


class SpaceError(UsageError):
    """What was typed for a parameter is no set of values; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Range:
    """Every number from `low` to `high`, or every `step`th from `low` on; whole ones if `whole`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def points(self) -> tuple[Value, ...] | None:
        """All its values in order; None where they cannot be counted."""
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            return None
        count = math.floor((self.high - self.low) / step * (1 + 1e-12)) + 1
        if count > MOST_POINTS:
            return None
        values = (self.low + k * step for k in range(count))
        return tuple(int(v) if self.whole else float(f"{v:.12g}") for v in values)

    def holds(self, value: Value) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (not self.whole or float(value).is_integer())


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter that is varied: over a range or over choices.

    when  the axis before it and the value of that without which this one has no say
    """

    name: str
    range: Range | None = None
    choices: tuple[Value, ...] = ()
    when: tuple[str, Value] | None = None

    def points(self) -> tuple[Value, ...] | None:
        """All its values; None where they cannot be counted."""
        return self.choices or (self.range.points() if self.range else None)

    def ends(self) -> tuple[Value, Value]:
        """The first and the last of its values."""
        if self.range is None:
            return self.choices[0], self.choices[-1]
        low, high = self.range.low, self.range.high
        return (int(low), int(high)) if self.range.whole else (low, high)

    def holds(self, value: Value) -> bool:
        """Whether a trial may have this value."""
        return self.range.holds(value) if self.range else value in self.choices

    def active(self, chosen: Mapping[str, Value]) -> bool:
        """Whether it has a say in a trial of which the axes before it are chosen."""
        return self.when is None or (
            self.when[0] in chosen and chosen[self.when[0]] == self.when[1]
        )


@dataclass(frozen=True, slots=True)
class Space:
    """All that trials may be: `fixed` values, and one value of each axis that has a say."""

    fixed: Mapping[str, Value]
    axes: tuple[Axis, ...]

    def size(self) -> int | None:
        """How many different trials there are; None where they cannot be counted."""
        points = [axis.points() for axis in self.axes]
        if any(each is None for each in points):
            return None
        most = math.prod(len(each or ()) for each in points)
        return most if most > MOST_POINTS else sum(1 for _ in self.grid())

    def grid(self) -> Iterator[dict[str, Value]]:
        """Every trial there is, the last axis fastest, none twice. Raises SpaceError for a range
        whose values cannot be counted."""
        points = []
        for axis in self.axes:
            each = axis.points()
            if each is None:
                raise SpaceError(
                    f"{axis.name}: a grid needs values that can be counted: name them (1,2,3) or"
                    " give the range a step (0..1/0.25)"
                )
            points.append(each)
        seen = set()
        for values in itertools.product(*points):
            trial = self.only_active(dict(zip([a.name for a in self.axes], values, strict=True)))
            key = tuple(trial.items())
            if key not in seen:
                seen.add(key)
                yield trial

    def only_active(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Those of the values that have a say in such a trial."""
        active: dict[str, Value] = {}
        for axis in self.axes:
            if axis.active(active):
                active[axis.name] = values[axis.name]
        return active


def parse(typed: Mapping[str, str], recipe: Recipe | None) -> Space:
    """The space of what was typed for each parameter, of a recipe or, without one, of a command.

    Raises SpaceError, or ParamError for a value that the recipe's header does not allow.
    """
    fixed: dict[str, Value] = {}
    axes: dict[str, Axis] = {}
    for name, text in typed.items():
        param = _param(recipe, name)
        one = _axis(name, text, param)
        if isinstance(one, Axis):
            axes[name] = one
        else:
            fixed[name] = one[0]
    if not axes:
        raise SpaceError(
            "nothing varies: give at least one parameter several values, such as"
            " -p lr=log:1e-4..1e-1 or -p batch_size=64,128"
        )
    ordered = _ordered({name: _resolved(axis, axes, fixed, recipe) for name, axis in axes.items()})
    return Space(fixed, tuple(ordered))


def complaint(name: str, text: str, recipe: Recipe | None) -> str:
    """Why this cannot be typed for a parameter, whatever the others are; empty when it can."""
    try:
        _axis(name, text, _param(recipe, name))
    except (SpaceError, ParamError) as error:
        return str(error).removeprefix(f"{name}: ")
    return ""


def _param(recipe: Recipe | None, name: str) -> Param | None:
    if recipe is None:
        return None
    if name not in recipe.params:
        if not recipe.params:
            typed = f"traindeck sweep -p {name}=… -- python {recipe.path.name} --{name} {{{name}}}"
            raise SpaceError(f"{recipe.name} declares no parameters; search its flags by {typed}")
        known = ", ".join(recipe.params)
        raise SpaceError(f"{recipe.name} has no parameter {name!r}; it has: {known}")
    return recipe.params[name]


def _axis(name: str, text: str, param: Param | None) -> Axis | tuple[Value]:
    """The axis, or the one value in a tuple."""
    if text.startswith("="):
        return (_value(name, text[1:], param),)
    when: tuple[str, Value] | None = None
    if condition := _CONDITION.fullmatch(text):
        text, when = condition["domain"], (condition["name"], condition["value"])
    number = param is None or param.type in ("int", "float")
    match = _RANGE.fullmatch(text.strip()) if number else None
    if match:
        return Axis(name, range=_range(name, match, param), when=when)
    if number and (text.startswith("log:") or (param and ".." in text)):
        raise SpaceError(f"{name}: {text!r} is no range; one is 1e-4..1e-1, log:1e-4..1e-1, 0..8/2")
    if "," in text:
        parts = [part.strip() for part in text.split(",")]
        if "" in parts:
            raise SpaceError(f"{name}: {text!r} has an empty value; ={text} means this very text")
        choices = tuple(_value(name, part, param) for part in parts)
        if len(set(map(repr, choices))) < len(choices):
            raise SpaceError(f"{name}: {text!r} names a value twice")
        if len(choices) > 1:
            return Axis(name, choices=choices, when=when)
    if when is not None:
        return Axis(name, choices=(_value(name, text, param),), when=when)
    return (_value(name, text, param),)


def _value(name: str, text: str, param: Param | None) -> Value:
    return text if param is None else param.parse(text)


def _range(name: str, match: re.Match[str], param: Param | None) -> Range:
    texts = [match[part] for part in ("low", "high", "step") if match[part]]
    whole = all(re.fullmatch(r"[+-]?\d[\d_]*", text) for text in texts)
    if param is not None:
        for text in texts[:2]:
            param.parse(text)
        if param.type == "int" and not whole:
            raise SpaceError(f"{name}: {match[0]} is not of whole numbers")
        whole = param.type == "int"
    low, high = (float(text.replace("_", "")) for text in texts[:2])
    step = float(match["step"].replace("_", "")) if match["step"] else None
    log = match["log"] is not None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SpaceError(f"{name}: both ends of {match[0]} must be finite")
    if low >= high:
        raise SpaceError(f"{name}: {match[0]} ends before it begins")
    if log and low <= 0:
        raise SpaceError(f"{name}: {match[0]} has no logarithm where it begins: above 0 it has")
    if step is not None and (log or not 0 < step <= high - low):
        why = "a logarithmic range has no step" if log else "its step is not within it"
        raise SpaceError(f"{name}: {match[0]}: {why}")
    return Range(low, high, log, step, whole)


def _resolved(
    axis: Axis, axes: Mapping[str, Axis], fixed: Mapping[str, Value], recipe: Recipe | None
) -> Axis:
    """With the value that it depends on in its type."""
    if axis.when is None:
        return axis
    name, text = axis.when
    param = _param(recipe, name)
    if param is None and name not in axes and name not in fixed:
        raise SpaceError(f"{axis.name}: it depends on {name}, which is no parameter here")
    if name == axis.name:
        raise SpaceError(f"{axis.name}: it depends on itself")
    value = _value(name, str(text), param)
    other = axes.get(name)
    if other is None:
        given = fixed.get(name, param.default if param else None)
        if given != value:
            raise SpaceError(f"{axis.name}: it never has a say: {name} is {given}")
        return replace(axis, when=None)
    if not other.choices:
        raise SpaceError(f"{axis.name}: it depends on {name}, which has no choices but a range")
    if value not in other.choices:
        raise SpaceError(f"{axis.name}: it never has a say: {name} is never {text}")
    return replace(axis, when=(name, value))


def _ordered(axes: Mapping[str, Axis]) -> list[Axis]:
    """Each behind the one that it depends on. Raises SpaceError for a circle."""
    ordered: list[Axis] = []
    left = dict(axes)
    while left:
        free = [a for a in left.values() if a.when is None or a.when[0] not in left]
        if not free:
            raise SpaceError(f"{', '.join(left)} depend on each other in a circle")
        ordered += free
        left = {name: axis for name, axis in left.items() if axis not in free}
    return ordered


def shown(values: Mapping[str, Value]) -> str:
    """Values as they are typed, in a line."""
    return " ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def filled(command: Sequence[str], values: Mapping[str, Value]) -> list[str]:
    """A command's words with each `{name}` replaced by its value; other braces stand."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return str(values[name]) if name in values else match[0]

    return [re.sub(r"\{([A-Za-z_]\w*)\}", value, word) for word in command]


def placeholders(command: Sequence[str]) -> set[str]:
    """The names in braces in a command."""
    return {name for word in command for name in re.findall(r"\{([A-Za-z_]\w*)\}", word)}
