"""Truncated Poisson sampling: a largest batch that is hardly ever needed, and accounted for."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest

from tests.core.privacy.ledgers import made
from tests.core.privacy.private_recipes import RECIPE, Command, run, shown
from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.home import Home
from traindeck.core.privacy import accountant, truncation
from traindeck.core.privacy.ledger.filter import NotOpen
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.plan import PlanError, make
from traindeck.core.privacy.risk import risk
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe

DELTA = 1e-5
POISSON = Mechanism(1.84, 2048 / 60000, 1171)
TRUNCATED = Mechanism(1.84, 2048 / 60000, 1171, "truncated", max_batch=2578, records=60000)
TIGHT = Mechanism(2.1, 0.05, 100, "truncated", max_batch=701, records=10_000)
TRUNCATING = RECIPE.replace("records = 10000", 'records = 10000\n# sampler = "truncated"')


def tail(records: int, rate: Fraction, most: int) -> Fraction:
    """The chance that more than so many records are drawn, exactly."""
    chances = (
        math.comb(records, k) * rate**k * (1 - rate) ** (records - k)
        for k in range(most + 1, records + 1)
    )
    return sum(chances, Fraction(0))


@pytest.mark.parametrize("records, rate", [(569, Fraction(1, 8)), (900, Fraction(1, 64))])
def test_the_largest_batch_is_the_smallest_that_overflows_rarely_enough(
    records: int, rate: Fraction
) -> None:
    most = truncation.max_batch(records, float(rate))
    rarest = Fraction(1, 10**30)
    assert tail(records, rate, most) <= rarest < tail(records, rate, most - 1)
    mechanism = Mechanism(1.0, float(rate), 1, "truncated", max_batch=most - 9, records=records)
    exact = tail(records, rate, most - 9)
    assert exact <= truncation.overflow(mechanism) <= exact * (1 + Fraction(1, 10**5))


def test_that_of_every_record_is_all_of_them() -> None:
    assert truncation.max_batch(100, 1.0) == truncation.max_batch(100, 0.99) == 100
    everything = Mechanism(1.0, 1.0, 5, "truncated", max_batch=100, records=100)
    assert truncation.overflow(everything) == 0.0
    assert truncation.max_batch(60000, 2048 / 60000) == 2578


@pytest.mark.parametrize("mechanism", [TRUNCATED, TIGHT], ids=["as planned", "tight"])
def test_no_epsilon_is_below_the_librarys_for_truncated_sampling(mechanism: Mechanism) -> None:
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    step = dp_accounting.TruncatedSubsampledGaussianDpEvent(
        mechanism.records,
        mechanism.sampling_rate,
        mechanism.max_batch,
        mechanism.noise_multiplier,
    )
    library = PLDAccountant(value_discretization_interval=1e-3)
    library.compose(dp_accounting.SelfComposedDpEvent(step, mechanism.steps))
    theirs = library.get_epsilon(DELTA)
    assert theirs <= accountant.epsilon([mechanism], DELTA) <= theirs * 1.002


def test_what_overflows_is_taken_from_delta() -> None:
    lost = (1 + math.exp(20)) * 100 * truncation.overflow(TIGHT)
    assert truncation.delta_lost([TIGHT]) == pytest.approx(lost)
    poisson = Mechanism(2.1, 0.05, 100)
    right = accountant.epsilon([poisson], DELTA - truncation.delta_lost([TIGHT]))
    assert accountant.epsilon([TIGHT], DELTA) == right > accountant.epsilon([poisson], DELTA)
    both = accountant.epsilon([TIGHT, poisson], DELTA)
    assert both >= accountant.epsilon([poisson, poisson], DELTA)
    small = Mechanism(2.1, 0.05, 100, "truncated", max_batch=660, records=10_000)
    assert accountant.epsilon([small], DELTA) == math.inf
    assert accountant.curve(TIGHT, DELTA, 4)[-1][1] == right
    assert accountant.repeat_and_select(small, DELTA, 3.0) == math.inf
    assert risk([TRUNCATED]).sentence == risk([POISSON]).sentence


def test_of_an_epsilon_above_twenty_nothing_is_claimed() -> None:
    for noise, holds in ((0.62, True), (0.3, False)):
        one = Mechanism(noise, 0.05, 100, "truncated", max_batch=768, records=10_000)
        epsilon = accountant.epsilon([one], DELTA)
        assert (epsilon <= 20) == holds and math.isfinite(epsilon) == holds
    wanted = accountant.least_noise(50.0, DELTA, TIGHT)
    assert wanted == accountant.least_noise(20.0, DELTA, TIGHT)
    with pytest.raises(ValueError, match=r"batches that overflow take .*, all of delta 1e-16"):
        accountant.least_noise(1.0, 1e-16, TIGHT)


@pytest.mark.parametrize("order", [1.25, 8.0, 64.0])
@pytest.mark.parametrize("budget, delta", [(20.0, 1e-5), (1.0, 1e-9), (20.0, 0.1)])
@pytest.mark.parametrize("most", [768, 701, 690])
def test_what_fills_a_budget_keeps_its_promise(
    order: float, budget: float, delta: float, most: int
) -> None:
    """The Poisson-sampled runs, at the delta that overflowing batches leave."""
    one = Mechanism(2.1, 0.05, 1, "truncated", max_batch=most, records=10_000)
    admitted = accountant.rho_budget(budget, delta, order)
    price = accountant.rho(one, order, delta)
    alone = accountant.rho(Mechanism(2.1, 0.05, 1), order)
    steps = max(0, math.floor(admitted / price))
    lost = steps * (1 + math.exp(budget)) * truncation.overflow(one) / delta
    assert lost <= 0.5
    if steps:
        assert accountant.epsilon_budget(steps * alone, delta * (1 - lost), order) <= budget
    free = Mechanism(1e4, 1e-9, 1, "truncated", max_batch=most, records=10_000)
    steps = max(0, math.floor(admitted / accountant.rho(free, order, delta)))
    assert steps * (1 + math.exp(budget)) * truncation.overflow(free) / delta <= 0.5


def test_a_planned_run_costs_a_budget_what_a_poisson_sampled_one_does() -> None:
    poisson, truncated = accountant.rho(POISSON, 8.0), accountant.rho(TRUNCATED, 8.0, DELTA)
    assert poisson < truncated <= poisson * (1 + 1e-9)
    with pytest.raises(ValueError, match="priced by its budget's delta"):
        accountant.rho(TRUNCATED, 8.0)


def test_what_is_no_truncated_sampling_is_refused() -> None:
    for sampler, most, records in (
        ("truncated", 0, 9),
        ("truncated", 10, 9),
        ("truncated", True, 9),
        ("poisson", 5, 9),
        ("poisson", 0, 9),
    ):
        with pytest.raises(ValueError, match="max_batch"):
            Mechanism(1.0, 0.1, 9, sampler, max_batch=most, records=records)
    with pytest.raises(ValueError, match="2 bands needs the sampler poisson"):
        Mechanism(1.0, 0.1, 9, "truncated", bands=2, max_batch=5, records=9)
    assert Mechanism.from_json(TRUNCATED.to_json()) == TRUNCATED
    assert not TRUNCATED.like(POISSON) and TRUNCATED.relation == POISSON.relation


def recipe(folder: Path, text: str = TRUNCATING) -> Recipe:
    (folder / "cut.py").write_text(text)
    read = read_recipe(folder / "cut.py")
    assert read is not None
    return read


def test_the_plan_derives_the_largest_batch(tmp_path: Path) -> None:
    one = recipe(tmp_path)
    plan = make(one, one.validate({}))
    assert plan is not None
    mechanism = plan.mechanism
    assert (mechanism.sampler, mechanism.max_batch, mechanism.records) == ("truncated", 768, 10_000)
    assert plan.epsilon <= 1.0 and plan.relation == "add-or-remove-one"
    little = '# [tool.traindeck.params.noise_multiplier]\n# type = "float"\n# default = 0.2\n'
    with pytest.raises(PlanError, match=r"0\.2 has no finite epsilon with the sampler truncated"):
        other = recipe(tmp_path, TRUNCATING.replace("# ///\nimport", little + "# ///\nimport"))
        make(other, other.validate({"epsilon": math.inf}))
    rounds = '# [tool.traindeck.params.rounds]\n# type = "int"\n# default = 5\n# ///\nimport'
    other = recipe(tmp_path, TRUNCATING.replace("# ///\nimport", rounds))
    with pytest.raises(PlanError, match="in a federation batches are not truncated"):
        make(other, other.validate({}))


def reserve(ledger: Ledger, name: str) -> None:
    rho = accountant.rho(TIGHT, 8.0, DELTA)
    ledger.reserve(name, "cut", TIGHT, rho, 1.0, None)


def test_a_budget_that_paid_for_it_is_not_raised_beyond_what_it_was_priced_for(
    tmp_path: Path,
) -> None:
    def admits(epsilon: float) -> float:
        return accountant.rho_budget(epsilon, DELTA, 8.0)

    ledger = made(tmp_path, epsilon=10.0, rho_budget=admits(10.0))
    ledger.set_budget(25.0, admits(25.0))
    with pytest.raises(BudgetRefused, match="too large for truncated sampling"):
        reserve(ledger, "early")
    ledger.set_budget(20.0, admits(20.0))
    reserve(ledger, "run")
    ledger.commit("run", 50, TIGHT)
    with pytest.raises(BudgetRefused, match="epsilon 21 is too large"):
        ledger.set_budget(21.0, admits(21.0))
    ledger.settle("run", "stopped", 50)
    again = Ledger(ledger.folder, "mnist")  # as another process reads it
    with pytest.raises(BudgetRefused, match="priced for budgets up to 20"):
        again.set_budget(20.1, admits(20.1))
    again.set_budget(0.0, 0.0)
    again.set_budget(19.0, admits(19.0))
    spent = again.account().rho_spent
    assert spent == pytest.approx(50 * accountant.rho(TIGHT, 8.0, DELTA), rel=1e-12)
    assert not again.verify()
    with pytest.raises(NotOpen):
        again.commit("run", 60)


OWN = (
    TRUNCATING.partition("import time")[0].replace('"private"', '"own"').replace("500", "200")
    + """import numpy as np
