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


@pytest.mark.parametrize("name", ["val_acc", "foo"])
@pytest.mark.parametrize(("validates", "steps"), [(False, [4, 8, 12, 16]), (True, [2, 4, 6, 8])])
def test_what_is_written_below_a_bar_with_numbers_of_its_own_is_of_the_bars_step(
    name: str, validates: bool, steps: list[int]
) -> None:
    """Of the bar right above it: a validation's has steps of its own."""
    text = ""
    for epoch in range(4):
        bars = [f"\r {done * 25}%|#    | {done}/4 [00:01<00:10, 10.0it/s" for done in range(5)]
        text += f"{bars[0]}]" + "".join(f"{bar}, loss=0.{epoch}1]" for bar in bars) + "\n"
        if validates:
            drawn = (
                f"\rval {done * 50}%|#    | {done}/2 [00:01<00:10, 10.0it/s]" for done in (0, 1, 2)
            )
            text += "".join(drawn) + "\n"
        text += f"{name}: 0.{epoch}1{epoch * epoch}\n"
    found = StdoutMetrics().feed(text.encode())
    assert [step for step, each, _ in found if each == name] == steps
