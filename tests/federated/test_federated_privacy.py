"""Each owner of a private run accounts for itself; a budget of its own binds it, and it alone."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import traindeck.recipes
from tests.conftest import until
from tests.federated import federated_tools as tools
from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.home import Home
from traindeck.core.privacy import budget, gate
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import derive
from traindeck.core.privacy.plan import Plan, make
from traindeck.core.recipe.read import read_recipe
from traindeck.recipes.shared.federated.errors import Failed, FederationOverBudget, Refused
from traindeck.recipes.shared.federated.job import sandbox
from traindeck.recipes.shared.federated.owner import payer, policy
from traindeck.recipes.shared.federated.scientist.federation import Federation

FEDAVG = Path(traindeck.recipes.__file__).parent / "syft" / "fedavg.py"
LOCAL_STEPS = 50  # more than the blocks that the first rounds are committed in
ROUNDS = 4
DATA, OTHER = "a" * 64, "b" * 64

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Of ROUNDS rounds of DP-SGD at each owner of the digits."""
    recipe = read_recipe(FEDAVG)
    assert recipe is not None
    given = {"dp": "local", "noise_multiplier": 4.0, "rounds": ROUNDS, "local_steps": LOCAL_STEPS}
    made = make(recipe, recipe.validate(given))
    assert made is not None
    return replace(made, dataset="digits")


def budgeted(home: Home, name: str, epsilon: float = 4.0, unit: str = "example") -> Ledger:
    return budget.create(home, name, epsilon, 1e-5, unit, None)


