"""Every kind of layer in PyTorch: what is summed is each example's own gradient, clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.training.dp_torch_models import CLASSES, assert_close, clipped_by_hand, loop

torch = pytest.importorskip("torch")
nn = torch.nn
dp_torch = pytest.importorskip("traindeck.recipes.shared.training.dp.torch")

pytestmark = pytest.mark.framework
COUNT, WORDS, SIZE, LENGTH = 7, 11, 8, 6


class Over(nn.Module):
    """A body over sequences, and a classifier of its positions' mean."""

    def __init__(self, body: Any, size: int = SIZE) -> None:
        super().__init__()
        self.body, self.last = body, nn.Linear(size, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.last(self.body(x).mean(1))


class Attention(nn.Module):
    """nn.MultiheadAttention from and to the given sizes, called in the way that is asked for."""

    def __init__(self, call: str = "self", **options: Any) -> None:
        super().__init__()
        self.call = call
        self.look = nn.MultiheadAttention(SIZE, 2, batch_first=True, **options)

    def forward(self, x: Any) -> Any:
        if self.call == "self":
            return self.look(x, x, x, need_weights=False)[0]
        if self.call == "padded":
            padding = torch.arange(x.shape[1]).expand(len(x), -1) >= 4
            causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
            return self.look(x, x, x, key_padding_mask=padding, attn_mask=causal)[0]
        if self.call == "by head":
            out, weights = self.look(
                x,
                x,
                x,
                attn_mask=torch.eye(x.shape[1], dtype=torch.bool).expand(2 * len(x), -1, -1),
                average_attn_weights=False,
            )
            return out + weights.sum((1, 2))[..., None]
        if self.call == "causal":
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return self.look(x, x, x, need_weights=False, attn_mask=mask, is_causal=True)[0]
        if self.call == "other sizes":
            return self.look(x, x[:, :3, :5], x[:, :3, :4], need_weights=False)[0]
        return self.look(x.flip(1), torch.tanh(x), x)[0]


class Block(nn.Module):
    """A transformer's block of Linear, LayerNorm and F.scaled_dot_product_attention."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm_2 = nn.LayerNorm(SIZE), nn.RMSNorm(SIZE)
        self.qkv, self.out = nn.Linear(SIZE, 3 * SIZE), nn.Linear(SIZE, SIZE, bias=False)
        self.mlp = nn.Sequential(nn.Linear(SIZE, 4 * SIZE), nn.GELU(), nn.Linear(4 * SIZE, SIZE))

    def forward(self, x: Any) -> Any:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        split = [part.unflatten(-1, (2, -1)).transpose(1, 2) for part in (q, k, v)]
        h = nn.functional.scaled_dot_product_attention(*split, is_causal=True)
        x = x + self.out(h.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_2(x))


class Words(nn.Module):
    """Embeddings of words and of their places, then what is given."""

    def __init__(self, *body: Any, **options: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, SIZE, **options)
        self.places = nn.Embedding(LENGTH, SIZE)
        self.body = nn.Sequential(*body)

    def forward(self, ids: Any) -> Any:
        places = torch.arange(ids.shape[1]).expand(len(ids), -1)
        return self.body(self.words(ids) + self.places(places))


class Places(nn.Module):
    """Weights of its own that are added to an example, and one that scales it."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(LENGTH, SIZE))
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Any) -> Any:
        return self.scale * x + self.places[: x.shape[1]]


class WithToken(nn.Module):
    """Weights of its own beside layers that have some."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.body = nn.Parameter(torch.randn(1, 1, SIZE)), Block()

    def forward(self, x: Any) -> Any:
        return self.body(torch.cat([self.token.expand(len(x), -1, -1), x], 1))


class Recurrent(nn.Module):
    """A recurrent layer, of which all states and the last one are used."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.memory = kind(SIZE, 4, batch_first=True, **options)

    def forward(self, x: Any) -> Any:
        states, last = self.memory(x)
        return states + (last[0] if isinstance(last, tuple) else last)[-1][:, None]


