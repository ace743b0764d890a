"""What tracebacks and warnings say: code and words about a run, none of them its metrics."""

from __future__ import annotations

import re
from collections.abc import Callable

from traindeck.core.exchange.printed import names

_NEAR, _FAR = 2000, 1 << 14  # bytes

_PLACE = re.compile(rb'\s+File "[^"]*", line \d+')
_WARNED = re.compile(rb"\S+:\d+: \w*Warning: ")
_NAMED = re.compile(r"(?:\w+\.)*([A-Z]\w*): ")
_ENDS = ("Error", "Exception", "Warning", "Exit", "Interrupt")
_BEGUN = b"Traceback (most recent call last)"
# Places with their code, as Python shows them, or the foot of rich's box.
_TRACE = re.compile(rb'\n  File "[^"\n]*", line \d+[^\n]*\n(?:    [^\n]*\n){0,12}\Z')
_FOOT = re.compile(rb"\n\xe2\x95\xb0[^\n]*\n\Z")


def is_told(line: str, above: Callable[[int], bytes]) -> bool:
    """Whether a line is of a traceback or a warning: its code, its exception, or its place.

    above  gives so many bytes of the text above the line
    """
    if line.startswith("  "):
        last = above(_NEAR).rstrip(b"\n").rpartition(b"\n")[2]
        return _PLACE.match(last) is not None or ("(" in line and _WARNED.match(last) is not None)
    if (named := _NAMED.match(line)) is not None:
        return _is_raised(named[1], above)
    return "Warning: " in line and _WARNED.match(line.encode("utf-8", "replace")) is not None


def _is_raised(word: str, above: Callable[[int], bytes]) -> bool:
    """Whether what stands under a traceback is an exception of this name.

    Stacks are shown without an exception, too: below them a name counts only where it is no
    metric's, no step's and no level's, and below boxes only one that ends as exceptions' do.
    """
    if word.endswith(_ENDS):
        near = above(_NEAR)
        return any(trace.search(near) for trace in (_TRACE, _FOOT))
    if word.isupper() or names.is_metric(word) or names.step_of(word):
        return False
    return _TRACE.search(above(_NEAR)) is not None and _BEGUN in above(_FAR)
