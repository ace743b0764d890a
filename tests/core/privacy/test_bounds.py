"""Bounds are rounded so that they go on to promise what they promised."""

from __future__ import annotations

import pytest

from traindeck.core.privacy.bounds import at_least, at_most


@pytest.mark.parametrize(
    "value, most, least",
    [
        (None, "infinite", "infinite"),
        (0.0, "0", "0"),
        (2.931, "2.94", "2.93"),
        (2.93, "2.93", "2.93"),
        (0.0012341, "0.00124", "0.00123"),
        (9.999, "10", "9.99"),
        (1234.5, "1.24e+03", "1.23e+03"),
    ],
)
def test_bounds_are_rounded_away_from_what_they_promise(
    value: float | None, most: str, least: str
) -> None:
    assert (at_most(value), at_least(value)) == (most, least)
