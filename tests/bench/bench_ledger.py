"""What a privacy ledger costs when 1,000 runs have spent from it.

    python tests/bench/bench_ledger.py [--runs 1000] [--commits 1] [--times 30]

Every run reserved its plan, committed so many times and was settled. Wanted: one append under
20 ms, the whole account, verified, well under 0.5 s. A `reserve` checks every line first; a
`commit` and a `settle` do without while nobody else has touched the file, and beside them stands a
commit to a file that somebody has, which reads all of it anew. What an append costs at least is
told by the peer: one line written and fsynced, nothing checked.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.common import head, percentile, row
from traindeck.core.privacy.ledger.book import replay
from traindeck.core.privacy.ledger.entries import new_entry
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import create
from traindeck.core.privacy.mechanism import Mechanism

RHO = 1e-7
STEPS = 1000


def made(folder: Path, runs: int, commits: int) -> Ledger:
    """A ledger in which so many runs have been settled, written at once."""
    ledger = create(
        folder, "mnist", epsilon=3.0, delta=1e-5, order=8.0, rho_budget=1.7, unit="example"
    )
    entries = []
    for number in range(runs):
        run, noise = f"run{number:05}", 1.0 + number / 1000
        entries.append(
            new_entry(
                "reserve",
                run=run,
                recipe="torch-mnist-dp",
                dataset="mnist",
                mechanism=Mechanism(noise, 0.01, STEPS).to_json(),
                rho=RHO,
                epsilon=0.1,
                who=None,
            )
        )
        for commit in range(1, commits + 1):
            entries.append(new_entry("commit", run=run, steps=STEPS * commit // commits))
        entries.append(new_entry("settle", run=run, steps=STEPS - 1, state="finished"))
    with ledger._chain.writing() as writer:
        now = replay(ledger.name, ledger.path, writer.scan()).filter
        for entry in entries:
            now.apply(entry)
        writer.append(entries, now.to_json())
    return ledger


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """On a busy machine the least, and the CPU's, say most."""

    wall: list[float]
    cpu: list[float]

    def __str__(self) -> str:
        middle, least = percentile(self.wall, 50), min(self.wall)
        return f"{middle:.1f} ms (best {least:.1f}, its CPU {min(self.cpu):.1f})"


def repeated(act: Callable[[int], object], times: int) -> Milliseconds:
    """Do it for 1, 2, 3 and so on."""
    wall, cpu = [], []
    for number in range(1, times + 1):
        began, worked = time.perf_counter(), time.process_time()
        act(number)
        wall.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - worked))
    return Milliseconds(wall, cpu)


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--runs", type=int, default=1000)
    asked.add_argument("--commits", type=int, default=1, help="of each run")
    asked.add_argument("--times", type=int, default=30)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="traindeck-bench-") as folder:
        ledger = made(Path(folder), given.runs, given.commits)
        size = ledger.path.stat().st_size / 1e6
        count = ledger.account().entries
        head(f"A ledger of {given.runs} runs, {count} entries, {size:.1f} MB")

        def reserve(number: int) -> None:
            plan = Mechanism(2.0, 0.01, STEPS)
            ledger.reserve(f"new{number:05}", "torch-mnist-dp", plan, RHO, 0.1, None)

        def commit_touched(number: int) -> None:
            os.utime(ledger.path, ns=(number, number))
            ledger.commit("new00001", given.times + number)

        with (Path(folder) / "peer").open("ab", buffering=0) as file:
            line = json.dumps({"steps": 1, "pad": "x" * 250}).encode() + b"\n"

            def append_alone(_: int) -> None:
                file.write(line)
                os.fsync(file.fileno())

            alone = repeated(append_alone, given.times)
        target = "under 20 ms"
        row("reserve", repeated(reserve, given.times), target)
        commits = repeated(lambda n: ledger.commit("new00001", n), given.times)
        row("commit", commits, target, f"a line, fsynced: {alone}")
        row("commit, the file was touched", repeated(commit_touched, given.times))
        settled = repeated(lambda n: ledger.settle(f"new{n:05}", "finished"), given.times)
        row("settle", settled, target)
        row("account", repeated(lambda _: ledger.account(), given.times), "under 500 ms")
        row("verify", repeated(lambda _: ledger.verify(), given.times))
        assert ledger.verify() == []


if __name__ == "__main__":
    main()
