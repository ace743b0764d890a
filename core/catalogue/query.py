"""The small query language for lists of runs.

    state:running recipe:torch* accuracy>0.98 lr<=0.1 tag:dp -name:foo "free text"

Terms are separated by spaces and all must hold; a minus in front turns one around. Quote what has
spaces or colons in it. Letter case does not matter, except in the names of metrics and parameters.

    field:pattern    one of FIELDS or a parameter; the whole of it must fit, with * ? [a-z] as in
                     file names. Of an id its beginning is enough. A tag fits if any of the run's
                     does, a device if the one asked for or the one given does. Also field=pattern,
                     field!=pattern.
    name>0.98        > >= < <= = != with a number (98% is 0.98), for
                       a metric's last value, by its whole name,
                       a parameter (= and != also with a pattern: mode=graph; params.lr is the
                       parameter whatever metric has that name),
                       a metric by what follows its last slash, as accuracy for test/accuracy: the
                       run's headline if that fits, else any that does (of private/… none),
                       progress (0 to 1), epsilon (inf: no bound), exit_code.
                     loss=nan finds runs whose last value is not finite. A run that has no such
                     value fits no comparison, not even !=.
                     A name that no run has is an error, where the runs' names are known.
    age<2h           how long ago it was made, with 90s, 30m, 2h, 3d, 2w, 1h30m.
    took>5m          how long it has run; eta<1h, how long it still will.
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
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from traindeck.core.base.errors import UsageError
from traindeck.core.base.nearest import did_you_mean
from traindeck.core.catalogue.values import PARAMS, is_known, unknown, values_of
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
LONGEST = 10_000

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


def parse(text: str, clock: Callable[[], float] = time.time, names: Collection[str] = ()) -> Query:
    """Understand a query; ``clock`` (unix seconds) is what ages count back from.

    names  the parameters and metrics of the runs (`values.names_of`): with them a name that none
           has is an error, and parameters are fields

    Raises QueryError.
    """
    if len(text) > LONGEST:
        raise QueryError(f"a query of {len(text):,} characters; {LONGEST:,} at most", LONGEST)
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
        sign_text = _checked(name, sign[1] or ":", start + negated, names)
        term = _term(name, sign_text, value, at, clock)
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


def _checked(name: str, sign: str, at: int, names: Collection[str]) -> str:
    """The sign of a term whose name can be meant: of what is no field a colon says `=`."""
    is_field, is_time = name.casefold() in FIELDS, name in TIMES
    if is_field and sign in _ORDER:
        raise QueryError(f"{name} is text and has no order: write {name}:pattern", at)
    if is_field or (is_time and sign != ":"):
        return sign
    if is_time or name in NUMBERS or name.startswith(PARAMS) or is_known(name, names):
        return "=" if sign == ":" else sign
    fields = (*FIELDS, *TIMES, *NUMBERS)
    if sign == ":":
        mend = did_you_mean(name, (*fields, *names))
        raise QueryError(
            f"there is no field {name!r}; "
            + (f"{mend} " if mend else "")
            + f"fields are {', '.join(fields)} and parameters; quote a text that has a colon",
            at,
        )
    if names:
        raise QueryError(unknown(name, (*fields, *names)), at)
    return sign


def _term(name: str, sign: str, value: str, at: int, clock: Callable[[], float]) -> Term:
    if name.casefold() in FIELDS:
        term = _field(name.casefold(), value, at)
        return _not(term) if sign == "!=" else term
    if name == "created":
        return _created(sign, value, at, clock)
    if name in TIMES:
        return _span(name, sign, value, at, clock)
    return _comparison(name, sign, value, at)


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
    "tags": ("tags",),
    "reason": ("reason",),
    "notes": ("notes",),
}
TIMES = ("age", "took", "eta", "created")
NUMBERS = ("progress", "epsilon", "exit_code")


def _field(name: str, value: str, at: int) -> Term:
    if name == "id" and not _GLOB.search(value):
        value += "*"
    fits = _pattern(value)
    if name == "state" and not any(map(fits, STATES)):
        raise QueryError(f"no state fits {value!r}; states are {', '.join(STATES)}", at)
    key, *others = FIELDS[name]
    if key == "tags":
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
    values = values_of(name)
    if wanted is not None and sign in _ORDER:
        compare = _ORDER[sign]

        def term(doc: Doc) -> bool:
            for value in values(doc):  # noqa: SIM110 - quicker than any() of a generator
                if type(value) in _NUMBERS and compare(value, wanted):
                    return True
            return False
    else:
        fits = _pattern(value)

        def term(doc: Doc) -> bool:
            return any(_equals(value, wanted, fits) == (sign != "!=") for value in values(doc))

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


# Times


def _span(name: str, sign: str, value: str, at: int, clock: Callable[[], float]) -> Term:
    if not _DURATION.fullmatch(value) or sign not in _ORDER:
        what = "an age" if name == "age" else f"what it {name}" if name == "took" else "an ETA"
        raise QueryError(f"{what} is compared as in {name}<2h; units are s, m, h, d and w", at)
    parts = _DURATION_PART.findall(value)
    seconds = sum(float(count) * _SECONDS[unit.lower()] for count, unit in parts)
    compare = _ORDER[sign]
    spans: dict[str, Callable[[Doc], float | None]] = {
        "age": lambda doc: None if doc.get("created") is None else clock() - doc["created"],
        "took": lambda doc: doc.get("seconds"),
        "eta": lambda doc: doc["progress"]["eta_seconds"] if doc.get("progress") else None,
    }
    span = spans[name]

    def term(doc: Doc) -> bool:
        known = span(doc)
        return known is not None and compare(float(known), seconds)

    return term


def _created(sign: str, value: str, at: int, clock: Callable[[], float]) -> Term:
    span = _days(value.casefold(), clock())
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
    within: Callable[[float], bool] = holds.get(sign, lambda t: first <= t < end)
    return lambda doc: doc.get("created") is not None and within(doc["created"])


def _days(text: str, now: float) -> tuple[float, float] | None:
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
