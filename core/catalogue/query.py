"""The small query language for lists of runs.

    state:running recipe:torch* accuracy>0.98 lr<=0.1 tag:dp -name:foo "free text"

Terms are separated by spaces and all must hold; a minus in front turns one around. Quote what has
spaces or colons in it. Letter case does not matter, except in the names of metrics and parameters.

    field:pattern    one of FIELDS; the whole of it must fit, with * ? [a-z] as in file names.
                     Of an id its beginning is enough. A tag fits if any of the run's does, a device
                     if the one asked for or the one given does. Also field=pattern, field!=pattern.
    name>0.98        > >= < <= = != with a number (98% is 0.98), for
                       a metric's last value, by its whole name,
                       a parameter (= and != also with a pattern: mode=graph),
                       a metric by what follows its last slash, as accuracy for test/accuracy: the
                       run's headline if that fits, else any that does (of private/… none),
                       progress (0 to 1), epsilon (inf: no bound), exit_code.
                     loss=nan finds runs whose last value is not finite. A run that has no such
                     value fits no comparison, not even !=.
    age<2h           with 90s, 30m, 2h, 3d, 2w, 1h30m.
    created>=today   with today, yesterday, 2025, 2025-03, 2025-03-31, 2025-03-31T18:30.
    word             in the id, name, recipe, tags or notes; or, from three letters on, its letters
                     in that order in the name or recipe, the first beginning a word: tmn for
                     torch-mnist.
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from traindeck.core.base.errors import UsageError
from traindeck.core.privacy.telemetry import is_private
from traindeck.core.run.state import ENDED, LIVE, UNREACHABLE

Doc = Mapping[str, Any]
Term = Callable[[Doc], bool]

STATES = (*LIVE, *ENDED, UNREACHABLE)

_NAME = re.compile(r"(?:[^\s:<>=!\"']|!(?!=))(?:[^\s:<>=!]|!(?!=))*")
_VALUE = re.compile(r"\S+")
_QUOTED = re.compile(r"""(["'])((?:\\.|(?!\1)[^\\])*)\1""", re.DOTALL)
_OPERATOR = re.compile(r":|\s*(>=|<=|!=|==|=|>|<)\s*")

_NUMBER = re.compile(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)(%?)|[-+]?inf|nan", re.I | re.A)
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?[smhdw])+", re.I | re.A)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)([smhdw])", re.I | re.A)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_GLOB = re.compile(r"[*?\[]")

_NUMBERS = (float, int)  # but not bool, which is an int
_ORDER: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class QueryError(UsageError):
    """A query that cannot be meant; the message says where and what is possible."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.position = position


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; without terms it matches every run."""

    text: str
    terms: tuple[Term, ...]

    def matches(self, doc: Doc) -> bool:
        """Whether all terms hold for a run (`document.RunDoc`)."""
        for term in self.terms:  # noqa: SIM110 - twice as quick as all() of a generator
            if not term(doc):
                return False
        return True


def parse(text: str, clock: Callable[[], float] = time.time) -> Query:
    """Understand a query; ``clock`` (unix seconds) is what ages count back from.

    Raises QueryError.
    """
    terms: list[Term] = []
    words: list[tuple[str, bool]] = []
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            break
        start = at
        negated = text[at] == "-" and at + 1 < len(text) and not text[at + 1].isspace()
        at += negated
        name, at = _token(text, at, _NAME)
        sign = _OPERATOR.match(text, at)
        if sign is None:
            if not name:
                raise QueryError("an empty text matches everything: say what to look for", start)
            words.append((name.casefold(), negated))
            continue
        at = sign.end()
        value, end = _token(text, at, _VALUE)
        if end == at:
            raise QueryError(f"nothing follows {name}{sign[0].strip()}", at)
        term = _term(name, sign[1] or ":", value, start + negated, at, clock)
        terms.append(_not(term) if negated else term)
        at = end
    if words:
        terms.append(_words(words))
    return Query(text, tuple(terms))


