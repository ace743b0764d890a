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


def test_the_code_that_a_traceback_shows_is_not_read() -> None:
    code = "    train(model, step=3, loss=0.5)"
    assert metrics_of('  File "train.py", line 3, in main', code) == []
    assert metrics_of(code) != []


def test_what_an_exception_or_a_warning_says_is_not_read() -> None:
    at = ('  File "train.py", line 9, in <module>', "    fit(x,", "    ~~~^^^")
    boxed = ("╭──── Traceback ────╮", "│ /x/train.py:9 │", "╰──────╯")
    boom, diverged = "ValueError: boom: loss = 3", "my.Diverged: last good loss: 0.6, best acc 0.95"
    begun = "Traceback (most recent call last):"
    assert metrics_of(begun, *at, boom) == metrics_of("", *boxed, boom) == []
    assert metrics_of(begun, *at, diverged) == []
    warned = ("/x/train.py:3: UserWarning: loss = 7 is high", '  warnings.warn("loss = 7 is high")')
    assert metrics_of(*warned) == []


@pytest.mark.parametrize("line", ["loss: 0.5", "Epoch: 1 loss: 0.5", "INFO: loss: 0.5"])
def test_metrics_below_stacks_boxes_and_warnings_are_read(line: str) -> None:
    stack = ('  File "train.py", line 9, in <module>', "    fit(x, loss)")
    for above in (("╭────╮", "│ Ep │", "╰────╯"), ("Stack:", *stack), ("Stack:", *stack, "")):
        assert [value for _, _, value in metrics_of("epoch 1", *above, line)] == [0.5]
    assert metrics_of("x.py:12: UserWarning: lr is odd", f"  {line}") == metrics_of(f"  {line}")


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
