"""DP-SGD in PyTorch: sums of clipped per-example gradients by one forward and one backward pass.

The backward pass is that of the activations alone. What it leaves at a layer's output, together
with the layer's input, gives each example's gradient of the layer's weights, its norm, and the sum
of all of them once clipped (I. Goodfellow: Efficient per-example gradient computations, 2015;
G. Rochette, A. Manoel, E. Tramel: Efficient per-example gradient computations in convolutional
neural networks, 2019). Nothing of the forward pass is done twice: Z. Bu, Y.-X. Wang, S. Zha,
G. Karypis: Differentially private optimization on large model at small cost, ICML 2023, call that
book-keeping. DP-SGD itself is M. Abadi et al.: Deep learning with differential privacy, CCS 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.selftest import SelfTest

MICRO_BATCH = 128  # examples: a CPU's cache still holds their gradients
_ROUNDING = 2e-6  # what float32 may leave of a norm unseen, relative to it
_INSTEAD = {  # of layers that are known here and cannot be used
    "MultiheadAttention": "it shares weights over positions; use Linear or Conv2d",
    "Embedding": "it shares weights over positions; use one-hot inputs and Linear",
    "LayerNorm": "use GroupNorm or none",
    "InstanceNorm": "use GroupNorm or none",
    "RNN": "it shares weights over steps; use Conv2d",
    "LSTM": "it shares weights over steps; use Conv2d",
    "GRU": "it shares weights over steps; use Conv2d",
    "Conv": "use Conv2d",
    "PReLU": "use ReLU, ELU or Tanh",
}

Sum = Callable[[Tensor], list[Tensor]]
Share = tuple[Tensor, Sum]
"""A layer's part in n gradients: their norms (n,), and what sums them with weights (n,)."""


class UnsupportedLayer(Exception):
    """A layer whose per-example gradients are not known here; says which and what to use."""


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
    """Logits (n, classes) and labels (n,) to losses (n,)."""
    return F.cross_entropy(logits, y, reduction="none")


