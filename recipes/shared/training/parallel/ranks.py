"""What the ranks of a run do together, in any framework; alone there is nothing to do."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from traindeck.core import track
from traindeck.core.base.errors import USAGE

LOST = 75  # exit code of a rank that could not go on without another (sysexits.h: try again)
SECONDS = 300.0
METERED = ("cpu_percent", "memory_rss_bytes")
"""What a rank says of itself, as the series of the whole run are called."""
TIMEOUT = "TRAINDECK_RANK_TIMEOUT"  # in the environment: seconds that ranks wait for each other


def timeout() -> float:
    """Seconds that a rank waits for the others before it takes them for hung."""
    try:
        return float(os.environ.get(TIMEOUT, SECONDS))
    except ValueError:
        track.abort(f"{TIMEOUT}: not a number of seconds: {os.environ[TIMEOUT]}", USAGE)


def check_divides(batch_size: int, workers: int) -> None:
    """End the recipe (2) where ranks could not have equal parts of a batch."""
    if batch_size % workers:
        most = batch_size - batch_size % workers
        near = f"{most} or {most + workers}" if most else f"{workers}"
        track.abort(
            f"batch_size {batch_size} cannot be divided among {workers} workers: take {near}", USAGE
        )


class Ranks:
    """One rank among the others; this one has no others.

    number  of this one, from 0: the first logs, tests and writes checkpoints
    count   how many there are
    """

    number = 0
    count = 1

    def agree(self, decision: bool) -> bool:
        """What rank 0 decides, at all of them."""
        return decision

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """As many values of each rank, by rank, at all of them."""
        return [list(values)]

    def part(self, batch: slice) -> slice:
        """This rank's share of a batch that `check_divides` has let pass."""
        size = (batch.stop - batch.start) // self.count
        at = batch.start + self.number * size
        return slice(at, at + size)


ALONE = Ranks()


class Meter:
    """What this process uses, between one reading and the next."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Per cent of one core, and bytes of memory, as the series of the whole run have them."""
        wall, cpu = time.perf_counter(), time.process_time()
        percent = 100 * (cpu - self._cpu) / max(wall - self._wall, 1e-9)
        self._wall, self._cpu = wall, cpu
        return dict(zip(METERED, (percent, float(_resident())), strict=True))


def of_ranks(ranks: Ranks, values: Mapping[str, float]) -> dict[str, float]:
    """What each rank says of itself, as `rankN/…`; nothing of one that is alone."""
    if ranks.count == 1:
        return {}
    return by_rank(values, ranks.gather(list(values.values())))


def by_rank(names: Iterable[str], rows: Iterable[Sequence[float]]) -> dict[str, float]:
    """What each rank has said of itself, a row each, as `rankN/…`."""
    return {
        f"rank{number}/{name}": value
        for number, row in enumerate(rows)
        for name, value in zip(names, row, strict=True)
    }


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most << 10
