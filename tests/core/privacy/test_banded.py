"""Banded noise: what its cycles cost, and what a run that was resumed is charged for them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.privacy.ledgers import made
from tests.core.privacy.private_recipes import RESUMING, Command, run, shown
from traindeck.core.base.home import Home
from traindeck.core.privacy import accountant
from traindeck.core.privacy.gate import admit
from traindeck.core.privacy.ledger.filter import cost_of, exact, inexact
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.origin import Inherited
from traindeck.core.privacy.plan import Plan
from traindeck.core.privacy.risk import Risk
from traindeck.core.privacy.spending import Spending

DELTA = 1e-5
CNN = Mechanism(4.84, 2048 / 60000, 1171, bands=8)


@pytest.mark.parametrize(
    "noise, rate, steps, bands", [(4.84, 2048 / 60000, 1171, 8), (1.0, 0.05, 100, 16)]
)
def test_a_run_costs_what_its_cycles_cost_sampled_at_the_parts_rate(
    noise: float, rate: float, steps: int, bands: int
) -> None:
    """Choquette-Choo et al. 2023: ceil(n/b) sampled Gaussians of rate b·q, by the library alone."""
    import dp_accounting
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    cycle = dp_accounting.PoissonSampledDpEvent(bands * rate, dp_accounting.GaussianDpEvent(noise))
    whole = dp_accounting.SelfComposedDpEvent(cycle, math.ceil(steps / bands))
    right = PLDAccountant(value_discretization_interval=1e-3).compose(whole).get_epsilon(DELTA)
    banded = Mechanism(noise, rate, steps, bands=bands)
    assert banded.releases == math.ceil(steps / bands)
    assert right * 0.998 <= accountant.epsilon([banded], DELTA) <= right * 1.001
    divergence = RdpAccountant(orders=[8.0]).compose(whole).rdp[0]
    cost = inexact(cost_of(banded, accountant.rho(banded, 8.0), steps))
    assert cost == pytest.approx(divergence, rel=1e-12)


def test_the_price_of_amplification_is_noise_that_grows_with_the_bands() -> None:
    alone = accountant.noise_multiplier(2.93, DELTA, 2048 / 60000, 1171)
    banded = accountant.least_noise(2.93, DELTA, CNN)
    assert (alone, banded) == (pytest.approx(1.84), pytest.approx(4.84))


def test_part_of_a_cycle_costs_all_of_it() -> None:
    rho = accountant.rho(CNN, 8.0)
    one = cost_of(CNN, rho, 8)
    assert cost_of(CNN, rho, 1) == one
    assert inexact(cost_of(CNN, rho, 9)) == pytest.approx(2 * inexact(one), rel=1e-12)
    assert cost_of(CNN, rho, 0) == 0
    assert CNN.rest(16).releases == CNN.releases - 2 and CNN.rest(17).releases == CNN.releases - 2


def test_what_is_no_banded_noise_is_refused() -> None:
    right: dict[str, Any] = {"noise_multiplier": 1.0, "sampling_rate": 0.1, "steps": 9, "bands": 8}
    for wrong in ({"sampler": "shuffle"}, {"sampler": "none"}, {"sampling_rate": 0.2}):
        with pytest.raises(ValueError, match="band"):
            Mechanism(**{**right, **wrong})
    with pytest.raises(ValueError, match="bands True is not a whole number"):
        Mechanism(1.0, 0.1, 9, bands=True)
    assert Mechanism(1.0, 1 / 49, 9, bands=49).release_rate == 1.0
    assert "bands" not in Mechanism(1.0, 0.1, 9).to_json()
    assert CNN.to_json()["bands"] == 8 and Mechanism.from_json(CNN.to_json()) == CNN
    assert not CNN.like(Mechanism(4.84, 2048 / 60000, 1171))


def plan_of(mechanism: Mechanism) -> Plan:
    return Plan(
        *("toy", "example", "add-or-remove-one", 10_000, 100, 1.0, DELTA, mechanism, 3.0),
        *(((mechanism.steps, 3.0),), "", Risk((), 0.0, ""), False),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    bands=st.integers(1, 7),
    steps=st.integers(1, 60),
    stops=st.lists(st.tuples(st.integers(0, 25), st.booleans(), st.booleans()), max_size=4),
)
@pytest.mark.slow
def test_however_it_is_stopped_killed_and_resumed_nothing_goes_unpaid(
    tmp_path_factory: pytest.TempPathFactory,
    bands: int,
    steps: int,
    stops: list[tuple[int, bool, bool]],
) -> None:
    """Each run is a block of its own; its checkpoint is of a whole number of cycles.

    With one band: truncated batches, each step of which costs a little more.
    """
    mechanism = Mechanism(3.0, 0.05, steps, bands=bands)
    if bands == 1:
        mechanism = Mechanism(3.0, 0.05, steps, "truncated", max_batch=700, records=10_000)
    plan = plan_of(mechanism)
    home = tmp_path_factory.mktemp("home")
    cycle = mechanism.with_steps(1)
    one = cost_of(cycle, accountant.rho(cycle, 8.0, DELTA), 1)
    with pytest.MonkeyPatch.context() as hasty:
        hasty.setattr(os, "fsync", lambda descriptor: None)
        ledger = made(home / "ledger", "toy", rho_budget=18.0, epsilon=20.0)
        cycles, held, charged = 0, 0, ()
        for number, (takes, killed, unpaid) in enumerate([*stops, (steps, False, False)]):
            name = f"run-{number}"
            if unpaid:  # of a checkpoint whose origin is lost
                charged = ()
            admit(ledger, name, "toy", plan, earlier=Inherited(held, charged))
            spending = Spending(plan, home / "ledger", name, lambda *_: None)
            spending.resumed(held, charged=charged)
            taken = 0
            while taken < takes and spending.step():
                taken += 1
            cycles += math.ceil(taken / bands)
            whole = taken if held + taken == steps else taken // bands * bands
            charged = (*spending._paid, (name, spending._owed + whole))
            held += whole
            ledger.settle(name, "killed") if killed else spending.settle("stopped")
            if held == steps:
                break
        account = ledger.account()
        assert account.rho_reserved == 0.0 and not ledger.verify()
        spent = exact(account.rho_budget) - account.exact_left
        assert inexact(spent) >= inexact(cycles * one) * (1 - 1e-12)
        if not stops:
            whole = math.ceil(steps / bands)
            assert inexact(spent) == pytest.approx(inexact(whole * one), rel=1e-12)


def test_a_run_is_not_resumed_within_a_cycle(tmp_path: Path) -> None:
    spending = Spending(plan_of(CNN), tmp_path / "ledger", "one", lambda *_: None)
    spending.resumed(12)
    assert not spending.step()
    assert "8 bands goes on after a multiple of so many steps only, not after step 12" in (
        spending.problem
    )
    again = Spending(plan_of(CNN), tmp_path / "ledger", "one", lambda *_: None)
    again.resumed(16)
    assert again.step()


BANDED = RESUMING.replace(
    "# ///\nfrom pathlib",
    """# [tool.traindeck.params.noise]