def no_space(file: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def steps(ledger: Ledger) -> dict[str, tuple[int, int | None, str]]:
    """Of each run: committed, settled, state."""
    return {run.id: (run.committed, run.settled, run.state) for run in ledger.account().runs}


@dataclass
class Course:
    """Of a federation: what each owner told after each round, its ledgers, and how it failed."""

    home: Home
    root: Path
    run: str = ""
    statuses: dict[int, dict[str, dict[str, Any]]] = field(default_factory=dict)
    lost: dict[int, list[str]] = field(default_factory=dict)
    named: dict[int, str] = field(default_factory=dict)
    failure: Failed | None = None
    reach: dict[str, float] = field(default_factory=dict)

    def ledger(self, owner: str) -> Ledger:
        return Ledger(self.home.ledger, f"digits.{owner}")

    def steps(self, number: int) -> dict[str, int]:
        """By the owners' own account, after a round."""
        return {name: status["privacy"]["steps"] for name, status in self.statuses[number].items()}


@pytest.mark.framework
class TestRounds:
    """Five owners of whom three must answer; the first, second and fourth have budgets.

    Round 2: the fourth is killed while it trains. Round 3: the second's budget has been lowered;
    round 4: the first's too, and too few are left.
    """

    @pytest.fixture(scope="class")
    def course(self, tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Iterator[Course]:
        folder = tmp_path_factory.mktemp("private")
        home = Home(folder / "home")
        home.make()
        course = Course(home, folder / "run" / "federation")
        for name in ("owner-1", "owner-2", "owner-4"):
            budgeted(home, f"digits.{name}")
        tricks = {
            "owner-1": {"1": {"reach": str(course.ledger("owner-1").path)}},
            "owner-4": {"2": {"sleep": 60}},
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRAINDECK_HOME", str(home.root))
            try:
                with tools.federation(
                    folder / "run",
                    tools.shards(20, 30, 10, 25, 15),
                    tricks=tricks,
                    rounds=ROUNDS,
                    plan=plan,
                    local_steps=LOCAL_STEPS,
                ) as federation:
                    course.run = federation._dialogue.run.id
                    self.live(course, federation)
            except Failed as error:
                course.failure = error
            yield course

    def live(self, course: Course, federation: Federation) -> None:
        for number in range(1, ROUNDS + 1):
            if number == 2:
                kill_in_training(course.root, "owner-4")
            if number > 2:
                lowered = course.ledger("owner-2" if number == 3 else "owner-1")
                lowered.set_budget(0.0, 0.0)
            course.lost[number] = federation.round(number, tools.first()).lost
            course.named[number] = federation.named(course.lost[number])
            course.statuses[number] = {
                name: tools.status(course.root, name) for name in federation.owners
            }
            if number == 1:
                course.reach = course.statuses[1]["owner-1"]["facts"]
            if number == 3:  # who refused settles once its job has gone, if it is given the time
                until(lambda: "running" not in str(steps(course.ledger("owner-2"))))

    def test_every_owner_says_what_its_part_has_cost(self, course: Course, plan: Plan) -> None:
        for name, status in course.statuses[1].items():
            assert status["privacy"] == {
                "unit": "example",
                "epsilon": plan.epsilon_at(LOCAL_STEPS),
                "delta": 1e-5,
                "steps": LOCAL_STEPS,
                "epsilon_planned": plan.epsilon,
                "steps_planned": ROUNDS * LOCAL_STEPS,
                "ledger": f"digits.{name}" if name in ("owner-1", "owner-2", "owner-4") else "",
            }

    def test_who_is_lost_spends_no_more(self, course: Course) -> None:
        assert course.lost[2] == ["owner-4"]
        others = dict.fromkeys(("owner-1", "owner-2", "owner-3", "owner-5"), 2 * LOCAL_STEPS)
        assert course.steps(2) == {**others, "owner-4": LOCAL_STEPS}

    def test_who_is_killed_gets_the_rest_back(self, course: Course) -> None:
        ledger, run = course.ledger("owner-4"), f"{course.run}.owner-4"
        assert steps(ledger) == {run: (LOCAL_STEPS, None, "running")}
        gate.tend(ledger)
        assert steps(ledger) == {run: (LOCAL_STEPS, LOCAL_STEPS, "lost")}

    def test_a_lowered_budget_refuses_the_round_and_the_others_go_on(self, course: Course) -> None:
        assert course.lost[3] == ["owner-2", "owner-4"]
        assert course.steps(3)["owner-2"] == 2 * LOCAL_STEPS
        assert course.steps(3)["owner-3"] == 3 * LOCAL_STEPS
        said = {one["name"]: one for one in tools.shown(course.root)["owners"]}["owner-2"]
        assert said["state"] == "refused"
        assert "the budget of digits.owner-2 was lowered" in said["reason"]
        run = f"{course.run}.owner-2"
        assert steps(course.ledger("owner-2")) == {
            run: (2 * LOCAL_STEPS, 2 * LOCAL_STEPS, "over_budget")
        }

    def test_who_is_left_out_is_named_with_the_reason_once(self, course: Course) -> None:
        assert course.named[1] == ""
        assert course.named[2] == "owner-4 (its process was ended by signal 9)"
        second, fourth = course.named[3].split("), ")
        assert second.startswith("owner-2 (") and "digits.owner-2 was lowered" in second
        assert fourth == "owner-4"

    def test_where_too_few_can_pay_the_run_is_over_budget(self, course: Course) -> None:
        assert isinstance(course.failure, FederationOverBudget)
        assert "the budget of digits.owner-1 was lowered" in str(course.failure)

    @pytest.mark.skipif(not sandbox.version(), reason="this kernel has no Landlock")
    def test_a_script_reaches_no_ledger(self, course: Course) -> None:
        # where its files are all there is, no ledger is there
        assert {course.reach["read"], course.reach["write"]} <= {errno.EACCES, errno.ENOENT}


def kill_in_training(root: Path, name: str) -> None:
    """Kill an owner as soon as it trains in the round that begins next."""
    import threading

    def kill() -> None:
        until(
            lambda: (
                (status := tools.status(root, name))["state"] == "training" and status["round"] == 2
            ),
            "the round",
        )
        os.kill(tools.status(root, name)["pid"], signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


@pytest.mark.framework
def test_an_owner_whose_budget_is_too_small_refuses(
    home: Home, traindeck: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    small = budgeted(home, "digits-owners.owner-2", 0.5, unit="owner")
    large = budgeted(home, "digits-owners.owner-3", 9.0, unit="owner")
    given = ("dp=central", "dataset=digits", "owners=3", "rounds=2", "epsilon=2")
    words = [word for each in given for word in ("-p", each)]
    done = traindeck("run", "syft-fedavg", *words, "--wait", code=5)
    assert "owner-2 has refused the job: fedavg_torch.py would take" in done.stdout
    doc = json.loads(traindeck("show", "@last", "--json").stdout)
    assert doc["state"] == "over_budget"
    owners = {owner["name"]: owner for owner in doc["federation"]["owners"]}
    assert owners["owner-2"]["state"] == "refused"
    assert "of the budget of digits-owners.owner-2" in owners["owner-2"]["reason"]
    for owner in owners.values():
        assert owner["bytes_out"]["masked"] == owner["privacy"]["epsilon"] == 0
        assert owner["privacy"]["unit"] == "owner"
    assert steps(small) == {}
    until(lambda: all(settled == 0 for _, settled, _ in steps(large).values()), "the settlement")


class TestBudgets:
    """Which budget binds an owner."""

    @pytest.fixture
    def rules(self, home: Home, plan: Plan, tmp_path: Path) -> policy.Policy:
        return policy.Policy(
            name="owner-2",
            root=tmp_path,
            session="a session",
            pins={},
            scientist="",
            agreed=tools.JOB,
            agreed_params="",
            dataset="digits",
            shard=tmp_path,
            mock=tmp_path,
            summary="",
            ledgers=home.ledger,
            run="a-run.owner-2",
            plan=plan,
            local_steps=LOCAL_STEPS,
        )

    def test_its_own_and_no_other_data_than_the_first(
        self, home: Home, rules: policy.Policy
    ) -> None:
        own = budgeted(home, "digits.owner-2")
        first = payer.Payer(rules)
        first.admit(DATA, "a.py")
        spent = first.spent()
        assert spent is not None and spent.ledger == "digits.owner-2"
        first.pay()
        first.settle("finished")
        assert steps(own)["a-run.owner-2"] == (LOCAL_STEPS, LOCAL_STEPS, "finished")
        with pytest.raises(BudgetRefused, match="is that of other data than this"):
            payer.Payer(replace(rules, run="another.owner-2")).admit(OTHER, "a.py")

    @pytest.mark.parametrize("name", ["mnist.owner-2", "Mnist-owners.owner-16"])
    def test_is_of_a_data_set_that_is_known(self, home: Home, name: str) -> None:
        assert budget.concerns(home, name, 4.0, 1e-5) == []
        assert "no recipe here" in budget.concerns(home, "mnist2.owner-2", 4.0, 1e-5)[0]

    def test_of_another_unit_is_refused(self, home: Home, rules: policy.Policy) -> None:
        budgeted(home, "digits.owner-2", unit="owner")
        with pytest.raises(BudgetRefused, match="the two cannot be added"):
            payer.Payer(rules).admit(DATA, "a.py")

    @pytest.mark.parametrize(
        ("budget_of", "unit", "run_for", "why"),
        [
            ("digits-owners.owner-2", "owner", "", "would train on it with no privacy"),
            ("digits-owners.owner-2", "owner", "example", "the two cannot be added"),
            ("digits.owner-2", "example", "owner", "the two cannot be added"),
            ("digits-owners.owner-2", "example", "example", "derive digits-owners.owner-2"),
        ],
    )
    def test_by_another_name_of_its_data_binds_before_it_knows_the_contents(
        self,
        home: Home,
        rules: policy.Policy,
        plan: Plan,
        budget_of: str,
        unit: str,
        run_for: str,
        why: str,
    ) -> None:
        budgeted(home, budget_of, unit=unit)
        dataset = "digits-owners" if run_for == "owner" else "digits"
        asked = replace(plan, dataset=dataset, unit=run_for) if run_for else None
        with pytest.raises(BudgetRefused, match=why):
            payer.Payer(replace(rules, plan=asked)).admit(DATA, "a.py")

    def test_what_was_charged_at_the_launch_is_not_charged_again(
        self, home: Home, rules: policy.Policy
    ) -> None:
        whole = budgeted(home, "digits")
        derive(whole, "digits.owner-2", "subset", DATA)
        own = payer.Payer(rules)
        own.admit(DATA, "a.py")
        own.pay()
        spent = own.spent()
        assert spent is not None and (spent.ledger, spent.steps) == ("", LOCAL_STEPS)
        assert steps(whole) == {}

    def test_one_that_it_was_derived_of_elsewhere_is_charged(
        self, home: Home, rules: policy.Policy
    ) -> None:
        budgeted(home, "digits")
        clinic = budgeted(home, "clinic")
        derive(clinic, "digits.owner-2", "subset")
        own = payer.Payer(rules)
        own.admit(DATA, "a.py")
        assert list(steps(clinic)) == ["a-run.owner-2"]

    @pytest.mark.parametrize("known", [True, False])
    def test_what_a_resumed_model_holds_counts_and_is_paid_once(
        self, home: Home, rules: policy.Policy, known: bool
    ) -> None:
        own = budgeted(home, "digits.owner-2")
        first = payer.Payer(replace(rules, run="first.owner-2"))
        first.admit(DATA, "a.py")
        for _ in range(ROUNDS - 1):
            first.pay()
        first.settle("finished")
        earlier = (("first.owner-2" if known else "other.owner-2", 200 - LOCAL_STEPS),)
        resumed = payer.Payer(replace(rules, done=ROUNDS - 1, charged=earlier))
        resumed.admit(DATA, "a.py")
        resumed.pay()
        with pytest.raises(Refused, match="all 200 steps of the plan are spent"):
            resumed.pay()
        spent = resumed.spent()
        assert spent is not None and spent.steps == spent.steps_planned == 200
        assert steps(own)["a-run.owner-2"][0] == (LOCAL_STEPS if known else 200)

    @pytest.mark.parametrize("private", [True, False])
    def test_without_privacy_an_owner_with_a_budget_takes_no_part(
        self, home: Home, rules: policy.Policy, plan: Plan, private: bool
    ) -> None:
        twin = replace(plan, epsilon=float("inf"), mechanism=replace(plan.mechanism, steps=1))
        open_ = payer.Payer(replace(rules, plan=twin if private else None))
        open_.admit(DATA, "a.py")
        budgeted(home, "digits.owner-2")
        with pytest.raises(BudgetRefused, match=r"digits.owner-2 has a privacy budget and a\.py"):
            payer.Payer(replace(rules, plan=twin if private else None)).admit(DATA, "a.py")

    def test_a_second_job_does_not_begin_the_account_anew(self, rules: policy.Policy) -> None:
        own = payer.Payer(rules)
        own.admit(DATA, "a.py")
        own.pay()
        with pytest.raises(BudgetRefused, match="a private run has one job"):
            own.admit(DATA, "a.py")
        spent = own.spent()
        assert spent is not None and spent.steps == LOCAL_STEPS

    def test_before_it_is_admitted_nothing_leaves(self, rules: policy.Policy) -> None:
        with pytest.raises(Refused, match="no plan was reserved"):
            payer.Payer(rules).pay()

    def test_a_disk_that_is_full_is_no_budget(
        self, home: Home, rules: policy.Policy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = budgeted(home, "digits.owner-2")
        paying = payer.Payer(rules)
        paying.admit(DATA, "a.py")
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", no_space)
            with pytest.raises(Refused, match=r"cannot be written: .*No space") as refused:
                paying.pay()
        assert not isinstance(refused.value, payer.Unpaid)
        paying.settle("failed")
        assert steps(own)["a-run.owner-2"] == (0, 0, "failed")
        lowered = payer.Payer(replace(rules, run="another.owner-2"))
        lowered.admit(DATA, "a.py")
        own.set_budget(0.0, 0.0)
        with pytest.raises(payer.Unpaid):
            lowered.pay()
        lowered.settle("failed")
        assert steps(own)["another.owner-2"] == (0, 0, "over_budget")

    def test_what_an_owner_is_told_comes_as_it_was(self, rules: policy.Policy) -> None:
        assert policy.Policy.from_json(rules.to_json()) == rules