from traindeck.core import track
from traindeck.recipes.shared.training.dp.loop import private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.selftest import SelfTest
from traindeck.recipes.shared.training.loop import Tested

class Training:
    def __init__(self, run):
        rng = np.random.default_rng(0)
        self.x, self.w, self.step = rng.normal(size=(9000, 8)), np.zeros(8), 0
        self.run, self.sizes = run, []
    def snapshot(self): return {"model/w": self.w.copy()}
    def restore(self, state): self.w[:] = state["model/w"]
    def save(self): np.save(self.run.artifacts / "sizes.npy", self.sizes)
    def gradient(self, index): return self.x[index] - self.w

class Result:
    def telemetry(self, norm): return {}

with track.start() as run:
    training, plan = Training(run), run.plan
    test = SelfTest(9000, training.gradient)
    done = lambda: Tested(0.0, 0.0)
    for step in private_steps(run, training, Randomness(), done, test):
        batch = step.randomness.truncated_batch(9000, step.rate, step.most)
        training.sizes.append(len(batch))
        gradients = training.x[batch] - training.w
        norms = np.linalg.norm(gradients, axis=1)[:, None]
        total = (gradients * np.minimum(1, plan.clipping_norm / np.maximum(norms, 1e-9))).sum(0)
        training.w += 0.1 * (total + step.randomness.normal(8, step.noise)) / plan.batch_size
        training.step += 1
        step.gave(Result())
