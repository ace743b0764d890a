"""Names that were likely meant by one that is none."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The names most like one that is none, the best first; at most three."""
    from difflib import get_close_matches

    spelled: dict[str, str] = {}
    for each in known:
        spelled.setdefault(each.casefold(), each)
        spelled.setdefault(each.rsplit("/", 1)[-1].casefold(), each)
    likely = get_close_matches(name.casefold(), spelled, n=6, cutoff=0.6)
    return list(dict.fromkeys(spelled[each] for each in likely))[:3]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question that goes into an error, such as `did you mean loss or los2?`, or nothing."""
    likely = nearest(name, known)
    return f"did you mean {' or '.join(likely)}?" if likely else ""
