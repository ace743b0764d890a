"""Objects on a line: JSON, and what Python's ``print`` makes of dicts, lists, arrays and tensors.

Read from a shape: where a number stood is a MARK, and what is found names each by its place among
the line's numbers. Not `ast.literal_eval`: it knows no nan, no calls, and deep nesting in hostile
input can crash it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from traindeck.core.exchange.printed.numbers import MARK

MAX_DEPTH = 6
MAX_LIST = 16  # items: longer lists are vectors, not metrics
MAX_OBJECTS = 20  # of one line

_TOKEN = re.compile(
    rf"""\s*(?:(?P<mark>{MARK})
    | (?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
    | <tf\.(?:Tensor|Variable)[^<>]{{0,200}}?numpy=(?P<tf>{MARK})[^<>]{{0,40}}>
    | (?P<name>[A-Za-z_][\w.]*)
    | (?P<sign>[-{{}}\[\](),:=]) )""",
    re.VERBOSE,
)
_NO_NUMBERS = ("datetime", "timedelta", "date", "time", "range", "slice", "Size", "Path", "UUID")


class Number(NamedTuple):
    """The place of a number among those of its line."""

    place: int


class Text(str):
    """A string; `first` is the place of the first number in it."""

    first: int = 0


class Object(NamedTuple):
    """One object of a line: where it is in the shape, and what it holds, names to values.

    Values are Number, Text, None (anything else), or dicts and lists of such.
    """

    start: int
    end: int
    value: dict[str, Any]


class _Broken(Exception):
    pass


def objects(shape: str) -> list[Object]:
    """The outermost dicts of a line that are whole, from left to right."""
    found: list[Object] = []
    at = 0
    for _ in range(MAX_OBJECTS):
        at = shape.find("{", at)
        if at < 0 or shape.find("}", at) < 0:
            break
        parser = _Parser(shape, at)
        try:
            value = parser.value(0)
        except _Broken:
            at = max(parser.at, at + 1) if parser.depth <= MAX_DEPTH else len(shape)
            continue
        if isinstance(value, dict):
            found.append(Object(at, parser.at, value))
        at = parser.at
    return found


class _Parser:
    def __init__(self, shape: str, at: int) -> None:
        self.shape = shape
        self.at = at
        self.depth = 0
        self.count = shape.count(MARK, 0, at)

    def value(self, depth: int) -> Any:
        self.depth = max(self.depth, depth)
        if depth > MAX_DEPTH:
            raise _Broken
        token = self._next()
        if token["mark"]:
            return Number(self._number())
        if token["tf"]:
            self.count += token[0].count(MARK)
            return Number(self.count - 1)
        if token["text"] is not None:
            return self._text(token["text"])
        if token["name"]:
            return self._call(token["name"], depth) if self._peek("(") else None
        if token["sign"] == "{":
            return self._dict(depth)
        if token["sign"] in "[(":
            return self._list("])"["[(".index(token["sign"])], depth)
        if token["sign"] == "-" and self._peek_name():  # -inf of a shape without it
            self._next()
            return None
        raise _Broken

    def _dict(self, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if self._take("}"):
            return result
        while True:
            key = self._key()
            self._expect(":")
            result[key] = self.value(depth + 1)
            if self._take("}"):
                return result
            self._expect(",")

    def _key(self) -> str:
        token = self._next()
        if token["mark"]:
            return f"{MARK}{self._number()}{MARK}"
        if token["text"] is None:
            raise _Broken
        return str(_unescaped(self._numbered(token["text"])))

    def _list(self, closing: str, depth: int) -> Any:
        items: list[Any] = []
        while not self._take(closing):
            items.append(self.value(depth + 1))
            if not self._take(","):
                self._expect(closing)
                break
        return items

    def _call(self, name: str, depth: int) -> Any:
        """What is called with one number or list of numbers is that: np.float32(…), tensor(…)."""
        self._expect("(")
        values: list[Any] = []
        while not self._take(")"):
            before, count = self.at, self.count
            token = self._next()
            keyword = token["name"] if token["name"] and self._take("=") else ""
            if not keyword:
                self.at, self.count = before, count
            value = self._loose(depth)
            if not keyword:
                values.append(value)
            if not self._take(","):
                self._expect(")")
                break
        if name.endswith(_NO_NUMBERS) or len(values) != 1:
            return None
        return values[0]

    def _loose(self, depth: int) -> Any:
        """A value, or what looks like none: grad_fn=<NllLossBackward0>."""
        end = re.compile(r"\s*<[^<>]{0,100}>").match(self.shape, self.at)
        if end is None:
            return self.value(depth + 1)
        self.count += end[0].count(MARK)
        self.at = end.end()
        return None

    def _text(self, quoted: str) -> Any:
        first = self.count
        self.count += quoted.count(MARK)
        if quoted[1:-1].strip() == MARK:
            return Number(first)
        text = Text(_unescaped(quoted))
        text.first = first
        return text

    def _numbered(self, quoted: str) -> str:
        """A key with its numbers' places in it."""
        parts = quoted.split(MARK)
        result = parts[0]
        for part in parts[1:]:
            result += f"{MARK}{self._number()}{MARK}{part}"
        return result

    def _number(self) -> int:
        self.count += 1
        return self.count - 1

    def _next(self) -> re.Match[str]:
        token = _TOKEN.match(self.shape, self.at)
        if token is None:
            raise _Broken
        self.at = token.end()
        return token

    def _peek(self, sign: str) -> bool:
        return self.shape.startswith(sign, self.at)

    def _peek_name(self) -> bool:
        return self.shape[self.at : self.at + 1].isalpha()

    def _take(self, sign: str) -> bool:
        before = self.at
        token = _TOKEN.match(self.shape, before)
        if token is not None and token["sign"] == sign:
            self.at = token.end()
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise _Broken


def _unescaped(quoted: str) -> str:
    inner = quoted[1:-1]
    if "\\" not in inner:
        return inner
    escapes = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}

    def char(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "u" and len(code) == 5:
            return chr(int(code[1:], 16))
        return escapes.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", char, inner)
