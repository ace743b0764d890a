"""Ranks in PyTorch: by gloo on CPUs, by NCCL on GPUs, over the loopback interface alone."""

from __future__ import annotations

import atexit
import datetime
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, cast

import torch
from torch import nn

from traindeck.core import track
from traindeck.core.base.format import on_one_line
from traindeck.recipes.shared.training.parallel.ranks import LOST, Ranks, timeout

_OF_A_LOSS = ("gloo", "NCCL", "Connection ", "Timed out", "timed out", "Socket", "Broken pipe")


def join(run: track.Run, device: torch.device) -> TorchRanks | Ranks:
    """Meet the other ranks of the run; alone without any.

    From here on a rank that cannot go on without another ends with the exit code LOST.
    """
    if run.rank is None:
        return Ranks()
    import torch.distributed as dist

    for backend in ("GLOO", "NCCL"):
        os.environ[f"{backend}_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=run.rank.meeting,
            rank=run.rank.number,
            world_size=run.rank.count,
            timeout=datetime.timedelta(seconds=timeout()),
        )
    except RuntimeError as error:
        _ended(type(error), error, error.__traceback__)
    atexit.register(_leave, run)
    sys.excepthook = _ended  # only now: PyTorch sets its own as it begins
    return TorchRanks(run.rank.number, run.rank.count, device)


class TorchRanks(Ranks):
    """This rank among the others, all of which call the same in the same order."""

    def __init__(self, number: int, count: int, device: torch.device) -> None:
        import torch.distributed as dist

        self.number, self.count = number, count
        self._device = device
        self._dist = dist

    def agree(self, decision: bool) -> bool:
        told = torch.tensor([float(decision)], device=self._device)
        self._dist.broadcast(told, 0)
        return bool(told.item())

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        own = torch.tensor(values, dtype=torch.float64, device=self._device)
        rows = [torch.empty_like(own) for _ in range(self.count)]
        self._dist.all_gather(rows, own)
        return [row.tolist() for row in rows]


def averaging(model: Callable[..., Any], ranks: Ranks) -> Callable[..., Any]:
    """The model, compiled or not; its backward pass gives the mean of all ranks' gradients."""
    if ranks.count == 1:
        return model
    # Of weights with channels last: they are copied, and that takes no time that could be seen.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return nn.parallel.DistributedDataParallel(cast("nn.Module", model))


def _leave(run: track.Run) -> None:
    """End the process here where the run has said with what.

    A thread of gloo's may let go of a step's tensors later, for which it needs the interpreter: one
    that is being shut down ends the thread instead, and that ends the process by SIGABRT. DDP keeps
    such threads beyond `destroy_process_group`.
    """
    if isinstance(run.code, int):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(run.code)


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = str(error)
    lost = isinstance(error, RuntimeError) and any(word in text for word in _OF_A_LOSS)
    if lost:
        print(f"lost another rank: {on_one_line(text)}", file=sys.stderr, flush=True)
    else:
        traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(LOST if lost else 1)  # without waiting for threads of what has failed
