"""The numbers of secure aggregation: shares of a secret, and updates as 64 bit integers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cryptography")
from traindeck.recipes.shared.federated.hiding import shamir
from traindeck.recipes.shared.federated.hiding.fixedpoint import decode, encode


def test_the_shares_field_is_a_field() -> None:
    for base in (2, 3, 5, 7, 11, 13):
        assert pow(base, shamir.PRIME - 1, shamir.PRIME) == 1
    assert shamir.PRIME.bit_length() == 257


def test_the_mean_of_what_owners_encoded_is_theirs_by_examples() -> None:
    draw = np.random.default_rng(1).normal
    updates, examples = [draw(0, 0.05, 1000) for _ in range(4)], [10, 4000, 1, 700]
    total = sum(encode(*each, 5.0) for each in zip(updates, examples, strict=True))
    assert isinstance(total, np.ndarray)
    mean, weight = decode(total)
    assert weight == 4711
    assert np.abs(mean - np.average(updates, axis=0, weights=examples)).max() < 2**-20
    assert encode(np.array([0.5, -1.0], np.float32), 3, 1.0).tolist() == [
        3 << 19,
        -3 << 20,
        3,
    ]


def test_a_thousand_largest_vectors_do_not_wrap() -> None:
    most = encode(np.array([8.0, -8.0]), 2**29 - 600, 8.0)
    mean, weight = decode(most * 1024)
    assert mean.tolist() == [8.0, -8.0] and weight == 1024 * (2**29 - 600)


@pytest.mark.parametrize(
    ("update", "examples", "clip", "said"),
    [
        ([0.1, np.nan], 5, 1.0, "none, or infinite"),
        ([0.1, -np.inf], 5, 1.0, "none, or infinite"),
        ([0.1, -1.1], 5, 1.0, "has a 1.1, it was to be clipped to 1"),
        ([0.1], 2**40, 1.0, "too much for 64 bits"),
        ([0.1], 2**60, 1e-9, "too much for 64 bits"),
        ([0.1], 0, 1.0, "no update"),
        ([[0.1]], 5, 1.0, "no update"),
        ([0.1], 5, np.inf, "no update"),
    ],
)
def test_what_cannot_be_summed_is_not_encoded(
    update: list[float], examples: int, clip: float, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        encode(np.array(update), examples, clip)
    with pytest.raises(ValueError, match="0 examples"):
        decode(np.zeros(3, np.int64))
