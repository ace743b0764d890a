"""Whether a run was asked to stop: by SIGTERM, by Ctrl-C by hand, or, a rank, by its starter.

Standard library only: recipes import this.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from traindeck.core.run.ranks import Rank


class Asked:
    """signal  the number of the signal that asked; None as long as none did"""

    def __init__(self, rank: Rank | None = None) -> None:
        self.signal: int | None = None
        self._listening = rank is not None and bool(rank.run)
        if rank is not None:
            rank.listen(self._hear)

    def to_stop(self) -> bool:
        """From the first call on, the first of these signals no longer ends the process."""
        if not self._listening and threading.current_thread() is threading.main_thread():
            self._listening = True
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
        return self.signal is not None

    def _hear(self, number: int) -> None:
        self.signal = number

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(
            number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler
        )
        if number == signal.SIGINT:
            os.write(2, b"\nstopping after this step; Ctrl-C again ends at once\n")
