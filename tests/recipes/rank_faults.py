"""A recipe that logs each step, and in which one rank fails: rank_faults.py RECIPE FLAG…

FAULT in the environment says what happens to which rank before which step: `kill 1 3`, `hang 1 3`,
`raise 1 3`, or `enough 0 5` to end well there; `late 0 0` lets gloo's threads be busy with tensors
as the ranks of PyTorch end. A run that goes on from a checkpoint has none.
In a private recipe it is where rank 0 has paid for the step, and all compute their part of it and
say so; `lower 0 0` then lowers the budget below what is spent, and goes on.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from traindeck.core import track
from traindeck.core.base.environ import RANK
from traindeck.core.privacy.ledger.ledgers import named
from traindeck.recipes.shared.training import loop

FAULT = os.environ.get("FAULT", "none 0 0").split()
what, at_rank, at_step = FAULT[0], int(FAULT[1]), int(FAULT[2])


def fail() -> None:
    print(f"about to {what} {time.time()}", flush=True)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(600)
    if what == "enough":
        run.close()
        os._exit(0)
    if what == "lower":
        named(run.ledgers, "mnist").set_budget(0.0, 0.0)
    if what == "raise":
        raise ValueError(f"bad record in shard {at_rank}")


def look(step: int) -> None:
    rank = run.rank.number if run.rank else 0
    resumed = any(word.startswith("--resume") for word in sys.argv)
    if (rank, step) == (at_rank, at_step) and what != "none" and not resumed:
        fail()


def watched(self: loop.Schedule, highest: float, step: int) -> float:
    look(step)
    return right(self, highest, step)


right = loop.Schedule.learning_rate
patched: Any = loop.Schedule
patched.learning_rate = watched
loop.LOG_EVERY = 1


def watch_private(framework: str) -> None:
    module = f"traindeck.recipes.shared.training.parallel.{framework}_dp"
    patched: Any = importlib.import_module(module).SharedGradients
    together, steps = patched._together, count()

    def watched(self: Any, *part: Any) -> Any:
        step = next(steps)
        print(f"at step {step}", flush=True)
        look(step)
        return together(self, *part)

    patched._together = watched


recipe = sys.argv[1]
if Path(recipe).stem == "mnist_dp" and RANK in os.environ:
    watch_private("torch" if Path(recipe).parent.name == "torch" else "tf")
with track.start(sys.argv[2:], recipe) as run:
    runpy.run_path(recipe)["main"](run)
    if what == "late" and run.rank:
        import torch
        import torch.distributed as dist

        dist.all_reduce_coalesced([torch.zeros(1) for _ in range(20000)])
