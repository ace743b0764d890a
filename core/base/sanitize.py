"""What runs print, made safe to show: no control character of theirs reaches a terminal.

For text of any origin: logs, names, reasons, tags. Markup is another matter: what is returned may
still say ``[red]``, so show it where markup is not interpreted.
"""

from __future__ import annotations

import re
from functools import cache

WIDTH_LIMIT = 8192
WHOLE = 2000
"""So long a reason is shown whole: what mends it is often said last."""

# ECMA-48 (CSI, and the strings OSC, DCS, SOS, PM and APC, in 7-bit and in 8-bit form; other ESC
# sequences) and the bells and backspaces of old progress bars. A string ends on its line or is
# none: otherwise it could swallow the rest of the log, and looking for its end would be quadratic.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x07\x08]"
)
_OVERWRITTEN = re.compile(r"^.*\r(?=[^\r\n])", re.MULTILINE)

# Invisible: they reorder text, join or part letters, or hide in it.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U00013430-\U00013455\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_BROKEN = "\x80-\x9f\ud800-\udfff"
_ODD = re.compile(f"[\x00-\x09\x0b-\x1f\x7f\u2028\u2029{_BROKEN}{_UNSEEN}]")
_UNSEEN_ALL = re.compile(f"[{_UNSEEN}]+")
_BROKEN_ONE = re.compile(f"[{_BROKEN}]")
_MARKS = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_TO_SPELL = re.compile(f"[{_UNSEEN}]|{_MARKS}")
_HEAP_OF_MARKS = re.compile(f"({_MARKS}{{4}}){_MARKS}+")
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_PICTURES |= {0x7F: 0x2421, 0x2028: 0x20, 0x2029: 0x20}


def clean(data: bytes | str, width_limit: int = WIDTH_LIMIT) -> str:
    """Lines as a terminal would have left them, in characters that only ever show themselves.

    Bytes are taken as UTF-8, what is not becomes U+FFFD. Escape sequences (colors, cursor, titles,
    hyperlinks, clipboard) go, a carriage return leaves what was printed after it, tabs become
    spaces, other control characters their pictures (NUL: ␀), and characters that cannot be seen or
    that turn the direction of writing go. A line of more than ``width_limit`` characters (a tab
    being one) ends in "… [+N bytes]", N being the UTF-8 length of what is left out.

    The newline is the only control character in the result. Takes time linear in ``data``.
    """
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    if _ODD.search(text):
        text = _SEQUENCE.sub("", text)
        if "\r" in text:
            text = _OVERWRITTEN.sub("", text).replace("\r", "")
    if len(text) > width_limit:
        text = _too_long(width_limit).sub(_cut, text)
    if _ODD.search(text):
        if not text.isascii():
            text = _BROKEN_ONE.sub("\ufffd", _UNSEEN_ALL.sub("", text))
        text = text.translate(_PICTURES).expandtabs()
    return text if text.isascii() else _HEAP_OF_MARKS.sub(r"\1", text)


def plain(text: bytes | str, limit: int = 200) -> str:
    """One line of at most ``limit`` characters: for names, reasons and other single fields."""
    if isinstance(text, bytes) or not (text.isascii() and text.isprintable()):
        text = clean(text)
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def printable(name: str) -> str:
    """A name on one line of a UTF-8 file, as long as it was: each odd character is U+FFFD."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else "\ufffd" for char in name)


def spelled(text: str) -> str:
    """Text that is to be judged, such as a script to approve: nothing of it is left out.

    What cannot be seen, what would do something to a terminal or to the direction of writing, and
    marks that join other letters are spelled as in ‹U+202E›; tabs become spaces. A line ends where
    Python ends it: after a newline, or after a carriage return, which is shown as ␍.
    """
    if not text.isascii() or _ODD.search(text):
        text = text.replace("\r\n", "\r").replace("\r", "␍\n")
        text = _TO_SPELL.sub(lambda match: f"‹U+{ord(match[0]):04X}›", text)
        text = "".join(
            char if char.isprintable() or char in "\n\t" else f"‹U+{ord(char):04X}›"
            for char in text
        )
    return text.expandtabs()


@cache
def _too_long(limit: int) -> re.Pattern[str]:
    return re.compile(f"^(.{{{limit}}})(.+)", re.MULTILINE)


def _cut(line: re.Match[str]) -> str:
    return f"{line[1]}… [+{len(line[2].encode('utf-8', 'replace'))} bytes]"