class ClippedGradients:
    """Sums of a model's per-example gradients, each clipped to the norm `clipping_norm`.

    Layers with weights may be Linear, Conv2d with groups=1 and GroupNorm; UnsupportedLayer is
    raised for any other. What the model does between them must treat each example by itself: that
    cannot be seen here, but a private recipe's self-test sees it.

    `loss` maps the model's outputs and y to one loss an example. Batches are worked through in
    parts of `micro_batch`, which bounds the memory (so many gradients of the convolutions) and
    changes nothing else. Channels last in memory makes convolutions twice as fast on CPUs.
    """

    def __init__(
        self,
        model: nn.Module,
        clipping_norm: float,
        loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
        micro_batch: int = MICRO_BATCH,
    ) -> None:
        self.model = model
        self.loss = loss
        self.clip_to(clipping_norm)
        self._micro_batch = micro_batch
        self._layers = _supported(model)
        # TF32 keeps 10 bits: a GPU's sum of clipped gradients could be longer than their bound.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False

    def __call__(self, x: Tensor, y: Tensor) -> Clipped:
        """Examples x (n, …) and y (n, …); without any (n = 0) the sums are zeros."""
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        sums: dict[Tensor, Tensor] = {p: torch.zeros_like(p) for p in trainable}
        norms, losses = [x.new_zeros(0)], [x.new_zeros(0)]
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

    def _add(self, x: Tensor, y: Tensor, sums: dict[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Add the clipped gradients of these examples; returns their norms and losses."""
        losses, used = self._backward(x, y)
        with torch.no_grad():
            shares = [(layer, _SHARES[type(layer)](layer, a, g)) for layer, a, g in used]
            norms = torch.linalg.vector_norm(torch.stack([norm for _, (norm, _) in shares]), dim=0)
            finite = norms.isfinite()
            if finite.all():
                weights = self.weights(norms)
                for layer, (_, weighted_sum) in shares:
                    for parameter, total in zip(
                        layer.parameters(), weighted_sum(weights), strict=True
                    ):
                        sums[parameter] += total
        if not finite.all() and finite.any():
            self._add(x[finite], y[finite], sums)  # 0 times NaN is NaN: leave those out instead
        return norms, losses

    def _backward(self, x: Tensor, y: Tensor) -> tuple[Tensor, list[tuple[nn.Module, Tensor, Any]]]:
        """Losses, and each layer with its input and the gradient of the losses at its output."""
        seen: dict[nn.Module, tuple[Tensor, Tensor, int]] = {}

        def remember(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if layer in seen:
                raise UnsupportedLayer(f"{self._layers[layer]} is used twice in one forward pass")
            seen[layer] = inputs[0].detach(), output, output._version

        hooks = [layer.register_forward_hook(remember) for layer in self._layers]
        try:
            losses = self.loss(self.model(x), y)
        finally:
            for hook in hooks:
                hook.remove()
        if losses.shape != x.shape[:1]:
            raise ValueError(f"a loss an example is needed, {len(x)} of them, not {losses.shape}")
        for layer, (_, output, version) in seen.items():
            if output._version != version:
                raise UnsupportedLayer(
                    f"what comes after {self._layers[layer]} changes its output in place:"
                    " use inplace=False"
                )
        outputs = [output for _, output, _ in seen.values()]
        gradients = torch.autograd.grad(losses.sum(), outputs, materialize_grads=True)
        inputs = [a for a, _, _ in seen.values()]
        return losses.detach(), list(zip(seen, inputs, gradients, strict=True))


def noisy_mean(
    sums: Sequence[Tensor], noise: float, batch_size: int, randomness: Randomness
) -> list[Tensor]:
    """What is released of a batch: its sums with noise of standard deviation `noise`, the noise
    multiplier times the clipping norm, divided by the public batch size.

    However many examples the batch really holds, and be it none: to divide by that number, or to
    release nothing, would tell it.
    """
    flat = torch.cat([total.flatten() for total in sums])
    flat += torch.from_numpy(randomness.normal(flat.numel(), noise)).to(flat.device)
    flat /= batch_size
    parts = flat.split([total.numel() for total in sums])
    return [part.view_as(total) for part, total in zip(parts, sums, strict=True)]


def self_test(
    clipped: ClippedGradients,
    records: int,
    examples: Callable[[Sequence[int]], tuple[Tensor, Tensor]],
) -> SelfTest:
    """What the loop needs to test the recipe's own step; `examples` gives x and y by indices."""
    parameters = [p for p in clipped.model.parameters() if p.requires_grad]

    def clipped_sum(indices: Sequence[int]) -> NDArray[np.float32]:
        return _flat(clipped(*examples(indices)).sums)

    def plain_gradient(index: int) -> NDArray[np.float32]:
        x, y = examples([index])
        loss = clipped.loss(clipped.model(x), y).sum()
        return _flat(torch.autograd.grad(loss, parameters, materialize_grads=True))

    return SelfTest(records, plain_gradient, clipped_sum)


def _flat(tensors: Sequence[Tensor]) -> NDArray[np.float32]:
    return torch.cat([tensor.flatten() for tensor in tensors]).cpu().numpy()


def _supported(model: nn.Module) -> dict[nn.Module, str]:
    """The layers that have trainable parameters, and what to call each."""
    layers: dict[nn.Module, str] = {}
    owners: dict[Tensor, str] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        kind = type(layer).__name__
        called = f"{name or 'the model'} ({kind})"
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise UnsupportedLayer(f"{called} mixes a batch's examples: use GroupNorm or none")
        own = dict(layer.named_parameters(recurse=False))
        if not any(parameter.requires_grad for parameter in own.values()):
            continue
        if type(layer) not in _SHARES or not set(own) <= {"weight", "bias"}:
            fitting = [advice for word, advice in _INSTEAD.items() if word in kind]
            advice = fitting[0] if fitting else "use Linear, Conv2d or GroupNorm"
            raise UnsupportedLayer(f"{called} has no per-example gradients here: {advice}")
        for parameter in own.values():
            if parameter in owners:
                raise UnsupportedLayer(
                    f"{called} shares weights with {owners[parameter]}: give each its own"
                )
            if not parameter.requires_grad:
                raise UnsupportedLayer(f"{called} is frozen in part: freeze all of it or nothing")
            owners[parameter] = called
        if isinstance(layer, nn.Conv2d):
            if layer.groups != 1:
                raise UnsupportedLayer(f"{called} has groups={layer.groups}: use groups=1")
            if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
                raise UnsupportedLayer(f"{called} pads by name: use zeros and a number of pixels")
        layers[layer] = called
    return layers


def _linear(layer: Any, a: Tensor, g: Tensor) -> Share:
    if a.dim() > 2:  # the same weights at several positions of an example
        positions = a.flatten(1, -2), g.flatten(1, -2)
        return _each([positions[1].mT @ positions[0], positions[1].sum(1)][: _count(layer)])
    # The gradient is an outer product: its norm is that of the factors.
    ones = 1.0 if layer.bias is not None else 0.0
    norm = torch.linalg.vector_norm(g, dim=1) * (a.square().sum(1) + ones).sqrt()

    def weighted_sum(weights: Tensor) -> list[Tensor]:
        scaled = g * weights[:, None]
        return [scaled.T @ a, scaled.sum(0)][: _count(layer)]

    return norm, weighted_sum


def _conv2d(layer: Any, a: Tensor, g: Tensor) -> Share:
    """A product of matrices an example: the cotangents (channels, places) and the patches below
    the kernel (places, weights)."""
    (rows, columns), (down, right) = layer.kernel_size, layer.stride
    (row_gap, column_gap), (top, left) = layer.dilation, layer.padding
    if top or left:
        a = F.pad(a, (left, left, top, top))
    example, channel, row, column = a.stride()
    sizes = [a.shape[1], rows, columns]
    strides = [channel, row * row_gap, column * column_gap]
    # In the order of memory, so that long runs are copied.
    order, back = ((1, 2, 0), (0, 3, 1, 2)) if channel == 1 else ((0, 1, 2), (0, 1, 2, 3))
    patches = a.as_strided(
        (len(a), *g.shape[2:], *(sizes[k] for k in order)),
        (example, row * down, column * right, *(strides[k] for k in order)),
    ).reshape(len(a), g[0, 0].numel(), -1)
    cotangents = g.flatten(2)
    norm, both = _each([cotangents @ patches, cotangents.sum(2)][: _count(layer)])

    def weighted_sum(weights: Tensor) -> list[Tensor]:
        weight, *bias = both(weights)
        return [weight.view(-1, *(sizes[k] for k in order)).permute(back), *bias]

    return norm, weighted_sum


def _group_norm(layer: Any, a: Tensor, g: Tensor) -> Share:
    normal = F.group_norm(a, layer.num_groups, eps=layer.eps)
    shape = (*a.shape[:2], -1)
    return _each([(g * normal).reshape(shape).sum(2), g.reshape(shape).sum(2)])


def _each(gradients: list[Tensor]) -> Share:
    """From the gradients themselves, (n, …) of each parameter."""
    flat = [gradient.flatten(1) for gradient in gradients]
    norms = [torch.linalg.vector_norm(gradient, dim=1) for gradient in flat]

    def weighted_sum(weights: Tensor) -> list[Tensor]:
        sums = [weights @ part for part in flat]
        return [s.view(g.shape[1:]) for s, g in zip(sums, gradients, strict=True)]

    return torch.linalg.vector_norm(torch.stack(norms), dim=0), weighted_sum


def _count(layer: Any) -> int:
    return 1 if layer.bias is None else 2


_SHARES: dict[type, Callable[[Any, Tensor, Tensor], Share]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.GroupNorm: _group_norm,
}
