"""A privacy budget in use: real commands, real runs, and what is charged whatever happens."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import process_of, until, wait_for_state
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.privacy.bounds import at_least, at_most
from traindeck.core.privacy.gate import admit
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import pin
from traindeck.core.privacy.plan import make
from traindeck.core.privacy.report import report
from traindeck.core.privacy.spending import Spending
from traindeck.core.recipe.find import find_recipe
from traindeck.core.run.folder import RunFolder

Command = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow

RECIPE = """# /// script
# dependencies = []
# [tool.traindeck]
# name = "private"
# dataset = "toy"
# privacy = "dp-sgd"
# [tool.traindeck.accounting]
# records = 10000
# [tool.traindeck.params.epsilon]
# type = "float"
# default = 1.0
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 500
# [tool.traindeck.params.steps]
# type = "int"
# default = 100
# [tool.traindeck.params.seconds]
# type = "float"
# default = 0.0
# [tool.traindeck.params.noise_seed]
# type = "int"
# default = -1
# [tool.traindeck.params.resumed]
# type = "int"
# default = 0
# [tool.traindeck.params.fingerprint]
# type = "str"
# default = ""
# ///
import time
from traindeck.core import track

with track.start() as run:
    if run.params.fingerprint:
        run.use(run.params.fingerprint)
    run.resumed(run.params.resumed)
    for step in range(run.params.resumed, run.plan.mechanism.steps + (run.params.seconds < 0)):
        if not run.spend():
            print("checkpoint saved")
            run.over_budget()
        time.sleep(max(0, run.params.seconds))
        run.log(step, {"private/loss": 1.0})
        if run.should_stop():
            break
"""
RESUME = """# [tool.traindeck.params.resume]
# type = "path"
"""
PLAIN = """# /// script
# [tool.traindeck]
# name = "plain"
# dataset = "toy"
# [tool.traindeck.params.fingerprint]
# type = "str"
# default = ""
# ///
from traindeck.core import track
with track.start() as run:
    if run.params.fingerprint:
        run.use(run.params.fingerprint)
    run.log(0, {"loss": 1.0})
