"""Runs recipes in one process and writes down when they pay and when they draw noise.

    python -m tests.recipes.paid_order < jobs.json

A job is a script's `path`, its `argv` and, if the loop is not to be the recipes' own, the `loop`'s
source. Printed is one JSON line a job: `code`, and `order`, in which each entry is `paid`, when the
run's own account had paid for a step, or `noise N`, when noise was drawn while the ledger's disk
had N steps committed.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any
from unittest import mock

from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.spending import Spending
from traindeck.recipes.shared.training.dp import loop
from traindeck.recipes.shared.training.dp.randomness import Randomness


@contextmanager
def recorder(order: list[str]) -> Iterator[None]:
    commit, pay, draw = Ledger.commit, Spending.step, Randomness.normal
    committed = 0

    def committing(self: Ledger, run: str, steps: int, *rest: Any, **more: Any) -> Any:
        nonlocal committed
        answer = commit(self, run, steps, *rest, **more)
        committed = steps
        return answer

    def paying(self: Spending, count: int = 1) -> bool:
        paid = pay(self, count)
        order.extend(["paid"] * count if paid else [])
        return paid

    def drawing(self: Randomness, shape: Any, scale: float) -> Any:
        order.append(f"noise {committed}")
        return draw(self, shape, scale)

    with (
        mock.patch.object(Ledger, "commit", committing),
        mock.patch.object(Spending, "step", paying),
        mock.patch.object(Randomness, "normal", drawing),
    ):
        yield


def run(job: dict[str, Any]) -> dict[str, Any]:
    order: list[str] = []
    code: object = 0
    own = dict(vars(loop))
    if job.get("loop"):
        exec(compile(job["loop"], loop.__file__, "exec"), vars(loop))
    try:
        with recorder(order), redirect_stdout(sys.stderr), mock.patch("sys.argv", job["argv"]):
            runpy.run_path(job["path"], run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    finally:
        vars(loop).update(own)
    return {"code": code, "order": order}


if __name__ == "__main__":
    for each in json.load(sys.stdin):
        print(json.dumps(run(each)), flush=True)
