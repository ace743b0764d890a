"""Noise that drowns a model is told of before it is trained."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import traindeck.recipes
from traindeck.core.privacy.plan import make
from traindeck.core.recipe.read import read_recipe
from traindeck.recipes.shared.federated.job import mlp
from traindeck.recipes.shared.federated.scientist.loudness import warning
from traindeck.recipes.shared.federated.scientist.options import Options

RECIPE = Path(traindeck.recipes.__file__).parent / "syft" / "fedavg.py"


def warned(owners: int, epsilon: float) -> str:
    """What syft-fedavg would say with these and its own defaults."""
    recipe = read_recipe(RECIPE)
    assert recipe is not None
    params = recipe.validate({"dp": "central", "owners": owners, "epsilon": epsilon})
    plan = make(recipe.chosen(params), params)
    assert plan is not None
    noise = plan.mechanism.noise_multiplier * plan.clipping_norm
    options = Options(rounds=plan.mechanism.steps, clip=plan.clipping_norm, noise=noise)
    return warning(mlp.size(784), options, owners, -(-2 * owners // 3), epsilon)


@pytest.mark.slow
@pytest.mark.parametrize(("owners", "epsilon"), [(3, 2.93), (3, 20.0), (16, 2.93)])
def test_few_owners_or_a_small_epsilon_are_warned_of(owners: int, epsilon: float) -> None:
    line = warned(owners, epsilon)
    assert line.startswith("warning: the noise of a round is about ")
    assert f"with {owners} owners at epsilon {epsilon:g} the model will hardly learn" in line


@pytest.mark.slow
def test_what_learns_is_not_warned_of() -> None:
    assert warned(16, 20.0) == warned(16, math.inf) == ""


def test_the_length_of_noise() -> None:
    """10,000 numbers of deviation 1 in the sum of any 3 of 4: the noise of the mean is 29 long."""
    options = Options(rounds=1, clip=0.5, noise=1.0)
    assert "about 58 times" in warning(10_000, options, 4, 4, 1.0)
