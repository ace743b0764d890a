"""From bytes in whatever pieces to whole lines; what draws or colors a line is taken off it."""

from __future__ import annotations

import re

MAX_LINE = 1 << 16  # bytes

_CODES = re.compile(r"\x1b\[[0-9;?]{0,32}[A-Za-z]|\x1b\][^\x07\x1b]{0,400}(?:\x07|\x1b\\)|\x08")


class Lines:
    """Joins what arrives to whole lines; those over MAX_LINE bytes are left out."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of the line that has not ended
        self._rest_size = 0
        self._too_long = False  # that line, so far

    def feed(self, chunk: bytes) -> bytes:
        """The lines that ``chunk`` ends, each with a newline; empty if it ends none."""
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if not end:
            self._keep(chunk)
            return b""
        lines = b"".join((*self._rest, chunk[:end]))
        if self._too_long:
            lines = lines[1 + min(i for i in (lines.find(b"\n"), lines.find(b"\r")) if i >= 0) :]
        self._rest, self._rest_size, self._too_long = [], 0, False
        self._keep(chunk[end:])
        if b"\r" in lines:  # a progress bar redraws its line after it: that ends a line, too
            lines = lines.replace(b"\r", b"\n")
        return lines

    def _keep(self, part: bytes) -> None:
        self._rest_size += len(part)
        if self._rest_size > MAX_LINE:
            self._too_long, self._rest = True, []
        elif part:
            self._rest.append(part)


def undrawn(text: str) -> str:
    """Text without the codes that color it or move the cursor."""
    return _CODES.sub("", text) if "\x1b" in text or "\x08" in text else text
