"""Low-rank adapters: a large model stays as it is, and small linear layers beside its own learn.

E. Hu et al.: LoRA: low-rank adaptation of large language models, ICLR 2022; with DP-SGD: D. Yu et
al.: Differentially private fine-tuning of language models, ICLR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

Base = nn.Linear | nn.Conv2d


class Adapted(nn.Module):
    """A frozen layer, and beside it two that learn: base(x) + alpha / rank · up(down(x)).

    The layer is a Linear, inputs (…, inputs), or a convolution of single places, inputs
    (n, inputs, rows, columns); the two are of its kind. `up` starts at zero, so that at first the
    layer does what it did.
    """

    def __init__(self, base: Base, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down: Base
        self.up: Base
        if isinstance(base, nn.Conv2d):
            self.down = nn.Conv2d(base.in_channels, rank, 1, bias=False)
            self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(base.in_features, rank, bias=False)
            self.up = nn.Linear(rank, base.out_features, bias=False)
        self.to(base.weight)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.base(x) + self.scale * self.up(self.down(x))
        return result

    @property
    def weight(self) -> Tensor:
        """(outputs, inputs, …) of the one layer that does the same."""
        product = self.up.weight.flatten(1) @ self.down.weight.flatten(1)
        return self.base.weight + self.scale * product.view_as(self.base.weight)

    @property
    def bias(self) -> Tensor | None:
        """(outputs,), or None."""
        return self.base.bias


def lora(model: nn.Module, rank: int, alpha: float, targets: Sequence[str]) -> list[str]:
    """Freeze a model and put adapters beside the layers whose names end in one of `targets`, as
    `"linear1"` or `"encoder.0.linear1"`: Linear, and convolutions of single places (1×1, stride 1).
    Returns these layers' names.

    What else is to learn, as a new head, is thawed afterwards: `model.head.requires_grad_(True)`.
    ValueError is raised for a rank below 1 and a target that is no such layer's name. Attention's
    own weights, in `nn.MultiheadAttention`, are not Linear layers.
    """
    if rank < 1:
        raise ValueError(f"rank is {rank}: it must be 1 or more")
    linear = {name: layer for name, layer in model.named_modules() if _is_linear(layer)}
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in linear if name):
            there = ", ".join(sorted({name.rpartition(".")[2] for name in linear if name}))
            raise ValueError(f"no Linear of this model is named {target}: there are {there}")
    ends = tuple(f".{target}" for target in targets)
    chosen = [name for name in linear if name and f".{name}".endswith(ends)]
    model.requires_grad_(False)
    for name in chosen:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, Adapted(linear[name], rank, alpha))
    return chosen


def _is_linear(layer: nn.Module) -> TypeGuard[Base]:
    if type(layer) is nn.Conv2d:
        alone = layer.kernel_size == layer.stride == (1, 1) and layer.padding == (0, 0)
        return alone and layer.groups == 1
    return type(layer) is nn.Linear


@torch.no_grad()
def merged(model: nn.Module) -> nn.Module:
    """The model with each adapter's work put into its layer, in place: it is as fast as before."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, Adapted):
            layer.base.weight.copy_(layer.weight)
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, layer.base)
    return model
