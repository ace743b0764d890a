"""What is lost when a recipe is killed with -9: kept points against what it had logged.

    python tests/bench/bench_kill.py [--kills 40] [--rate 1000]

A recipe logs two series, notes each call in shared memory that outlives it, and is killed at a
random moment. While it runs, points.bin is read as the screens read it: what was seen there is
flushed. Afterwards every record is read again. Wanted: no flushed point lost or changed, and at
most 0.25 s of logged points that were not flushed yet.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.common import (
    head,
    make_recipe,
    percentile,
    process_of,
    row,
    start,
    throwaway_home,
    until,
    wait_for_end,
)
from traindeck.core.base.home import Home
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.follow import PointTail
from traindeck.core.run.points import RECORD

AT_ONCE = 4
NOTE = struct.Struct("<qd")  # how many calls have returned, and when the last one did
LOGGER = f"""
import mmap, os, struct, time
from traindeck.core import track

note = struct.Struct("{NOTE.format}")
rate = float(os.environ["BENCH_RATE"])
with track.start() as run, open(run.folder / "notes", "w+b") as file:
    file.truncate(mmap.PAGESIZE)
    shared = mmap.mmap(file.fileno(), 0)
    begun, step = time.monotonic(), 0
    while True:
        run.log(step, {{"steps": step, "halves": step / 2}})
        step += 1
        note.pack_into(shared, note.size * (step % 2), step, time.time())
        shared[2 * note.size] = step % 2  # which of the two notes is whole
        time.sleep(max(0.0, begun + step / rate - time.monotonic()))
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """One kill: points logged and lost, those lost though flushed, seconds not flushed yet."""

    logged: int
    lost: int
    flushed_lost: int
    window: float
    state: str


class Victim:
    """A run to be killed, and what was seen of its points while it lived."""

    def __init__(self, home: Home, recipe: Recipe) -> None:
        self.run = start(home, recipe)
        self.tail = PointTail(self.run.path)
        self.seen = 0

    def look(self) -> bool:
        """Read what is there; True once there was something."""
        while data := self.tail.read().data:
            self.seen += len(data) // RECORD.size
        return self.seen > 0

    def kill(self) -> None:
        self.look()
        os.kill(process_of(self.run, "child").pid, signal.SIGKILL)

    def loss(self) -> Loss:
        state = wait_for_end(self.run)
        calls, last_call = _last_note(self.run)
        kept, last_kept = _intact(self.run.path / "points.bin")
        return Loss(
            logged=2 * calls,
            lost=max(0, 2 * calls - kept),
            flushed_lost=max(0, self.seen - kept),
            window=max(0.0, last_call - last_kept) if kept < 2 * calls else 0.0,
            state=state,
        )


def _last_note(run: RunFolder) -> tuple[int, float]:
    data = (run.path / "notes").read_bytes()
    calls, when = NOTE.unpack_from(data, NOTE.size * data[2 * NOTE.size])
    return calls, when


def _intact(path: Path) -> tuple[int, float]:
    """How many records from the first on are as they were logged, and the last one's time."""
    data = path.read_bytes()
    count, last = 0, 0.0
    for when, step, series, value in RECORD.iter_unpack(data[: len(data) // 28 * 28]):
        expected = step if series == 0 else step / 2
        if (step, series) != divmod(count, 2) or value != expected:
            break
        count, last = count + 1, when
    return count, last


def kill_some(home: Home, recipe: Recipe, count: int, chance: random.Random) -> list[Loss]:
    """Kill that many runs that go on at once, each at a moment of its own."""
    victims = [Victim(home, recipe) for _ in range(count)]
    for victim in victims:
        until(victim.look, "a first point")
    began = time.monotonic()
    moments = sorted(chance.uniform(0.0, 1.5) for _ in victims)
    for victim, moment in zip(victims, moments, strict=True):
        while time.monotonic() < began + moment:
            victim.look()
            time.sleep(0.005)
        victim.kill()
    return [victim.loss() for victim in victims]


def tell(losses: Sequence[Loss], rate: float) -> None:
    logged, lost = sum(one.logged for one in losses), sum(one.lost for one in losses)
    windows = [one.window for one in losses]
    row("flushed points lost or changed", sum(one.flushed_lost for one in losses), "0")
    row(
        "seconds logged but not flushed",
        f"median {percentile(windows, 50):.2f}, worst {max(windows):.2f} s",
        "at most 0.25 s",
    )
    row(
        f"points lost, at {2 * rate:.0f} a second",
        f"{lost} of {logged} ({lost / logged:.1%})",
        "",
        "trackio 222 of 3328 (once)",
    )
    states = Counter(one.state for one in losses)
    row("state", ", ".join(f"{state} {number}×" for state, number in states.items()), "killed")


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--kills", type=int, default=40)
    asked.add_argument("--rate", type=float, default=1000, help="log calls a second")
    asked.add_argument("--seed", type=int, default=None, help="of the moments; default: any")
    given = asked.parse_args()
    os.environ["BENCH_RATE"] = str(given.rate)
    chance = random.Random(given.seed)
    losses: list[Loss] = []
    with throwaway_home() as home:
        recipe = make_recipe(home, "logger", LOGGER)
        head(f"{given.kills} kills with -9")
        while len(losses) < given.kills:
            losses += kill_some(home, recipe, min(AT_ONCE, given.kills - len(losses)), chance)
        tell(losses, given.rate)


if __name__ == "__main__":
    main()
