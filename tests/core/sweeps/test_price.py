"""What a sweep costs in privacy is known, and held, before its first trial."""

from __future__ import annotations

import math

import pytest

from tests.conftest import until
from tests.core.sweeps.private_search import PRIVATE, asked, with_budget
from tests.core.sweeps.searched import ended, known
from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.home import Home
from traindeck.core.privacy import accountant
from traindeck.core.privacy.gate import tend
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.plan import COSTS_BY, make
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.sweeps import begin, study
from traindeck.core.sweeps.price import Price
from traindeck.core.sweeps.removal import remove
from traindeck.core.sweeps.space import SpaceError
from traindeck.tui.commands.sweep_words import tuning


@pytest.mark.parametrize(
    ("epsilon", "runs", "everything", "poisson", "geometric"),
    [
        (1.0, 10, 3.59, 2.52, 2.31),
        (1.0, 40, 8.08, 5.81, 2.69),
        (2.93, 10, 11.1, 6.97, 6.05),
        (2.93, 40, 27.2, 16.9, 7.06),
    ],
)
def test_the_three_ways_of_paying(
    epsilon: float, runs: int, everything: float, poisson: float, geometric: float
) -> None:
    """A rate of 0.0683, 585 steps, delta 1e-5: as dp-accounting alone has them."""
    noise = accountant.noise_multiplier(epsilon, 1e-5, 0.0683, 585)
    run = Mechanism(noise, 0.0683, 585, "poisson")
    assert accountant.any_of([run], runs, 1e-5) == pytest.approx(everything, rel=5e-3)
    best = accountant.repeat_and_select(run, 1e-5, runs, math.inf)
    assert best == pytest.approx(poisson, rel=5e-3)
    assert accountant.repeat_and_select(run, 1e-5, runs) == pytest.approx(geometric, rel=5e-3)


def test_the_price_is_that_of_the_dearest_trial(home: Home, recipe: Recipe) -> None:
    one = begin.priced(home, asked(recipe, epsilon="0.3"))
    several = begin.priced(home, asked(recipe, epsilon="0.1,0.3,0.2"))
    assert one is not None and several is not None
    assert several.epsilon_run == one.epsilon_run <= 0.3
    assert several.epsilon_all >= one.epsilon_all
    assert several.epsilon_naive == pytest.approx(4 * one.epsilon_run)
    assert Price.from_json(several.to_json()) == several


def test_what_decides_the_price_may_take_few_values(home: Home, recipe: Recipe) -> None:
    with pytest.raises(SpaceError, match="epsilon: what a trial costs in privacy depends on it"):
        begin.priced(home, asked(recipe, epsilon="0.1..0.3"))
    assert begin.priced(home, asked(recipe, clipping_norm="0.1..2.0"))
    assert begin.priced(home, asked(recipe, batch_size="250,500", steps="10..20/5"))


def test_a_card_says_whether_tuning_is_charged(home: Home, recipe: Recipe) -> None:
    free = begin.priced(home, asked(recipe))
    with_budget(home, 2.0)
    paid = begin.priced(home, asked(recipe))
    assert free is not None and paid is not None
    assert "tuning is not charged, toy has no budget" in tuning(free.to_json(), False)
    assert "tuning is charged to the budget of toy" in tuning(paid.to_json(), False)
    assert "of a secret number of trials" in tuning(paid.to_json(), True)
    assert tuning(None, False) == ""


def test_no_other_parameter_changes_what_a_plan_costs(recipe: Recipe) -> None:
    usual = make(recipe, recipe.defaults())
    assert usual is not None
    for name in recipe.params.keys() - COSTS_BY:
        plan = make(recipe, {**recipe.defaults(), name: 0.5})
        assert plan is not None and plan.mechanism == usual.mechanism, name


def test_a_sweep_that_does_not_fit_says_how_many_trials_would(home: Home, recipe: Recipe) -> None:
    ledger = with_budget(home, 1.0)
    cost = begin.priced(home, asked(recipe, trials=1000))
    assert cost is not None and cost.fits is not None and not cost.admitted
    with pytest.raises(BudgetRefused, match=f"{cost.fits} of them fit"):
        begin.begin(home, asked(recipe, trials=1000))
    assert study.sweeps(home) == []
    assert ledger.account().runs == ()


def test_all_of_it_is_held_handed_on_and_given_back(home: Home, recipe: Recipe) -> None:
    ledger = with_budget(home, 2.0)
    whole = ledger.account().rho_left
    folder = begin.begin(home, asked(recipe, trials=6, seconds="0.05"))
    before = ledger.account()
    price = folder.design().price
    assert price is not None
    assert (whole - before.rho_left) / whole == pytest.approx(price["share"], rel=1e-6)
    trials = ended(folder)
    assert [one.state for one in trials] == ["complete"] * 6
    after = ledger.account()
    assert {run.id for run in after.runs} == {one.attempts[0].run for one in trials}
    assert all(run.settled == 20 for run in after.runs)
    assert after.rho_left == pytest.approx(before.rho_left)
    assert ledger.verify() == []


def test_nobody_else_gets_what_a_sweep_holds(home: Home, recipe: Recipe) -> None:
    """The budget is nearly all held: another sweep is refused, and the first goes on."""
    with_budget(home, 0.8)
    fits = begin.priced(home, asked(recipe, trials=1, epsilon="0.5"))
    assert fits is not None and fits.fits in (1, 2, 3)
    first = begin.begin(home, asked(recipe, trials=fits.fits, epsilon="0.5", seconds="0.02"))
    with pytest.raises(BudgetRefused, match="not one of them fits"):
        begin.begin(home, asked(recipe, trials=1, epsilon="0.5"))
    assert [one.state for one in ended(first)] == ["complete"] * fits.fits


def test_a_stopped_sweep_gives_back_and_takes_up_again(home: Home, recipe: Recipe) -> None:
    ledger = with_budget(home, 2.0)
    folder = begin.begin(home, asked(recipe, trials=4, seconds="0.1"))
    until(lambda: known(folder), "a trial")
    study.stop(folder)
    ended(folder)
    charged = ledger.account()
    assert not any(run.open for run in charged.runs)
    study.resume(folder)
    begin.go_on(folder)
    assert [one.state for one in ended(folder)] == ["complete"] * 4


def test_what_is_held_outlives_the_driver_and_goes_with_the_sweep(
    home: Home, recipe: Recipe
) -> None:
    ledger = with_budget(home, 2.0)
    request = asked(recipe)
    folder = study.create(home, request, {"stands": "for a price"})
    space = study.check(request)
    from traindeck.core.sweeps.price import Held

    Held(home, folder.design(), recipe, space).hold(4)
    tend(ledger)
    assert sum(run.open for run in ledger.account().runs) == 4
    remove(folder)
    tend(ledger)
    assert ledger.account().runs == ()


def test_a_recipe_without_privacy_is_not_searched_on_budgeted_data(
    home: Home, recipe: Recipe
) -> None:
    with_budget(home, 2.0)
    text = PRIVATE.replace('privacy = "dp-sgd"', 'privacy = "none"')
    text = text.replace("# [tool.traindeck.accounting]\n# records = 10000\n", "")
    recipe.path.write_text(text.replace("run.plan.mechanism.steps", "3"))
    plain = read_recipe(recipe.path)
    assert plain is not None
    with pytest.raises(BudgetRefused, match="no privacy"):
        begin.begin(home, asked(plain))
    assert study.sweeps(home) == []