def _token(text: str, at: int, bare: re.Pattern[str]) -> tuple[str, int]:
    """A quoted or bare piece of the query, and where it ends: where it starts if there is none."""
    if text[at : at + 1] in ('"', "'"):
        quoted = _QUOTED.match(text, at)
        if quoted is None:
            raise QueryError(f"the quotation that begins with {text[at]} has no end", at)
        return re.sub(r"\\(.)", r"\1", quoted[2], flags=re.DOTALL), quoted.end()
    match = bare.match(text, at)
    if match is None:
        if bare is _NAME:
            possible = "field:pattern, name>number or a word"
            raise QueryError(f"a name is missing before {text[at]!r}; a term is {possible}", at)
        return "", at
    return match[0], match.end()


def _term(
    name: str, sign: str, value: str, name_at: int, value_at: int, clock: Callable[[], float]
) -> Term:
    is_field = name.casefold() in FIELDS
    if sign == ":" and not is_field:
        fields = ", ".join(FIELDS)
        raise QueryError(
            f"there is no field {name!r}; fields are {fields}; quote a text that has a colon",
            name_at,
        )
    if is_field:
        if sign in _ORDER:
            raise QueryError(f"{name} is text and has no order: write {name}:pattern", name_at)
        term = _field(name.casefold(), value, value_at)
        return _not(term) if sign == "!=" else term
    if name == "age":
        return _age(sign, value, value_at, clock)
    if name == "created":
        return _created(sign, value, value_at, clock)
    return _comparison(name, sign, value, value_at)


def _not(term: Term) -> Term:
    return lambda doc: not term(doc)


# Fields and words

# What the document of a run calls them.
FIELDS: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "name": ("name",),
    "recipe": ("recipe",),
    "framework": ("framework",),
    "state": ("state",),
    "device": ("device", "on"),
    "tag": ("tags",),
}


def _field(name: str, value: str, at: int) -> Term:
    if name == "id" and not _GLOB.search(value):
        value += "*"
    fits = _pattern(value)
    if name == "state" and not any(map(fits, STATES)):
        raise QueryError(f"no state fits {value!r}; states are {', '.join(STATES)}", at)
    key, *others = FIELDS[name]
    if name == "tag":
        return lambda doc: any(map(fits, doc.get(key) or ()))
    if others:
        return lambda doc: any(fits(doc.get(each) or "") for each in (key, *others))
    return lambda doc: fits(doc.get(key) or "")


def _pattern(value: str) -> Callable[[str], bool]:
    """Whether a text fits a pattern as of file names, letter case aside."""
    value = value.casefold()
    if not _GLOB.search(value):
        return lambda text: text.casefold() == value
    match = re.compile(fnmatch.translate(value)).match
    # Most runs share their state, recipe and tags with others.
    return lru_cache(1024)(lambda text: match(text.casefold()) is not None)


def _words(words: list[tuple[str, bool]]) -> Term:
    def term(doc: Doc) -> bool:
        names = [(doc.get("name") or "").casefold(), (doc.get("recipe") or "").casefold()]
        texts = [doc.get("id") or "", *(doc.get("tags") or ()), doc.get("notes") or ""]
        everything = "\n".join((*names, *texts)).casefold()
        for word, negated in words:
            hit = word in everything or (
                len(word) > 2 and any(_spread(word, name) for name in names)
            )
            if hit == negated:
                return False
        return True

    return term


def _spread(word: str, text: str) -> bool:
    """Whether a word's letters come in order in a text, the first at the beginning of a word."""
    at = text.find(word[0])
    while at > 0 and text[at - 1].isalnum():
        at = text.find(word[0], at + 1)
    for letter in word:
        at = text.find(letter, at) + 1 if at >= 0 else 0
        if not at:
            return False
    return True


# Comparisons


def _comparison(name: str, sign: str, value: str, at: int) -> Term:
    wanted = _number(value)
    if wanted is None and sign in _ORDER:
        raise QueryError(
            f"{name}{sign} wants a number such as 0.98, 1e-3 or 98%, not {value!r}", at
        )
    values_of = _value_of(name)
    if wanted is not None and sign in _ORDER:
        compare = _ORDER[sign]

        def term(doc: Doc) -> bool:
            for value in values_of(doc):
                if type(value) in _NUMBERS and compare(value, wanted):
                    return True
            return False
    else:
        fits = _pattern(value)

        def term(doc: Doc) -> bool:
            return any(_equals(value, wanted, fits) == (sign != "!=") for value in values_of(doc))

    return term


def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return float(match[1]) / 100 if match[2] else float(text)


