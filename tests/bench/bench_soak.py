"""Kills without end, and a machine that fails: are ends told truly, is everything paid once?

    python tests/bench/bench_soak.py [--kills 1000] [--processes 8] [--minutes 10] [--seed N]
                                     [--only kills|ledger|faults]

Prints Markdown. Wanted: every end true, no process left, no exit code lost but where both guardians
were killed; of the ledger nothing forgotten, nothing paid twice, nothing over the budget; of each
fault one line that says what is wrong, an exit code, and never a traceback or a hang.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import soak_faults, soak_kills, soak_ledger
from tests.bench.common import throwaway_home

SHOWN = 20


def tell_kills(kills: soak_kills.Kills, minutes: float) -> None:
    print(f"\n### {kills.count} kills in {minutes:.0f} minutes, {kills.met} met somebody alive\n")
    print("| killed | ended as | lost |\n| --- | --- | --- |")
    for victims in soak_kills.VICTIMS:
        ends = {end: n for (who, end), n in kills.ends.items() if who == victims}
        words = ", ".join(f"{state} {n}" for state, n in sorted(ends.items()))
        print(f"| {victims} | {words} | {kills.lost[victims]} |")
    print(f"\nprocesses left: {len(kills.left)}; ends that are not true: {len(kills.wrong)}")
    for line in (kills.left + kills.wrong)[:SHOWN]:
        print(f"- {line}")


def tell_ledger(spent: soak_ledger.Spent, processes: int, minutes: float) -> None:
    print(
        f"\n### {processes} processes on a ledger, {spent.kills} kills in {minutes:.0f} minutes\n"
    )
    print("| ledgers | acknowledged | refused | over the budget | forgotten or paid twice |")
    print("| --- | --- | --- | --- | --- |")
    print(
        f"| {spent.ledgers} | {spent.acknowledged} | {spent.refused} | {spent.over}"
        f" | {len(spent.wrong)} |"
    )
    for line in spent.wrong[:SHOWN]:
        print(f"- {line}")


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--kills", type=int, default=1000)
    asked.add_argument("--processes", type=int, default=8, help="that spend from one ledger")
    asked.add_argument("--minutes", type=float, default=10.0, help="for these")
    asked.add_argument("--seed", type=int, default=None, help="default: any, and it is printed")
    asked.add_argument("--only", choices=("kills", "ledger", "faults"))
    given = asked.parse_args()
    seed = given.seed if given.seed is not None else random.randrange(2**31)
    chance = random.Random(seed)
    load = os.getloadavg()[0]
    print(f"seed {seed}, load average {load:.1f} on {os.cpu_count()} cores", flush=True)
    if given.only in (None, "faults"):
        soak_faults.soak()
    if given.only in (None, "ledger"):
        spent = soak_ledger.soak(given.processes, 60 * given.minutes, chance)
        tell_ledger(spent, given.processes, given.minutes)
    if given.only in (None, "kills"):
        with throwaway_home() as home:
            began = time.monotonic()
            kills = soak_kills.soak(home, given.kills, chance)
            tell_kills(kills, (time.monotonic() - began) / 60)


if __name__ == "__main__":
    main()
