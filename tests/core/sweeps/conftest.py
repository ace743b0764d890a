from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.sweeps.private_search import PRIVATE
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The private one."""
    path = tmp_path / "private.py"
    path.write_text(PRIVATE)
    found = read_recipe(path)
    assert found is not None
    return found
