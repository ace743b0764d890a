"""What is typed for a parameter of a sweep, and what it means."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.core.sweeps.searched import a_design, tiny
from traindeck.core.base.errors import UsageError
from traindeck.core.recipe.params import ParamError
from traindeck.core.sweeps.space import Axis, Range, Space, SpaceError, filled, parse, placeholders

numbers = some.floats(allow_nan=False, allow_infinity=False, width=32)
words = some.text("abcxyz0123456789.-_/", min_size=1, max_size=8)


def axis(text: str, whole: bool = False) -> Axis:
    name = "n" if whole else "x"
    [one] = parse({name: text}, None).axes
    return one


def test_ranges_lists_and_values() -> None:
    space = parse(
        {"a": "1e-4..1e-1", "b": "log:1..100", "c": "0..1.5/0.5", "d": "x,y", "e": "7"}, None
    )
    assert [one.range for one in space.axes[:3]] == [
        Range(1e-4, 1e-1),
        Range(1, 100, log=True, whole=True),
        Range(0, 1.5, step=0.5),
    ]
    assert space.axes[3].choices == ("x", "y")
    assert space.fixed == {"e": "7"}


def test_a_recipes_header_says_of_which_type_they_are(tmp_path: Path) -> None:
    recipe = tiny(tmp_path)
    space = parse({"lr": "0.1,1", "batch_size": "32..64/16", "optimizer": "adam"}, recipe)
    assert space.axes[0].choices == (0.1, 1.0)
    assert space.axes[1].points() == (32, 48, 64)
    assert space.fixed == {"optimizer": "adam"}
    assert parse({"lr": "0..1"}, recipe).axes[0].range == Range(0, 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1..1", "ends before it begins"),
        ("2..1", "ends before it begins"),
        ("log:0..1", "has no logarithm"),
        ("log:1..8/2", "has no step"),
        ("0..1/2", "step is not within it"),
        ("0..b", "is no range"),
        ("log:x", "is no range"),
        ("1,,2", "empty value"),
        ("1,1.0", "twice"),
        ("-1..1", "below the least allowed"),
        ("1..11", "above the most allowed"),
        ("a,b", "is not a number"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"lr: .*{why}"):
        parse({"lr": text}, tiny(tmp_path))


def test_at_least_one_parameter_varies(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="nothing varies"):
        parse({"lr": "0.1"}, tiny(tmp_path))
    with pytest.raises(SpaceError, match="has no parameter 'lrr'; it has: lr, "):
        parse({"lrr": "0.1,1"}, tiny(tmp_path))
    with pytest.raises(ParamError):
        parse({"optimizer": "sgd,rmsprop"}, tiny(tmp_path))


def test_text_with_commas_or_dots_can_be_one_value() -> None:
    space = parse({"x": "1,2", "a": "=1,2", "b": "../data", "c": "=log:1"}, None)
    assert space.fixed == {"a": "1,2", "b": "../data", "c": "log:1"}


def test_a_parameter_may_have_a_say_under_a_condition_only(tmp_path: Path) -> None:
    recipe = tiny(tmp_path)
    space = parse({"lr": "0.1,1 if optimizer=sgd", "optimizer": "sgd,adam"}, recipe)
    assert [one.name for one in space.axes] == ["optimizer", "lr"]
    assert list(space.grid()) == [
        {"optimizer": "sgd", "lr": 0.1},
        {"optimizer": "sgd", "lr": 1.0},
        {"optimizer": "adam"},
    ]
    assert space.size() == 3
    always = parse({"lr": "0.1,1 if optimizer=sgd"}, recipe)
    assert always.axes[0].when is None
    for typed, why in (
        ({"lr": "0.1,1 if optimizer=adam"}, "never has a say: optimizer is sgd"),
        ({"lr": "0.1,1 if lr=1"}, "depends on itself"),
        ({"lr": "0.1,1 if batch_size=1", "batch_size": "1..4"}, "has no choices but a range"),
        ({"lr": "0.1,1 if none=1"}, "has no parameter 'none'"),
    ):
        with pytest.raises(SpaceError, match=why):
            parse(typed, recipe)
    with pytest.raises(SpaceError, match="circle"):
        parse({"a": "1,2 if b=1", "b": "1,2 if a=1"}, None)


def test_a_grid_needs_values_that_can_be_counted() -> None:
    assert parse({"a": "1..3", "b": "x,y"}, None).size() == 6
    assert parse({"a": "1.0..3.0"}, None).size() is None
    with pytest.raises(SpaceError, match="a: a grid needs values that can be counted"):
        next(parse({"a": "1.0..3.0"}, None).grid())


@given(numbers, numbers)
def test_a_range_holds_its_ends_and_nothing_beyond(one: float, other: float) -> None:
    low, high = sorted((float(one), float(other)))
    if not low < high:
        return
    text = f"{low!r}..{high!r}".replace("e+", "e")
    found = axis(text)
    assert found.range is not None
    assert found.holds(low) and found.holds(high)
    assert not found.holds(math.nextafter(high, math.inf))
    assert not found.holds(math.nextafter(low, -math.inf))


@given(some.integers(-50, 50), some.integers(1, 40), some.integers(1, 9))
def test_the_points_of_a_stepped_range_are_in_it_in_order(low: int, more: int, step: int) -> None:
    if step > more:
        return
    points = axis(f"{low}..{low + more}/{step}").points()
    assert points == tuple(range(low, low + more + 1, step))


@given(some.dictionaries(some.sampled_from("abcd"), words, min_size=1))
def test_whatever_is_typed_is_parsed_or_refused(typed: dict[str, str]) -> None:
    try:
        space = parse(typed, None)
    except UsageError:
        return
    assert {one.name for one in space.axes} | space.fixed.keys() == typed.keys()


@given(
    some.lists(
        some.lists(some.integers(0, 9), min_size=2, max_size=4, unique=True), min_size=1, max_size=3
    )
)
def test_a_grid_has_every_combination_once(choices: list[list[int]]) -> None:
    axes = tuple(Axis(f"p{k}", choices=tuple(each)) for k, each in enumerate(choices))
    grid = [tuple(one.values()) for one in Space({}, axes).grid()]
    assert sorted(grid) == sorted(itertools.product(*choices))


def test_a_commands_braces_are_filled_where_they_name_a_value() -> None:
    command = ["train", "--lr={lr}", '{"json": 1}', "{other}", "{lr}{lr}"]
    assert placeholders(command) == {"lr", "other"}
    assert filled(command, {"lr": 0.5}) == ["train", "--lr=0.5", '{"json": 1}', "{other}", "0.50.5"]


def test_a_design_is_read_as_it_was_written() -> None:
    design = a_design(trials=3)
    assert type(design).from_json(design.to_json()) == design