"""
)


@pytest.mark.slow
def test_a_recipe_of_ones_own_trains_with_it_is_tested_and_paid_for(
    traindeck: Command, home: Home
) -> None:
    import numpy as np

    (home.recipes / "own.py").write_text(OWN)
    traindeck("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-5")
    doc = run(traindeck, "own")
    assert doc["privacy"]["sampler"] == "truncated" and doc["privacy"]["max_batch"] == 380
    assert doc["privacy"]["events"][0]["max_batch"] == 380
    sizes = np.load(Path(doc["path"]) / "artifacts" / "sizes.npy")
    assert sizes.max() <= 380 and abs(sizes[-100:].mean() - 180) < 10
    text = traindeck("show", "@last").stdout
    assert "truncated Poisson sampling of 380 records at most at rate 0.02" in text
    state = shown(traindeck)
    assert state["filter"]["rho_spent"] > 0 and state["verified"]
    forecast = json.loads(traindeck("budget", "forecast", "own", "--json").stdout)
    assert forecast["budget"]["more_such_runs"] > 1
    raised = traindeck("budget", "set", "toy", "--epsilon", "21", "--yes", code=5)
    assert "priced for budgets up to 20" in raised.stderr


def test_a_large_budget_does_not_admit_it(traindeck: Command, home: Home) -> None:
    (home.recipes / "own.py").write_text(OWN)
    traindeck("budget", "create", "toy", "--epsilon", "30", "--delta", "1e-5")
    refused = traindeck("run", "own", code=5).stderr
    assert "is one of epsilon 30, and truncated sampling is priced for budgets up to 20" in refused
    assert not (home.ledger / "toy.json").exists() or not Ledger(home.ledger, "toy").account().runs
