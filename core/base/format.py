"""How metrics, sizes and times are written wherever it is: lists, screens, commands, what recipes
print.

Standard library only: recipes import this.
"""

from __future__ import annotations

import math

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def compact(value: float) -> str:
    """A value in at most nine characters: `0.9853`, `17430`, `1.78e+05`, `∞`, `nan`."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:.0f}"
    return f"{value:.2e}"


def percent(done: float, total: float) -> int:
    """How much is done, from 0 to 100: whole per cents that are done, never rounded up."""
    return math.floor(min(100.0, max(0.0, 100 * done / total)) + 1e-9)  # 0.29 * 100 < 29


def size(amount: float) -> str:
    """Bytes in decimal units: `999 B`, `1.2 MB`."""
    if not math.isfinite(amount):
        return "?"
    for unit in _UNITS:
        if abs(amount) < 999.5 or unit == _UNITS[-1]:
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or abs(amount) >= 99.5 else f"{amount:.3g} {unit}"


def counted(count: int, word: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def timespan(seconds: float) -> str:
    """Whole seconds in two units at most: `42s`, `3m05s`, `2h07m`, `5d03h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def harmless(text: str) -> str:
    """The same lines; nothing in them does anything to a terminal (`sanitize.clean`)."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    from traindeck.core.base.sanitize import clean

    return clean(text)


def on_one_line(text: str) -> str:
    """A name that breaks lines would otherwise say what it likes on lines of its own."""
    return " ".join(harmless(text).splitlines())
