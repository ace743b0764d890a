"""What a private run trains in PyTorch: weights, their momentum and their running average."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, servable_torch
from traindeck.recipes.shared.training.data.served import Served
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
        named = model.named_parameters()
        self._trained = {name: parameter for name, parameter in named if parameter.requires_grad}
        self._velocities = {name: torch.zeros_like(p) for name, p in self._trained.items()}

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor]) -> None:
        """Take one step: a gradient for each trainable parameter, in the model's order."""
        keep = min(self._averaging, (1 + self.step) / (10 + self.step))
        self._descend(gradients)
        for name, parameter in self._trained.items():
            self.average.get_parameter(name).lerp_(parameter, 1 - keep)
        self.step += 1

    def _descend(self, gradients: Sequence[Tensor]) -> None:
        for (name, parameter), gradient in zip(self._trained.items(), gradients, strict=True):
            velocity = self._velocities[name]
            velocity.mul_(self._momentum).add_(gradient)
            parameter.sub_(velocity, alpha=self._lr)

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
        return named | self._of_optimizer()

    def _of_optimizer(self) -> dict[str, Tensor]:
        return {f"velocity/{name}": velocity for name, velocity in self._velocities.items()}

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            **self._saved(),
            "step": self.step,
            "kind": resume.kind(self._run.plan),
        }
        if self._run.plan.adaptive:
            state[CLIPPING_NORM] = self.clipping_norm
        path = checkpoints.path(self._run, self.step, ".pt")
        checkpoints.write(self._run, path, lambda part: torch.save(state, part))

    def leave(self, before: servable_torch.Before, served: Served) -> None:
        """Leave the average as the run's servable: what else is trained here is not published."""
        servable_torch.leave(self._run, self.average, before, served)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; ends the process when that cannot be or would spoil epsilon."""
        device = next(self.model.parameters()).device
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self._load(state)
            self.step, was = int(state["step"]), dict(state["kind"])
            self.clipping_norm = float(state.get(CLIPPING_NORM, self.clipping_norm))
        except Exception:  # torch raises a different one for each way to be wrong
            checkpoints.refuse(path)
        resume.go_on(self._run, path, self.step, was)

    def _saved(self) -> dict[str, Any]:
        return {"velocities": self._velocities}

    def _load(self, state: Mapping[str, Any]) -> None:
        self._velocities = {name: state["velocities"][name] for name in self._velocities}


class Optimized(Training):
    """The same by any optimizer of PyTorch whose state starts at zero: Adam, AdamW, `AdamBC`, SGD.

    `optimizer` holds all trainable parameters of the model and has not taken a step. ValueError is
    raised for one that does not, or whose state starts otherwise (as NAdam's).
    """

    def __init__(
        self,
        run: track.Run,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        averaging: float,
    ) -> None:
        super().__init__(run, model, lr=0.0, momentum=0.0, averaging=averaging)
        self._velocities = {}
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in self._trained.items():
            if id(parameter) not in held:
                raise ValueError(f"{name} is trained, and the optimizer does not hold it")
        _start(optimizer)
        self._optimizer = optimizer

    def _descend(self, gradients: Sequence[Tensor]) -> None:
        for parameter, gradient in zip(self._trained.values(), gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _of_optimizer(self) -> dict[str, Tensor]:
        return {
            f"optimizer/{name}/{key}": tensor
            for name, parameter in self._trained.items()
            for key, tensor in self._optimizer.state[parameter].items()
        }

    def _saved(self) -> dict[str, Any]:
        return {"optimizer": self._optimizer.state_dict()}

    def _load(self, state: Mapping[str, Any]) -> None:
        own = self._optimizer.state_dict()["param_groups"]  # as learning rates: the run's own count
        self._optimizer.load_state_dict({**state["optimizer"], "param_groups": own})


def _start(optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer, which has its state after a first step only, that from which it starts."""
    late = _stepped(optimizer)
    kind = type(optimizer).__name__
    for parameter, after in zip(_parameters(optimizer), _parameters(late), strict=True):
        state = late.state[after]
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError(f"{kind} keeps more than tensors: use Adam, AdamW, AdamBC or SGD")
        optimizer.state[parameter] = {k: torch.zeros_like(value) for k, value in state.items()}
    early = _stepped(optimizer)
    for one, other in zip(_parameters(early), _parameters(late), strict=True):
        states = [
            [values[k] for k in sorted(values)] for values in (early.state[one], late.state[other])
        ]
        for a, b in zip([one, *states[0]], [other, *states[1]], strict=True):
            if not torch.equal(a, b):
                raise ValueError(f"{kind} does not start at zero: use Adam, AdamW, AdamBC or SGD")


def _stepped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """A copy, with its parameters, that has taken a step."""
    other = copy.deepcopy(optimizer)
    for parameter in _parameters(other):
        parameter.grad = torch.full_like(parameter, 0.5)
    other.step()
    return other


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
