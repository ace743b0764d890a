"""Each kind of layer's part in n examples' gradients: their norms, and what sums them once clipped.

Made of a layer's input and of the gradient of the losses at its output (I. Goodfellow: Efficient
per-example gradient computations, 2015; G. Rochette, A. Manoel, E. Tramel: Efficient per-example
gradient computations in convolutional neural networks, 2019). Where weights are used at several
positions of an example, its gradient is a sum over them, which is made, or its norm alone, from
products of positions with positions, where that takes less: the ghost norm (X. Li, F. Tramèr,
P. Liang, T. Hashimoto: Large language models can be strong differentially private learners, ICLR
2022), chosen as in Z. Bu, J. Mao, S. Xu: Scalable and efficient training of large convolutional
neural networks with differential privacy, NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

CANCELLED = 16  # times less than its positions' own squares: rounding shows in a ghost norm
_ROW, _DOT = 256, 1024  # values added one after the other, at most: float32's roundings add up too

Sum = Callable[[Tensor], list[Tensor]]
Share = tuple[Tensor, Sum]
"""A layer's part in n gradients: their norms (n,), and what sums them with weights (n,)."""


def linear(a: Tensor, g: Tensor, biased: bool) -> Share:
    """From inputs a (n, …, inputs) and gradients at the outputs g (n, …, outputs)."""
    if a.dim() > 2:
        return _positions(a.flatten(1, -2).contiguous(), g.flatten(1, -2).contiguous(), biased)
    # The gradient is an outer product: its norm is that of the factors.
    inputs, size = (a, 1.0) if biased else _unit(a)
    unit, length = _unit(g)
    norm = norms(unit) * (inputs.square().sum(1) + float(biased)).sqrt() * (length * size)

    def weighted_sum(weights: Tensor) -> list[Tensor]:
        scaled = g * weights[:, None]
        return [scaled.T @ a, scaled.sum(0)][: 1 + biased]

    return norm, weighted_sum


def _positions(a: Tensor, g: Tensor, biased: bool) -> Share:
    """The same weights at several positions of an example: (n, positions, …) each."""
    if 2 * a.shape[1] ** 2 >= a.shape[2] * g.shape[2]:
        return each([g.mT @ a, g.sum(1)][: 1 + biased])
    (inputs, size), (unit, length) = _unit(a), _unit(g)
    size = size * length
    products = _gram(inputs).mul_(_gram(unit))
    square = products.sum((1, 2))
    own = products.diagonal(dim1=1, dim2=2).sum(1)
    # Where positions cancel out, the little that is left would be lost in rounding, and the
    # clipping with it: there the gradients are made after all, for the norm and for the sum.
    [cancelled] = torch.nonzero(square * CANCELLED < own, as_tuple=True)
    made = unit[cancelled].mT @ inputs[cancelled]
    square[cancelled] = made.square().sum((1, 2))
    norm = square.sqrt() * size
    if biased:
        norm = torch.hypot(norm, unit.sum(1).square().sum(1).sqrt() * length)

    def weighted_sum(weights: Tensor) -> list[Tensor]:
        scaled = g * weights[:, None, None]
        bias = scaled.sum((0, 1))
        scaled[cancelled] = 0
        weight = scaled.flatten(0, 1).T @ a.flatten(0, 1)
        weight += torch.tensordot((weights * size)[cancelled], made, 1)
        return [weight, bias][: 1 + biased]

    return norm, weighted_sum


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """An example's values (n, …) over the largest of them, and that one (n,): float32 has no
    squares below 1e-45, and what times something large is not small would be clipped as nothing."""
    size = x.flatten(1).abs().amax(1) if x[0].numel() else x.new_ones(len(x))
    size = torch.where(size > 0, size, 1.0)
    return x / size.view(-1, *[1] * (x.dim() - 1)), size


def _gram(x: Tensor) -> Tensor:
    """Positions' products with positions: (n, positions, features) to (n, positions, positions)."""
    if x.shape[2] <= _DOT:
        products: Tensor = x @ x.mT
        return products
    left, right = x.tensor_split(2, 2)
    return _gram(left).add_(_gram(right))


