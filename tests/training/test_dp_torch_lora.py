"""Low-rank adapters in PyTorch: what they leave alone, and their private steps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.dp_torch_models import CLASSES, assert_close, clipped_by_hand, loop

torch = pytest.importorskip("torch")
nn = torch.nn
dp_torch = pytest.importorskip("traindeck.recipes.shared.training.dp.torch")
dp_lora = pytest.importorskip("traindeck.recipes.shared.training.dp.torch_lora")

pytestmark = pytest.mark.framework
SIZE = 8


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, SIZE)
        layer = nn.TransformerEncoderLayer(SIZE, 2, 16, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(SIZE, CLASSES)

    def forward(self, ids: Any) -> Any:
        return self.last(self.body(self.words(ids)).mean(1))


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    return Classifier()


def batch() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 11, (5, 6), generator=generator)
    return ids, torch.randint(0, CLASSES, (5,), generator=generator)


def adapted(model: Any) -> Any:
    """With adapters that do something already, and the head thawed."""
    dp_lora.lora(model, 2, 4.0, ["linear1", "linear2"])
    for layer in model.modules():
        if isinstance(layer, dp_lora.Adapted):
            nn.init.normal_(layer.up.weight)
    model.last.requires_grad_(True)
    return model


def test_it_starts_as_the_model_was_and_only_adapters_learn(model: Any) -> None:
    x, _ = batch()
    before = model(x)
    assert dp_lora.lora(model, 2, 4.0, ["linear1", "0.linear2"]) == [
        "body.layers.0.linear1",
        "body.layers.0.linear2",
        "body.layers.1.linear1",
    ]
    assert torch.allclose(model(x), before, atol=1e-6)
    learns = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(learns) == 6
    assert all(name.endswith(("down.weight", "up.weight")) for name in learns)


def test_sums_are_those_of_a_plain_loop(model: Any) -> None:
    x, y = batch()
    adapted(model)
    gradients = loop(model, x, y)
    clipping_norm = float(clipped_by_hand(gradients, 1.0)[1].median())
    sums, norms = clipped_by_hand(gradients, clipping_norm)
    got = dp_torch.ClippedGradients(model, clipping_norm)(x, y)
    assert len(got.sums) == 10
    assert_close(got.sums, sums)
    assert_close([got.norms], [norms])


def test_merged_it_does_the_same_without_adapters(model: Any) -> None:
    x, _ = batch()
    adapted(model)
    expected = model(x)
    with torch.no_grad():
        model.eval()
        assert torch.allclose(model(x), expected, atol=1e-5)  # torch's fast path takes the weight
        dp_lora.merged(model)
        assert not any(isinstance(layer, dp_lora.Adapted) for layer in model.modules())
        assert torch.allclose(model(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("rank", "targets", "says"),
    [
        (0, ["linear1"], "rank is 0"),
        (2, ["linear3"], "no Linear of this model is named linear3: there are last, linear1"),
        (2, ["out_proj"], "no Linear of this model is named out_proj"),
    ],
)
def test_what_cannot_be_adapted_is_refused(
    model: Any, rank: int, targets: list[str], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        dp_lora.lora(model, rank, 1.0, targets)
    assert all(p.requires_grad for p in model.parameters())
