"""The model that is trained together: pixels → 32 → 10 classes. Runs where Flower runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

HIDDEN = 32
CLASSES = 10


def load(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The images (n, pixels) from 0 to 1 and labels (n,) of one npz file."""
    with np.load(path, allow_pickle=False) as arrays:
        x = torch.from_numpy(arrays["x"].astype(np.float32) / float(arrays["scale"]))
        return x, torch.from_numpy(arrays["y"].astype(np.int64))


def new(pixels: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def weights(model: nn.Module) -> list[np.ndarray[Any, Any]]:
    return [tensor.detach().numpy().copy() for tensor in model.state_dict().values()]


def of(arrays: list[np.ndarray[Any, Any]]) -> nn.Sequential:
    """A model that has these weights."""
    model = new(arrays[0].shape[1], 0)
    tensors = (torch.tensor(array, dtype=torch.float32) for array in arrays)
    model.load_state_dict(dict(zip(model.state_dict(), tensors, strict=True)))
    return model


def train(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, batch_size: int, lr: float
) -> float:
    """Train in place by SGD; the mean loss of the last epoch."""
    # By hand: torch's first optimizer imports its compiler, which takes longer than the training.
    total = 0.0
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(x)).split(batch_size):
            loss = cross_entropy(model(x[batch]), y[batch])
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(lr * parameter.grad)
            total += loss.item() * len(batch)
    return total / len(x)


@torch.no_grad()
def evaluate(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """Mean loss and accuracy."""
    logits = model(x)
    accuracy = (logits.argmax(1) == y).float().mean().item()
    return cross_entropy(logits, y).item(), accuracy
