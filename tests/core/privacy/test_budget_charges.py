"""What runs are charged, whatever happens to them: real commands, real runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import process_of, until, wait_for_state
from tests.core.privacy.private_recipes import PAUSE, PLAIN, RESUMING, Command, run, shown
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home, witnesses_of
from traindeck.core.catalogue.document import document
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.privacy import budget as budgets
from traindeck.core.privacy.gate import admit
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.origin import beside
from traindeck.core.privacy.plan import make
from traindeck.core.privacy.spending import Spending
from traindeck.core.recipe.find import find_recipe
from traindeck.core.run.events import last
from traindeck.core.run.folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("recipes")]


def test_six_runs_of_epsilon_one_fit_into_three_and_the_seventh_is_refused(
    traindeck: Command, budget: Ledger, home: Home
) -> None:
    forecast = json.loads(traindeck("budget", "forecast", "private", "--json").stdout)
    assert forecast["budget"]["more_such_runs"] == 6 and forecast["budget"]["fits"]
    recipe = find_recipe(home, "private")
    runs = [launch(home, LaunchRequest(recipe=recipe)) for _ in range(6)]
    refused = traindeck("run", "private", code=5).stderr
    assert "private would take 14.6 %" in refused and "of its 100 steps fit at the same" in refused
    traindeck("run", "private", "-p", "steps=1", "-p", "epsilon=0.1", "--wait")
    for one in runs:
        assert wait_for_state(RunFolder(Path(one["path"])))["state"] == "finished"
    until(lambda: not any(run.open for run in budget.account().runs), "the settlements")
    state = shown(traindeck)
    assert [one["state"] for one in state["runs"]] == ["finished"] * 7
    assert len(list(home.runs.iterdir())) == 7  # nothing is left of the refused one
    assert state["filter"]["rho_reserved"] == 0.0
    assert state["filter"]["rho_spent"] <= state["filter"]["rho_budget"]
    assert 2 < state["epsilon_spent_pld"] < 3 < state["epsilon_naive_sum"]
    assert state["verified"] and state["epsilon_budget"] == 3.0


def test_what_is_reserved_and_not_used_is_given_back(traindeck: Command, budget: Ledger) -> None:
    started = json.loads(traindeck("run", "private", "-p", "seconds=0.3", "--json").stdout)
    running = RunFolder(Path(started["path"]))
    until(lambda: budget.account().runs[0].committed >= 2, "steps")
    assert budget.account().rho_reserved > 0
    traindeck("stop", running.id)
    assert wait_for_state(running)["state"] == "stopped"
    until(lambda: not budget.account().runs[0].open, "the settlement")
    [charge] = budget.account().runs
    assert charge.settled is not None and 2 <= charge.settled < 100
    assert budget.account().rho_reserved == 0.0
    doc = document(running)
    assert doc is not None and doc["privacy"] is not None
    assert doc["privacy"]["steps"] == charge.settled


@pytest.mark.parametrize("who", ["child", "supervisor and child"])
def test_killed_runs_stay_charged_for_what_they_committed(
    traindeck: Command, budget: Ledger, who: str
) -> None:
    started = json.loads(traindeck("run", "private", "-p", "seconds=0.2", "--json").stdout)
    running = RunFolder(Path(started["path"]))
    until(lambda: budget.account().runs[0].committed >= 2, "steps")
    processes = [process_of(running, one) for one in who.split(" and ")]
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: running.state()[0] in ("killed", "lost"), "the end")
    until(lambda: shown(traindeck)["runs"][0]["settled"] is not None, "the settlement")
    charge = shown(traindeck)["runs"][0]
    assert charge["settled"] == charge["committed"] >= 2
    assert charge["state"] in ("killed", "lost")


def test_a_run_is_stopped_before_the_step_that_would_overspend(
    traindeck: Command, budget: Ledger
) -> None:
    """One that asks for one step more than its plan has saves its checkpoint and is ended."""
    doc = run(traindeck, "private", "-p", "seconds=-1", code=5)
    assert (doc["state"], doc["exit_code"]) == ("over_budget", 5)
    assert "all 100 steps of the plan are spent" in doc["reason"]
    assert (Path(doc["path"]) / "output.log").read_text().startswith("checkpoint saved")
    assert doc["privacy"]["steps"] == 100


def test_a_run_whose_reservation_was_settled_by_others_stops(
    traindeck: Command, budget: Ledger
) -> None:
    started = json.loads(traindeck("run", "private", "-p", "seconds=0.2", "--json").stdout)
    running = RunFolder(Path(started["path"]))
    until(lambda: budget.account().runs[0].committed >= 1, "a step")
    budget.settle(running.id, "lost")
    assert wait_for_state(running)["state"] == "over_budget"


def test_a_plan_that_was_edited_after_its_launch_spends_nothing(
    traindeck: Command, budget: Ledger, home: Home
) -> None:
    """Reserved with much noise, it would train with less."""
    made = make(recipe := find_recipe(home, "private"), recipe.validate({}))
    assert made is not None
    admit(budget, "edited", "private", made)
    less = replace(made, mechanism=replace(made.mechanism, noise_multiplier=0.5))
    spending = Spending(less, home.ledger, "edited", lambda *_: None)
    assert not spending.step() and "goes by" in spending.problem
    honest = Spending(made, home.ledger, "edited", lambda *_: None)
    assert honest.step()
    if not (child := os.fork()):  # which would take the steps that we have paid for, too
        os._exit(honest.step())
    assert os.waitpid(child, 0)[1] == 0
    budget.commit("edited", 50)  # of which it uses one
    honest._committed = 50
    honest.close("finished")
    assert not honest.step() and "closed" in honest.problem
    assert [charge.settled for charge in budget.account().runs] == [1]


def test_a_run_whose_ledger_has_gone_since_its_launch_spends_nothing(
    budget: Ledger, home: Home
) -> None:
    made = make(recipe := find_recipe(home, "private"), recipe.validate({}))
    assert made is not None
    (home.runs / "bereft").mkdir(parents=True)
    write_json(home.runs / "bereft" / "run.json", {"ledger": "toy"})
    for path in home.ledger.iterdir():
        path.unlink()
    spending = Spending(made, home.ledger, "bereft", lambda *_: None)
    assert not spending.step() and "toy.jsonl: the file is gone" in spending.problem
    shutil.rmtree(witnesses_of(home.ledger))
    spending = Spending(made, home.ledger, "bereft", lambda *_: None)
    assert not spending.step() and "ledger of toy" in spending.problem


def test_a_run_that_only_says_that_it_was_resumed_pays_for_all(
    traindeck: Command, budget: Ledger
) -> None:
    doc = run(traindeck, "private", "-p", "resumed=90")
    assert doc["privacy"]["steps"] == 100 and doc["privacy"]["epsilon"] > 0.98
    [charge] = budget.account().runs
    assert charge.settled == 100
    assert doc["privacy"]["inherited"] == 90
    assert "90 of the 100 steps were inherited" in traindeck("show", "@last").stdout


class TestResumed:
    """Inherited steps are paid for where this ledger holds them, for the run that took them."""

    @pytest.fixture(autouse=True)
    def _recipe(self, home: Home) -> None:
        (home.recipes / "again.py").write_text(RESUMING)

    def charges(self, home: Home) -> list[tuple[int, int | None]]:
        return [(one.reserved, one.settled) for one in Ledger(home.ledger, "toy").account().runs]

    def test_it_reserves_what_is_left_and_so_does_the_next(
        self, traindeck: Command, budget: Ledger, home: Home
    ) -> None:
        first = run(traindeck, "again", "-p", "until=60")["id"]
        second = run(traindeck, "again", "-p", f"resume={first}", "-p", "until=90")["id"]
        words = ("-p", f"resume={home.runs / second}")
        text = traindeck("budget", "forecast", "again", *words).stdout
        assert "resumed: 10 steps are left, and only these are charged" in text
        doc = run(traindeck, "again", *words)
        assert doc["privacy"]["steps"] == 100 and doc["privacy"]["inherited"] == 90
        by_hand = [sys.executable, home.recipes / "again.py", f"--resume={home.runs / second}"]
        subprocess.run(by_hand, check=True, capture_output=True, cwd=home.root)
        assert self.charges(home) == [(100, 60), (40, 30), (10, 10), (10, 10)]
        missing = traindeck("run", "again", "-p", "resume=nothing", code=3).stderr
        assert "resume: nothing is no file, no folder and no run" in missing

    def test_steps_from_before_the_budget_are_charged_whole(
        self, traindeck: Command, home: Home
    ) -> None:
        first = run(traindeck, "again", "-p", "until=90")["id"]
        budgets.create(home, "toy", 2.0, 1e-5, "example", None)
        assert run(traindeck, "again", "-p", f"resume={first}")["state"] == "finished"
        assert self.charges(home) == [(100, 100)]

    def test_steps_from_before_a_budget_that_they_do_not_fit_are_refused(
        self, traindeck: Command, home: Home
    ) -> None:
        first = run(traindeck, "again", "-p", "until=90", "-p", "epsilon=3")["id"]
        budgets.create(home, "toy", 1.0, 1e-5, "example", None)
        words = ("run", "again", "-p", f"resume={first}", "-p", "epsilon=3")
        refused = traindeck(*words, code=5).stderr
        assert "The checkpoint holds 90 steps that this budget was never charged for" in refused
        assert self.charges(home) == []

    @pytest.mark.parametrize("how", ["edited", "renamed", "unsealed", "foreign", "swapped"])
    def test_a_checkpoint_that_is_not_what_this_home_wrote_is_charged_whole(
        self, traindeck: Command, budget: Ledger, home: Home, how: str
    ) -> None:
        first = run(traindeck, "again", "-p", "until=90")["id"]
        [checkpoint] = (home.runs / first / "artifacts").glob("*.pt")
        origin = beside(checkpoint)
        if how == "edited":
            checkpoint.write_text("91")
        elif how == "renamed":
            checkpoint = checkpoint.rename(checkpoint.with_name("checkpoint-00000099.pt"))
        elif how == "unsealed":
            origin.unlink()
        elif how == "foreign":
            (home.root / "secret.key").write_bytes(bytes(32))
        else:
            said = json.loads(origin.read_text())
            origin.write_text(json.dumps(said | {"charged": [[first, 100]]}))
        done = int(checkpoint.read_text())
        assert run(traindeck, "again", "-p", f"resume={checkpoint}")["state"] == "finished"
        assert self.charges(home) == [(100, 90), (100, 100)]
        assert done in (90, 91)

    def test_a_run_that_was_quarantined_has_paid_for_nothing(
        self, traindeck: Command, budget: Ledger, home: Home
    ) -> None:
        first = run(traindeck, "again", "-p", "until=90")["id"]
        budget.quarantine(first, "its audit found more")
        run(traindeck, "again", "-p", f"resume={first}")
        assert self.charges(home) == [(100, 90), (100, 100)]


class TestGoingOn:
    """A budget that is made while runs go on charges them, or is not made."""

    @pytest.fixture
    def going(self, traindeck: Command) -> RunFolder:
        words = ("-p", "seconds=0.2", "-p", "steps=5000", "-p", "epsilon=2", "--json")
        going = RunFolder(Path(json.loads(traindeck("run", "private", *words).stdout)["path"]))
        until(lambda: last(going.path / "events.jsonl", "spend"), "a step")
        return going

    def create(self, traindeck: Command, epsilon: float, code: int = 0) -> str:
        done = traindeck(
            "budget", "create", "toy", f"--epsilon={epsilon}", "--delta=1e-5", code=code
        )
        return done.stdout + done.stderr

    def test_what_it_has_taken_and_takes_is_charged(
        self, traindeck: Command, home: Home, going: RunFolder
    ) -> None:
        text = self.create(traindeck, 6)
        assert f"run {going.id} (private) goes on: the " in text
        ledger = Ledger(home.ledger, "toy")
        [charge] = ledger.account().runs
        assert (charge.id, charge.reserved) == (going.id, 5000) and charge.committed >= 1
        until(lambda: ledger.account().runs[0].committed > charge.committed, "more steps")
        traindeck("stop", going.id)
        assert wait_for_state(going)["state"] == "stopped"
        [charge] = ledger.account().runs
        spent = last(going.path / "events.jsonl", "spend")
        assert spent and charge.settled == spent["event"]["steps"] > 1

    def test_an_imported_run_trains_on_nothing(
        self, traindeck: Command, home: Home, tmp_path: Path
    ) -> None:
        (tmp_path / "fit.csv").write_text("epoch,loss\n0,1.5\n1,0.9\n")
        traindeck("import", tmp_path / "fit.csv")
        self.create(traindeck, 6)
        assert Ledger(home.ledger, "toy").exists

    def test_a_budget_that_would_not_cover_it_is_not_made(
        self, traindeck: Command, home: Home, going: RunFolder
    ) -> None:
        text = self.create(traindeck, 1, code=5)
        assert f"run {going.id}, which goes on and has taken" in text
        assert f"`traindeck stop {going.id}` first" in text
        assert not Ledger(home.ledger, "toy").exists

    def test_nor_one_where_somebody_trains_without_privacy(
        self, traindeck: Command, home: Home
    ) -> None:
        (home.recipes / "plain.py").write_text(
            PLAIN.replace('"loss": 1.0})', '"loss": 1.0})' + PAUSE)
        )
        going = json.loads(traindeck("run", "plain", "--json").stdout)["id"]
        text = self.create(traindeck, 6, code=5)
        assert f"run {going} (plain) is training on toy without privacy" in text
        assert not Ledger(home.ledger, "toy").exists

    def test_one_that_was_started_by_hand_finds_the_budget(
        self, traindeck: Command, home: Home
    ) -> None:
        words = ["--seconds=0.2", "--steps=5000", "--epsilon=2"]
        script = [sys.executable, "-u", str(home.recipes / "private.py"), *words]
        with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and "epsilon" in process.stdout.readline()
            self.create(traindeck, 6)
            ledger = Ledger(home.ledger, "toy")
            until(lambda: ledger.account().runs and ledger.account().runs[0].committed, "it")
            process.terminate()
            process.stdout.read()
        [charge] = ledger.account().runs
        assert charge.state == "stopped" and charge.settled and charge.settled > 1


class TestByHand:
    """A recipe that nobody manages pays just the same."""

    def test_it_reserves_and_settles(self, budget: Ledger, home: Home) -> None:
        script = str(home.recipes / "private.py")
        subprocess.run([sys.executable, script], check=True, capture_output=True)
        [charge] = budget.account().runs
        assert charge.id.startswith("hand-")
        assert (charge.state, charge.settled) == ("finished", 100)

    def test_a_command_that_starts_a_recipe_pays_too(
        self, traindeck: Command, budget: Ledger, home: Home
    ) -> None:
        for name, code in (("private", 0), ("plain", 5)):
            script = str(home.recipes / f"{name}.py")
            traindeck("run", "--wait", "--", sys.executable, script, code=code)
        [charge] = budget.account().runs
        assert (charge.state, charge.settled) == ("finished", 100)
        assert "--accept-no-privacy" in traindeck("logs", "@last").stdout
        words = [sys.executable, str(home.recipes / "plain.py"), "--accept-no-privacy"]
        traindeck("run", "--wait", "--", *words)
        assert budget.account().exposed

    def test_it_is_refused(self, traindeck: Command, budget: Ledger, home: Home) -> None:
        traindeck("budget", "set", "toy", "--epsilon", "1.5")
        for name, why in (("plain", "--accept-no-privacy"), ("private", "would admit it")):
            script = str(home.recipes / f"{name}.py")
            done = subprocess.run([sys.executable, script], capture_output=True, text=True)
            assert done.returncode == 5 and why in done.stderr, done.stderr

    def test_killed_it_stays_charged(self, traindeck: Command, budget: Ledger, home: Home) -> None:
        script = str(home.recipes / "private.py")
        process = subprocess.Popen(
            [sys.executable, script, "--seconds=0.2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: any(run.committed for run in budget.account().runs), "a step")
        process.kill()
        process.wait()
        charge = shown(traindeck)["runs"][0]
        assert charge["state"] == "lost" and charge["settled"] == charge["committed"] >= 1


def test_paying_costs_under_a_hundredth_of_training(budget: Ledger, home: Home) -> None:
    """Not a timing: the number of times that the ledger is written is what is bounded."""
    script = str(home.recipes / "private.py")
    begun = time.monotonic()
    subprocess.run([sys.executable, script, "--seconds=0.02"], check=True, capture_output=True)
    seconds = time.monotonic() - begun
    commits = [entry for entry in budget.history() if entry["type"] == "commit"]
    assert len(commits) <= 4 + seconds
