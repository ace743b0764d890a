"""Layers of PyTorch that have no private step are refused, and by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
dp_torch = pytest.importorskip("traindeck.recipes.shared.training.dp.torch")
dp_layers = pytest.importorskip("traindeck.recipes.shared.training.dp.torch_layers")

pytestmark = pytest.mark.framework


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight


class TiedWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.last.weight = self.words.weight


class Twice(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(self.layer(x))


class AttendsTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        h, _ = self.look(x, x, x)
        return self.look(h, h, h)[0].mean(1)


class Mixing(nn.Module):
    """Weights of its own, and a mean over examples."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Any) -> Any:
        return self.scale * (x - x.mean(0))


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Any) -> Any:
        return nn.functional.dropout(self.scale * x)


class Places(nn.Module):
    """Places' rows, looked up once for all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.last = nn.Embedding(4, 4), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.last(x + self.places(torch.arange(4))).mean(1)


class LastFirst(nn.Module):
    """Examples in the last dim."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Any) -> Any:
        return (self.scale * x).reshape(-1)


def half_frozen(layer: Any, name: str = "bias") -> Any:
    layer.get_parameter(name).requires_grad_(False)
    return layer


def attention(**options: Any) -> Any:
    return nn.MultiheadAttention(4, 2, batch_first=True, **options)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)), "1 (BatchNorm2d) mixes"),
        (lambda: nn.Sequential(nn.BatchNorm1d(4, affine=False)), "use GroupNorm or none"),
        (lambda: nn.SyncBatchNorm(4), "the model (SyncBatchNorm) mixes"),
        (
            lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
            "set track_running_stats=False",
        ),
        (lambda: nn.MultiheadAttention(4, 2), "(MultiheadAttention) takes positions before"),
        (lambda: nn.TransformerEncoderLayer(4, 2), "self_attn (MultiheadAttention) takes"),
        (lambda: attention(add_bias_kv=True), "set add_bias_kv=False"),
        (lambda: half_frozen(attention(), "in_proj_bias"), "is frozen in part"),
        (lambda: half_frozen(attention(), "out_proj.weight"), "is frozen in part"),
        (lambda: nn.LSTM(4, 4), "the model (LSTM) takes positions before examples"),
        (lambda: nn.Embedding(9, 4, max_norm=1.0), "leave max_norm out"),
        (lambda: nn.Embedding(9, 4, scale_grad_by_freq=True), "leave scale_grad_by_freq out"),
        (lambda: nn.EmbeddingBag(9, 4, sparse=True), "leave sparse out"),
        (Shared, "two (Linear) shares weights with one (Linear)"),
        (TiedWords, "last (Linear) shares weights with words (Embedding)"),
        (lambda: nn.Sequential(*[nn.Linear(4, 4)] * 2), "1 (Linear) shares weights with 0"),
        (lambda: half_frozen(nn.Linear(4, 4)), "is frozen in part"),
        (lambda: nn.Linear(4, 4).bfloat16(), "the model (Linear) has weights of torch.bfloat16"),
    ],
)
def test_a_layer_that_cannot_be_used_is_refused_by_name(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(dp_layers.UnsupportedLayer) as refused:
        dp_torch.ClippedGradients(make(), 0.1)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("make", "shape", "says"),
    [
        (lambda: Twice(nn.Linear(4, 4)), (4,), "layer (Linear) is used twice"),
        (lambda: Twice(nn.PReLU()), (4,), "layer (PReLU) is used twice"),
        (AttendsTwice, (3, 4), "look (MultiheadAttention) is used twice"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), (4,), "use inplace=False"),
        (Mixing, (4,), "the model (Mixing) gives an example another output among others"),
        (Dropping, (4,), "the model (Dropping) draws random numbers"),
        (Places, (4, 4), "places (Embedding) has an input of shape (4,), which does not hold"),
    ],
)
def test_what_only_shows_in_the_forward_pass_is_refused_there(
    make: Callable[[], Any], shape: tuple[int, ...], says: str
) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(4, *shape), torch.randint(0, 3, (4,))  # as many as there are places
    with pytest.raises(dp_layers.UnsupportedLayer) as refused:
        dp_torch.ClippedGradients(make(), 0.1)(x, y)
    assert says in str(refused.value)


class CastsWithin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return self.layer(x).float()


def test_autocast_is_refused_around_a_model_and_within() -> None:
    x, y = torch.randn(4, 4), torch.randint(0, 3, (4,))
    with pytest.raises(dp_layers.UnsupportedLayer, match=r"layer \(Linear\).*leave autocast out"):
        dp_torch.ClippedGradients(CastsWithin(), 0.1)(x, y)
    clipped = dp_torch.ClippedGradients(nn.Linear(4, 4), 0.1)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(dp_layers.UnsupportedLayer, match="in autocast: leave it out"),
    ):
        clipped(x, y)


def test_outputs_without_a_dim_of_examples_are_refused() -> None:
    clipped = dp_torch.ClippedGradients(
        LastFirst(), 0.1, loss=lambda outputs, y: outputs.view(len(y), -1).sum(1)
    )
    with pytest.raises(dp_layers.UnsupportedLayer, match="in which no dim is the examples'"):
        clipped(torch.randn(3, 4), torch.zeros(3))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1)), "1 (Dropout) drops values"),
        (lambda: attention(dropout=0.1), "the model (MultiheadAttention) drops values"),
    ],
)
def test_the_self_test_names_what_is_left_to_chance(make: Callable[[], Any], says: str) -> None:
    model = make()
    clipped = dp_torch.ClippedGradients(model, 0.1)
    with pytest.raises(dp_layers.UnsupportedLayer) as refused:
        dp_torch.self_test(clipped, 4, lambda chosen: (torch.zeros(4, 4), torch.zeros(4)))
    assert says in str(refused.value)
    model.eval()
    dp_torch.self_test(clipped, 4, lambda chosen: (torch.zeros(4, 4), torch.zeros(4)))
