"""The small network of the federated recipes, all its parameters in one row: inputs → 32 → 10."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HIDDEN, CLASSES = 32, 10

Row = npt.NDArray[np.float32]


def shapes(inputs: int) -> list[tuple[int, ...]]:
    """Shapes of the layers' weights and biases, in the order they have in the row."""
    return [(inputs, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]


def size(inputs: int) -> int:
    """How many parameters there are: 25,450 for MNIST's 784 inputs."""
    return sum(int(np.prod(shape)) for shape in shapes(inputs))


def first(inputs: int, seed: int) -> Row:
    """First weights (d,): uniform within 1/√inputs of each layer, biases zero."""
    random = np.random.default_rng(seed)
    parts = [
        random.uniform(-1, 1, shape) / np.sqrt(shape[0]) if len(shape) == 2 else np.zeros(shape)
        for shape in shapes(inputs)
    ]
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def evaluate(
    row: Row, x: npt.NDArray[np.floating], y: npt.NDArray[np.integer]
) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy of the model over x (n, inputs) and y (n,)."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes(x.shape[1])])[:-1]
    w1, b1, w2, b2 = (
        part.reshape(shape)
        for part, shape in zip(np.split(row, ends), shapes(x.shape[1]), strict=True)
    )
    logits = np.maximum(x @ w1 + b1, 0) @ w2 + b2
    logits -= logits.max(1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = -float(log_probabilities[np.arange(len(y)), y].mean())
    return loss, float((logits.argmax(1) == y).mean())
