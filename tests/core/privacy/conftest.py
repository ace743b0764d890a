"""A home with a private recipe and one that is not, and a budget for their data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.privacy.private_recipes import PLAIN, RECIPE, Command
from traindeck.core.base.home import Home
from traindeck.core.privacy.ledger.ledger import Ledger


@pytest.fixture
def recipes(home: Home) -> Path:
    (home.recipes / "private.py").write_text(RECIPE)
    (home.recipes / "plain.py").write_text(PLAIN)
    return home.recipes


@pytest.fixture
def budget(traindeck: Command, home: Home) -> Ledger:
    traindeck("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-5")
    return Ledger(home.ledger, "toy")
