"""Tracebacks and warnings speak of numbers, too: none of them is a metric."""

from __future__ import annotations

import pytest

from tests.core.exchange.test_printed import metrics_of


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
