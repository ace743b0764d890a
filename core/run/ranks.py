"""One of several processes that train one run together: which it is, and what it hears of the stop.

Whoever starts the ranks gives each TRAINDECK_RANK and, as its standard input, a pipe: a byte on it
is the number of a signal, its end is that of whoever started them. Ranks that torchrun started are
known by its own variables, and hear nothing.

Standard library only: recipes import this.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

from traindeck.core.base.environ import RANK

STARTER_GONE = 1  # the exit code of a rank that is left alone


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of a run's.

    number   from 0; rank 0 alone records, spends and writes checkpoints
    count    how many ranks there are
    run      the id under which the starter has reserved what is to be spent; "" if it did not
    meeting  where the ranks find each other, as `torch.distributed` is told it
    """

    number: int
    count: int
    run: str
    meeting: str

    def variable(self) -> dict[str, str]:
        """What makes a process this rank."""
        return {RANK: json.dumps(asdict(self))}

    def listen(self, hear: Callable[[int], None]) -> None:
        """Hear of signals from the starter alone, which gets them too, and end when it does."""
        if not self.run:
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

        def forever() -> None:
            while told := os.read(0, 1):
                hear(told[0])
            os._exit(STARTER_GONE)

        threading.Thread(target=forever, name="traindeck-rank", daemon=True).start()


def own() -> Rank | None:
    """The rank that this process is. What it starts is none."""
    if text := os.environ.pop(RANK, ""):
        return Rank(**json.loads(text))
    if "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ:
        return Rank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "", "env://")
    return None
