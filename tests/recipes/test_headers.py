"""What all built-in recipes keep to: short, one dialect of headers, twins that are twins."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

import traindeck.recipes
from traindeck.core.recipe.read import discover
from traindeck.core.recipe.recipe import Recipe

FOLDER = Path(traindeck.recipes.__file__).parent
RECIPES, BROKEN = discover([(FOLDER, "built-in", False)])
LONGEST = 150
PAIRS = {
    "digits",
    "mnist",
    "mnist-dp",
    "mnist-scatter-dp",
    "cancer-dp",
    "fedavg",
    "steps",
    "mistakes",
    "finetune",
    "text-finetune",
}


def pairs() -> dict[str, list[Recipe]]:
    twins = defaultdict(list)
    for recipe in RECIPES:
        if recipe.pair:
            twins[recipe.pair].append(recipe)
    return twins


FRAMEWORKS_OWN = ("mode", "strategy", "workers", "restarts")
"""How a framework computes, and on how many devices: that need not be its twin's."""


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
class TestARecipe:
    def test_is_read_in_one_sitting(self, recipe: Recipe) -> None:
        assert len(recipe.path.read_text().splitlines()) <= LONGEST

    def test_has_its_parameters_and_accounting_as_inline_tables(self, recipe: Recipe) -> None:
        header = recipe.path.read_text().partition("\n# ///\n")[0]
        assert not re.search(r"^# \[tool\.traindeck\.(params\.|accounting)", header, re.MULTILINE)


def test_twins_name_each_other() -> None:
    assert BROKEN == []
    assert {pair: len(twins) for pair, twins in pairs().items()} == dict.fromkeys(PAIRS, 2)


@pytest.mark.parametrize("pair", sorted(PAIRS))
def test_twins_train_the_same_on_the_same(pair: str) -> None:
    ours, theirs = pairs()[pair]
    for fact in ("task", "dataset", "privacy", "description", "tags", "headline", "accounting"):
        assert getattr(ours, fact) == getattr(theirs, fact), fact
    assert ours.variants == theirs.variants
    shared = [name for name in ours.params if name not in FRAMEWORKS_OWN]
    assert shared == [name for name in theirs.params if name not in FRAMEWORKS_OWN]
    for name in shared:
        one, other = ours.params[name], theirs.params[name]
        assert (one.type, one.default, one.min, one.max, one.choices) == (
            (other.type, other.default, other.min, other.max, other.choices)
        ), name
