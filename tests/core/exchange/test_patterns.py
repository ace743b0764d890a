"""A user's regular expression adds to what is understood of a line, and has the last word."""

from __future__ import annotations

import pytest

from traindeck.core.exchange.printed import Metric, StdoutMetrics
from traindeck.core.exchange.printed.patterns import Pattern


@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        (
            r"it (?P<step>\d+) L=(?P<loss>\S+)",
            "it 003 L=0.25 top1 30",
            [(3, "loss", 0.25), (3, "top1", 30.0)],
        ),
        (  # one number has one name
            r"crit=(?P<loss>\S+)",
            "step 7 crit=0.25 acc=0.5",
            [(7, "loss", 0.25), (7, "acc", 0.5)],
        ),
        (r"acc=(?P<accuracy>\S+)", "step 7 acc=0.5", [(7, "accuracy", 0.5)]),
        (  # the user's step
            r"at (?P<step>\d+) (?P<q>\S+)$",
            "step 7 loss=0.25 at 9 0.5",
            [(9, "q", 0.5), (9, "loss", 0.25)],
        ),
        (  # one name has one number
            r"now (?P<loss>\S+)",
            "step 7 loss=0.25 now 0.5",
            [(7, "loss", 0.5)],
        ),
        (r"L (?P<q>\S+)$", "{'step': 2, 'loss': 0.1} L 0.5", [(2, "q", 0.5), (2, "loss", 0.1)]),
        (r"L (?P<q>\S+)$", "\x1b[32mstep 2 loss=0.1 L 0.5", [(2, "q", 0.5), (2, "loss", 0.1)]),
    ],
)
def test_a_pattern_adds_to_what_is_understood(
    pattern: str, line: str, expected: list[Metric]
) -> None:
    reader = StdoutMetrics((Pattern(pattern),))
    assert reader.feed(f"{line}\n".encode()) == expected


def test_lines_without_the_pattern_are_read_as_ever() -> None:
    reader = StdoutMetrics((Pattern(r"it (?P<step>\d+) L=(?P<loss>\S+)"),))
    data = b"it 1 L=0.5 top1 30\nit 2 acc=0.5\nit 3 L=0.4 top1 40\n"
    assert reader.feed(data) == [
        (1, "loss", 0.5),
        (1, "top1", 30.0),
        (2, "acc", 0.5),
        (3, "loss", 0.4),
        (3, "top1", 40.0),
    ]
