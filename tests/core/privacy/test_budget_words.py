"""What people are told of a budget before they make it, change it, or spend from it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.conftest import until, wait_for_state
from tests.core.privacy.private_recipes import RECIPE, shown
from tests.tui.private_runs import make_ledger
from traindeck.core.base.errors import BudgetRefused, UsageError
from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.query import parse
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.privacy import accountant, budget
from traindeck.core.privacy.budget_state import describe
from traindeck.core.privacy.gate import admit, refusal
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.origin import resumed
from traindeck.core.privacy.plan import Plan, make
from traindeck.core.recipe.find import find_recipe
from traindeck.core.run.folder import RunFolder
from traindeck.tui.commands import budget as commands

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess[str]]
DP = {"batch_size": 1024, "epochs": 30.0}
TYPED = ("-p", "batch_size=1024", "-p", "epochs=30")


def made(home: Home, name: str = "mnist", epsilon: float = 3.0, delta: float = 1e-5) -> Ledger:
    return budget.create(home, name, epsilon, delta, "example", None)


def plan(home: Home, name: str, **params: Any) -> Plan:
    recipe = find_recipe(home, name)
    plan = make(recipe, recipe.validate(params))
    assert plan is not None
    return plan


@pytest.mark.parametrize("name", ["torch-mnist-scatter-dp", "tf-mnist-scatter-dp"])
def test_a_run_for_whole_users_spends_a_budget_of_users_alone(home: Home, name: str) -> None:
    of_users = plan(home, name, unit="user", epsilon=1.0)
    assert (of_users.unit, of_users.records, of_users.batch_size) == ("user", 3000, 600)
    ledger = budget.create(home, "mnist", 4.0, 1e-5, "user", None)
    admit(ledger, "users", name, of_users)
    with pytest.raises(BudgetRefused, match="for the privacy of one user, this run's is of one ex"):
        admit(ledger, "images", name, plan(home, name, epsilon=1.0))


@pytest.mark.parametrize(
    "given, why",
    [
        ({"unit": "patient"}, "a unit is example, user or owner"),
        ({"fingerprint": "zzz"}, "64 hexadecimal digits"),
        ({"epsilon": -1.0}, "must be above 0"),
        ({"delta": 1.0}, "not between 0 and 1"),
    ],
)
def test_what_makes_no_budget_is_refused(home: Home, given: dict[str, Any], why: str) -> None:
    fields = {"epsilon": 4.0, "delta": 1e-3, "unit": "example", "fingerprint": None, **given}
    with pytest.raises(UsageError, match=why):
        budget.create(home, "cancer", **fields)
    assert not Ledger(home.ledger, "cancer").exists


def test_a_budget_that_no_recipe_could_spend_is_refused_and_an_odd_one_is_warned_of(
    home: Home,
) -> None:
    with pytest.raises(UsageError, match=r"not below 1/569.* below 0.00175, 1e-05 is usual"):
        budget.concerns(home, "cancer", 4.0, 0.01)
    assert budget.concerns(home, "cancer", 4.0, 1e-3) == []
    with pytest.raises(UsageError, match=r"not below 1/60000"):  # though users are far fewer
        budget.concerns(home, "mnist", 4.0, 1e-4)
    assert budget.concerns(home, "mnist", 4.0, 1e-4, "user") == []
    [typo] = budget.concerns(home, "mnits", 4.0, 1e-5)
    assert "no recipe here trains on a data set called mnits (did you mean mnist?" in typo
    doubts = " ".join(budget.concerns(home, "mine", 1e9, 0.01))
    assert "delta 0.01 is large" in doubts and "epsilon 1e+09 is large" in doubts


@pytest.mark.parametrize(
    "words",
    [("x", "--epsilon=-1"), ("x", "--delta=2"), ("x", "--unit=owners"), ("a b/c",)],
    ids=lambda words: words[-1],
)
def test_what_makes_no_budget_is_told_before_anything_else(
    home: Home, words: tuple[str, ...]
) -> None:
    deck = typer.Typer()
    commands.register(deck)
    given = ["budget", "create", words[0], "--epsilon=3", "--delta=1e-5", *words[1:]]
    done = CliRunner().invoke(deck, given)
    assert isinstance(done.exception, UsageError) and done.output == ""


def test_a_used_budget_is_not_asked_about(home: Home) -> None:
    make_ledger(home).expose("run-1", "toy", "no privacy")
    deck = typer.Typer()
    commands.register(deck)
    done = CliRunner().invoke(deck, ["budget", "rm", "mnist"])
    assert isinstance(done.exception, BudgetRefused) and done.output == ""


def test_a_typo_can_be_taken_back(traindeck: Command, home: Home) -> None:
    done = traindeck("budget", "create", "mnits", "--epsilon", "3", "--delta", "1e-5")
    assert "did you mean mnist?" in done.stderr and "admits one run of about" in done.stdout
    again = traindeck("budget", "create", "mnits", "--epsilon", "3", "--delta", "1e-5", code=5)
    assert "traindeck budget set mnits --epsilon E" in again.stderr
    traindeck("budget", "rm", "mnits", "--yes")
    traindeck("budget", "show", "mnits", code=3)
    assert "which data set" in traindeck("budget", "show", "", code=2).stderr
    unit = ("--unit", "patient")
    refused = traindeck("budget", "create", "cancer", "--epsilon=4", "--delta=1e-3", *unit, code=2)
    assert refused.stderr.splitlines()[-1].startswith("error: unit: 'patient'")


@pytest.mark.slow
class TestWhatDoesNotFit:
    def test_it_is_told_in_shares_steps_and_epsilon(self, home: Home) -> None:
        ledger, dp = made(home), plan(home, "torch-mnist-dp", **DP)
        error = refusal("torch-mnist-dp", dp, ledger.account())
        assert error is not None and error.steps == 1542
        for part in (
            "torch-mnist-dp would take 114 % of the budget of mnist, and 100 % of it is left",
            "1,542 of its 1,757 steps fit at the same noise (26.3 epochs)",
            "`traindeck budget set mnist --epsilon 3.24`), and so would a run of epsilon 2.73",
            "[Rényi divergence of order 7.5: it costs 1.916, 1.682 of 1.682 is left]",
            "An epsilon of 2.93 may not fit into 3: the filter lets each run be chosen after",
            "one of few steps, much more",
        ):
            assert part in str(error)
        budget.change(ledger, 3.24)
        assert refusal("torch-mnist-dp", dp, ledger.account()) is None
        budget.change(ledger, 3.0)
        smaller = plan(home, "torch-mnist-dp", **DP, epsilon=2.73)
        assert refusal("torch-mnist-dp", smaller, ledger.account()) is None
        with pytest.raises(BudgetRefused, match="would admit it"):
            admit(ledger, "one", "torch-mnist-dp", dp)

    def test_readmes_example_fits_as_it_is_typed(self, home: Home) -> None:
        """`make` refuses what is no plan; both together must leave something."""
        chapter = (Path(__file__).parents[3] / "core/privacy/README.md").read_text()
        assert "budget create mnist --epsilon 4 --delta 1e-5" in chapter
        ledger = made(home, epsilon=4.0)
        assert "run torch-mnist-scatter-dp -p epsilon=1\n" in chapter
        admit(ledger, "one", "scatter", plan(home, "torch-mnist-scatter-dp", epsilon=1.0))
        assert "run torch-mnist-dp -p audit=true" in chapter
        admit(ledger, "two", "dp", plan(home, "torch-mnist-dp", audit=True))
        assert ledger.account().rho_left > 0

    def test_a_forecast_says_so_and_exits_with_5(self, traindeck: Command, home: Home) -> None:
        made(home)
        text = traindeck("budget", "forecast", "torch-mnist-dp", *TYPED, code=5).stdout
        assert "it does not fit: torch-mnist-dp would take 114 %" in text
        tiny = ("-p", "noise_multiplier=1000", "-p", "epsilon=2.93", "-p", "epochs=1")
        text = traindeck("budget", "forecast", "torch-mnist-dp", *tiny).stdout
        assert "more than a million such runs fit" in text and "% of it, 100 % is left" in text
        words = ("torch-mnist-dp", *TYPED, "-p", "epsilon=1", "--runs", "9")
        text = traindeck("budget", "forecast", *words, code=5).stdout
        assert "they do not fit: 9 such runs take 1" in text and "instead a random number" in text


class TestChanging:
    def test_what_cannot_be_meant(self, home: Home) -> None:
        ledger = made(home)
        with pytest.raises(UsageError, match="must be above 0 and finite; 0 freezes"):
            budget.change(ledger, -2.0)
        with pytest.raises(UsageError, match=r"order 7.5\): the least is 1.3"):
            budget.change(ledger, 1.0)
        assert len(ledger.history()) == 1

    def test_it_is_not_lowered_below_what_is_taken_by_mistake(
        self, traindeck: Command, home: Home
    ) -> None:
        ledger = made(home, epsilon=4.0)
        me = Identity.of(os.getpid())
        admit(ledger, "one", "dp", plan(home, "torch-mnist-dp"), who=me)
        with pytest.raises(BudgetRefused, match=r"below the 3.2\d* that is spent and reserved"):
            budget.change(ledger, 3.0)
        budget.change(ledger, 3.0, "as a test", below=True)
        assert ledger.account().rho_left < 0
        assert ledger.history()[-1]["was"] == 4.0

    @pytest.mark.slow
    def test_running_runs_end_when_it_is_frozen(self, traindeck: Command, home: Home) -> None:
        (home.recipes / "private.py").write_text(RECIPE)
        ledger = made(home, "toy")
        params = {"seconds": 0.2}
        doc = launch(home, LaunchRequest(recipe=find_recipe(home, "private"), params=params))
        until(lambda: ledger.account().runs[0].committed, "a step")
        traindeck("budget", "set", "toy", "--epsilon", "0", code=5)
        why = ("--yes", "--reason", "a pause")
        assert "frozen" in traindeck("budget", "set", "toy", "--epsilon", "0", *why).stdout
        ended = wait_for_state(RunFolder(Path(doc["path"])))
        assert ended["state"] == "over_budget" and "was lowered since" in ended["reason"]
        assert "frozen" in traindeck("run", "private", code=5).stderr
        assert "frozen" in traindeck("budget", "ls").stdout
        assert "frozen" in traindeck("budget", "show", "toy").stdout
        history = traindeck("budget", "history", "toy").stdout
        assert "was epsilon 3" in history and "because: a pause" in history and "by " in history
        traindeck("budget", "set", "toy", "--epsilon", "3")


def test_the_naive_sum_adds_up_epsilons_and_deltas(home: Home) -> None:
    ledger = made(home, "toy")
    (home.recipes / "private.py").write_text(RECIPE)
    one = plan(home, "private")
    for run in ("a", "b", "c"):
        admit(ledger, run, "private", one)
        ledger.commit(run, 100, one.mechanism)
        ledger.settle(run, "finished")
    state = describe(home, ledger)
    assert state.composed.epsilon_naive == pytest.approx(3 * one.epsilon)
    assert state.composed.delta_naive == pytest.approx(3e-5)
    assert {run.delta for run in state.account.runs} == {1e-5}
    spent = state.account.rho_spent
    assert state.account.runs[0].divergence == pytest.approx(spent / 3)


@pytest.mark.slow
def test_where_deltas_differ_it_is_said(traindeck: Command, home: Home) -> None:
    (home.recipes / "private.py").write_text(RECIPE)
    ledger = made(home, "toy", delta=2e-5)
    admit(ledger, "a", "private", plan(home, "private"))
    assert "at delta 1e-05" in traindeck("budget", "show", "toy").stdout.splitlines()[-1]
    text = traindeck("budget", "forecast", "private").stdout
    assert "at delta 2e-05 (not 1e-05: the two do not compare)" in text
    traindeck("budget", "derive", "toy", "toy-small", "--kind", "some", code=2)
    traindeck("budget", "derive", "toy", "toy-small")
    assert "toy-small  of toy" in traindeck("budget", "ls").stdout
    assert shown(traindeck)["runs"][0]["rho_charged"] == 0.0  # nobody stands for it: lost


def test_the_steps_of_a_checkpoint_are_in_its_name(tmp_path: Path) -> None:
    artifacts = tmp_path / "run" / "artifacts"
    artifacts.mkdir(parents=True)
    for name in ("checkpoint-00000010.pt", "checkpoint-00000200.pt", "part-1-checkpoint-9.pt"):
        (artifacts / name).touch()
    older, newer = (artifacts / f"checkpoint-{step:08d}.pt" for step in (10, 200))
    assert resumed({"resume": str(tmp_path / "run")}) == (newer, 200)
    assert resumed({"resume": "run"}, str(tmp_path)) == (newer, 200)
    assert resumed({"resume": str(older)}) == (older, 10)
    assert resumed({"resume": None}) == resumed({}) == (None, 0)


def test_queries_find_private_series_by_their_whole_name_only() -> None:
    doc = {"metrics": {"private/loss": {"last": 1.0}}, "headline": "private/loss"}
    assert not parse("loss=1").matches(doc) and parse("private/loss=1").matches(doc)


@pytest.mark.slow
def test_the_largest_epsilon_fits_and_a_little_more_does_not(home: Home) -> None:
    dp = plan(home, "torch-mnist-dp", **DP).mechanism
    largest = accountant.largest_epsilon(dp, 1e-5, 0.5, 7.5)
    assert largest is not None
    for epsilon, fits in ((largest, True), (1.02 * largest, False)):
        noise = accountant.noise_multiplier(epsilon, 1e-5, dp.sampling_rate, dp.steps)
        mechanism = type(dp)(noise, dp.sampling_rate, dp.steps)
        assert (accountant.rho(mechanism, 7.5) * dp.steps <= 0.5) is fits
    assert accountant.largest_epsilon(dp, 1e-5, 0.0, 7.5) is None


def test_json_of_a_forecast_has_all_of_it(traindeck: Command, home: Home) -> None:
    made(home)
    words = ("budget", "forecast", "torch-mnist-dp", *TYPED, "--json")
    left = json.loads(traindeck(*words, code=5).stdout)["budget"]
    assert not left["fits"] and "114 %" in left["refused"] and left["exposed"] == ""