class Masked(nn.Module):
    """A layer that is handed more than its examples."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = nn.Bilinear(SIZE, SIZE, SIZE)

    def forward(self, x: Any) -> Any:
        return self.pair(x, x.flip(1))


def frozen_projection() -> Any:
    body = Attention()
    body.look.in_proj_weight.requires_grad_(False)
    body.look.in_proj_bias.requires_grad_(False)
    return Over(body)


def image(*layers: Any, size: int) -> Any:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, CLASSES))


weight_norm = nn.utils.parametrizations.weight_norm
IDS, SEQUENCE, IMAGE = (LENGTH,), (LENGTH, SIZE), (2, 6, 6)
encoder = {"dim_feedforward": 16, "dropout": 0.0, "batch_first": True}
KNOWN: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "layer norm": (lambda: Over(nn.LayerNorm(SIZE)), SEQUENCE),
    "layer norm without bias": (lambda: Over(nn.LayerNorm(SIZE, bias=False)), SEQUENCE),
    "layer norm of features": (lambda: image(nn.LayerNorm(9), size=9), (9,)),
    "layer norm of images": (lambda: image(nn.LayerNorm((6, 6)), size=72), IMAGE),
    "rms norm": (lambda: Over(nn.RMSNorm(SIZE, eps=1e-3)), SEQUENCE),
    "embedding": (lambda: Over(Words()), IDS),
    "embedding with padding": (lambda: Over(Words(padding_idx=2)), IDS),
    "ghost norm": (lambda: Over(nn.Linear(SIZE, 4 * SIZE), 4 * SIZE), (3, SIZE)),
    "ghost norm, no bias": (lambda: Over(nn.Linear(SIZE, 32, bias=False), 32), (3, SIZE)),
    "ghost norm of images": (
        lambda: Over(nn.Sequential(nn.Linear(40, 30), nn.Flatten(1, 2)), 30),
        (2, 3, 40),
    ),
    "attention": (lambda: Over(Attention()), SEQUENCE),
    "attention without biases": (lambda: Over(Attention(bias=False)), SEQUENCE),
    "attention with masks": (lambda: Over(Attention("padded")), SEQUENCE),
    "attention with masks by head": (lambda: Over(Attention("by head")), SEQUENCE),
    "causal attention": (lambda: Over(Attention("causal")), SEQUENCE),
    "attention to nothing": (lambda: Over(Attention("padded", add_zero_attn=True)), SEQUENCE),
    "attention to others": (lambda: Over(Attention("others")), SEQUENCE),
    "attention to other sizes": (
        lambda: Over(Attention("other sizes", kdim=5, vdim=4)),
        SEQUENCE,
    ),
    "attention with frozen projections": (frozen_projection, SEQUENCE),
    "block of scaled_dot_product_attention": (lambda: Over(Words(Block(), Block())), IDS),
    "encoder layer": (lambda: Over(nn.TransformerEncoderLayer(SIZE, 2, **encoder)), SEQUENCE),
    "encoder": (
        lambda: Over(
            Words(
                nn.TransformerEncoder(
                    nn.TransformerEncoderLayer(SIZE, 2, norm_first=True, **encoder),
                    2,
                    enable_nested_tensor=False,
                )
            )
        ),
        IDS,
    ),
}
SLOW: dict[str, tuple[Callable[[], Any], tuple[int, ...], str]] = {
    "weights of its own": (lambda: Over(Places()), SEQUENCE, "body (Places)"),
    "weights beside layers": (lambda: Over(WithToken()), SEQUENCE, "body (WithToken)"),
    "lstm": (lambda: Over(Recurrent(nn.LSTM, num_layers=2), 4), SEQUENCE, "memory (LSTM)"),
    "gru": (lambda: Over(Recurrent(nn.GRU), 4), SEQUENCE, "memory (GRU)"),
    "rnn": (
        lambda: Over(Recurrent(nn.RNN, nonlinearity="relu"), 4),
        SEQUENCE,
        "body.memory (RNN)",
    ),
    "two inputs": (lambda: Over(Masked()), SEQUENCE, "body.pair (Bilinear)"),
    "conv in one dim": (lambda: Over(nn.Conv1d(LENGTH, 4, 3), 6), SEQUENCE, "body (Conv1d)"),
    "transposed conv": (lambda: image(nn.ConvTranspose2d(2, 2, 3), size=128), IMAGE, "0 (Conv"),
    "conv in groups": (lambda: image(nn.Conv2d(2, 4, 3, groups=2), size=64), IMAGE, "0 (Conv2d)"),
    "conv padded by name": (
        lambda: image(nn.Conv2d(2, 2, 3, padding="same"), size=72),
        IMAGE,
        "0 (Conv2d)",
    ),
    "conv padded around": (
        lambda: image(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), size=72),
        IMAGE,
        "0 (Conv2d)",
    ),
    "instance norm": (lambda: image(nn.InstanceNorm2d(2, affine=True), size=72), IMAGE, "0 (Inst"),
    "weight norm": (lambda: image(weight_norm(nn.Linear(9, 4)), size=4), (9,), "ParametrizedLin"),
    "weight norm, no bias": (
        lambda: image(weight_norm(nn.Linear(9, 4, bias=False)), size=4),
        (9,),
        "0 (ParametrizedLinear)",
    ),
    "prelu": (lambda: image(nn.PReLU(), size=9), (9,), "0 (PReLU)"),
}
KINDS = KNOWN | {name: slow[:2] for name, slow in SLOW.items()}


def made(name: str) -> tuple[Any, Any, Any]:
    """A model, and a batch for it."""
    torch.manual_seed(0)
    make, shape = KINDS[name]
    model = make()
    for parameter in model.parameters():  # biases as well: zeros would hide their mistakes
        if parameter.dim() < 2:
            nn.init.normal_(parameter, 0.5, 0.3)
    generator = torch.Generator().manual_seed(1)
    y = torch.randint(0, CLASSES, (COUNT,), generator=generator)
    if shape == IDS:
        return model, torch.randint(1, WORDS, (COUNT, *shape), generator=generator), y
    return model, torch.randn(COUNT, *shape, generator=generator), y


@pytest.mark.parametrize("clipped", ["some", "all", "none"])
@pytest.mark.parametrize("name", KINDS)
def test_sums_and_norms_are_those_of_a_plain_loop(name: str, clipped: str) -> None:
    model, x, y = made(name)
    gradients = loop(model, x, y)
    norms = clipped_by_hand(gradients, 1.0)[1]
    clipping_norm = float({"some": norms.median(), "all": norms.min() / 9, "none": 99}[clipped])
    sums, norms = clipped_by_hand(gradients, clipping_norm)
    got = dp_torch.ClippedGradients(model, clipping_norm, micro_batch=4)(x, y)
    assert_close(got.sums, sums)
    assert_close([got.norms], [norms])
    assert got.faulty == 0


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_batch_gives_zeros_and_a_faulty_example_adds_nothing(name: str) -> None:
    model, x, y = made(name)
    clipped = dp_torch.ClippedGradients(model, 0.1)
    empty = clipped(x[:0], y[:0])
    assert not any(value.any() for value in empty.sums)
    assert empty.norms.shape == (0,) and empty.norms.is_floating_point()
    others = torch.arange(COUNT) != 2
    expected = clipped(x[others], y[others]).sums
    if x.is_floating_point():
        x[2].view(-1)[1] = float("nan")
        got = clipped(x, y)
    else:  # a word that only one example has is not finite
        x[2] = 0
        with torch.no_grad():
            model.body.words.weight[0] = float("nan")
        got = clipped(x, y)
    assert got.faulty == 1
    assert_close(got.sums, expected)


@pytest.mark.parametrize("name", KINDS)
def test_no_example_adds_more_than_the_clipping_norm(name: str) -> None:
    model, x, y = made(name)
    clipped = dp_torch.ClippedGradients(model, 1e-4)
    for index in range(COUNT):
        sums = clipped(x[index : index + 1], y[index : index + 1]).sums
        assert float(torch.cat([s.double().flatten() for s in sums]).norm()) <= 1e-4


@pytest.mark.parametrize("name", SLOW)
def test_a_line_says_which_layers_are_slow(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, x, y = made(name)
    clipped = dp_torch.ClippedGradients(model, 0.1)
    clipped(x, y)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("slow: ") and SLOW[name][2] in line


@pytest.mark.parametrize("name", KNOWN)
def test_nothing_is_said_of_layers_that_are_known(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dp_torch.ClippedGradients(made(name)[0], 0.1)
    assert capsys.readouterr().out == ""


def test_attention_is_torchs_own_again_after_a_step() -> None:
    model, x, y = made("attention")
    before = model(x)
    dp_torch.ClippedGradients(model, 0.1)(x, y)
    assert torch.equal(model(x), before)
    assert "forward" not in vars(model.body.look)


def test_positions_that_cancel_out_are_clipped_by_what_is_left() -> None:
    """A norm from products of positions alone would be off by their rounding."""
    torch.manual_seed(4)
    model = nn.Linear(50, 40)
    one = 100 * torch.randn(3, 1, 50)
    x, y = torch.cat([one, one + 0.01], 1), torch.zeros(3)

    def difference(outputs: Any, y: Any) -> Any:
        return (outputs[:, 1] - outputs[:, 0]).sum(1)

    got = dp_torch.ClippedGradients(model, 0.02, difference)(x, y)
    exact = 0.01 * 50**0.5 * 40**0.5
    assert got.norms.tolist() == pytest.approx([exact] * 3, rel=1e-3)
    assert float(torch.cat([s.flatten() for s in got.sums]).norm()) <= 3 * 0.02


@pytest.mark.parametrize("positions", [(), (3,), (40,)])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("inputs", "end"), [(3e18, 2e-23), (1e-23, 1e16)])
def test_what_is_too_small_to_be_squared_is_clipped_all_the_same(
    positions: tuple[int, ...], biased: bool, inputs: float, end: float
) -> None:
    model = nn.Linear(30, 40, bias=biased)
    x, y = torch.full((1, *positions, 30), inputs), torch.full((1, *positions, 40), end)

    def product(outputs: Any, y: Any) -> Any:
        return (outputs * y).flatten(1).sum(1)

    got = dp_torch.ClippedGradients(model, 1e-7, product)(x, y)
    length = torch.cat([s.flatten() for s in got.sums]).double().norm()
    assert 0.99e-7 < float(length) <= 1e-7
