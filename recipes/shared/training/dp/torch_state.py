"""What a private run trains in PyTorch: weights, their momentum and their running average."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints
from traindeck.recipes.shared.training.dp import resume
from traindeck.recipes.shared.training.dp.rehearsal import CLIPPING_NORM


class Training:
    """Stochastic gradient descent with momentum, from gradients that already have their noise.

    `average` is a copy of the model whose weights follow the trained ones by an exponential moving
    average, which keeps the share `averaging` of itself at each step (less in the first ones, so
    that the first weights are soon forgotten). It smooths the noise, and it is made of what was
    released already, so it costs no privacy: that model is the one to test and to publish.
    """

    def __init__(
        self, run: track.Run, model: nn.Module, lr: float, momentum: float, averaging: float
    ) -> None:
        self.model = model
        self.average = copy.deepcopy(model)
        self.step = 0
        self.clipping_norm = run.plan.clipping_norm
        self._run = run
        self._lr, self._momentum, self._averaging = lr, momentum, averaging
        self._velocities = {name: torch.zeros_like(p) for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor]) -> None:
        """Take one step: a gradient for each parameter, in the model's order."""
        keep = min(self._averaging, (1 + self.step) / (10 + self.step))
        for parameter, average, velocity, gradient in zip(
            self.model.parameters(),
            self.average.parameters(),
            self._velocities.values(),
            gradients,
            strict=True,
        ):
            velocity.mul_(self._momentum).add_(gradient)
            parameter.sub_(velocity, alpha=self._lr)
            average.lerp_(parameter, 1 - keep)
        self.step += 1

    def snapshot(self) -> dict[str, NDArray[np.float64]]:
        """All that a step changes, by name, statistics of layers too."""
        norm = {CLIPPING_NORM: np.array(self.clipping_norm)} if self._run.plan.adaptive else {}
        return norm | {
            name: tensor.detach().to("cpu", torch.float64, copy=True).numpy()
            for name, tensor in self._tensors().items()
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Put a snapshot back."""
        for name, tensor in self._tensors().items():
            tensor.copy_(torch.from_numpy(state[name]))
        self.clipping_norm = float(state.get(CLIPPING_NORM, self.clipping_norm))

    def _tensors(self) -> dict[str, Tensor]:
        named = {
            f"{kind}/{name}": tensor
            for kind, model in (("model", self.model), ("average", self.average))
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        }
        return named | {f"velocity/{name}": v for name, v in self._velocities.items()}

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "velocities": self._velocities,
            "step": self.step,
            "kind": resume.kind(self._run.plan),
        }
        if self._run.plan.adaptive:
            state[CLIPPING_NORM] = self.clipping_norm
        path = checkpoints.path(self._run, self.step, ".pt")
        checkpoints.write(self._run, path, lambda part: torch.save(state, part))

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; ends the process when that cannot be or would spoil epsilon."""
        device = next(self.model.parameters()).device
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self._velocities = {name: state["velocities"][name] for name in self._velocities}
            self.step, was = int(state["step"]), dict(state["kind"])
            self.clipping_norm = float(state.get(CLIPPING_NORM, self.clipping_norm))
        except Exception:  # torch raises a different one for each way to be wrong
            checkpoints.refuse(path)
        resume.go_on(self._run, path, self.step, was)
