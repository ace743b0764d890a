"""What a private run trains in TensorFlow: weights, their momentum and their running average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, servable_tf
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
        self, run: track.Run, model: Any, lr: float, momentum: float, averaging: float
    ) -> None:
        self.model = model
        self.average = tf.keras.models.clone_model(model)
        self.average.set_weights(model.get_weights())
        self.step = 0
        self.clipping_norm = run.plan.clipping_norm
        self._run = run
        self._lr, self._momentum, self._averaging = lr, momentum, averaging
        self._velocities = [tf.Variable(tf.zeros(v.shape)) for v in model.trainable_variables]
        self._move = tf.function(self._moved, jit_compile=False)

    def update(self, gradients: Sequence[Any]) -> None:
        """Take one step: a gradient for each trainable variable, in the model's order."""
        keep = min(self._averaging, (1 + self.step) / (10 + self.step))
        self._move(list(gradients), tf.constant(keep, tf.float32))
        self.step += 1

    def snapshot(self) -> dict[str, NDArray[np.float64]]:
        """All that a step changes, by name, statistics of layers too."""
        named = self._variables().items()
        return self._norm() | {name: np.asarray(v).astype(np.float64) for name, v in named}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Put a snapshot back."""
        for name, variable in self._variables().items():
            variable.assign(state[name].astype(np.asarray(variable).dtype))
        self.clipping_norm = float(state.get(CLIPPING_NORM, self.clipping_norm))

    def save(self) -> None:
        """Write a checkpoint."""
        path = checkpoints.path(self._run, self.step, ".npz")
        checkpoints.write(self._run, path, lambda part: np.savez(part, **self._state()))

    def leave(self, before: servable_tf.Before, served: Served, layer: Any = None) -> None:
        """Leave the average as the run's servable: what else is trained here is not published.

        layer  the one of the average that takes one example, where the whole takes a user's
        """
        servable_tf.leave(self._run, layer or self.average, before, served)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; ends the process when that cannot be or would spoil epsilon."""
        try:
            with np.load(path, allow_pickle=False) as file:
                state = dict(file)
            for name, variable in self._variables().items():
                variable.assign(state[name])
            self.step = int(state["step"])
            self.clipping_norm = float(state.get(CLIPPING_NORM, self.clipping_norm))
        except Exception:  # numpy raises a different one for each way to be wrong
            checkpoints.refuse(path)
        resume.go_on(self._run, path, self.step, state)

    def _moved(self, gradients: list[Any], keep: Any) -> None:
        for variable, average, velocity, gradient in zip(
            self.model.trainable_variables,
            self.average.trainable_variables,
            self._velocities,
            gradients,
            strict=True,
        ):
            velocity.assign(self._momentum * velocity + gradient)
            variable.assign_sub(self._lr * velocity)
            average.assign(keep * average + (1 - keep) * variable)

    def _state(self) -> dict[str, Any]:
        values = {name: np.asarray(value) for name, value in self._variables().items()}
        return {**values, **self._norm(), **resume.kind(self._run.plan), "step": self.step}

    def _norm(self) -> dict[str, NDArray[np.float64]]:
        return {CLIPPING_NORM: np.array(self.clipping_norm)} if self._run.plan.adaptive else {}

    def _variables(self) -> dict[str, Any]:
        return {
            f"{kind}/{place}": variable
            for kind, variables in (
                ("model", self.model.weights),
                ("average", self.average.weights),
                ("velocity", self._velocities),
            )
            for place, variable in enumerate(variables)
        }
