"""What tracebacks and warnings say: code and words about a run, none of them its metrics."""

from __future__ import annotations

import re

from traindeck.core.exchange.printed import names

LOOK_BACK = 1 << 14  # bytes
_NEAR = 2000

_PLACE = re.compile(rb'\s+File "[^"]*", line \d+')
_WARNED = re.compile(rb"\S+:\d+: \w*Warning: ")
_NAMED = re.compile(r"(?:\w+\.)*([A-Z]\w*): ")
_ENDS = ("Error", "Exception", "Warning", "Exit", "Interrupt")
_BEGUN = b"Traceback (most recent call last)"
# Places with their code, as Python shows them, or the foot of rich's box.
_TRACE = re.compile(rb'\n  File "[^"\n]*", line \d+[^\n]*\n(?:    [^\n]*\n){0,12}\Z')
_FOOT = re.compile(rb"\n\xe2\x95\xb0[^\n]*\n\Z")


def is_code(line: str, above: bytes) -> bool:
    """Whether a line is the code that a traceback or a warning shows; `above`: the text above."""
    if not line.startswith("  "):
        return False
    last = above[-_NEAR:].rstrip(b"\n").rpartition(b"\n")[2]
    return _PLACE.match(last) is not None or ("(" in line and _WARNED.match(last) is not None)


def is_said(line: str, above: bytes) -> bool:
    """Whether a line is the exception under a traceback, or a warning with its place.

    Stacks are shown without an exception, too: below them a name counts only where it is no
    metric's, no step's and no level's, and below boxes only one that ends as exceptions' do.
    """
    named = _NAMED.match(line)
    if named is None:
        return _WARNED.match(line.encode("utf-8", "replace")) is not None
    word = named[1]
    if word.endswith(_ENDS):
        return any(trace.search(above[-_NEAR:]) for trace in (_TRACE, _FOOT))
    if word.isupper() or names.is_metric(word) or names.step_of(word):
        return False
    return _BEGUN in above and _TRACE.search(above[-_NEAR:]) is not None