"""


@pytest.fixture(autouse=True)
def recipes(home: Home) -> Path:
    (home.recipes / "private.py").write_text(RECIPE)
    (home.recipes / "plain.py").write_text(PLAIN)
    return home.recipes


@pytest.fixture
def budget(traindeck: Command, home: Home) -> Ledger:
    traindeck("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-5")
    return Ledger(home.ledger, "toy")


def run(traindeck: Command, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        traindeck("run", *words, "--wait", "--json", code=code).stdout
    )
    return found


def shown(traindeck: Command, name: str = "toy") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(traindeck("budget", "show", name, "--json").stdout)
    return found


def test_a_run_tells_what_it_spent_and_how_it_was_accounted_for(
    traindeck: Command, budget: Ledger
) -> None:
    privacy = run(traindeck, "private")["privacy"]
    assert 0.98 < privacy["epsilon"] <= 1.0
    assert (privacy["delta"], privacy["unit"], privacy["steps"]) == (1e-5, "example", 100)
    assert (privacy["relation"], privacy["sampler"]) == ("add-or-remove-one", "poisson")
    assert privacy["sampling_rate"] == 0.05 and privacy["noise_multiplier"] > 1
    assert privacy["accountant"].startswith("dp-accounting 0.")
    assert privacy["events"][0]["steps"] == 100 and privacy["audit"] is None
    assert (privacy["label"], privacy["ledger"]) == ("", "toy")


def test_every_epsilon_that_is_shown_says_what_it_depends_on_and_what_it_means(
    traindeck: Command, budget: Ledger
) -> None:
    run(traindeck, "private")
    told = traindeck("show", "@last").stdout
    for part in (
        "at most, at delta 1e-05, of one example (add-or-remove-one)",
        "Poisson sampling at rate 0.05, Gaussian noise (float) ",
        "100 steps, clipping norm 1; dp-accounting ",
        "an attacker allowed 1 false accusation in 100 finds at most",
    ):
        assert part in told
    assert (
        "an attacker allowed 1 false accusation in 100" in traindeck("budget", "show", "toy").stdout
    )
    assert "1 false accusation" in traindeck("budget", "forecast", "private").stdout
    seeded = traindeck("budget", "forecast", "private", "-p", "noise_seed=1", code=5).stdout
    assert "seeded noise: not private" in seeded and "accusation" not in seeded
    assert "does not fit" in seeded
    run(traindeck, "private", "-p", "noise_seed=1", "--accept-no-privacy")
    told = traindeck("show", "@last").stdout
    assert "seeded noise: not private" in told and "accusation" not in told
    assert "  infinite  " in traindeck("ls", "--query", "state:finished").stdout.splitlines()[1]
    assert shown(traindeck)["risk"] is None


def test_private_series_are_watched_only_when_asked_for(traindeck: Command, budget: Ledger) -> None:
    done = traindeck("run", "private", "-p", "steps=5", "--wait")
    assert "private/loss" not in done.stdout
    hidden = traindeck("watch", "@last")
    assert "at delta 1e-05 per example" in hidden.stdout and "private/loss" not in hidden.stdout
    assert "watch --private" in hidden.stderr
    assert "private/loss" not in traindeck("watch", "@last", "--json").stdout
    asked = traindeck("watch", "@last", "--private")
    assert "private/loss 1" in asked.stdout and "left out" not in asked.stderr


@pytest.mark.parametrize(
    "value, most, least",
    [
        (None, "infinite", "infinite"),
        (0.0, "0", "0"),
        (2.931, "2.94", "2.93"),
        (2.93, "2.93", "2.93"),
        (0.0012341, "0.00124", "0.00123"),
        (9.999, "10", "9.99"),
        (1234.5, "1.24e+03", "1.23e+03"),
    ],
)
def test_bounds_are_rounded_away_from_what_they_promise(
    value: float | None, most: str, least: str
) -> None:
    assert (at_most(value), at_least(value)) == (most, least)


def test_six_runs_of_epsilon_one_fit_into_three_and_the_seventh_is_refused(
    traindeck: Command, budget: Ledger, home: Home
) -> None:
    told = json.loads(traindeck("budget", "forecast", "private", "--json").stdout)
    assert told["budget"]["more_such_runs"] == 6 and told["budget"]["fits"]
    recipe = find_recipe(home, "private")
    runs = [launch(home, LaunchRequest(recipe=recipe)) for _ in range(6)]
    refused = traindeck("run", "private", code=5).stderr
    assert "private would take 14.6 %" in refused and "of its 100 steps fit at the same" in refused
    traindeck("run", "private", "-p", "steps=1", "-p", "epsilon=0.1", "--wait")
    for one in runs:
        assert wait_for_state(RunFolder(Path(one["path"])))["state"] == "finished"
    until(lambda: not any(run.open for run in budget.account().runs), "the settlements")
    found = shown(traindeck)
    assert [one["state"] for one in found["runs"]] == ["finished"] * 7
    assert len(list(home.runs.iterdir())) == 7  # nothing is left of the refused one
    assert found["filter"]["rho_reserved"] == 0.0
    assert found["filter"]["rho_spent"] <= found["filter"]["rho_budget"]
    assert 2 < found["epsilon_spent_pld"] < 3 < found["epsilon_naive_sum"]
    assert found["verified"] and found["epsilon_budget"] == 3.0


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
    assert not spending.step() and "ledger of toy" in spending.problem


def test_a_budget_at_too_large_a_delta_is_none(traindeck: Command, home: Home) -> None:
    """Refused when it is made, where recipes say how many records there are."""
    words = ("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-4")
    told = traindeck(*words, code=2).stderr
    assert "is not below 1/10000" in told and "just below 0.0001, 1e-05 is usual" in told
    private = home.recipes / "private.py"
    private.rename(home.root / "private.py")  # so that nobody knows yet
    traindeck(*words)
    (home.root / "private.py").rename(private)
    assert "is not below 1/10000" in traindeck("run", "private", code=5).stderr
    assert "budget rm toy" in traindeck("budget", "forecast", "private", code=5).stdout
    assert Ledger(home.ledger, "toy").account().runs == ()
    assert "without being asked: --yes" in traindeck("budget", "rm", "toy", code=2).stderr
    traindeck("budget", "rm", "toy", "--yes")
    assert not Ledger(home.ledger, "toy").exists and len(list(home.ledger.glob("removed/*"))) == 1


def test_what_is_spent_is_known_however_much_was_told_since(
    traindeck: Command, budget: Ledger
) -> None:
    doc = run(traindeck, "private", "-p", "steps=10")
    log = Path(doc["path"]) / "events.jsonl"
    with log.open("a") as file:
        file.writelines('{"v": 1, "t": 0.0, "type": "note", "text": "x"}\n' for _ in range(6000))
    found = report(Path(doc["path"]), "toy")
    assert found is not None and found.steps == 10
    assert found.epsilon == found.planned.epsilon > 0
    with log.open("a") as file:
        file.write('{"v": 1, "t": 0.0, "type": "spend", "event": {}, "epsilon": 0.1, "delta": 1}\n')
    found = report(Path(doc["path"]), "toy")
    assert found is not None and math.isinf(found.epsilon) and "not known" in found.label


def test_without_privacy_a_budgeted_data_set_is_only_trained_on_by_name(
    traindeck: Command, budget: Ledger
) -> None:
    for words in (["plain"], ["private", "-p", "epsilon=inf"], ["private", "-p", "noise_seed=1"]):
        refused = traindeck("run", *words, code=5).stderr
        assert "toy has a privacy budget" in refused and "--accept-no-privacy" in refused
    endless = traindeck("run", "private", "-p", "epsilon=inf", code=5).stderr
    assert "epsilon infinite, without noise: give it a finite epsilon" in endless
    assert shown(traindeck)["epsilon_spent_pld"] == 0.0
    doc = run(traindeck, "private", "-p", "noise_seed=1", "--accept-no-privacy")
    assert doc["privacy"]["label"] == "seeded noise: not private"
    traindeck("run", "plain", "--accept-no-privacy", "--wait")
    plain = traindeck("show", "@last").stdout
    assert "run plain --accept-no-privacy" in plain and "exposed the budget of toy" in plain
    listed = traindeck("budget", "show", "toy").stdout
    assert "toy is exposed: nothing is left to protect by" in listed and "% left" not in listed
    assert [line.split()[2] for line in listed.splitlines()[-2:]] == ["exposed", "exposed"]
    assert "protect by" in traindeck("budget", "forecast", "private").stdout
    assert "protect by" in traindeck("run", "private", "-p", "steps=1", "--wait").stderr
    found = shown(traindeck)
    assert found["epsilon_spent_pld"] is None  # infinite
    assert [one["reason"] for one in found["exposures"]] == [
        "seeded noise: not private",
        "no privacy",
    ]


def test_without_a_budget_nothing_is_asked(traindeck: Command) -> None:
    traindeck("run", "plain", "--wait")
    doc = run(traindeck, "private", "-p", "epsilon=inf")
    assert doc["privacy"]["epsilon"] is None and "no noise" in doc["privacy"]["label"]
    traindeck("budget", "show", "toy", code=3)


def test_a_resumed_run_pays_for_its_own_steps_and_tells_of_all(
    traindeck: Command, budget: Ledger
) -> None:
    doc = run(traindeck, "private", "-p", "resumed=90")
    assert doc["privacy"]["steps"] == 100 and doc["privacy"]["epsilon"] > 0.98
    [charge] = budget.account().runs
    assert charge.settled == 10
    assert doc["privacy"]["inherited"] == 90
    assert "90 of the 100 steps were inherited" in traindeck("show", "@last").stdout


def test_a_resumed_run_reserves_only_what_is_left(
    traindeck: Command, budget: Ledger, home: Home
) -> None:
    resumes = RECIPE.replace("# ///\nimport", RESUME + "# ///\nimport").replace("private", "again")
    (home.recipes / "again.py").write_text(resumes)
    checkpoints = home.root / "checkpoints"
    checkpoints.mkdir()
    for step in (60, 90):
        (checkpoints / f"checkpoint-{step:08d}.pt").touch()
    words = ("-p", f"resume={checkpoints}", "-p", "resumed=90")
    assert run(traindeck, "again", *words)["state"] == "finished"
    told = traindeck("budget", "forecast", "again", *words).stdout
    assert "resumed: 10 steps are left, and only these are charged" in told
    subprocess.run(
        [sys.executable, home.recipes / "again.py", f"--resume={checkpoints}", "--resumed=90"],
        check=True,
        capture_output=True,
    )
    assert [(one.reserved, one.settled) for one in budget.account().runs] == [(10, 10)] * 2
    # A name that promises too much makes the run stop early, not spend more.
    (checkpoints / "checkpoint-00000099.pt").touch()
    doc = run(traindeck, "again", *words, code=5)
    assert doc["state"] == "over_budget" and budget.account().runs[-1].charged <= 1
    missing = traindeck("run", "again", "-p", "resume=nothing", code=3).stderr
    assert "resume: nothing is no file, no folder and no run" in missing


def test_the_data_is_pinned_at_its_first_use_and_other_data_is_refused(
    traindeck: Command, budget: Ledger
) -> None:
    traindeck("run", "private", "-p", f"fingerprint={'a' * 64}", "--wait")
    assert shown(traindeck)["fingerprint"] == "a" * 64
    doc = run(traindeck, "private", "-p", f"fingerprint={'b' * 64}", code=5)
    assert doc["state"] == "over_budget" and "a" * 64 in doc["reason"]
    assert shown(traindeck)["runs"][-1]["state"] == "over_budget"


def test_budgeted_data_under_another_name_is_known_by_its_contents(
    traindeck: Command, budget: Ledger, home: Home
) -> None:
    pin(budget, "a" * 64)
    renamed = RECIPE.replace('dataset = "toy"', 'dataset = "renamed"').replace("private", "other")
    (home.recipes / "other.py").write_text(renamed)
    doc = run(traindeck, "other", "-p", f"fingerprint={'a' * 64}", code=5)
    assert "traindeck budget derive toy renamed" in doc["reason"]
    (home.recipes / "bare.py").write_text(
        PLAIN.replace('dataset = "toy"', 'dataset = "renamed"').replace("plain", "bare")
    )
    doc = run(traindeck, "bare", "-p", f"fingerprint={'a' * 64}", code=5)
    assert doc["state"] == "over_budget"
    assert "toy has a privacy budget and bare would train on it with no privacy" in doc["reason"]
    run(traindeck, "bare", "-p", f"fingerprint={'b' * 64}")
    assert not budget.account().exposed
    words = ("-p", f"fingerprint={'a' * 64}", "--accept-no-privacy", "--reason", "as a test")
    run(traindeck, "bare", *words)
    [exposure] = budget.account().exposures
    assert exposure.recipe == "bare"


def test_only_a_budgets_refusal_is_one(traindeck: Command, home: Home, budget: Ledger) -> None:
    leaves = PLAIN.replace('dataset = "toy"', 'dataset = "mine"').replace("plain", "leaves")
    (home.recipes / "leaves.py").write_text(leaves + "    raise SystemExit(5)\n")
    assert run(traindeck, "leaves", code=1)["state"] == "failed"
    pin(budget, "a" * 64)
    (home.recipes / "nameless.py").write_text(
        PLAIN.replace('# dataset = "toy"\n', "").replace("plain", "nameless")
    )
    doc = run(traindeck, "nameless", "-p", f"fingerprint={'a' * 64}", code=5)
    assert doc["state"] == "over_budget"


def test_what_is_derived_spends_its_parents_budget(traindeck: Command, budget: Ledger) -> None:
    traindeck("budget", "derive", "toy", "toy-small", "--kind", "subset")
    assert shown(traindeck, "toy-small")["name"] == "toy"
    made = traindeck("budget", "derive", "toy", "toy-turned", "--kind", "augmentation")
    assert "clip all that was made of one record together" in made.stderr
    traindeck("budget", "create", "toy-small", "--epsilon", "9", "--delta", "1e-5", code=5)


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
        for name, told in (("plain", "--accept-no-privacy"), ("private", "would admit it")):
            script = str(home.recipes / f"{name}.py")
            done = subprocess.run([sys.executable, script], capture_output=True, text=True)
            assert done.returncode == 5 and told in done.stderr, done.stderr

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


def test_damage_is_named_and_nothing_is_spent_on_it(traindeck: Command, budget: Ledger) -> None:
    traindeck("run", "private", "--wait")
    traindeck("budget", "verify", "toy")
    text = budget.path.read_text()
    budget.path.write_text(text + '{"v":1,"n":')  # a writer that died: harmless, but said
    assert not shown(traindeck)["verified"]
    budget.path.write_text(text.replace('"steps":1', '"steps":2', 1))
    wrong = traindeck("budget", "verify", code=1).stderr
    assert "toy" in wrong
    assert "Nothing is spent on this budget" in traindeck("run", "private", code=5).stderr
    told = json.loads(traindeck("budget", "verify", "--json", code=1).stdout)
    assert not told[0]["verified"] and told[0]["problems"]


def test_history_and_export_let_anyone_account_again(traindeck: Command, budget: Ledger) -> None:
    traindeck("run", "private", "--wait")
    entries = json.loads(traindeck("budget", "history", "toy", "--json").stdout)
    kinds = [entry["type"] for entry in entries]
    assert kinds[:2] == ["create", "reserve"] and kinds[-1] == "settle"
    exported = json.loads(traindeck("budget", "export", "toy").stdout)
    assert exported["history"] == entries
    assert exported["runs"][0]["mechanism"]["mechanism"] == "gaussian"
    assert "private/loss" not in json.dumps(exported)


def test_sweeps_are_priced_whole(traindeck: Command) -> None:
    words = ("budget", "forecast", "private", "--runs", "10", "--json")
    told = json.loads(traindeck(*words).stdout)
    assert told["epsilon"] < told["epsilon_best_of_random_repeats"] < told["epsilon_all"] < 10


def test_paying_costs_under_a_hundredth_of_training(budget: Ledger, home: Home) -> None:
    """Not a timing: the number of times that the ledger is written is what is bounded."""
    script = str(home.recipes / "private.py")
    begun = time.monotonic()
    subprocess.run([sys.executable, script, "--seconds=0.02"], check=True, capture_output=True)
    seconds = time.monotonic() - begun
    commits = [entry for entry in budget.history() if entry["type"] == "commit"]
    assert len(commits) <= 4 + seconds
