"""DP-SGD in PyTorch: sums of clipped per-example gradients by one forward and one backward pass.

The backward pass is that of the activations alone; `torch_shares` makes of what it leaves at each
layer the clipped gradients' sum, and nothing of the forward pass is done twice: Z. Bu, Y.-X. Wang,
S. Zha, G. Karypis: Differentially private optimization on large model at small cost, ICML 2023,
call that book-keeping. DP-SGD itself is M. Abadi et al.: Deep learning with differential privacy,
CCS 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from traindeck.recipes.shared.training.dp import checks
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.selftest import SelfTest
from traindeck.recipes.shared.training.dp.torch_layers import (
    Layers,
    UnsupportedLayer,
    Use,
    refuse_dropout,
)

NOTHING = -1  # instead of a label
MICRO_BATCH = 128  # examples: a CPU's cache still holds their gradients
_ROUNDING = 2e-6  # what float32 may leave of a norm unseen, relative to it


class Clipped(NamedTuple):
    """What a batch of n examples gives.

    sums    clipped gradients summed, for each trainable parameter of the model in order
    norms   (n,), each example's gradient norm before clipping; private, as the losses are
    losses  (n,)
    faulty  how many examples had no finite gradient: they add nothing
    """

    sums: list[Tensor]
    norms: Tensor
    losses: Tensor
    faulty: int

    def telemetry(self, clipping_norm: float) -> dict[str, float]:
        """What helps to see how the training goes. No epsilon covers it: it stays with the run."""
        size, faulty = float(len(self.norms)), float(self.faulty)
        series = {"private/batch_size": size, "private/faulty": faulty}
        if len(self.norms):
            series["private/loss"] = self.losses.mean().item()
            series["private/gradient_norm_median"] = self.norms.median().item()
            series["private/clip_fraction"] = (self.norms > clipping_norm).float().mean().item()
        return series


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Logits (n, classes) and labels (n,) to losses (n,).

    Of logits (n, positions, classes) and labels (n, positions) it is an example's mean over its
    positions; those labelled NOTHING are left out.
    """
    if y.dim() == 1:
        return F.cross_entropy(logits, y, reduction="none")
    each = F.cross_entropy(logits.mT, y, reduction="none", ignore_index=NOTHING)
    return each.sum(1) / (y != NOTHING).sum(1).clamp(min=1)


