"""What tracebacks and warnings say: code and words about a run, none of them its metrics."""

from __future__ import annotations

import re

LOOK_BACK = 2000  # bytes

_PLACE = re.compile(rb'\s+File "[^"]*", line \d+')
_WARNED = re.compile(rb"\S+:\d+: \w*Warning: ")
_NAMED = re.compile(r"[A-Za-z_][\w.]*: ")
# Python's places with their code, or the foot of rich's box.
_TRACE = re.compile(
    rb'\n  File "[^"\n]*", line \d+[^\n]*\n(?:    [^\n]*\n){0,12}$|\n\xe2\x95\xb0[^\n]*\n$'
)


def is_code(line: str, above: bytes) -> bool:
    """Whether a line is the code that a traceback or a warning shows; `above`: the text above."""
    if not line.startswith("  "):
        return False
    last = above.rstrip(b"\n").rpartition(b"\n")[2]
    return _PLACE.match(last) is not None or _WARNED.match(last) is not None


def is_said(line: str, above: bytes) -> bool:
    """Whether a line is the exception under a traceback, or a warning with its place."""
    if _NAMED.match(line):
        return _TRACE.search(above) is not None
    return _WARNED.match(line.encode("utf-8", "replace")) is not None
