"""One parameter of a recipe: its type, its range, and what a typed text means."""

from __future__ import annotations

import math
from dataclasses import dataclass

from traindeck.core.base.errors import UsageError

Value = int | float | bool | str | None

PARAM_TYPES = ("int", "float", "bool", "str", "choice", "path")
MAX_INT = 2**63 - 1
LONGEST_TEXT = 10_000  # a command line holds ten times as much
LONGEST_NUMBER = 400  # digits: more are no number that fits
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


class ParamError(UsageError):
    """A parameter's value cannot be used; the message says which, why and what can."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a recipe; `min` and `max` are inclusive."""

    name: str
    type: str
    default: Value = None
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""

    @property
    def flag(self) -> str:
        """The script's flag, such as `--data-dir`."""
        return "--" + self.name.replace("_", "-")

    @property
    def limits(self) -> str:
        """What values are allowed, in words; empty when anything of the type is."""
        if self.choices:
            return " | ".join(self.choices)
        if self.min is not None and self.max is not None:
            return f"{self.min:g} to {self.max:g}"
        if self.min is not None:
            return f"at least {self.min:g}"
        if self.max is not None:
            return f"at most {self.max:g}"
        return ""

    def parse(self, text: str) -> Value:
        """Turn what was typed into a checked value.

        An empty text means "not given" for a parameter that has no default.
        Raises ParamError.
        """
        if text == "" and self.default is None:
            return None
        raw: Value = text
        if self.type in ("int", "float"):
            if not text.strip():
                raise ParamError(f"{self.name}: a number is needed")
            if len(text) > LONGEST_NUMBER:
                raise ParamError(f"{self.name}: {len(text):,} characters are no number")
        self._check_length(text)
        if self.type == "int":
            try:
                raw = int(text.strip().replace("_", ""))
            except ValueError:
                raise ParamError(f"{self.name}: {text!r} is not a whole number") from None
        elif self.type == "float":
            try:
                raw = float(text)
            except ValueError:
                raise ParamError(f"{self.name}: {text!r} is not a number") from None
        elif self.type == "bool":
            lowered = text.strip().lower()
            if lowered not in _TRUE + _FALSE:
                raise ParamError(f"{self.name}: {text!r} is neither true nor false")
            raw = lowered in _TRUE
        return self.check(raw, text.strip())

    def check(self, value: Value, typed: str = "") -> Value:
        """Return the value in this parameter's type; raises ParamError when it is not allowed.

        `typed` is the text that the value was made from, for the message.
        """
        if value is None:
            if self.default is None:
                return None
            raise ParamError(f"{self.name}: a value is needed")
        if self.type == "bool":
            if not isinstance(value, bool):
                raise ParamError(f"{self.name}: {value!r} is neither true nor false")
            return value
        if self.type in ("str", "path", "choice"):
            if not isinstance(value, str):
                raise ParamError(f"{self.name}: {value!r} is not text")
            self._check_length(value)
            if "\0" in value:
                raise ParamError(f"{self.name}: text cannot hold a NUL")
            if self.type == "choice" and value not in self.choices:
                raise ParamError(f"{self.name}: {value!r} is not one of {', '.join(self.choices)}")
            return value
        return self._check_number(value, typed or str(value))

    def _check_length(self, text: str) -> None:
        if len(text) > LONGEST_TEXT:
            raise ParamError(
                f"{self.name}: a text of {len(text):,} characters; {LONGEST_TEXT:,} at most"
            )

    def _check_number(self, value: Value, typed: str) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ParamError(f"{self.name}: {value!r} is not a number")
        number: int | float
        if self.type == "int":
            if isinstance(value, float) and not value.is_integer():
                raise ParamError(f"{self.name}: {value!r} is not a whole number")
            number = int(value)
            if abs(number) > MAX_INT:
                raise ParamError(f"{self.name}: the number is too large (at most {MAX_INT})")
        else:
            try:
                number = float(value)
            except OverflowError:
                raise ParamError(f"{self.name}: the number is too large") from None
            if math.isnan(number):
                raise ParamError(f"{self.name}: not-a-number is not a value")
        if self.min is not None and number < self.min:
            raise ParamError(f"{self.name}: {typed} is below the least allowed, {self.min:g}")
        if self.max is not None and number > self.max:
            raise ParamError(f"{self.name}: {typed} is above the most allowed, {self.max:g}")
        return number
