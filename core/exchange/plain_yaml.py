"""The plain part of YAML: nested names, lists and scalars, as trackers write parameters.

No tag makes an object and no anchor is followed: `!!python/object…` is a text here. That is also
why no YAML library is asked: what others wrote can neither run anything nor unfold without end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

MOST_LINES = 20_000
LONGEST_LINE = 4000
_DEEPEST = 20
_KEY = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#'"\[\]{}&*!|>%@`-][^#]*?|-[^\s#][^#]*?)"""
    r"""\s*:(?:\s+|$)(.*)"""
)
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}


class _Line(NamedTuple):
    indent: int
    text: str


def load(text: str) -> dict[str, Any]:
    """The mapping that a document holds; empty where it holds none. Never raises."""
    raws = [raw[:LONGEST_LINE] for raw in text.splitlines()[:MOST_LINES]]
    lines = [_Line(len(raw) - len(raw.lstrip(" ")), raw.strip()) for raw in raws]
    lines = [line for line in lines if line.text and line.text[0] not in "#%"]
    lines = [line for line in lines if line.text not in ("---", "...", "{}")]
    if not lines:
        return {}
    if lines[0].text.startswith("{"):
        found = _flow(" ".join(line.text for line in lines))
        return found if isinstance(found, dict) else {}
    value, _ = _block(lines, 0, lines[0].indent, 0)
    return value if isinstance(value, dict) else {}


def dump(values: dict[str, Any]) -> str:
    """A flat mapping as YAML: names and values as JSON writes them, which is YAML as well."""
    return "".join(f"{json.dumps(name)}: {_scalar(value)}\n" for name, value in values.items())


def _scalar(value: Any) -> str:
    text = json.dumps(value, default=str)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # YAML 1.1 takes 1e-05 for a text
    return {"NaN": ".nan", "Infinity": ".inf", "-Infinity": "-.inf"}.get(text, text)


def _block(lines: list[_Line], at: int, indent: int, depth: int) -> tuple[Any, int]:
    """A mapping or a list from a line on, and the line behind it."""
    if lines[at].text.startswith("- ") or lines[at].text == "-":
        items: list[Any] = []
        while at < len(lines) and lines[at].indent == indent and lines[at].text.startswith("-"):
            rest = lines[at].text[1:].strip()
            more = list(_deeper(lines, at + 1, indent))
            items.append(_value(" ".join([rest, *(line.text for line in more)])))
            at += 1 + len(more)
        return items, at
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at].indent == indent:
        match = _KEY.fullmatch(lines[at].text)
        if match is None:
            at += 1
            continue
        name, rest = str(_value(match[1]) if match[1][0] in "'\"" else match[1]), match[2].strip()
        at += 1
        more = list(_deeper(lines, at, indent))
        is_list = at < len(lines) and lines[at].indent == indent and lines[at].text[:2] == "- "
        if is_list and not rest:
            found[name], at = _block(lines, at, indent, depth + 1)
        elif more and rest in ("|", "|-", ">", ">-", "|+", ">+"):
            found[name] = ("\n" if rest[0] == "|" else " ").join(line.text for line in more)
            at += len(more)
        elif more and (not rest or rest[0] in "!&") and depth < _DEEPEST:
            inner, end = _block(lines, at, more[0].indent, depth + 1)
            found[name] = rest if rest.startswith("!") else inner
            at = max(end, at + len(more))
        else:
            found[name] = _value(" ".join([rest, *(line.text for line in more)]))
            at += len(more)
    return found, at


def _deeper(lines: list[_Line], at: int, indent: int) -> Iterator[_Line]:
    while at < len(lines) and lines[at].indent > indent:
        yield lines[at]
        at += 1


def _value(text: str) -> Any:
    text = text.strip()
    if text[:1] == '"' or text[:1] in "[{":
        return _flow(text)
    if text[:1] == "'" and text[-1:] == "'" and len(text) > 1:
        return text[1:-1].replace("''", "'")
    text = text.partition(" #")[0].rstrip()
    lower = text.lower()
    if lower in _WORDS:
        return _WORDS[lower]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if lower.strip("-+") in (".inf", ".nan"):
        return float(lower.replace(".", ""))
    return text


def _flow(text: str) -> Any:
    """What stands on one line in quotes, brackets or braces, if JSON would have it so as well."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    inner = text[1:-1]
    if text.startswith("[") and text.endswith("]") and not re.search(r"[\[\]{}'\"]", inner):
        return [_value(part) for part in inner.split(",") if part.strip()]
    return text.strip('"')
