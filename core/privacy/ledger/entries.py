"""What may stand in a ledger: these types of entries with these fields, and nothing else.

    create      a data set's budget: unit, relation, delta and order never change afterwards
    set         another budget; of 0 nothing more is admitted
    pin         a data set's contents, at its first use: HMAC-SHA-256 of their hash under the home's
                secret (`hmac:…`), so that what is shown or exported tells nothing of a record; in
                ledgers of before the hash itself
    derive      another data set that is made `of` this one and spends its budget
    reserve     a run's whole plan (a `Mechanism`), before it starts; `rho` is what a step costs
    commit      the steps, counted from the run's first, whose noise may now be released
    settle      a run has ended after so many steps; the rest of its plan is given back
    import      a run that was made elsewhere and is over: it released all of its mechanism, and is
                charged for it whatever is left
    expose      a run that has no finite epsilon
    quarantine  a run whose audit found more than it claims
    mend        a torn end that was cut off (`dropped` bytes), or a head that had to be made anew

What people decide (create, set, derive, import, expose) may say who did (`by`, as user@host) and
why (`why`), a `set` also what the budget `was`; a reservation or import may name the `delta` of its
epsilon. Ledgers of before these fields are read all the same.

Stored data is never turned into anything but numbers, texts and `Mechanism`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from traindeck.core.base.process import Identity
from traindeck.core.privacy.ledger.lines import ENVELOPE, Entry
from traindeck.core.privacy.mechanism import MAX_STEPS, RELATIONS
from traindeck.core.recipe.accounting import UNITS

KINDS = ("subset", "features")
"""How a data set may be made of another: with at most one record for each of that one's."""
COPIES = "augmentation"
"""With several, by ledgers of before: nothing may spend there, for a plan counts one record."""
MAX_TEXT = 500

_name = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}").fullmatch
_run = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}").fullmatch
_fingerprint = re.compile(r"(hmac:)?[0-9a-f]{64}").fullmatch

Check = Callable[[Any], bool]


def is_name(value: object) -> bool:
    """Whether a data set of this name can have a ledger."""
    return isinstance(value, str) and _name(value) is not None


def _is_run(value: object) -> bool:
    return isinstance(value, str) and _run(value) is not None


def _is_fingerprint(value: object) -> bool:
    return isinstance(value, str) and _fingerprint(value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_STEPS


def _is_number(value: object) -> bool:
    if type(value) is int:
        return abs(value) <= 2**53
    return isinstance(value, float) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_share(value: Any) -> bool:
    return _is_positive(value) and value < 1


def _is_budget(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_process(value: Any) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, dict) and Identity.from_json(value).to_json() == value
    except ValueError:
        return False


def _one_of(*values: str) -> Check:
    return lambda value: value in values


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


_EPSILON: dict[str, Check] = {"epsilon": _is_positive, "rho_budget": _is_positive}
_FIELDS: dict[str, dict[str, Check]] = {
    "create": {
        "name": is_name,
        "unit": _one_of(*UNITS),
        "relation": _one_of(*RELATIONS),
        "delta": _is_share,
        **_EPSILON,
        "order": lambda value: _is_number(value) and value > 1,
        "fingerprint": _or_null(_is_fingerprint),
    },
    "set": {"epsilon": _is_budget, "rho_budget": _is_budget},
    "pin": {"dataset": is_name, "fingerprint": _is_fingerprint},
    "derive": {
        "child": is_name,
        "of": is_name,
        "kind": _one_of(*KINDS, COPIES),
        "fingerprint": _or_null(_is_fingerprint),
    },
    "reserve": {
        "run": _is_run,
        "recipe": _is_text,
        "dataset": is_name,
        "mechanism": lambda value: isinstance(value, dict),
        "rho": _is_positive,
        "epsilon": lambda value: _is_number(value) and value >= 0,
        "who": _is_process,
    },
    "commit": {"run": _is_run, "steps": _is_count},
    "settle": {"run": _is_run, "steps": _is_count, "state": _is_text},
    "import": {
        "run": _is_run,
        "recipe": _is_text,
        "dataset": is_name,
        "mechanism": lambda value: isinstance(value, dict),
        "rho": _is_positive,
        "epsilon": lambda value: _is_number(value) and value >= 0,
    },
    "expose": {"run": _is_run, "recipe": _is_text, "dataset": is_name, "reason": _is_text},
    "quarantine": {"run": _is_run, "reason": _is_text},
    "mend": {"dropped": _is_count, "reason": _is_text},
}
_DECIDED: dict[str, Check] = {"by": _is_text, "why": _is_text}
_OPTIONAL: dict[str, dict[str, Check]] = {
    "create": _DECIDED,
    "set": {**_DECIDED, "was": _is_budget},
    "derive": _DECIDED,
    "reserve": {"delta": _is_share},
    "import": {**_DECIDED, "delta": _is_share},
    "expose": _DECIDED,
}
_NOT_OWN = ENVELOPE | {"run", "who", "mechanism"}
_KEYS = {type: ENVELOPE | fields.keys() for type, fields in _FIELDS.items()}


def new_entry(type: str, /, **fields: Any) -> Entry:
    """A new entry, of now. Raises ValueError for one that may not stand in a ledger."""
    made = {"t": time.time(), "type": type, **fields}
    check(dict.fromkeys(ENVELOPE) | made)
    return made


def check(entry: Mapping[str, Any]) -> None:
    """Raises ValueError, naming the field, for an entry that may not stand in a ledger."""
    type = entry.get("type")
    if not isinstance(type, str) or type not in _FIELDS:
        raise ValueError(f"type {type!r} is not one that a ledger has")
    optional = _OPTIONAL.get(type, {})
    if odd := sorted((entry.keys() ^ _KEYS[type]) - (entry.keys() & optional.keys())):
        raise ValueError(f"{type}: {', '.join(odd)} unknown or missing")
    for name, is_sound in (*_FIELDS[type].items(), *optional.items()):
        if name in entry and not is_sound(entry[name]):
            raise ValueError(f"{type}: {name} cannot be {entry[name]!r}")


def own_fields(entry: Entry) -> Entry:
    """What an entry says for people, by its type's own fields: no run, process and mechanism."""
    return {name: value for name, value in entry.items() if name not in _NOT_OWN}
