"""The ledger: what is admitted, what it is charged, and whose budget is spent."""

from __future__ import annotations

import math
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.core.privacy.ledgers import DATA, ME, RHO, charged, made, reserve
from traindeck.core.base.errors import OVER_BUDGET, BudgetRefused, NotFoundError, UsageError
from traindeck.core.privacy import accountant
from traindeck.core.privacy.ledger.filter import NotOpen, OverBudget, cost_of, inexact
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import (
    derive,
    find,
    ledgers,
    pin,
)
from traindeck.core.privacy.mechanism import Mechanism


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return made(tmp_path / "ledger")


class TestSpending:
    def test_a_plan_is_charged_whole_until_the_run_is_settled(self, ledger: Ledger) -> None:
        reserve(ledger, "one", 100)
        assert charged(ledger) == (0, 100)
        ledger.commit("one", 30)
        assert charged(ledger) == (30, 70)
        ledger.commit("one", 40)
        assert charged(ledger) == (40, 60)
        ledger.settle("one", "stopped", 37)
        assert charged(ledger) == (37, 0)
        assert ledger.account().rho_left / RHO == 1024 - 37

    def test_who_does_not_say_how_far_it_came_pays_for_what_it_committed(
        self, ledger: Ledger
    ) -> None:
        reserve(ledger, "crashed", 100)
        ledger.commit("crashed", 64)
        reserve(ledger, "never-started", 100)
        ledger.settle("crashed", "killed")
        ledger.settle("never-started", "failed")
        assert charged(ledger) == (64, 0)

    def test_an_account_says_what_became_of_each_run(self, ledger: Ledger) -> None:
        for run in ("waits", "runs", "ended"):
            reserve(ledger, run, 10)
        ledger.commit("runs", 4)
        ledger.commit("ended", 10)
        ledger.settle("ended", "finished")
        account = ledger.account()
        others = {
            run.id: (run.state, run.reserved, run.committed, run.settled, run.released)
            for run in account.runs
        }
        assert others == {
            "waits": ("reserved", 10, 0, None, 0),
            "runs": ("running", 10, 4, None, 4),
            "ended": ("finished", 10, 10, 10, 10),
        }
        ended = account.runs[2]
        assert (ended.recipe, ended.dataset, ended.rho) == ("torch-mnist-dp", "mnist", RHO)
        assert ended.mechanism == Mechanism(1.25, 0.01, 10)
        assert ended.reserved_at <= (ended.committed_at or 0) <= (ended.settled_at or 0)
        assert (account.unit, account.delta, account.epsilon, account.order) == (
            "example",
            1e-5,
            3.0,
            8.0,
        )

    def test_what_does_not_fit_is_refused_with_what_would(self, ledger: Ledger) -> None:
        reserve(ledger, "one", 1000)
        with pytest.raises(OverBudget, match=r"9.77 % of .* 24 of its 100 steps") as refused:
            reserve(ledger, "two", 100)
        assert refused.value.steps == 24 == ledger.account().fits(RHO)
        assert refused.value.exit_code == OVER_BUDGET
        reserve(ledger, "two", 24)
        with pytest.raises(OverBudget, match="not one of its steps fits"):
            reserve(ledger, "three", 1)
        ledger.settle("one", "failed")
        reserve(ledger, "three", 1000)

    def test_six_runs_of_epsilon_1_fit_into_a_budget_of_3(self, tmp_path: Path) -> None:
        order = accountant.best_order(3.0, 1e-5)
        budget = accountant.rho_budget(3.0, 1e-5, order)
        plan = Mechanism(6.268, 4096 / 60000, 585)
        assert accountant.epsilon([plan], 1e-5) == pytest.approx(1.0, abs=0.01)
        ledger = made(tmp_path, order=order, rho_budget=budget)
        cost = accountant.rho(plan, order)
        admitted = ledger.account().fits(cost) // plan.steps
        for number in range(admitted):
            ledger.reserve(f"run{number}", "torch-mnist-scatter-dp", plan, cost, 1.0, None)
        with pytest.raises(OverBudget):
            ledger.reserve("one-more", "torch-mnist-scatter-dp", plan, cost, 1.0, None)
        assert admitted >= 6

    def test_sums_are_exact(self, tmp_path: Path) -> None:
        """A tenth has no double: the next one is above it, and ten of that are above 1."""
        ledger = made(tmp_path, rho_budget=1.0)
        assert 10 * 0.1 == 1.0
        with pytest.raises(OverBudget) as refused:
            reserve(ledger, "ten", 10, rho=0.1)
        assert refused.value.steps == 9
        for number in range(9):
            reserve(ledger, f"one-{number}", 1, rho=0.1)
        with pytest.raises(OverBudget):
            reserve(ledger, "tenth", 1, rho=0.1)
        reserve(ledger, "least", 1, rho=math.ulp(0.0))

    def test_part_of_a_shuffled_pass_costs_all_of_it(self, ledger: Ledger) -> None:
        """A pass is 100 steps; its releases are two, so a step's share is a hundredth."""
        reserve(ledger, "shuffled", 200, sampler="shuffle")
        for steps, cost in ((0, 0), (1, 100), (100, 100), (101, 200)):
            ledger.commit("shuffled", steps)
            assert charged(ledger) == (cost, 200 - cost)
        ledger.settle("shuffled", "stopped", 1)
        assert charged(ledger) == (100, 0)
        with pytest.raises(OverBudget, match="900 of its 1,000 steps"):
            reserve(ledger, "more", 1000, sampler="shuffle")

    def test_a_run_resumed_within_a_pass_pays_for_every_pass_that_it_touches(self) -> None:
        """15 steps of passes of 10: after the fifth, both passes are gone through again in part."""
        plan = Mechanism(6.0, 0.1, 15, "shuffle")
        assert plan.releases == 2 and plan.with_steps(5).releases == 1
        rest = plan.rest(5)
        assert (rest.steps, rest.releases) == (10, 2)
        assert plan.rest(10).releases == 1 and Mechanism(1.0, 0.3, 4, "shuffle", 10).releases == 2
        assert Mechanism.from_json(rest.to_json()) == rest and "after" not in plan.to_json()
        cost = inexact(cost_of(rest, accountant.rho(rest, 8.0), 10))
        assert cost == pytest.approx(2 * 8.0 / (2 * 6.0**2))

    def test_a_run_stops_before_the_step_that_it_has_not_reserved(self, ledger: Ledger) -> None:
        reserve(ledger, "one", 100)
        ledger.commit("one", 98)
        with pytest.raises(OverBudget) as refused:
            ledger.commit("one", 101)
        assert refused.value.steps == 2
        ledger.commit("one", 100)
        with pytest.raises(ValueError, match="cannot follow"):
            ledger.commit("one", 99)
        with pytest.raises(ValueError, match="reserved 100 steps, not 101"):
            ledger.settle("one", "finished", 101)
        assert charged(ledger) == (100, 0)

    def test_a_run_that_others_took_for_dead_may_spend_no_more(self, ledger: Ledger) -> None:
        reserve(ledger, "frozen", 100)
        ledger.commit("frozen", 10)
        ledger.settle("frozen", "lost")
        with pytest.raises(NotOpen, match="was settled"):
            ledger.commit("frozen", 20)
        with pytest.raises(NotOpen, match="no reservation"):
            ledger.commit("unknown", 1)
        with pytest.raises(NotOpen, match="already"):
            reserve(ledger, "frozen", 10)

    def test_a_run_goes_by_the_plan_that_it_reserved(self, ledger: Ledger) -> None:
        """Its plan's file may have been edited between its launch and its start."""
        reserve(ledger, "edited", 100)
        ledger.commit("edited", 1, Mechanism(1.25, 0.01, 100))
        for edited in (Mechanism(0.25, 0.01, 100), Mechanism(1.25, 0.5, 100)):
            with pytest.raises(NotOpen, match="goes by"):
                ledger.commit("edited", 2, edited)
        assert ledger.account().runs[0].committed == 1

    def test_the_first_to_settle_is_right(self, ledger: Ledger) -> None:
        reserve(ledger, "one", 100)
        ledger.commit("one", 50)
        ledger.settle("one", "finished", 45)
        before = ledger.path.read_bytes()
        ledger.settle("one", "lost")
        ledger.settle("unknown", "lost")
        assert ledger.path.read_bytes() == before
        assert ledger.account().runs[0].state == "finished"

    def test_saying_the_same_twice_costs_nothing(self, ledger: Ledger) -> None:
        reserve(ledger, "one", 100)
        ledger.commit("one", 50)
        ledger.expose("plain", "torch-mnist", "no privacy")
        before = ledger.path.read_bytes()
        ledger.commit("one", 50)
        ledger.expose("plain", "torch-mnist", "no privacy")
        assert ledger.path.read_bytes() == before

    def test_a_run_without_privacy_is_remembered_for_good(self, ledger: Ledger) -> None:
        ledger.expose("plain", "torch-mnist", "no privacy")
        ledger.commit("plain", 10)  # epsilon is infinite already: nothing more to count
        account = ledger.account()
        assert account.exposed
        assert [(one.run, one.reason) for one in account.exposures] == [("plain", "no privacy")]
        assert (account.rho_spent, account.rho_reserved) == (0, 0)
        reserve(ledger, "one", 1024)

    def test_a_run_that_claims_too_little_is_quarantined(self, ledger: Ledger) -> None:
        reserve(ledger, "one", 10)
        ledger.settle("one", "finished", 10)
        ledger.quarantine("one", "measured 4.2, claimed 2.93")
        [run] = ledger.account().runs
        assert run.quarantined == "measured 4.2, claimed 2.93"
        assert charged(ledger) == (10, 0)
        with pytest.raises(NotOpen):
            ledger.quarantine("unknown", "?")

    def test_a_budget_may_be_lowered_below_what_is_spent(self, ledger: Ledger) -> None:
        reserve(ledger, "one", 100)
        ledger.set_budget(2.0, 50 * RHO)
        account = ledger.account()
        assert (account.epsilon, account.rho_left / RHO, account.fits(RHO)) == (2.0, -50, 0)
        with pytest.raises(OverBudget, match=r" 0 of 0\.04883 is left"):
            reserve(ledger, "two", 1)
        ledger.commit("one", 50)
        with pytest.raises(OverBudget, match="was lowered since run one was launched"):
            ledger.commit("one", 51)
        ledger.set_budget(2.5, 60 * RHO)
        ledger.commit("one", 60)
        ledger.set_budget(0.0, 0.0)
        with pytest.raises(OverBudget, match="is frozen, it admits nothing more"):
            reserve(ledger, "two", 1)
        assert not ledger.verify() and charged(ledger) == (60, 40)

    def test_who_decided_and_why_is_kept(self, ledger: Ledger) -> None:
        ledger.set_budget(2.0, 50 * RHO, why="less is enough")
        derive(ledger, "small", "subset", why="a first look")
        ledger.expose("one", "torch-mnist", "no privacy")
        made, lowered, derived, exposed = ledger.history()
        assert (lowered["was"], lowered["why"], derived["why"]) == (
            3.0,
            "less is enough",
            "a first look",
        )
        assert "why" not in exposed
        assert all("@" in each["by"] for each in (made, lowered, derived, exposed))
        assert "torch-mnist: no privacy" in ledger.account().exposed_by

    def test_only_a_budget_without_any_run_is_taken_away(self, ledger: Ledger) -> None:
        pin(ledger, DATA)
        kept = ledger.remove()
        assert not ledger.exists and (kept / "mnist.jsonl").exists()
        again = made(ledger.folder)
        again.expose("one", "torch-mnist", "no privacy")
        with pytest.raises(BudgetRefused, match="so it stays"):
            again.remove()
        assert not again.verify() and ledgers(ledger.folder)[0].name == "mnist"

    def test_a_resumed_run_reserves_what_is_left_and_goes_by_its_plan(self, ledger: Ledger) -> None:
        reserve(ledger, "resumed", 40)
        plan = Mechanism(1.25, 0.01, 100)
        ledger.commit("resumed", 40, plan)
        with pytest.raises(OverBudget):
            ledger.commit("resumed", 41, plan)
        with pytest.raises(NotOpen, match="goes by"):
            ledger.commit("resumed", 40, Mechanism(1.0, 0.01, 40))


