"""Sums of clipped per-example gradients in PyTorch, against a plain loop and against Opacus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.training.dp_torch_models import CLASSES, assert_close, clipped_by_hand, loop
from traindeck.recipes.shared.training.dp.randomness import Randomness

torch = pytest.importorskip("torch")
nn = torch.nn
dp_torch = pytest.importorskip("traindeck.recipes.shared.training.dp.torch")

pytestmark = pytest.mark.framework


def flat(*layers: Any, inputs: int) -> Any:
    """Layers and, from so many numbers that they leave, a classifier."""
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs, CLASSES))


def tanh_cnn() -> Any:
    return flat(
        nn.Conv2d(1, 16, 8, 2, 3),
        nn.Tanh(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2),
        nn.Tanh(),
        nn.MaxPool2d(2, 1),
        inputs=512,
    )


class Positions(nn.Module):
    """Linear on each row of an image, then on all of them."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.each = nn.Linear(8, 4, bias=bias)
        self.all = nn.Linear(32, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.all(torch.tanh(self.each(x[:, 0])).flatten(1))


class Residual(nn.Module):
    """Not a chain: an output that is used twice, and a layer that is not used at all."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 2, 3, padding=1)
        self.second = nn.Conv2d(2, 2, 3, padding=1)
        self.last = nn.Linear(128, CLASSES)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        h = torch.tanh(self.first(x))
        return self.last((h + self.second(h)).flatten(1))


def partly_frozen() -> Any:
    model = flat(nn.Conv2d(2, 4, 3), nn.ReLU(), inputs=144)
    model[0].requires_grad_(False)
    return model


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(20, CLASSES), (20,)),
    "linear without bias": (lambda: nn.Linear(20, CLASSES, bias=False), (20,)),
    "linear on flattened": (lambda: flat(inputs=24), (2, 3, 4)),
    "linear at positions": (lambda: Positions(True), (1, 8, 8)),
    "linear at positions without bias": (lambda: Positions(False), (1, 8, 8)),
    "two linear": (lambda: nn.Sequential(nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3)), (9,)),
    "conv": (lambda: flat(nn.Conv2d(2, 4, 3), inputs=144), (2, 8, 8)),
    "conv without bias": (lambda: flat(nn.Conv2d(2, 4, 3, bias=False), inputs=144), (2, 8, 8)),
    "conv of stride 2": (lambda: flat(nn.Conv2d(2, 4, 3, stride=2), inputs=36), (2, 8, 8)),
    "conv with padding": (lambda: flat(nn.Conv2d(2, 4, 3, padding=2), inputs=400), (2, 8, 8)),
    "conv with dilation": (lambda: flat(nn.Conv2d(2, 4, 3, dilation=2), inputs=64), (2, 8, 8)),
    "conv 1×1": (lambda: flat(nn.Conv2d(3, 4, 1), inputs=100), (3, 5, 5)),
    "conv of one channel": (lambda: flat(nn.Conv2d(1, 4, 3), inputs=144), (1, 8, 8)),
    "conv of each channel": (lambda: flat(nn.Conv2d(2, 2, 3, groups=2), inputs=72), (2, 8, 8)),
    "conv of each channel, otherwise": (
        lambda: flat(nn.Conv2d(2, 2, (3, 2), (2, 3), (1, 0), (1, 2), 2, bias=False), inputs=16),
        (2, 8, 8),
    ),
    "conv as large as its input": (lambda: flat(nn.Conv2d(2, 4, 8), inputs=4), (2, 8, 8)),
    "conv that differs by axis": (
        lambda: flat(nn.Conv2d(2, 4, (3, 2), (2, 3), (1, 0), (1, 2)), inputs=32),
        (2, 8, 7),
    ),
    "conv after pooling": (
        lambda: flat(nn.AvgPool2d(2), nn.Conv2d(2, 4, 2), nn.ELU(), inputs=36),
        (2, 8, 8),
    ),
    "group norm": (
        lambda: flat(nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), inputs=216),
        (2, 8, 8),
    ),
    "group norm of features": (
        lambda: nn.Sequential(nn.Linear(9, 8), nn.GroupNorm(2, 8), nn.Linear(8, CLASSES)),
        (9,),
    ),
    "residual": (Residual, (2, 8, 8)),
    "frozen first layer": (partly_frozen, (2, 8, 8)),
    "the network of torch-mnist-dp": (tanh_cnn, (1, 28, 28)),
}


def batch(shape: tuple[int, ...], count: int = 7) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, *shape, generator=generator)
    return x, torch.randint(0, CLASSES, (count,), generator=generator)


def made(name: str) -> tuple[Any, Any, Any]:
    """A model, and a batch for it."""
    torch.manual_seed(0)
    make, shape = MODELS[name]
    return make(), *batch(shape)


@pytest.mark.parametrize("channels_last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("name", MODELS)
def test_sums_and_norms_are_those_of_a_plain_loop(name: str, channels_last: bool) -> None:
    model, x, y = made(name)
    if channels_last and x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
    gradients = loop(model, x, y)
    clipping_norm = float(clipped_by_hand(gradients, 1.0)[1].median())  # some clipped, some not
    sums, norms = clipped_by_hand(gradients, clipping_norm)
    got = dp_torch.ClippedGradients(model, clipping_norm)(x, y)
    assert_close(got.sums, sums)
    assert_close([got.norms], [norms])
    with torch.no_grad():
        assert_close([got.losses], [nn.functional.cross_entropy(model(x), y, reduction="none")])
    assert got.faulty == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in MODELS if name != "residual"])
def test_sums_are_those_of_opacus(name: str) -> None:
    opacus = pytest.importorskip("opacus")
    model, x, y = made(name)
    got = dp_torch.ClippedGradients(model, 0.1)(x, y)
    wrapped = opacus.GradSampleModule(model, loss_reduction="sum")
    nn.functional.cross_entropy(wrapped(x), y, reduction="sum").backward()
    samples = [p.grad_sample for p in wrapped.parameters() if p.requires_grad]
    sums, norms = clipped_by_hand([list(each) for each in zip(*samples, strict=True)], 0.1)
    assert_close(got.sums, sums)
    assert_close([got.norms], [norms])


@pytest.mark.parametrize("name", MODELS)
def test_no_example_adds_more_than_the_clipping_norm(name: str) -> None:
    model, x, y = made(name)
    clipped = dp_torch.ClippedGradients(model, 1e-3)
    for index in range(len(x)):
        sums = clipped(100 * x[index : index + 1], y[index : index + 1]).sums
        assert float(torch.cat([s.double().flatten() for s in sums]).norm()) <= 1e-3


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("shape", [(1,), (300, 1), (2, 1)])
def test_norms_of_many_equal_values_are_right(shape: tuple[int, ...], value: float) -> None:
    """Added one after the other, float32's roundings would hide a part of the norm."""
    size = 1 << 16
    model = nn.Linear(1, size, bias=False)

    def loss(outputs: Any, y: Any) -> Any:
        return value * outputs.flatten(1).sum(1)

    got = dp_torch.ClippedGradients(model, 1.0, loss)(torch.ones(2, *shape), torch.zeros(2))
    exact = float(torch.tensor(value)) * size**0.5 * (shape[0] if len(shape) > 1 else 1)
    assert got.norms.tolist() == pytest.approx([exact] * 2, rel=5e-6)


def test_it_is_a_sum_and_no_mean() -> None:
    model, x, y = made("linear")
    clipped = dp_torch.ClippedGradients(model, 0.1)
    once, twice = clipped(x, y).sums, clipped(x.repeat(2, 1), y.repeat(2)).sums
    assert_close(twice, [2 * value for value in once])


@pytest.mark.parametrize("micro_batch", [1, 3, 7, 100])
def test_micro_batches_change_nothing(micro_batch: int) -> None:
    model, x, y = made("the network of torch-mnist-dp")
    whole = dp_torch.ClippedGradients(model, 0.1, micro_batch=7)(x, y)
    parts = dp_torch.ClippedGradients(model, 0.1, micro_batch=micro_batch)(x, y)
    assert_close(parts.sums, whole.sums)
    assert_close([parts.norms, parts.losses], [whole.norms, whole.losses])


def test_an_empty_batch_has_a_sum_of_zero() -> None:
    model, x, y = made("the network of torch-mnist-dp")
    empty = dp_torch.ClippedGradients(model, 0.1)(x[:0], y[:0])
    assert [value.shape for value in empty.sums] == [p.shape for p in model.parameters()]
    assert not any(value.any() for value in empty.sums)
    assert empty.norms.shape == empty.losses.shape == (0,)
    assert empty.telemetry(0.1) == {"private/batch_size": 0.0, "private/faulty": 0.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("micro_batch", [1, 3, 100])
def test_an_example_without_a_finite_gradient_adds_nothing(value: float, micro_batch: int) -> None:
    model, x, y = made("conv of stride 2")
    spoilt = x.clone()
    spoilt[2, 0, 3, 3] = value
    clipped = dp_torch.ClippedGradients(model, 0.1, micro_batch=micro_batch)
    got = clipped(spoilt, y)
    others = torch.arange(len(x)) != 2
    assert_close(got.sums, clipped(x[others], y[others]).sums)
    assert got.faulty == 1
    assert not got.norms[2].isfinite() and got.norms[others].isfinite().all()


def test_nothing_but_faulty_examples_add_nothing() -> None:
    model, x, y = made("conv")
    got = dp_torch.ClippedGradients(model, 0.1)(x * float("nan"), y)
    assert got.faulty == len(x)
    assert not any(value.any() for value in got.sums)


def test_a_loss_that_is_already_a_mean_is_refused() -> None:
    model, x, y = made("linear")
    with pytest.raises(ValueError, match="a loss an example is needed"):
        dp_torch.ClippedGradients(model, 0.1, loss=nn.functional.cross_entropy)(x, y)


class TestNoisyMean:
    def test_noise_is_added_to_the_sum_and_both_are_divided_by_the_public_size(self) -> None:
        sums = [torch.full((200, 300), 40.0), torch.full((50_000,), -8.0)]
        mean = dp_torch.noisy_mean(sums, 6.0, 16, Randomness())
        assert [value.shape for value in mean] == [value.shape for value in sums]
        for value, expected in zip(mean, (40.0 / 16, -8.0 / 16), strict=True):
            assert abs(float(value.mean()) - expected) < 5 * 6 / 16 / value.numel() ** 0.5
            assert abs(float(value.std()) * 16 / 6 - 1) < 5 / (2 * value.numel()) ** 0.5

    def test_without_noise_it_is_the_sum_over_the_public_size(self) -> None:
        [mean] = dp_torch.noisy_mean([torch.tensor([8.0, -4.0])], 0.0, 16, Randomness())
        assert mean.tolist() == [0.5, -0.25]

    def test_an_empty_batch_is_noise_like_any_other(self) -> None:
        model, x, y = made("the network of torch-mnist-dp")
        clipped = dp_torch.ClippedGradients(model, 0.1)
        mean = dp_torch.noisy_mean(clipped(x[:0], y[:0]).sums, 0.2, 64, Randomness())
        values = torch.cat([value.flatten() for value in mean]) * 64
        assert abs(float(values.std()) / 0.2 - 1) < 5 / (2 * values.numel()) ** 0.5

    def test_sums_are_left_as_they_were(self) -> None:
        sums = [torch.ones(3)]
        dp_torch.noisy_mean(sums, 1.0, 16, Randomness())
        assert sums[0].tolist() == [1.0, 1.0, 1.0]

    def test_nothing_of_a_sum_is_finer_than_the_noise(self) -> None:
        """Else who knows what the sum may be sees whether noise of float32 makes the rest of it."""
        sums = [torch.rand(1000, dtype=torch.float64)]
        [mean] = dp_torch.noisy_mean(sums, 4.0, 1, Randomness())
        assert mean.dtype == torch.float64
        assert torch.equal(mean, mean.float().double())

    def test_noise_is_the_randomness_of_the_run(self) -> None:
        [mean] = dp_torch.noisy_mean([torch.zeros(5)], 2.0, 4, Randomness(3))
        assert np.array_equal(mean.numpy(), Randomness(3).normal(5, 2.0) / 4)


def test_telemetry_is_named_as_private() -> None:
    model, x, y = made("linear")
    got = dp_torch.ClippedGradients(model, 1e-3)(x, y).telemetry(1e-3)
    assert all(name.startswith("private/") for name in got)
    assert got["private/clip_fraction"] == 1.0
    assert got["private/batch_size"] == 7
