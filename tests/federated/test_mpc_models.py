"""Models on shares and in the clear: they agree, and stay within what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.federated.mpc_parties import JOBS, OWNERS, Parties, meeting
from traindeck.recipes.shared.federated.mpc import models
from traindeck.recipes.shared.federated.mpc.party import credentials, free_ports
from traindeck.recipes.shared.training.data import digits

HIDDEN, IMAGES = 8, 5


def test_the_cubic_is_near_the_sigmoid_where_it_is_used() -> None:
    z = np.linspace(-8, 8, 1001)
    assert np.abs(models.cubic(z) - models.sigmoid(z)).max() < 0.12
    assert models.sigmoid(np.array([-800.0, 0.0, 800.0])).tolist() == [0, 0.5, 1]


def test_padding_spreads_rows_and_keeps_them_all() -> None:
    rows = np.arange(1.0, 8.0).reshape(7, 1)
    wide = models.padded(rows, 16)
    assert wide[wide != 0].tolist() == rows.ravel().tolist()
    assert all((wide[at : at + 4] != 0).any() for at in range(0, 16, 4))
    assert models.padded(rows, 7).tolist() == rows.tolist()
    assert not models.padded(rows[:0], 4).any()
    with pytest.raises(ValueError, match="7 rows do not fit the 6"):
        models.padded(rows, 6)


def test_batches_take_all_rows_in_turn() -> None:
    assert models.batches(8, 4, 3) == [slice(0, 4), slice(4, 8), slice(0, 4)]


def pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / digits.BRIGHTEST


def test_labels_on_shares_are_those_in_the_clear_and_only_the_client_has_them(
    tmp_path: Path,
) -> None:
    images = digits.load()
    x, y = pixels(images.train_x[:600]), images.train_y[:600]
    test_x, test_y = pixels(images.test_x[:IMAGES]), images.test_y[:IMAGES]
    meet = meeting(free_ports(3), credentials())
    params = {"sizes": [IMAGES, 64, HIDDEN, 10], "epochs": 3, "seed": 1, "parties": meet}
    data = {
        "owner-1": {"x": x, "y": y},
        "owner-2": {"x": test_x, "y": test_y},
        "owner-3": {"nothing": np.zeros(1)},
    }
    with Parties(tmp_path, JOBS / "mpc_infer.py", data) as parties:
        for owner in OWNERS:
            parties.start(owner, params)
        results = parties.results()
    model = models.train_network(x.astype(float), y, hidden=HIDDEN, epochs=3, seed=1)
    plain = models.predict_plain(model, test_x.astype(float))
    assert results["owner-2"]["labels"] == plain.tolist()
    assert results["owner-2"]["right"] == int((plain == test_y).sum())
    assert "labels" not in results["owner-1"]
    assert "labels" not in results["owner-3"]


def test_the_network_learns_in_seconds() -> None:
    images = digits.load()
    x = pixels(images.train_x).astype(float)
    model = models.train_network(x, images.train_y, hidden=32, epochs=5, seed=0)
    labels = models.predict_plain(model, pixels(images.test_x).astype(float))
    assert (labels == images.test_y).mean() > 0.9
