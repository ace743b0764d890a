"""One ledger, many processes that spend from it, and kill -9: what is forgotten, or paid twice?

Each minute a new ledger, so that it stays one that people have. A worker tells each try, and what
was acknowledged, to a file of its own: no kill takes that back.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.core.privacy.ledger_workers import agrees, settle_the_dead, work, written
from tests.core.privacy.ledgers import RHO, is_whole, made

FORK = multiprocessing.get_context("fork")
MINUTE = 60.0
BUDGET = 20_000  # steps


@dataclass(slots=True)
class Spent:
    """What came of all ledgers together; `wrong` names whatever does not add up."""

    ledgers: int = 0
    kills: int = 0
    acknowledged: int = 0
    refused: int = 0
    over: int = 0
    wrong: list[str] = field(default_factory=list)


def soak(processes: int, seconds: float, chance: random.Random) -> Spent:
    """Kill one of so many workers at random moments, for so long."""
    spent = Spent()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with tempfile.TemporaryDirectory(prefix="traindeck-soak-") as root:
            end = min(until, time.monotonic() + MINUTE)
            _one(Path(root) / "ledger", processes, end, chance, spent)
    return spent


def _one(folder: Path, processes: int, end: float, chance: random.Random, spent: Spent) -> None:
    ledger = made(folder, rho_budget=BUDGET * RHO, epsilon=60.0)
    workers: list[Any] = []

    def start() -> None:
        number = spent.kills + len(workers)
        name = f"w{number}-{len(written(folder))}"
        worker = FORK.Process(target=work, args=(folder, name, chance.getrandbits(32)))
        worker.start()
        workers.append(worker)

    try:
        for _ in range(processes):
            start()
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.0, 0.6))
            victim = workers.pop(chance.randrange(len(workers)))
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
            spent.kills += 1
            start()
            if chance.random() < 0.1:
                settle_the_dead(ledger)
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
    spent.ledgers += 1
    account = ledger.account(everyone=True)
    if not is_whole(ledger):
        spent.wrong.append(f"damaged: {ledger.verify()}")
    spent.over += account.exact_left < 0
    for words in written(folder):
        spent.refused += sum(word[0] == "refused" for word in words)
        try:
            spent.acknowledged += agrees(account, words)
        except (AssertionError, KeyError) as error:
            spent.wrong.append(f"{words[-1:]}: {error!r}")
