"""A line as its numbers and its shape: what stands between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import nan

MARK = "\x00"
"""Stands for each number in a shape."""

# Digits within a word are part of it (top1, layer.0, acc@5, mAP50-95, valid/2), as is what follows
# a number's second dot. Bounded, so that no run of digits is looked at again and again.
_DECIMAL = (
    r"(?:(?<![\w.])[-+])?(?<![\w.@\x00])(?<!\w-)(?:(?<![A-Za-z_]/)|(?<=[0-9][kKMGT]/))(?<![A-Za-z_]\+)"
    r"(?:[0-9]{1,40}(?:\.[0-9]{1,40}|\.(?![\w.]))?|(?<![\w)\]])\.[0-9]{1,40})"
    r"(?:[eE][-+]?[0-9]{1,4}(?![0-9.]))?"
)
_DIGITS = re.compile(rf"({_DECIMAL})")
_ODD = re.compile(rf"({_DECIMAL}|[-+]?\b(?:[nN]a[nN]|NAN|[iI]nf(?:inity)?|INF)\b)")

# What a bar is filled with differs from line to line.
_TQDM = re.compile(r"%\|[^|]{0,400}\|")
_FASTAI = re.compile(r"\|[\u2588-]{10,200}\|(?= )")
_KERAS = re.compile(r"\[[=>.]{5,200}\]")
_RICH = re.compile(
    r"[\u2501\u2578\u257a\u2500](?:[\u2501\u2578\u257a\u2500 -]{0,300}[\u2501\u2578\u257a\u2500])?"
)


def split(line: str) -> list[str]:
    """A line in pieces: what stands between its numbers, and every second one a number."""
    if "%|" in line:
        line = _TQDM.sub("%||", line)
    elif "|-" in line or "|\u2588" in line:
        line = _FASTAI.sub("||", line)
    elif "[=" in line or "[>" in line or "[." in line:
        line = _KERAS.sub("[=]", line)
    elif not line.isascii() and ("\u2501" in line or "\u2500" in line):
        line = _RICH.sub("\u2501", line)
    if "nan" in line or "inf" in line or "N" in line or "I" in line:
        return _ODD.split(line)
    return _DIGITS.split(line)


_FAST = rb"([-+]?[0-9]{1,40}+(?:\.[0-9]{1,40}+)?(?:[eE][-+]?[0-9]{1,4}+)?)"
_FILLED = {
    re.escape(b"%||"): rb"%\|[^|\n]{0,400}\|",
    re.escape(b"[=]"): rb"\[[=>.]{5,200}\]",
}


def fast(pieces: list[str]) -> re.Pattern[bytes] | None:
    """An expression that matches whole lines of a shape, its groups their numbers.

    It takes only lines that `split` would part in the same way. None where that is not certain.
    """
    if any(piece.startswith((".", "e", "E")) for piece in pieces[2::2]):
        return None
    text = "".join(pieces[::2])
    if "\u2501" in text or " || " in text or len(pieces) > 100:
        return None
    texts = [re.escape(piece.encode()) for piece in pieces[::2]]
    for plain, filled in _FILLED.items():
        texts = [text.replace(plain, filled) for text in texts]
    try:
        return re.compile(_FAST.join(texts) + b"\n")
    except re.error:
        return None


def marked(pieces: list[str]) -> str:
    """The shape as a text, MARK in each number's place."""
    return MARK.join(piece.replace(MARK, "?") for piece in pieces[::2])


def joined(parts: Sequence[str | bytes], *, whole: bool = False) -> float:
    """One number of several that commas part: ``1,024,000``, or ``0,5`` where commas are decimal.

    nan where it is neither, and where it is to be whole and is not.
    """
    texts = [part.decode() if isinstance(part, bytes) else part for part in parts]
    first, rest = texts[0].lstrip("+-"), texts[1:]
    thousands = all(len(text.partition(".")[0]) == 3 for text in rest) and len(first) <= 3
    if thousands and first.isdigit() and first[0] != "0" and "." not in "".join(rest[:-1]):
        return float("".join(texts))
    if len(rest) == 1 and first.isdigit() and rest[0].isdigit() and not whole:
        return float(f"{texts[0]}.{rest[0]}")
    return nan
