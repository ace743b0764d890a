"""Writing down how a run ended, whatever the disk does meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from traindeck.core.base.process import call_oneself
from traindeck.core.run.folder import encode_exit
from traindeck.core.run.state import Verdict, boottime
from traindeck.core.run.verdict import spoken

RETRY_SECONDS = 24 * 3600.0


def write_end(
    exit_file: int, end: dict[str, Any], verdict: Verdict, wait: Callable[[float], None]
) -> None:
    """Write exit.json; while that fails, as long as a day, readers hear it from our name."""
    deadline = boottime() + RETRY_SECONDS
    while boottime() < deadline:
        try:
            os.pwrite(exit_file, encode_exit(end), 0)
            os.fsync(exit_file)
            return
        except OSError:  # a read-only disk may come back
            call_oneself(spoken(verdict))
            wait(1.0)
