"""How a metric's value is written, wherever it is: lists, screens, commands, what recipes print.

Standard library only: recipes import this.
"""

from __future__ import annotations

import math


def figure(value: float) -> str:
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
