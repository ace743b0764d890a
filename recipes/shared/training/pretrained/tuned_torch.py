"""What is trained of EfficientNet-Lite0 in PyTorch: its head, adapters of its layers, or all."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from traindeck.recipes.shared.training.data.idx import Images
from traindeck.recipes.shared.training.dp.torch_lora import Adapted, lora
from traindeck.recipes.shared.training.pretrained import head_torch, lite0
from traindeck.recipes.shared.training.pretrained.lite0_torch import Features


class Start(NamedTuple):
    """What a run begins with.

    model   to logits (n, CLASSES), from features of images or, below the head, from images
    before  what makes of images (n, rows, columns), floats from 0 to 255, what the model takes
    train_x, test_x  what it takes, of the images; of images bytes
    """

    model: nn.Module
    before: nn.Module
    train_x: Tensor
    test_x: Tensor


def start(net: lite0.Network, data: Images, chosen: str, seed: int, device: torch.device) -> Start:
    """The model as it is before its first step, and its examples, on the device.

    chosen  head, or as of `Tuned`
    """
    size = data.train_x.shape[1]
    if chosen != "head":
        x = [torch.tensor(images, device=device) for images in (data.train_x, data.test_x)]
        return Start(Tuned(net, chosen, size, seed).to(device), nn.Identity(), *x)
    seen = Features(net, size).to(device)

    @torch.no_grad()
    def compute(images: Any) -> Any:
        return seen(torch.from_numpy(images).to(device).float()).cpu().numpy()

    features = lite0.features(net, data, compute)
    x = [torch.tensor(each, dtype=torch.float32, device=device) for each in features]
    return Start(head_torch.zeros(lite0.FEATURES, lite0.CLASSES).to(device), seen.cpu(), *x)


class Tuned(nn.Module):
    """Grey images (n, size, size) as floats from 0 to 255, to logits (n, CLASSES).

    chosen  all: each convolution is trained; lora: those of single places stay as they are, and
            beside each two of rank RANK are trained, of which the second starts at zero
    """

    def __init__(self, net: lite0.Network, chosen: str, size: int, seed: int) -> None:
        super().__init__()
        first = lite0.First(seed)
        self.features = Features(net, size)
        self.classes = nn.Linear(lite0.FEATURES, lite0.CLASSES)
        self.requires_grad_(True)
        if chosen == "lora":
            lora(self.features, lite0.RANK, lite0.RANK, ["conv"])
            adapted = [layer for layer in self.features.modules() if isinstance(layer, Adapted)]
            every = [one for block in net.blocks for one in block.convolutions if one.single]
            with torch.no_grad():
                for layer, one in zip(adapted, every, strict=False):  # not the blocks left out
                    down = torch.from_numpy(first.down(one))
                    layer.down.weight.copy_(down.view_as(layer.down.weight))
        with torch.no_grad():
            self.classes.weight.copy_(torch.from_numpy(first.classes()))
            self.classes.bias.zero_()
        for parameter in self.parameters():
            if parameter.dim() == 4:  # convolutions are twice as fast with their channels last
                parameter.data = parameter.data.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classes(lite0.LENGTH * self.features(images))
        return logits
