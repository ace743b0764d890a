"""How long a run has from a stop, SIGTERM, until SIGKILL: to save a checkpoint, for one.

Said for one run (`--grace`), else by its recipe's header, else in settings.toml.
"""

from __future__ import annotations

from traindeck.core.base.errors import UsageError

USUAL_GRACE = 30.0
MOST_GRACE = 7 * 86400.0


def is_grace(seconds: object) -> bool:
    """Whether it is a number of seconds that a grace may last."""
    sound = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return sound and 0 <= float(seconds) <= MOST_GRACE  # type: ignore[arg-type]


def check_grace(seconds: float | None) -> None:
    """Raises UsageError for one that was typed and cannot be."""
    if seconds is not None and not is_grace(seconds):
        raise UsageError(f"a grace of {seconds:g} s is not from 0 to {MOST_GRACE:g} s")


def first_said(*said: float | None) -> float:
    """The first of these that is said, else the usual one."""
    return next((seconds for seconds in said if seconds is not None), USUAL_GRACE)
