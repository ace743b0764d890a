"""A model on others' weights, trained without privacy in PyTorch: what its loop needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints
from traindeck.recipes.shared.training.loop import Schedule, Tested

_TESTED = 32  # examples at a time


def zeros(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts at zero: of one layer all its classes may start alike."""
    layer = nn.Linear(inputs, outputs)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def descend(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, part: int
) -> tuple[Tensor, Tensor]:
    """Take a step down a batch's mean loss; returns it and the accuracy.

    part  examples at a time, which bounds the memory and changes nothing else
    """
    optimizer.zero_grad()
    loss, hits = torch.zeros((), device=y.device), torch.zeros((), device=y.device)
    for some, labels in zip(x.split(part), y.split(part), strict=True):
        logits = model(some)
        share = cross_entropy(logits, labels, reduction="sum") / len(y)
        share.backward()
        loss += share.detach()
        hits += (logits.argmax(1) == labels).sum()
    optimizer.step()
    return loss, hits / len(y)


@torch.no_grad()
def tested(model: nn.Module, x: Tensor, y: Tensor) -> Tested:
    logits = torch.cat([model(some.float()) for some in x.split(_TESTED)])
    hits = (logits.argmax(1) == y).float()
    return Tested(cross_entropy(logits, y).item(), hits.mean().item())


def means(window: Sequence[Any]) -> tuple[float, float]:
    losses, accuracies = zip(*window, strict=True)
    return torch.stack(losses).mean().item(), torch.stack(accuracies).mean().item()


def saving(
    run: track.Run, model: nn.Module, optimizer: torch.optim.Optimizer
) -> Callable[[int], None]:
    """What writes the checkpoint after so many steps."""

    def save(step: int) -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        path = checkpoints.path(run, step, ".pt")
        checkpoints.write(run, path, lambda part: torch.save(state, part))

    return save


def resumed(
    path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Schedule
) -> int:
    """The first step: after those of a checkpoint, which is read, or 0. Ends a recipe in vain."""
    if path is None:
        return 0
    try:
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = int(state["step"])
    except Exception:  # torch raises a different one for each way to be wrong
        checkpoints.refuse(path)
    checkpoints.check_left(path, step, schedule.total_steps)
    return step
