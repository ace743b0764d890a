"""What a private step in PyTorch must sum: each example's gradient by itself, clipped by hand."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
CLASSES = 3


def loop(model: Any, x: Any, y: Any) -> list[list[Any]]:
    """Each example's gradients, by itself."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    for index in range(len(x)):
        loss = nn.functional.cross_entropy(model(x[index : index + 1]), y[index : index + 1])
        alone = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
        gradients.append(list(alone))
    return gradients


def clipped_by_hand(gradients: list[list[Any]], clipping_norm: float) -> tuple[list[Any], Any]:
    """Sums of the clipped gradients, and the norms before that."""
    norms = torch.stack([torch.cat([g.flatten() for g in each]).norm() for each in gradients])
    factors = (clipping_norm / norms).clamp(max=1)
    sums = [
        sum(factor * g for factor, g in zip(factors, parameter, strict=True))
        for parameter in zip(*gradients, strict=True)
    ]
    return sums, norms


def assert_close(got: list[Any], expected: list[Any]) -> None:
    """Equal to 1e-5 of the largest value."""
    scale = max(float(value.abs().max()) for value in expected)
    assert len(got) == len(expected)
    for mine, other in zip(got, expected, strict=True):
        assert mine.shape == other.shape
        assert float((mine - other).abs().max()) <= 1e-5 * scale
