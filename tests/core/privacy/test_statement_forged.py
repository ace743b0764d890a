"""A statement that was made to be read in another way than it is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.core.privacy.statements import changed, signed, spent, stated, wrong
from traindeck.core.base.home import Home
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.statement.check import check
from traindeck.core.privacy.statement.signing import opened


@pytest.fixture
def ledger(home: Home) -> Ledger:
    return spent(home)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("guarantee", "epsilon"), 0.01, "fields"),
        (("runs", 0, "true_epsilon"), 0.01, "fields"),
        (("risk",), 0.01, "fields"),
        (
            ("guarantee", "fixed_schedule", "risk", "members", "0.5"),
            0.01,
            "guarantee.fixed_schedule.risk.members.0.5",
        ),
        (
            ("runs", 0, "event", "noise_multiplier"),
            1.1 * 1.0009,
            "runs[0].event.noise_multiplier",
        ),
    ],
)
@pytest.mark.slow
def test_a_figure_that_follows_from_nothing_is_wrong(
    home: Home, ledger: Ledger, tmp_path: Path, place: tuple[Any, ...], value: float, says: str
) -> None:
    document, elsewhere = stated(home, ledger), Home(tmp_path / "elsewhere")
    elsewhere.make()
    assert wrong(changed(document, place, value), elsewhere, home.root) == [says]


@pytest.mark.slow
def test_without_a_budget_there_is_no_epsilon_of_its_filter(
    home: Home, ledger: Ledger, tmp_path: Path
) -> None:
    """Nothing would compute it, and the page would show it."""
    document, elsewhere = stated(home, ledger), Home(tmp_path / "elsewhere")
    elsewhere.make()
    guarantee = document["guarantee"]
    guarantee |= {"whole_plan": guarantee["fixed_schedule"]}
    guarantee["filter"]["epsilon"] = 0.001
    for none in ({}, None):
        said = wrong({**document, "budget": none}, elsewhere, home.root)
        assert "fields" in said


@pytest.mark.slow
def test_other_words_than_a_statements_own_are_named(
    home: Home, ledger: Ledger, tmp_path: Path
) -> None:
    document, elsewhere = stated(home, ledger), Home(tmp_path / "elsewhere")
    elsewhere.make()
    other = {**document, "adaptivity": "epsilon 0.01, adaptively", "not_covered": []}
    lines = check(opened(signed(other, home.root)), elsewhere)
    said = {line.what: line.says for line in lines if line.ok is None}
    assert {"adaptivity", "not_covered"} <= said.keys()
    assert "read them" in said["adaptivity"]
