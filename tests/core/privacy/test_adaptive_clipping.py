"""Adaptive clipping: the count and the gradients cost together what the plan's noise costs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.core.privacy.private_recipes import RECIPE, Command, run, shown
from traindeck.core.base.home import Home
from traindeck.core.privacy.clipping import AdaptiveClipping
from traindeck.core.privacy.plan import Plan, PlanError, make
from traindeck.core.privacy.report import RunPrivacy, words
from traindeck.core.recipe.read import read_recipe

DELTA = 1e-5
PARAMS = """# [tool.traindeck.params.clipping]
# type = "choice"
# choices = ["fixed", "adaptive"]
# default = "adaptive"
# [tool.traindeck.params.clipping_quantile]
# type = "float"
# default = 0.5
# [tool.traindeck.params.clipping_lr]
# type = "float"
# default = 0.2
# [tool.traindeck.params.count_noise]
# type = "float"
# default = 0.0
# [tool.traindeck.params.noise_multiplier]
# type = "float"
# default = 0.0
# [tool.traindeck.params.noise]
# type = "choice"
# choices = ["independent", "banded"]
# default = "independent"
# [tool.traindeck.params.bands]
# type = "int"
# default = 4
"""
ADAPTIVE = RECIPE.replace("# ///\nimport", PARAMS + "# ///\nimport")


def plan(folder: Path, text: str = ADAPTIVE, **params: float | str) -> Plan:
    (folder / "adaptive.py").write_text(text)
    recipe = read_recipe(folder / "adaptive.py")
    assert recipe is not None
    made = make(recipe, recipe.validate(params))
    assert made is not None
    return made


def test_count_and_gradients_are_together_the_gaussian_of_the_plan() -> None:
    """Andrew et al. 2021, Theorem 1, by the library: two Gaussians over their sensitivities."""
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    joint, count = 1.3, 2.0  # the count's sensitivity is 1/2
    gradients = AdaptiveClipping(0.5, 0.2, count).gradient_noise(joint)
    assert gradients == pytest.approx((joint**-2 - (2 * count) ** -2) ** -0.5)
    both, one = PLDAccountant(), PLDAccountant()
    both.compose(dp_accounting.GaussianDpEvent(gradients))
    both.compose(dp_accounting.GaussianDpEvent(2 * count))
    one.compose(dp_accounting.GaussianDpEvent(joint))
    assert both.get_epsilon(DELTA) == pytest.approx(one.get_epsilon(DELTA), rel=1e-3)
    assert gradients**-2 + (2 * count) ** -2 <= joint**-2


def test_a_count_that_tells_all_by_itself_leaves_nothing_for_the_gradients() -> None:
    with pytest.raises(ValueError, match=r"take more than 0\.65"):
        AdaptiveClipping(0.5, 0.2, 0.65).gradient_noise(1.3)
    assert AdaptiveClipping(0.5, 0.2, 0.66).gradient_noise(1.3) == pytest.approx(7.4, abs=0.1)
    assert AdaptiveClipping(0.5, 0.2, 0.0).gradient_noise(0.0) == 0.0


def test_the_norm_goes_down_where_more_than_the_quantile_is_left_unclipped() -> None:
    moves = AdaptiveClipping(0.5, 0.2, 5.0)
    assert moves.next_norm(1.0, 0.0, 100) == 1.0
    assert moves.next_norm(1.0, 50.0, 100) == pytest.approx(math.exp(-0.1))
    assert moves.next_norm(1.0, -50.0, 100) == pytest.approx(math.exp(0.1))
    assert 0 < moves.next_norm(1.0, 1e300, 1) < 1 < moves.next_norm(1.0, -1e300, 1) < math.inf


def test_the_plan_keeps_its_epsilon_and_says_both_noises(tmp_path: Path) -> None:
    made, fixed = plan(tmp_path), plan(tmp_path, clipping="fixed")
    assert made.mechanism == fixed.mechanism and made.epsilon == fixed.epsilon
    assert made.adaptive == AdaptiveClipping(0.5, 0.2, 500 / 20)
    joint = made.mechanism.noise_multiplier
    assert made.gradient_noise == pytest.approx((joint**-2 - 50.0**-2) ** -0.5)
    assert fixed.gradient_noise == joint and fixed.adaptive is None
    data = json.loads(json.dumps(made.to_json()))
    assert data["adaptive"]["gradient_noise"] == made.gradient_noise
    assert Plan.from_json(data) == made
    assert "adaptive" not in fixed.to_json() and Plan.from_json(fixed.to_json()) == fixed


def test_without_noise_the_count_has_none(tmp_path: Path) -> None:
    twin = plan(tmp_path, epsilon=math.inf)
    assert twin.adaptive is not None and twin.adaptive.count_noise == twin.gradient_noise == 0.0


@pytest.mark.parametrize(
    "params, why",
    [
        ({"noise": "banded"}, "needs noise=independent"),
        ({"noise_multiplier": 3.0, "count_noise": 1.5}, "count_noise: .* take more than 1.5"),
        ({"clipping_quantile": 1.0}, "clipping_quantile: 1 is not between 0 and 1"),
        ({"clipping_lr": 0.0}, "clipping_lr: 0 is not above 0"),
        ({"count_noise": -1.0}, "count_noise: -1 is not above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, params: dict[str, float | str], why: str
) -> None:
    with pytest.raises(PlanError, match=why):
        plan(tmp_path, **params)


ROUNDS = '# [tool.traindeck.params.rounds]\n# type = "int"\n# default = 5\n# ///\nimport'
OWNERS = ADAPTIVE.replace("# ///\nimport", ROUNDS).replace(
    "records = 10000", 'records = 16\n# unit = "owner"\n# sampler = "none"'
)


def test_in_a_federation_of_examples_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"in a federation whose unit is the example.*dp=central"):
        plan(tmp_path, ADAPTIVE.replace("# ///\nimport", ROUNDS))


def test_an_owner_that_is_zeroed_moves_the_count_by_a_whole(tmp_path: Path) -> None:
    """Its update was clipped and took 1/2; zeros are not, and add 1/2: priced by the library."""
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    made = plan(tmp_path, OWNERS, noise_multiplier=2.0, steps=5)
    assert made.adaptive == AdaptiveClipping(0.5, 0.2, 6.0, sensitivity=1.0)
    assert made.gradient_noise == pytest.approx((2.0**-2 - 6.0**-2) ** -0.5)
    released = PLDAccountant()
    released.compose(dp_accounting.GaussianDpEvent(made.gradient_noise), 5)  # of updates, C or less
    released.compose(dp_accounting.GaussianDpEvent(6.0), 5)  # of a count that moves by 1
    epsilon = released.get_epsilon(DELTA)
    assert made.epsilon == pytest.approx(epsilon, rel=1e-3)
    assert made.relation == "zero-out over public owners" and made.mechanism.steps == 5
    data = json.loads(json.dumps(made.to_json()))
    assert data["adaptive"]["sensitivity"] == 1.0 and Plan.from_json(data) == made


def test_a_count_of_owners_with_too_little_noise_is_refused_with_what_would_do(
    tmp_path: Path,
) -> None:
    """Half of it would do for records that are there or not."""
    with pytest.raises(PlanError, match=r"count_noise: .* take more than 2$"):
        plan(tmp_path, OWNERS, noise_multiplier=2.0, count_noise=1.5)
    assert plan(tmp_path, OWNERS, noise_multiplier=2.0, count_noise=2.1).gradient_noise > 6
    twin = plan(tmp_path, OWNERS, epsilon=math.inf)
    assert twin.adaptive is not None and twin.adaptive.count_noise == twin.gradient_noise == 0.0


@pytest.mark.parametrize("value", [0.0, 0.1, 2.0, math.nan])
def test_no_other_sensitivity_is_read(value: float) -> None:
    data = {"quantile": 0.5, "lr": 0.2, "count_noise": 6.0}
    assert AdaptiveClipping.from_json(data) == AdaptiveClipping(0.5, 0.2, 6.0, 0.5)
    with pytest.raises(ValueError, match="sensitivity"):
        AdaptiveClipping.from_json({**data, "sensitivity": value})


def test_of_shuffled_records_no_count_is_taken(tmp_path: Path) -> None:
    shuffled = ADAPTIVE.replace("records = 10000", 'records = 10000\n# sampler = "shuffle"')
    with pytest.raises(PlanError, match="another sampler than shuffle"):
        plan(tmp_path, shuffled)


@pytest.mark.slow
def test_it_costs_the_budget_what_a_fixed_norm_does_and_show_says_how_it_moves(
    traindeck: Command, home: Home
) -> None:
    (home.recipes / "adaptive.py").write_text(ADAPTIVE)
    traindeck("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-5")
    run(traindeck, "private", "-p", "clipping=fixed")
    fixed = shown(traindeck)["filter"]["rho_spent"]
    doc = run(traindeck, "private")["privacy"]
    assert shown(traindeck)["filter"]["rho_spent"] == pytest.approx(2 * fixed, rel=1e-12)
    joint, gradients = doc["noise_multiplier"], doc["adaptive"]["gradient_noise"]
    assert doc["adaptive"]["count_noise"] == 25.0 and gradients > joint
    assert "quantile 0.5 by a count with noise 25" in traindeck("show", "@last").stdout
    read = RunPrivacy.from_json(doc)
    assert read is not None and read.to_json() == doc and "at first, moved" in words(read)["by"]
    damaged = RunPrivacy.from_json({**doc, "adaptive": {"quantile": "x"}})
    assert damaged is not None and damaged.adaptive is None