class TestCreating:
    def test_it_is_private_to_its_user(self, ledger: Ledger) -> None:
        assert stat.S_IMODE(ledger.folder.stat().st_mode) == 0o700
        for file in ledger.folder.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_there_is_one_for_each_data_set(self, ledger: Ledger) -> None:
        with pytest.raises(BudgetRefused, match="already"):
            made(ledger.folder, "MNIST")
        digits = made(ledger.folder, "digits")
        assert [one.name for one in ledgers(ledger.folder)] == ["digits", "mnist"]
        assert digits.exists
        assert not Ledger(ledger.folder, "cancer").exists
        with pytest.raises(NotFoundError, match="budget create cancer"):
            Ledger(ledger.folder, "cancer").account()
        assert ledgers(ledger.folder / "nowhere") == []

    @pytest.mark.parametrize("name", ["", "../mnist", ".mnist", "a/b", "a b", "é", "x" * 101])
    def test_names_are_files_names(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UsageError):
            made(tmp_path, name)
        assert find(tmp_path, name) is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("epsilon", 0.0),
            ("epsilon", math.inf),
            ("epsilon", math.nan),
            ("delta", 0.0),
            ("delta", 1.0),
            ("order", 1.0),
            ("rho_budget", 0.0),
            ("unit", "person"),
            ("relation", "replace-one"),
            ("fingerprint", "sha256"),
        ],
    )
    def test_what_is_no_budget_is_refused(self, tmp_path: Path, field: str, value: object) -> None:
        with pytest.raises(ValueError, match=field):
            made(tmp_path, **{field: value})
        assert ledgers(tmp_path) == []

    @pytest.mark.parametrize("relation", [None, "add-or-remove-one"])
    def test_owners_are_a_public_list_whatever_their_budget_was_made_with(
        self, tmp_path: Path, relation: str | None
    ) -> None:
        account = made(tmp_path, unit="owner", relation=relation).account()
        assert account.relation == "zero-out over public owners"
        assert made(tmp_path, "digits").account().relation == "add-or-remove-one"

    def test_the_divergence_is_covered_by_epsilon(self, ledger: Ledger) -> None:
        most = accountant.rho_budget(3.0, 1e-5, 8.0)
        made(ledger.folder, "digits", rho_budget=most)
        with pytest.raises(ValueError, match="not covered"):
            made(ledger.folder, "cancer", rho_budget=1.001 * most)
        with pytest.raises(ValueError, match="not covered"):
            ledger.set_budget(2.0, most)
        ledger.set_budget(4.0, most)

    @pytest.mark.parametrize(
        "given",
        [
            {"run": "../one"},
            {"mechanism": Mechanism(0.0, 0.01, 10)},
            {"rho": 0.0},
            {"rho": math.inf},
            {"rho": -1.0},
            {"epsilon": math.inf},
            {"who": {"pid": 7}},
            {"who": {**ME, "more": 1}},
        ],
    )
    def test_what_cannot_be_charged_is_not_reserved(
        self, ledger: Ledger, given: dict[str, Any]
    ) -> None:
        plan: dict[str, Any] = {"mechanism": Mechanism(1.0, 0.01, 10), "rho": RHO, "epsilon": 1.0}
        with pytest.raises(ValueError):
            ledger.reserve(**{"run": "one", "recipe": "x", "who": None, **plan, **given})
        assert ledger.account().runs == ()
        assert ledger.verify() == []