class ClippedGradients:
    """Sums of a model's per-example gradients, each clipped to the norm `clipping_norm`.

    Linear, Conv2d, GroupNorm, LayerNorm, RMSNorm, Embedding and MultiheadAttention are fast; any
    other layer with weights that treats each example by itself is run again for each, and named in
    a printed line. Examples come first in every layer's input. UnsupportedLayer is raised, here or
    when the model is used, for a layer that mixes examples, shares its weights or is used twice.
    What the model does between layers must treat each example by itself too: that cannot be seen
    here, but a private recipe's self-test sees it.

    `loss` maps the model's outputs and y to one loss an example. Batches are worked through in
    parts of `micro_batch`, which bounds the memory (so many gradients of the convolutions) and
    changes nothing else. Channels last in memory makes convolutions twice as fast on CPUs.

    What a layer rounds may go by how many examples it is given at once, and in a deep network with
    kinks (ReLU) a last bit can become a thousandth of a gradient. With `alike` every part is filled
    up to `micro_batch`, so that an example gives the same whoever is beside it.
    """

    def __init__(
        self,
        model: nn.Module,
        clipping_norm: float,
        loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
        micro_batch: int = MICRO_BATCH,
        alike: bool = False,
    ) -> None:
        self.model = model
        self.loss = loss
        self.clip_to(clipping_norm)
        self._micro_batch, self.alike = micro_batch, alike
        self._layers = Layers(model)
        self._tried = False
        if self._layers.slow:
            print(
                f"slow: {', '.join(self._layers.slow)} run again for each example, for want of a"
                " faster way to its gradient",
                flush=True,
            )
        # TF32 keeps 10 bits: a GPU's sum of clipped gradients could be longer than their bound.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False

    def __call__(self, x: Tensor, y: Tensor) -> Clipped:
        """Examples x (n, …) and y (n, …); without any (n = 0) the sums are zeros."""
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        sums: dict[Tensor, Tensor] = {p: torch.zeros_like(p) for p in trainable}
        norms, losses = [torch.zeros(0, device=x.device)], [torch.zeros(0, device=x.device)]
        if len(x) and not self._tried:
            # Where as many examples come as there are positions, their places could be mistaken.
            self._forward(x[:1], y[:1])
            self._tried = True
        for at in range(0, len(x), self._micro_batch):
            part = slice(at, at + self._micro_batch)
            part_norms, part_losses = self._add(x[part], y[part], sums)
            norms.append(part_norms)
            losses.append(part_losses)
        all_norms = torch.cat(norms)
        faulty = len(all_norms) - int(all_norms.isfinite().sum())
        return Clipped(list(sums.values()), all_norms, torch.cat(losses), faulty)

    def clip_to(self, clipping_norm: float) -> None:
        """Clip to another norm from now on."""
        self._bound = clipping_norm * (1 - _ROUNDING)

    def weights(self, norms: ArrayLike) -> Tensor:
        """What gradients of these norms (n,) are multiplied by, (n,), so that none is too long."""
        return self._bound / torch.as_tensor(norms).clamp(min=self._bound)

    def filled(self, x: Tensor) -> Tensor:
        """Examples, or their labels, with the first again until a part is full, where `alike`."""
        missing = self._micro_batch - len(x) if self.alike else 0
        return torch.cat([x, x[:1].expand(missing, *x.shape[1:])]) if missing > 0 else x

    def _add(self, x: Tensor, y: Tensor, sums: dict[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Add the clipped gradients of these examples; returns their norms and losses."""
        count = len(x)
        losses, uses, gradients = self._backward(self.filled(x), self.filled(y))
        with torch.no_grad():
            shares = [use.share(ends) for use, ends in zip(uses, gradients, strict=True)]
            norms = torch.zeros_like(losses)
            if shares:
                norms = torch.linalg.vector_norm(torch.stack([norm for norm, _ in shares]), dim=0)
            finite = norms[:count].isfinite()
            if finite.all():
                weights = self.weights(norms)
                weights[count:] = 0
                for use, (_, weighted_sum) in zip(uses, shares, strict=True):
                    for (parameter, rows), total in zip(
                        use.weights, weighted_sum(weights), strict=True
                    ):
                        whole = sums[parameter]
                        (whole[rows] if whole.dim() else whole).add_(total)
        if not finite.all() and finite.any():
            self._add(x[finite], y[finite], sums)  # 0 times NaN is NaN: leave those out instead
        return norms[:count], losses[:count]

    def _backward(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Use], list[list[Tensor]]]:
        """Losses, where weights were used, and the gradients of the losses at the outputs there."""
        losses, uses = self._forward(x, y)
        outputs = [output for use in uses for output in use.outputs]
        flat = iter(torch.autograd.grad(losses.sum(), outputs, materialize_grads=True))
        return losses.detach(), uses, [[next(flat) for _ in use.outputs] for use in uses]

    def _forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[Use]]:
        if torch.is_autocast_enabled(x.device.type):
            raise UnsupportedLayer("norms have too few digits in autocast: leave it out")
        with self._layers.watched(len(x)) as uses:
            losses: Tensor = self.loss(self.model(x), y)
        if losses.shape != x.shape[:1]:
            raise ValueError(f"a loss an example is needed, {len(x)} of them, not {losses.shape}")
        for use in uses:
            use.check()
        return losses, uses


def noisy_mean(
    sums: Sequence[Tensor], noise: float, batch_size: int, randomness: Randomness
) -> list[Tensor]:
    """What is released of a batch: its sums with noise of standard deviation `noise`, the noise
    multiplier times the clipping norm, divided by the public batch size.

    However many examples the batch really holds, and be it none: to divide by that number, or to
    release nothing, would tell it. Sums are rounded to the noise's float32 first, of a model in
    float64: what is finer than the noise would be released without any.
    """
    flat = torch.cat([total.flatten().float() for total in sums])
    flat += torch.from_numpy(randomness.normal(flat.numel(), noise)).to(flat.device)
    flat /= batch_size
    parts = flat.split([total.numel() for total in sums])
    return [part.view_as(total).to(total.dtype) for part, total in zip(parts, sums, strict=True)]


def self_test(
    clipped: ClippedGradients,
    records: int,
    examples: Callable[[Sequence[int]], tuple[Tensor, Tensor]],
) -> SelfTest:
    """What the loop needs to test the recipe's own step; `examples` gives x and y by indices.

    Raises UnsupportedLayer for a layer that drops values at random: no gradient comes twice then.
    """
    refuse_dropout(clipped.model)
    parameters = [p for p in clipped.model.parameters() if p.requires_grad]

    def clipped_sum(indices: Sequence[int]) -> NDArray[np.float32]:
        return _flat(clipped(*examples(indices)).sums)

    def plain_gradient(index: int) -> NDArray[np.float32]:
        x, y = (clipped.filled(each) for each in examples([index]))
        loss = clipped.loss(clipped.model(x), y)[0]
        return _flat(torch.autograd.grad(loss, parameters, materialize_grads=True))

    tolerance = checks.KINKS if clipped.alike else checks.TOLERANCE
    return SelfTest(records, plain_gradient, clipped_sum, tolerance)


def _flat(tensors: Sequence[Tensor]) -> NDArray[np.float32]:
    return torch.cat([tensor.flatten() for tensor in tensors]).cpu().numpy()
