"""Adam without the noise's share of its second moment.

`torch.optim.Adam` and `AdamW` are DP-Adam and DP-AdamW once the gradients they are given have their
noise: nothing else is needed for privacy. But the squares that they average are those of gradient
and noise, and where the noise is the greater part, as it mostly is, all coordinates have nearly the
same: what is left is SGD with momentum and a learning rate divided by the noise. `AdamBC` takes the
noise's known variance out: Q. Tang, F. Shpilevskiy, M. Lécuyer: DP-AdamBC: your DP-Adam is actually
DP-SGD (unless you apply bias correction), AAAI 2024.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class AdamBC(torch.optim.Optimizer):
    """Adam on noisy gradients, with the noise's variance subtracted from the second moment.

    A step is lr m / sqrt(max(v - noise², floor)), m and v the moments with Adam's own correction
    for their start at zero.

    noise         standard deviation in the mean gradient that is released: noise multiplier times
                  clipping norm, divided by the public batch size; public, as all of these are
    floor         least second moment, in units of squared gradients: what differs from zero by
                  chance alone must not become a long step. None: a tenth of noise². Far below, one
                  bit of rounding moves a weight by more than the self-test lets pass
    weight_decay  times lr, the share of each weight that a step takes away (as AdamW's)

    Raises ValueError for a value out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        noise: float,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        floor: float | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        least = {"noise": noise, "lr": lr, "weight_decay": weight_decay}
        for name, value in least.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}: it must be 0 or more, and finite")
        if floor is None:
            floor = max(noise**2 / 10, 1e-16)
        if not floor > 0:
            raise ValueError(f"floor is {floor}: it must be more than 0")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are {betas}: each must be 0 or more and less than 1")
        super().__init__(params, {**least, "betas": betas, "floor": floor})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step; a closure is called first, and what it returns is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        first, second = group["betas"]
        state["step"] += 1
        count = int(state["step"])
        state["exp_avg"].lerp_(gradient, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        own = state["exp_avg_sq"] / (1 - second**count) - group["noise"] ** 2
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        size = group["lr"] / (1 - first**count)
        parameter.addcdiv_(state["exp_avg"], own.clamp_(min=group["floor"]).sqrt_(), value=-size)
