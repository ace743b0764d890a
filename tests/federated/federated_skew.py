"""Imported by owners: each then has a clock of its own, a year before or ahead, or right."""

from __future__ import annotations

import os
import time

YEAR = 365 * 86400.0
_now = time.time


def skewed() -> float:
    return _now() + (os.getpid() % 3 - 1) * YEAR


time.time = skewed
