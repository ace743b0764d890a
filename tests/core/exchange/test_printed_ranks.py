"""Ranks, numbers with commas, and steps that only what stands around a line tells."""

from __future__ import annotations

import pytest

from tests.core.exchange.test_printed import metrics_of
from traindeck.core.exchange.printed import StdoutMetrics


@pytest.mark.parametrize(
    "form",
    [
        "[rank{}]: step {} loss {}",
        "rank: {} step: {} loss: {}",
        "Rank {}/2, step {}, loss {}",
        "2026-11-28 19:00:00 | INFO | rank={} | step={} | loss={}",
        "[1,{}]<stdout>:step {} loss {}",
        "{}: step {} loss {}",
        "[{}] step {} loss {}",
    ],
)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_rank_that_is_named_on_the_line_has_series_of_its_own(
    form: str, order: tuple[int, int]
) -> None:
    lines = [form.format(rank, s, s + rank / 2) for s in (1, 2, 3) for rank in order]
    found = metrics_of(*lines)
    assert [m for m in found if m[1] == "loss"] == [(s, "loss", s) for s in (1, 2, 3)]
    other = [m for m in found if m[1] != "loss"]
    assert other == [(s, "rank1/loss", s + 0.5) for s in (1, 2, 3)]


def test_a_number_at_the_head_that_grows_with_the_step_is_no_rank() -> None:
    lines = [f"{n + 11}: step {n} loss {n / 2}" for n in range(4)]
    assert metrics_of(*lines) == [(n, "loss", n / 2) for n in range(4)]


def test_of_ranks_that_do_not_name_themselves_the_first_of_each_step_is_kept_and_told() -> None:
    reader = StdoutMetrics()
    lines = "".join(f"step {s} loss {s + rank / 2}\n" for s in (1, 2) for rank in (0, 1))
    assert reader.feed(lines.encode()) == [(1, "loss", 1.0), (2, "loss", 2.0)]
    assert reader.doubled == (1, "loss")


def test_several_lines_of_one_epoch_are_all_kept() -> None:
    assert len(metrics_of("epoch 1 loss 0.5", "epoch 1 loss 0.4", "epoch 2 loss 0.3")) == 3


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("loss=0,5123", 0.5123),
        ("loss: 12,5", 12.5),
        ("loss: 1,234,567", 1234567.0),
        ("loss: 1,234.5", 1234.5),
    ],
)
def test_commas_in_numbers_are_understood(line: str, value: float) -> None:
    assert metrics_of(f"step 1,000: {line}") == [(1000, "loss", value)]


def test_a_dict_that_is_written_above_a_bar_is_of_the_step_at_which_that_is_drawn_again() -> None:
    bar = "\r 10%|#         | {}/100 [00:01<00:10, 10.0it/s]"
    text = bar.format(10) + "\r" + " " * 50 + "\r" + "{'loss': 0.5, 'epoch': 0.2}\n"
    reader = StdoutMetrics(epochs=1)
    found = reader.feed((text + bar.format(20) + "\n").encode())
    assert found == [(20, "loss", 0.5), (20, "epoch", 0.2)]
    assert reader.progress == (20, 100)


def test_a_commands_own_parameters_say_how_many_epochs_there_are() -> None:
    reader = StdoutMetrics(epochs=4)
    reader.feed(b"Train Epoch: 1 [0/100 (0%)] Loss: 2.0\nTrain Epoch: 2 [50/100 (50%)] Loss: 1\n")
    assert reader.progress == (150, 400)