def _equals(value: Any, wanted: float | None, fits: Callable[[str], bool]) -> bool:
    if type(value) in _NUMBERS and wanted is not None:
        return bool(value == wanted) or (math.isnan(wanted) and math.isnan(value))
    return fits(str(value).casefold())


def _value_of(name: str) -> Callable[[Doc], list[Any]]:
    """What a name stands for in a run: nothing, one value, or a few."""
    if name == "exit_code":
        return lambda doc: _known(doc.get("exit_code"))
    if name == "epsilon":
        return _epsilon
    if name == "progress":
        return _progress
    ending = f"/{name}"

    def values(doc: Doc) -> list[Any]:
        metrics: Mapping[str, Any] = doc.get("metrics") or {}
        if name in metrics:
            return [_last(metrics[name])]
        params = doc.get("params") or {}
        if name in params:
            return [params[name]]
        headline = doc.get("headline") or ""
        if headline.endswith(ending) and headline in metrics and not is_private(headline):
            return [_last(metrics[headline])]
        return [
            _last(metrics[series])
            for series in metrics
            if series.endswith(ending) and not is_private(series)  # these only by their whole name
        ]

    return values


def _epsilon(doc: Doc) -> list[Any]:
    """Infinite where a run says that there is no bound; nothing for one without accounting."""
    from traindeck.core.privacy.report import epsilon_of  # slow to load, and seldom asked for

    return _known(epsilon_of(doc.get("privacy")))


def _known(value: Any) -> list[Any]:
    return [] if value is None else [value]


def _last(summary: Mapping[str, Any]) -> Any:
    last = summary.get("last")
    return math.nan if last is None else last  # JSON has no NaN


def _progress(doc: Doc) -> list[Any]:
    progress = doc.get("progress")
    return [progress["done"] / progress["total"]] if progress and progress["total"] else []


# Times


def _age(sign: str, value: str, at: int, clock: Callable[[], float]) -> Term:
    if not _DURATION.fullmatch(value) or sign not in _ORDER:
        raise QueryError("an age is compared as in age<2h; units are s, m, h, d and w", at)
    parts = _DURATION_PART.findall(value)
    seconds = sum(float(count) * _SECONDS[unit.lower()] for count, unit in parts)
    compare = _ORDER[sign]
    return lambda doc: any(compare(clock() - t, seconds) for t in _known(doc.get("created")))


def _created(sign: str, value: str, at: int, clock: Callable[[], float]) -> Term:
    span = _span(value.casefold(), clock())
    if span is None:
        raise QueryError(
            f"created{sign} wants a day such as today, yesterday, 2025-03-31 or "
            f"2025-03-31T18:30, not {value!r}; for how long ago, write age<2h",
            at,
        )
    first, end = span
    holds: dict[str, Callable[[float], bool]] = {
        ">": lambda t: t >= end,
        ">=": lambda t: t >= first,
        "<": lambda t: t < first,
        "<=": lambda t: t < end,
        "!=": lambda t: not first <= t < end,
    }
    within = holds.get(sign, lambda t: first <= t < end)
    return lambda doc: any(map(within, _known(doc.get("created"))))


def _span(text: str, now: float) -> tuple[float, float] | None:
    """When a day, month, year, minute or second begins and ends, local time, unix seconds."""
    try:
        today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
        day = timedelta(days=1)
        if text == "today":
            first, end = today, today + day
        elif text == "yesterday":
            first, end = today - day, today
        elif re.fullmatch(r"\d{4}", text, re.A):
            first = datetime(int(text), 1, 1)
            end = datetime(first.year + 1, 1, 1)
        elif re.fullmatch(r"\d{4}-\d{2}", text, re.A):
            first = datetime.fromisoformat(f"{text}-01")
            end = (first + 31 * day).replace(day=1)
        elif re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.A):
            first = datetime.fromisoformat(text)
            end = first + day
        elif re.fullmatch(r"\d{4}-\d{2}-\d{2}t\d{2}:\d{2}(:\d{2})?", text, re.A):
            first = datetime.fromisoformat(text.upper())
            end = first + timedelta(seconds=60 if len(text) == 16 else 1)
        else:
            return None
        return first.timestamp(), end.timestamp()
    except (ValueError, OverflowError, OSError):  # no such day, or none a computer can tell
        return None