def conv2d(layer: Any, a: Tensor, g: Tensor) -> Share:
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
    biased = layer.bias is not None
    norm, both = each([cotangents @ patches, cotangents.sum(2)][: 1 + biased])

    def weighted_sum(weights: Tensor) -> list[Tensor]:
        weight, *bias = both(weights)
        return [weight.view(-1, *(sizes[k] for k in order)).permute(back), *bias]

    return norm, weighted_sum


def depthwise(layer: Any, a: Tensor, g: Tensor) -> Share:
    """Of a convolution of each channel by itself: at each place below the kernel, the inputs that
    lie there times the cotangents (channels, places)."""
    (rows, columns), (down, right) = layer.kernel_size, layer.stride
    (row_gap, column_gap), (top, left) = layer.dilation, layer.padding
    if top or left:
        a = F.pad(a, (left, left, top, top))
    height, width = (g.shape[2] - 1) * down + 1, (g.shape[3] - 1) * right + 1
    places = [
        (a[:, :, i : i + height : down, j : j + width : right] * g).sum((2, 3))
        for i in range(0, rows * row_gap, row_gap)
        for j in range(0, columns * column_gap, column_gap)
    ]
    weight = torch.stack(places, 2).view(-1, *layer.weight.shape)
    return each([weight, g.sum((2, 3))][: 1 + (layer.bias is not None)])


def group_norm(layer: Any, a: Tensor, g: Tensor) -> Share:
    normal = F.group_norm(a, layer.num_groups, eps=layer.eps)
    shape = (*a.shape[:2], -1)
    return each([(g * normal).reshape(shape).sum(2), g.reshape(shape).sum(2)])


def layer_norm(layer: Any, a: Tensor, g: Tensor) -> Share:
    biased = layer.bias is not None
    normal = F.layer_norm(a, layer.normalized_shape, eps=layer.eps)
    return _scaled(layer, normal, g, biased)


def rms_norm(layer: Any, a: Tensor, g: Tensor) -> Share:
    normal = F.rms_norm(a, layer.normalized_shape, eps=layer.eps)
    return _scaled(layer, normal, g, False)


def _scaled(layer: Any, normal: Tensor, g: Tensor, biased: bool) -> Share:
    """What multiplies each feature, the same at all positions, and what is added to it."""
    shape = (len(g), -1, *layer.normalized_shape)
    return each([(g * normal).reshape(shape).sum(1), g.reshape(shape).sum(1)][: 1 + biased])


def embedding(layer: Any, ids: Tensor, g: Tensor) -> Share:
    """Positions (n, …) with the same id have the same row: their gradients g (n, …, features) are
    added before their squares are."""
    count, size = len(ids), layer.num_embeddings
    rows, flat = ids.reshape(-1), g.reshape(-1, g.shape[-1])
    if layer.padding_idx is not None:
        flat = flat * (rows != layer.padding_idx)[:, None]
    examples = torch.arange(count, device=ids.device).repeat_interleave(len(rows) // count)
    used, places = torch.unique(examples * size + rows, return_inverse=True)
    added = flat.new_zeros(len(used), flat.shape[1]).index_add_(0, places, flat)
    squares = flat.new_zeros(count).index_add_(0, used // size, added.square().sum(1))

    def weighted_sum(weights: Tensor) -> list[Tensor]:
        total = flat.new_zeros(size, flat.shape[1])
        return [total.index_add_(0, rows, flat * weights[examples][:, None])]

    return squares.sqrt(), weighted_sum


def each(gradients: list[Tensor]) -> Share:
    """From the gradients themselves, (n, …) of each parameter."""
    flat = [gradient.reshape(len(gradient), -1) for gradient in gradients]

    def weighted_sum(weights: Tensor) -> list[Tensor]:
        sums = [weights @ part for part in flat]
        return [s.view(g.shape[1:]) for s, g in zip(sums, gradients, strict=True)]

    return norms(torch.stack([norms(gradient) for gradient in flat], 1)), weighted_sum


def norms(rows: Tensor) -> Tensor:
    """Euclidean norms (n,) of rows (n, values), by blocks: in one go float32 is off by up to 1e-3
    where a million values are alike."""
    while rows.shape[1] > _ROW:
        whole = rows.shape[1] // _ROW * _ROW
        blocks = torch.linalg.vector_norm(rows[:, :whole].unflatten(1, (-1, _ROW)), dim=2)
        rest = torch.linalg.vector_norm(rows[:, whole:], dim=1, keepdim=True)
        rows = torch.cat([blocks, rest], 1)
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return norm
