"""How metrics and sizes are written, wherever it is: lists, screens, commands, what recipes print.

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
