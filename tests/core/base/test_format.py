"""How values and shares are written, everywhere."""

from __future__ import annotations

import math

import pytest

from traindeck.core.base.format import compact, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98534, "0.9853"),
        (9999.99, "10000"),
        (17430.4, "17430"),
        (178_432.0, "1.78e+05"),
        (-0.00012, "-1.20e-04"),
        (0.0, "0"),
        (math.inf, "∞"),
        (math.nan, "nan"),
    ],
)
def test_a_value_takes_at_most_nine_characters(value: float, text: str) -> None:
    assert compact(value) == text
    assert len(text) <= 9


def test_a_per_cent_that_is_not_done_does_not_count() -> None:
    assert percent(14, 1404) == 0
    assert percent(1403, 1404) == 99
    assert percent(2000, 1404) == 100
    assert [percent(done, 100) for done in range(101)] == list(range(101))
    assert [percent(done / 100, 1) for done in range(101)] == list(range(101))
