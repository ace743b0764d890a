"""When a difference is one."""

from __future__ import annotations

import pytest

from traindeck.core.base.errors import UsageError
from traindeck.core.versus.measured import Axis, Indicator, Sample, differ
from traindeck.core.versus.syntax import count


def of(*values: float, exact: bool = False) -> Sample:
    return Sample(values, exact=exact)


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        (of(1.0, 1.1, 1.2), of(2.0, 2.1, 2.2), True),
        (of(1.0, 1.1, 1.2), of(1.15, 1.3, 1.4), False),  # the ranges touch
        (of(1.0, 1.1, 2.0), of(2.1, 2.2, 2.3), True),
        (of(1.0, 1.9, 2.0), of(2.1, 2.2, 2.3), False),  # nearer to each other than the spread
        (of(1.0, 1.1), of(2.0, 2.1, 2.2), False),  # two repeats are too few
        (of(10.0, exact=True), of(11.0, exact=True), True),
        (of(10.0, exact=True), of(10.0, exact=True), False),
        (of(1.0, 1.1, float("nan")), of(2.0, 2.1, 2.2), False),
        (of(), of(1.0, 2.0, 3.0), False),
    ],
)
def test_only_what_exceeds_the_spread_is_a_difference(a: Sample, b: Sample, apart: bool) -> None:
    assert differ(a, b) is apart
    assert differ(b, a) is apart


def test_the_verdict_names_who_is_better_in_what() -> None:
    faster = Indicator("speed", (of(9, 10, 11), of(20, 21, 22)), "examples/s", "higher")
    same = Indicator("memory", (of(9, 10, 11), of(10, 11, 12)), "MB", "lower")
    lighter = Indicator("size", (of(5, exact=True), of(7, exact=True)), "MB", "lower")
    told = Axis("x", "x", (faster, same, lighter)).verdict(("A", "B"))
    assert told == "ahead beyond the spread, A: size; B: speed"
    assert Axis("x", "x", (same,)).verdict(("A", "B")) == "no difference beyond the spread"
    unknown = Indicator("speed", (of(1, 2, 3), None), better="higher")
    assert Axis("x", "x", (unknown,)).verdict(("A", "B")).startswith("too little was measured")


def test_what_is_not_to_be_compared_has_no_winner() -> None:
    sides = (of(9, 10, 11), of(20, 21, 22))
    assert Indicator("speed", sides, better="higher").winner == 1
    assert Indicator("speed", sides, better="higher", held="the losses differ").winner is None
    assert Indicator("words", sides).winner is None


def test_what_was_not_measured_says_what_makes_it() -> None:
    one = Indicator("speed", (None, None), why="no runs", make="traindeck versus run")
    assert one.missing() == "not measured: no runs; make it with: traindeck versus run"
    assert one.to_json()["missing"] == one.missing()


SCRIPT = '''\
# /// script
# dependencies = ["torch"]
# ///
"""Train."""

import os
import torch
from torch import nn
from torch.nn.functional import cross_entropy as loss_of


def main():
    """Say
    more."""
    # a comment
    model = nn.Sequential(
        nn.Linear(64, 10),
    )
    torch.manual_seed(os.getpid())
    return loss_of(model(torch.ones(1)), 0).backward()
'''


def test_lines_and_names_are_counted_from_the_syntax_tree() -> None:
    found = count(SCRIPT, ("torch",))
    assert found.lines == 10  # 4 imports, def, 3 of the model, the seed, the return
    assert found.names == (
        "torch.manual_seed",
        "torch.nn.Linear",
        "torch.nn.Sequential",
        "torch.nn.functional.cross_entropy",
        "torch.ones",
    )


def test_what_is_no_python_is_told() -> None:
    with pytest.raises(UsageError, match="cannot be read as Python"):
        count("def (", ("torch",))
