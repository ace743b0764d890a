"""Processes that spend from one ledger for ever, and what they tell of it: to be killed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.core.privacy.ledgers import reserve
from traindeck.core.base.process import Identity
from traindeck.core.privacy.ledger.account import Account
from traindeck.core.privacy.ledger.filter import OverBudget
from traindeck.core.privacy.ledger.ledger import Ledger


def work(folder: Path, name: str, seed: int) -> None:
    """Reserve, commit and settle for ever; tell what is tried, and what was acknowledged."""
    chance, ledger = random.Random(seed), Ledger(folder, "mnist")
    me = Identity.of(os.getpid())
    assert me is not None
    out = os.open(folder / f"{name}.told", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(*words: object) -> None:
        os.write(out, json.dumps(words).encode() + b"\n")  # a kill takes none of it back

    def do(kind: str, run: str, steps: int, act: Callable[[], None]) -> bool:
        tell("try", kind, run, steps)
        try:
            act()
        except OverBudget:
            tell("refused", kind, run, steps)
            return False
        tell("done", kind, run, steps)
        return True

    for number in itertools.count():
        run, plan = f"{name}-{number}", chance.randint(1, 150)
        reserving = partial(reserve, ledger, run, plan, who=me.to_json())
        if not do("reserve", run, plan, reserving):
            continue
        steps = 0
        while steps < plan and chance.random() < 0.8:
            steps = chance.randint(steps + 1, plan)
            do("commit", run, steps, partial(ledger.commit, run, steps))
        if chance.random() < 0.9:
            taken = steps // 8  # so that the budget lasts for a while
            do("settle", run, taken, partial(ledger.settle, run, "stopped", taken))


def settle_the_dead(ledger: Ledger) -> None:
    for run in ledger.account().runs:
        if run.open and run.who and not Identity.from_json(run.who).alive():
            ledger.settle(run.id, "lost")


def written(folder: Path) -> list[list[list[Any]]]:
    """What each worker told, in order; a last word that was cut short was not said."""
    scripts = []
    for path in sorted(folder.glob("*.told")):
        words: list[list[Any]] = []
        for line in path.read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError):
                words.append(json.loads(line))
        scripts.append(words)
    return scripts


def agrees(account: Account, words: list[list[Any]]) -> int:
    """Whether the account has all that a worker was told, and of the rest only its last try."""
    runs = {run.id: run for run in account.runs}
    done = {(kind, run): steps for what, kind, run, steps in words if what == "done"}
    pending = set()
    if words and words[-1][0] == "try":
        pending = {tuple(words[-1][1:])}
    for what, kind, run, steps in words:
        if what == "refused":
            assert kind == "reserve" and run not in runs
        elif what == "done":
            assert runs[run].reserved == steps or kind != "reserve"
    for run in {run for _, _, run, _ in words} & runs.keys():
        charge = runs[run]
        assert ("reserve", run) in done or ("reserve", run, charge.reserved) in pending
        committed = done.get(("commit", run), 0)
        assert charge.committed == committed or ("commit", run, charge.committed) in pending
        settled = done.get(("settle", run))
        if charge.state == "lost":
            assert settled is None and charge.settled == charge.committed
        else:
            assert charge.settled == settled or ("settle", run, charge.settled) in pending
    return len(done)
