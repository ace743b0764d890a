"""Runs that were made elsewhere: charged whatever is left, once, and never by half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.core.privacy.ledgers import (
    RHO,
    STEPS,
    charged,
    imports,
    is_whole,
    made,
    reserve,
    sealed,
)
from tests.core.privacy.test_ledger_faults import dying, state
from traindeck.core.base.home import Home
from traindeck.core.privacy.budget_state import describe
from traindeck.core.privacy.ledger.book import LedgerDamaged
from traindeck.core.privacy.ledger.filter import NotOpen, OverBudget
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.tui.panels.budget_lines import charges


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return made(tmp_path / "ledger")


def test_an_import_is_spent_at_once_and_settled(ledger: Ledger) -> None:
    imports(ledger, "far", [100, 20])
    assert charged(ledger) == (120, 0)
    first, second = ledger.account().runs
    assert (first.id, second.id, first.state) == ("far", "far.1", "imported")
    assert (first.committed, first.settled, first.open) == (100, 100, False)
    assert first.delta == ledger.account().delta
    entry = ledger.history()[-1]
    assert (entry["type"], entry["dataset"], "@" in entry["by"]) == ("import", "mnist", True)
    for act in (lambda: ledger.commit("far", 100), lambda: reserve(ledger, "far", 1)):
        with pytest.raises(NotOpen):
            act()
    ledger.settle("far", "finished", 0)  # it gives nothing back
    assert charged(ledger) == (120, 0)


def test_the_screen_shows_it_as_what_it_is(ledger: Ledger) -> None:
    imports(ledger, "far", [100])
    [row] = charges(describe(Home(ledger.folder.parent), ledger), {})
    assert (row.id, row.recipe, row.state) == ("far", "opacus: history.json", "imported")
    assert (row.reserved, row.committed, row.settled, row.spent) == (100, 100, 100, 0.5)


def test_what_does_not_fit_is_refused_whole_unless_it_is_said_to_be_released(
    ledger: Ledger,
) -> None:
    reserve(ledger, "open", STEPS - 10)
    with pytest.raises(OverBudget, match="what is released is released: --already-released"):
        imports(ledger, "far", [5, 6])
    assert charged(ledger) == (0, STEPS - 10) and len(ledger.history()) == 2
    imports(ledger, "far", [5, 6], beyond=True)
    assert charged(ledger) == (11, STEPS - 10)
    assert ledger.account().rho_left == -RHO
    with pytest.raises(OverBudget):
        reserve(ledger, "next", 1)
    assert is_whole(ledger)


def test_a_run_that_goes_on_stops_where_an_import_has_taken_what_it_reserved(
    ledger: Ledger,
) -> None:
    reserve(ledger, "open", 100)
    ledger.commit("open", 10)
    imports(ledger, "far", [STEPS - 20], beyond=True)
    ledger.commit("open", 20)
    with pytest.raises(OverBudget, match="charged for what was released elsewhere"):
        ledger.commit("open", 21)
    ledger.settle("open", "over_budget")
    assert charged(ledger) == (STEPS, 0)


def test_the_same_import_again_changes_nothing(ledger: Ledger) -> None:
    imports(ledger, "far", [5, 6])
    with pytest.raises(NotOpen, match="imported already, as run far of mnist"):
        imports(ledger, "far", [5, 6])
    assert charged(ledger) == (11, 0)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["before", "after", "torn"])
def test_an_import_that_a_crash_cut_short_is_made_whole_by_the_same_again(
    tmp_path: Path, how: str
) -> None:
    """Of several kinds of steps the first may have been written and the others not."""
    done = made(tmp_path / "done")
    steps = [5, 6, 7, 8, 9]
    imports(done, "far", steps)
    cut = 0
    for moment in range(1, 20):
        ledger = made(tmp_path / str(moment))
        acknowledged = dying(lambda ledger=ledger: imports(ledger, "far", steps), moment, how)  # type: ignore[misc]
        assert is_whole(ledger)
        cut += 0 < len(ledger.account().runs) < len(steps)
        if state(ledger) == state(done):
            with pytest.raises(NotOpen):
                imports(ledger, "far", steps)
        else:
            assert not acknowledged
            imports(ledger, "far", steps)
        assert state(ledger) == state(done) and ledger.verify() == []
        if acknowledged:
            break
    else:
        pytest.fail("it never came through")
    assert cut == (how == "torn")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"run": "far"}, "is in the ledger of mnist already"),
        ({"run": "open"}, "is in the ledger of mnist already"),
        ({"dataset": "cifar"}, "cifar does not spend"),
        ({"mechanism": Mechanism(0.0, 0.01, 5).to_json()}, "without noise"),
        ({"mechanism": {**Mechanism(1.0, 0.1, 5).to_json(), "mechanism": "laplace"}}, "'laplace'"),
        ({"rho": 0.0}, "rho cannot be 0.0"),
        ({"who": None}, "who unknown or missing"),
    ],
)
def test_a_well_made_import_that_no_rule_admits_is_not_believed(
    ledger: Ledger, fields: dict[str, Any], why: str
) -> None:
    reserve(ledger, "open", 10)
    imports(ledger)
    last = ledger.history()[-1]
    line = {name: one for name, one in last.items() if name not in ("prev", "hash")}
    line |= {"n": last["n"] + 1, "run": "new"} | fields
    with ledger.path.open("ab") as file:
        file.write(sealed({**line, "prev": last["hash"]}))
    with pytest.raises(LedgerDamaged, match=why):
        ledger.account()
