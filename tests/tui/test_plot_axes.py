"""Axes: round numbers at the right places, no two labels alike, at any range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from traindeck.tui.plot.scale import Axes, x_range, y_range
from traindeck.tui.plot.smooth import smooth
from traindeck.tui.plot.ticks import elapsed, linear_ticks, log_ticks, short, time_ticks

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def labels(ticks: tuple[object, ...]) -> list[str]:
    return [tick.label for tick in ticks]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1, 5, "0 0.25 0.50 0.75 1.00"),
        (0, 1, 6, "0 0.2 0.4 0.6 0.8 1.0"),
        (-0.2, 0.9, 3, "0 0.5"),
        (0, 1e6, 3, "0 0.5M 1.0M"),
        (0, 250_000, 6, "0 50k 100k 150k 200k 250k"),
        (9_000, 12_000, 4, "9k 10k 11k 12k"),
        (123_456, 123_457, 3, "123456.0 123456.5 123457.0"),
        (1, 1.0000003, 4, "1.0000000 1.0000001 1.0000002"),
        (0.9e-300, 3.1e-300, 3, "1e-300 2e-300 3e-300"),
        (-1e308, 1e308, 3, "-1e308 0 1e308"),
        (1.9e-5, 9e-5, 4, "2e-5 4e-5 6e-5 8e-5"),
        (5, 5, 4, ""),
    ],
)
def test_linear_ticks(low: float, high: float, most: int, expected: str) -> None:
    assert labels(linear_ticks(low, high, most)) == expected.split()


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (1e-4, 2, 5, "1e-4 0.001 0.01 0.1 1"),
        (0.03, 1.2, 5, "0.05 0.1 0.2 0.5 1"),
        (0.3, 0.5, 3, "0.3 0.4 0.5"),
        (1e-300, 1e300, 7, "1e-300 1e-200 1e-100 1 1e100 1e200 1e300"),
        (1, 1e7, 4, "1 100 10k 1M"),
        (0, 1, 5, ""),
    ],
)
def test_log_ticks(low: float, high: float, most: int, expected: str) -> None:
    assert labels(log_ticks(low, high, most)) == expected.split()


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 4, 5, "0s 1s 2s 3s 4s"),
        (0, 100, 5, "0s 30s 1m 1m30s"),
        (0, 3600, 6, "0s 15m 30m 45m 1h"),
        (100, 90_000, 5, "6h 12h 18h 1d"),
        (0, 1e7, 3, "0s 50d 100d"),
    ],
)
def test_time_ticks(low: float, high: float, most: int, expected: str) -> None:
    assert labels(time_ticks(low, high, most)) == expected.split()


@settings(max_examples=300, deadline=None)
@given(FLOATS, FLOATS, st.integers(1, 12), st.sampled_from([linear_ticks, log_ticks, time_ticks]))
@example(5e-324, 1.5e-323, 4, linear_ticks)
@example(-1.7976931348623157e308, 1.7976931348623157e308, 9, linear_ticks)
@example(5e-324, 1.7976931348623157e308, 9, log_ticks)
@example(1e16, 1e16 + 2, 5, linear_ticks)
def test_ticks_are_few_inside_and_told_apart(a: float, b: float, most: int, find: object) -> None:
    low, high = min(a, b), max(a, b)
    ticks = find(low, high, most)  # type: ignore[operator]
    assert len(ticks) <= most
    assert len({tick.label for tick in ticks}) == len(ticks)
    for tick in ticks:
        assert low <= tick.value <= high or math.isclose(tick.value, low) or tick.value == high
        if find is linear_ticks and tick.label[-1].isdigit():
            assert float(tick.label) == tick.value


@settings(max_examples=200, deadline=None)
@given(FLOATS, FLOATS, st.booleans(), st.integers(2, 60), st.integers(4, 200))
def test_labels_never_overlap(a: float, b: float, log: bool, rows: int, columns: int) -> None:
    low, high = min(a, b), max(a, b)
    bounds = y_range(np.array([low]), np.array([high]), log)
    if bounds is None:
        assert log and high <= 0
        return
    axes = Axes(0, max(abs(a), 1), *bounds, log)
    places = [axes.row(tick.value, rows) for tick in axes.y_ticks(rows)]
    assert len(set(places)) == len(places) and all(0 <= row < rows for row in places)
    end = -2
    for tick in axes.x_ticks(columns):
        start = axes.label_column(tick, columns)
        assert start >= end + 2
        end = start + len(tick.label)
        assert end <= columns


@pytest.mark.parametrize(
    ("axes", "labels"),
    [
        (Axes(0.0, 4.0, 0.0, 1.0), "0 1 2 3 4"),
        (Axes(0.05, 0.55, 0.0, 1.0, x="numbers"), "0.1 0.2 0.3 0.4 0.5"),
        (Axes(-4.1, -0.9, 0.0, 1.0, x="powers"), "1e-4 3e-4 0.001 0.003 0.01 0.03 0.1"),
        (Axes(-0.5, 2.5, 0.0, 1.0, names=("adam", "sgd", "lion")), "adam sgd lion"),
    ],
)
def test_x_is_labelled_as_what_it_is(axes: Axes, labels: str) -> None:
    assert " ".join(tick.label for tick in axes.x_ticks(60)) == labels


@pytest.mark.parametrize("ends", [(-400.0, 1.0), (300.0, 400.0), (-2.0, -1.9999999)])
def test_powers_beyond_any_number_are_no_error(ends: tuple[float, float]) -> None:
    assert len(Axes(*ends, 0.0, 1.0, x="powers").x_ticks(40)) < 40


def test_of_many_names_so_many_stand_below_as_fit() -> None:
    ticks = Axes(-0.5, 19.5, 0.0, 1.0, names=tuple(f"choice-{n}" for n in range(20))).x_ticks(50)
    assert 1 < len(ticks) <= 5 and ticks[0].label == "choice-0"


@settings(max_examples=200, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=20), st.booleans())
def test_bounds_hold_every_finite_value(values: list[float], log: bool) -> None:
    lows = np.array([*values, math.inf])
    highs = np.array([*values, -math.inf])
    bounds = y_range(lows, highs, log)
    shown = [value for value in values if not log or value > 0]
    if not shown:
        assert bounds is None
        return
    assert bounds is not None
    assert bounds[0] < bounds[1]
    assert bounds[0] <= min(shown) and max(shown) <= bounds[1]
    assert not log or bounds[0] > 0


def test_a_single_place_is_given_room() -> None:
    assert x_range([(7.0, 7.0)]) == (6.5, 7.5)
    assert x_range([]) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.034212, "0.0342"),
        (1.5, "1.500"),
        (0.98527, "0.9853"),
        (0.00034567, "0.000346"),
        (123.456, "123.5"),
        (99_999.0, "99999"),
        (9_999.0, "9999"),
        (12_345_678.0, "1.23e+07"),
        (1e-7, "1e-7"),
        (-1.234e-9, "-1.23e-9"),
        (1e300, "1.00e+300"),
        (0.0, "0"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (9999.99, "10000"),
        (0.99999, "1.000"),
    ],
)
def test_short_values(value: float, expected: str) -> None:
    assert short(value) == expected


@settings(max_examples=300)
@given(FLOATS)
def test_short_values_are_short_and_close(value: float) -> None:
    text = short(value)
    assert len(text) <= 10
    if abs(value) > 1.79e308:
        return  # rounded to three digits it is no longer a float
    assert float(text) == pytest.approx(value, rel=6e-3, abs=1e-323)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0s"), (90, "1m30s"), (86_400, "1d"), (-60, "-1m")]
)
def test_elapsed(seconds: int, expected: str) -> None:
    assert elapsed(seconds) == expected


@pytest.mark.parametrize("weight", [0.3, 0.6, 0.9, 0.99, 0.999])
def test_smoothing_is_tensorboards(weight: float) -> None:
    values = np.random.default_rng(0).normal(size=3000)
    last, expected = 0.0, []
    for number, value in enumerate(values, 1):
        last = last * weight + (1 - weight) * value
        expected.append(last / (1 - weight**number))
    smoothed = smooth(values, np.ones(len(values), np.int64), weight)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-9, atol=1e-12)


def test_smoothing_does_not_depend_on_how_far_a_constant_was_decimated() -> None:
    one = smooth(np.full(64, 2.0), np.full(64, 1), 0.9)
    many = smooth(np.full(4, 2.0), np.full(4, 16), 0.9)
    assert one[-1] == pytest.approx(2.0) and many[-1] == pytest.approx(2.0)
    step = smooth(np.repeat([0.0, 1.0], 32), np.full(64, 1), 0.9)
    assert smooth(np.array([0.0, 0.0, 1.0, 1.0]), np.full(4, 16), 0.9)[-1] == pytest.approx(
        step[-1]
    )


def test_smoothing_goes_on_after_a_gap() -> None:
    smoothed = smooth(np.array([1.0, 0.0, 3.0]), np.array([1, 0, 1]), 0.5)
    assert math.isnan(smoothed[1])
    assert smoothed[2] == pytest.approx((0.25 * 1 + 0.5 * 3) / 0.75)