# type = "choice"
# choices = ["independent", "banded"]
# default = "banded"
# [tool.traindeck.params.bands]
# type = "int"
# default = 10
# ///
from pathlib""",
)


@pytest.mark.slow
def test_a_resumed_run_and_the_one_it_goes_on_from_pay_for_the_plan_together(
    traindeck: Command, home: Home
) -> None:
    (home.recipes / "again.py").write_text(BANDED)
    traindeck("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-5")
    whole = run(traindeck, "again")
    [charge] = Ledger(home.ledger, "toy").account().runs
    cost = shown(traindeck)["filter"]["rho_spent"]
    first = run(traindeck, "again", "-p", "until=60")["id"]
    second = run(traindeck, "again", "-p", f"resume={first}")
    assert shown(traindeck)["filter"]["rho_spent"] == pytest.approx(2 * cost, rel=1e-12)
    assert second["privacy"]["epsilon"] == whole["privacy"]["epsilon"]
    assert second["privacy"]["bands"] == 10 and charge.mechanism.bands == 10
    assert "from one of 10 parts in turn at rate 0.05" in traindeck("show", "@last").stdout
    part = run(traindeck, "again", "-p", "until=65")["id"]
    within = traindeck("run", "again", "-p", f"resume={part}", "--wait", code=5)
    assert "not after step 65" in within.stdout
    assert "noise multiplier" in traindeck("budget", "forecast", "again").stdout
    assert "in 10 bands, q 0.05" in traindeck("budget", "history", "toy").stdout


def test_the_header_cannot_be_banded_where_the_theorem_does_not_hold(
    home: Home, traindeck: Command
) -> None:
    (home.recipes / "again.py").write_text(BANDED)
    few = traindeck("run", "again", "-p", "bands=21", code=2).stderr
    assert "bands: 21 is not from 1 to 20: a batch of 500 is drawn from one of so many" in few
    shuffled = BANDED.replace("records = 10000", 'records = 10000\n# sampler = "shuffle"')
    (home.recipes / "again.py").write_text(shuffled)
    assert "needs the sampler poisson, not shuffle" in traindeck("run", "again", code=2).stderr
    noise = "# [tool.traindeck.params.noise]\n"
    five = '# [tool.traindeck.params.rounds]\n# type = "int"\n# default = 5\n'
    rounds = BANDED.replace(noise, five + noise)
    (home.recipes / "again.py").write_text(rounds)
    assert "in a federation" in traindeck("run", "again", code=2).stderr
