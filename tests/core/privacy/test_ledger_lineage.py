"""Which data a budget is for: by name, by what it was derived of, and by contents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.privacy.ledgers import DATA, OTHER, flip, made, reserve
from traindeck.core.base.errors import OVER_BUDGET, BudgetRefused
from traindeck.core.privacy.ledger.book import LedgerDamaged
from traindeck.core.privacy.ledger.entries import new_entry
from traindeck.core.privacy.ledger.filter import OtherData, OverBudget
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import (
    derive,
    find,
    keyed,
    pin,
    shown,
    shown_entries,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return made(tmp_path / "ledger")


class TestLineage:
    def test_the_first_use_pins_the_data(self, ledger: Ledger) -> None:
        pin(ledger, DATA)
        assert ledger.account().fingerprint == keyed(ledger.folder, DATA)
        pin(ledger, DATA)
        with pytest.raises(OtherData, match="that of other data than this") as refused:
            pin(ledger, OTHER)
        assert refused.value.exit_code == OVER_BUDGET

    def test_its_contents_are_known_by_a_key_that_the_home_keeps(
        self, ledger: Ledger, tmp_path: Path
    ) -> None:
        pin(ledger, DATA)
        assert DATA not in ledger.path.read_text()
        assert find(ledger.folder, "copy", DATA) is not None
        elsewhere = made(tmp_path / "elsewhere" / "ledger", "mnist", fingerprint=DATA).account()
        assert elsewhere.fingerprint not in (None, ledger.account().fingerprint)

    def test_the_hash_in_a_ledger_of_before_is_known_and_never_shown(self, ledger: Ledger) -> None:
        ledger.add(lambda now: [new_entry("pin", dataset="mnist", fingerprint=DATA)])
        pin(ledger, DATA)
        assert find(ledger.folder, "copy", DATA) is not None
        with pytest.raises(OtherData):
            pin(ledger, OTHER)
        [entry] = shown_entries(ledger.folder, ledger.history()[-1:])
        assert entry["fingerprint"] == shown(ledger.folder, DATA) == keyed(ledger.folder, DATA)

    def test_no_hash_that_depends_on_the_data_is_shown(self, ledger: Ledger) -> None:
        """Who knows the other fields could test guesses of the data by an entry's own hash."""
        reserve(ledger, "first", 1)
        ledger.add(lambda now: [new_entry("pin", dataset="mnist", fingerprint=DATA)])
        reserve(ledger, "second", 1)
        before = ledger.history()
        shown_as = shown_entries(ledger.folder, before)
        assert shown_as[:2] == before[:2]
        assert (shown_as[2]["prev"], shown_as[2]["hash"]) == (before[1]["hash"], None)
        assert (shown_as[3]["prev"], shown_as[3]["hash"]) == (None, None)
        derive(ledger, "half", "subset", OTHER)
        assert shown_entries(ledger.folder, ledger.history())[-1]["hash"] is None

    def test_what_is_derived_spends_the_parents_budget(self, ledger: Ledger) -> None:
        derive(ledger, "mnist-half", "subset", DATA)
        half = find(ledger.folder, "mnist-half")
        assert half is not None
        derive(half, "mnist-half-features", "features")
        features = find(ledger.folder, "mnist-half-features")
        assert features is not None
        pin(features, OTHER)
        reserve(features, "one", 1000)
        with pytest.raises(OverBudget):
            reserve(ledger, "two", 100)
        account = ledger.account()
        assert account.runs[0].dataset == "mnist-half-features"
        assert account.fingerprint is None
        assert [(c.name, c.of, c.kind, c.fingerprint) for c in account.children] == [
            ("mnist-half", "mnist", "subset", keyed(ledger.folder, DATA)),
            ("mnist-half-features", "mnist-half", "features", keyed(ledger.folder, OTHER)),
        ]
        with pytest.raises(OtherData):
            pin(half, OTHER)

    def test_a_data_set_has_one_budget_whatever_it_is_called(self, ledger: Ledger) -> None:
        pin(ledger, DATA)
        derive(ledger, "half", "subset")
        assert find(ledger.folder, "copy") is None
        copy = find(ledger.folder, "copy", DATA)
        assert copy is not None and copy.name == "mnist"
        nameless = find(ledger.folder, "my copy", DATA)  # no budget could have that name
        assert nameless is not None and nameless.name == "mnist"
        upper = find(ledger.folder, "MNIST")
        assert upper is not None and upper.name == "mnist"
        digits = made(ledger.folder, "digits")
        for refused in (
            lambda: made(ledger.folder, "half"),
            lambda: made(ledger.folder, "copy", fingerprint=DATA),
            lambda: derive(ledger, "digits", "subset"),
            lambda: derive(ledger, "mnist", "subset"),
            lambda: derive(ledger, "half", "features"),
            lambda: derive(digits, "half", "subset"),
            lambda: derive(digits, "copy", "subset", DATA),
            lambda: pin(digits, DATA),
        ):
            with pytest.raises(BudgetRefused, match="already"):
                refused()
        with pytest.raises(ValueError, match="kind"):
            derive(ledger, "other", "sibling")
        assert digits.verify() == ledger.verify() == []

    def test_a_ledger_that_cannot_be_read_may_be_anybodys(self, ledger: Ledger) -> None:
        made(ledger.folder, "digits")
        flip(ledger.path, 100)
        assert find(ledger.folder, "digits") is not None
        with pytest.raises(LedgerDamaged):
            find(ledger.folder, "cancer")
