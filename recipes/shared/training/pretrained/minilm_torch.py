"""all-MiniLM-L6-v2 in PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from traindeck.recipes.shared.training.pretrained import minilm
from traindeck.recipes.shared.training.pretrained.minilm import EPSILON, FEATURES, HEADS, INNER


class MiniLM(nn.Module):
    """Tokens (n, length), and which are there, to features (n, FEATURES) of length 1.

    Of each sentence by itself: the mean of its tokens, less its own mean, divided by its length.
    """

    def __init__(self, net: minilm.Network) -> None:
        super().__init__()
        self.words = nn.Embedding(len(net.vocabulary), FEATURES)
        self.places = nn.Embedding(minilm.PLACES, FEATURES)
        self.kinds = nn.Embedding(minilm.KINDS, FEATURES)
        self.norm = nn.LayerNorm(FEATURES, EPSILON)
        self.layers = nn.ModuleList(_Layer() for _ in range(minilm.LAYERS))
        self.load_state_dict({name: torch.tensor(array) for name, array in net.tensors.items()})
        self.eval()

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        places = self.places.weight[: tokens.shape[1]]
        x = self.norm(self.words(tokens) + places + self.kinds.weight[0])
        for layer in self.layers:
            x = layer(x, there)
        mean = (x * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        return F.normalize(mean - mean.mean(1, keepdim=True), dim=1)

    @torch.no_grad()
    def computed(self, tokens: NDArray[np.int32], there: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The same from and to NumPy's arrays, on the device where the weights are."""
        device = self.norm.weight.device
        features = self(torch.from_numpy(tokens).to(device), torch.from_numpy(there).to(device))
        return np.asarray(features.cpu())


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (
            nn.Linear(FEATURES, FEATURES) for _ in range(4)
        )
        self.wide, self.narrow = nn.Linear(FEATURES, INNER), nn.Linear(INNER, FEATURES)
        self.norm, self.last = (nn.LayerNorm(FEATURES, EPSILON) for _ in range(2))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heads = F.scaled_dot_product_attention(query, key, value, there[:, None, None])
        x = self.norm(x + self.out(heads.transpose(1, 2).flatten(2)))
        y: Tensor = self.last(x + self.narrow(F.gelu(self.wide(x))))
        return y
