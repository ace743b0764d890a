"""How far a command is, by what it prints."""

from __future__ import annotations

import pytest

from traindeck.core.exchange.printed import StdoutMetrics


@pytest.mark.parametrize(
    ("printed", "progress"),
    [
        (b"Epoch 1/3\nloss 0.5\nEpoch 2/3\nloss 0.4\nEpoch 3/3\nloss 0.3\n", (3, 3)),
        (b"Epoch 1/5\nloss 0.5\nEpoch 2/5\nloss 0.4\nEpoch 3/5\nloss 0.3\n", (2, 5)),
        (b"Epoch 0/2  loss: 0.5\nEpoch 1/2  loss: 0.4\n", (2, 2)),
        (b"Epoch 1/2\n [10/30] loss 0.5\nEpoch 2/2\n [20/30] loss 0.5\n", (60, 60)),
        (b"Epoch 1/1\n 50%|###  | 5/10 [00:01<00:01, 5.0it/s, loss=0.5]\n", (5, 10)),
    ],
)
def test_who_ended_well_in_the_last_epoch_is_done(
    printed: bytes, progress: tuple[int, int]
) -> None:
    reader = StdoutMetrics()
    reader.feed(printed)
    before = reader.progress
    reader.finish()
    assert reader.progress == before
    reader.finish(well=True)
    assert reader.progress == progress
