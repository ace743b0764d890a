"""What was trained together, as it is served: the aggregated model, by the framework of its owners.

The framework is imported here, at the end: until then a scientist needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from traindeck.core import track
from traindeck.recipes.shared.federated.job import mlp
from traindeck.recipes.shared.training import needs
from traindeck.recipes.shared.training.data import cancer, digits, mnist

LAYERS = "torch", "tensorflow"


def network(run: track.Run, row: mlp.Row, dataset: str, framework: str) -> None:
    """Leave the small network of `mlp` as the run's servable; `row` holds all its parameters.

    Where the framework is not installed, or none of these two, that costs a warning.
    """
    served, brightest = (
        (mnist.SERVED, mnist.BRIGHTEST) if dataset == "mnist" else (digits.SERVED, digits.BRIGHTEST)
    )
    inputs = int(np.prod([size or 1 for size in served.tensor["shape"]]))
    shapes = mlp.shapes(inputs)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    parts = [part.reshape(shape) for part, shape in zip(np.split(row, ends), shapes, strict=True)]

    def by_torch() -> None:
        from torch import nn

        from traindeck.recipes.shared.training import servable_torch

        model = nn.Sequential(_linear(*parts[:2]), nn.ReLU(), _linear(*parts[2:]))
        servable_torch.leave(run, model, lambda x: x.flatten(1) / brightest, served)

    def by_tensorflow() -> None:
        import tensorflow as tf

        from traindeck.recipes.shared.training import servable_tf

        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [
                layers.Input((inputs,)),
                layers.Dense(mlp.HIDDEN, activation="relu"),
                layers.Dense(mlp.CLASSES),
            ]
        )
        model.set_weights(parts)
        servable_tf.leave(run, model, lambda x: tf.reshape(x, (-1, inputs)) / brightest, served)

    _leave(by_tensorflow if framework == "tensorflow" else by_torch, framework)


def arrays(run: track.Run, weights: Sequence[npt.NDArray[Any]], dataset: str) -> None:
    """The same of PyTorch's arrays: weights (outputs, inputs) and bias of each layer."""
    turned = [array.T if array.ndim == 2 else array for array in weights]
    row = np.concatenate([array.ravel() for array in turned]).astype(np.float32)
    network(run, row, dataset, "torch")


def logistic(run: track.Run, weights: npt.NDArray[np.floating], dataset: str) -> None:
    """Leave a logistic regression on the patients; weights (31,), the last the intercept's.

    Nothing of one on two of the digits, which no data set of images is.
    """
    if dataset != "cancer":
        return

    def by_torch() -> None:
        import torch

        from traindeck.recipes.shared.training import servable_torch

        low, high = (torch.from_numpy(end).float() for end in cancer.ends())
        column = weights.reshape(-1, 1).astype(np.float32)
        model = _linear(column[:-1], column[-1])
        servable_torch.leave(
            run, model, lambda x: (2 * (x - low) / (high - low) - 1).clamp(-1, 1), cancer.SERVED
        )

    _leave(by_torch, "torch")


def _linear(weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Any:
    import torch
    from torch import nn

    layer = nn.Linear(*weights.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights.T.copy()))
        layer.bias.copy_(torch.from_numpy(bias.copy()))
    return layer


def _leave(by: Callable[[], None], framework: str) -> None:
    if framework not in LAYERS:
        return
    try:
        with needs.quietly(framework):
            __import__(framework)
        by()
    except Exception as error:  # what was trained must not be lost by it
        print(f"warning: no servable: {type(error).__name__}: {error}", flush=True)
