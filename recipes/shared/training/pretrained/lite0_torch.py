"""EfficientNet-Lite0 in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindeck.recipes.shared.training.pretrained import lite0


class Lite0(nn.Module):
    """Images (n, 3, rows, columns), 0 for grey, to logits (n, 1000). It comes frozen."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, net: lite0.Network) -> None:
        super().__init__()
        self.stem, self.blocks = _Convolution(net.stem), _blocks(net.blocks)
        self.head = _Convolution(net.head)
        kernel, bias = map(torch.tensor, net.classes)
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.head(x).mean((2, 3)), self.kernel, self.bias)


class Features(nn.Module):
    """Grey images (n, size, size) as floats from 0 to 255, to features (n, FEATURES) of length 1.

    Of each image by itself: what its maps are averaged to, less its own mean, divided by its own
    length.
    """

    enlarging: Tensor

    def __init__(self, net: lite0.Network, size: int) -> None:
        super().__init__()
        self.stem = _Convolution(net.stem)
        self.blocks = _blocks(net.blocks[: max(lite0.TAKEN) + 1])
        self.register_buffer("enlarging", torch.from_numpy(lite0.enlarging(size)))

    def forward(self, images: Tensor) -> Tensor:
        x = self.enlarging @ images @ self.enlarging.mT
        x = self.stem(((x - lite0.GREY) / lite0.SPREAD).unsqueeze(1).expand(-1, 3, -1, -1))
        taken = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place in lite0.TAKEN:
                taken.append(F.adaptive_avg_pool2d(x, lite0.SIDE).flatten(1))
        together = torch.cat(taken, 1)
        return F.normalize(together - together.mean(1, keepdim=True), dim=1)


class _Convolution(nn.Module):
    """One, and its ReLU6, frozen."""

    def __init__(self, one: lite0.Convolution) -> None:
        super().__init__()
        outputs, inputs, size, _ = one.kernel.shape
        groups = outputs if one.depthwise else 1
        around = 0 if one.stride > 1 else size // 2
        self.conv = nn.Conv2d(inputs * groups, outputs, size, one.stride, around, groups=groups)
        self.conv.weight.data = torch.from_numpy(one.kernel).clone()
        self.conv.bias = nn.Parameter(torch.from_numpy(one.bias).clone())
        self.requires_grad_(False)
        self._size, self._stride, self._active = size, one.stride, one.active

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self._padded(x))
        return F.relu6(y, inplace=not y.requires_grad) if self._active else y

    def _padded(self, x: Tensor) -> Tensor:
        """With zeros around where a stride has TensorFlow's "same" put the odd one at the end."""
        if self._stride == 1:
            return x
        around = []
        for length in (x.shape[3], x.shape[2]):
            places = math.ceil(length / self._stride)
            missing = max((places - 1) * self._stride + self._size - length, 0)
            around += [missing // 2, missing - missing // 2]
        return F.pad(x, around)


class _Block(nn.Module):
    def __init__(self, block: lite0.Block) -> None:
        super().__init__()
        self.inner = nn.Sequential(*map(_Convolution, block.convolutions))
        self._skip = block.skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return x + y if self._skip else y


def _blocks(blocks: Iterable[lite0.Block]) -> nn.ModuleList:
    return nn.ModuleList(map(_Block, blocks))
