"""Ledgers for tests, and ways to harm them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from traindeck.core.base.home import witnesses_of
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import create
from traindeck.core.privacy.ledger.witness import PAID
from traindeck.core.privacy.mechanism import Mechanism

RHO = 2.0**-10
STEPS = 1024
BUDGET = STEPS * RHO
ME = {"boot_id": "this", "pid": 7, "start_ticks": 7}
DATA, OTHER = "a" * 64, "b" * 64


def made(folder: Path, name: str = "mnist", **changed: Any) -> Ledger:
    """A ledger whose budget is STEPS of RHO each."""
    given = {"epsilon": 3.0, "delta": 1e-5, "order": 8.0, "rho_budget": BUDGET, **changed}
    return create(folder, name, **given)


def reserve(ledger: Ledger, run: str, steps: int, rho: float = RHO, **given: Any) -> None:
    plan = Mechanism(1.25, 0.01, steps, given.pop("sampler", "poisson"))
    ledger.reserve(run, "torch-mnist-dp", plan, rho, 0.5, given.pop("who", None), **given)


def imports(
    ledger: Ledger, run: str = "far", steps: Sequence[int] = (1,), *, beyond: bool = False
) -> None:
    """Charge a run that was made elsewhere, of so many steps of each kind."""
    runs = [
        (run if not kind else f"{run}.{kind}", Mechanism(1.25 + kind, 0.01, count), RHO, 0.5)
        for kind, count in enumerate(steps)
    ]
    ledger.import_runs(runs, "opacus: history.json", beyond=beyond)


def charged(ledger: Ledger) -> tuple[float, float]:
    """Steps of RHO that are spent, and that are only reserved."""
    account = ledger.account()
    return account.rho_spent / RHO, account.rho_reserved / RHO


def flip(path: Path, place: int, bit: int = 0) -> None:
    """In place: a file that is cut and written again is flushed when it is closed."""
    with path.open("r+b", buffering=0) as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))
    touch(path)


def touch(path: Path) -> None:
    """Let a change be seen by its time even right after a write, within one tick of the clock."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def sealed(fields: dict[str, Any]) -> bytes:
    """A line as the ledger's description says that it is made."""
    body = json.dumps(fields, separators=(",", ":"))
    return f'{body[:-1]},"hash":"{sha256(body.encode()).hexdigest()}"}}\n'.encode()


def is_whole(ledger: Ledger) -> bool:
    """Whether nothing is wrong but what a crash may leave."""
    return all(problem.mendable for problem in ledger.verify())


def unwitnessed(ledger: Ledger) -> None:
    """Take away what bears witness of it, in the home and in runs."""
    home = ledger.folder.parent
    for folder in (witnesses_of(ledger.folder), *home.glob(f"*/*/{PAID}")):
        (folder / f"{ledger.name}.json").unlink(missing_ok=True)
