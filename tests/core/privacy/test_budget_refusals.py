"""Who may train on a data set that has a privacy budget, and which data that is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import COMMAND, until, wait_for_state
from tests.core.privacy.private_recipes import PLAIN, RECIPE, Command, run, shown
from traindeck.core.base.errors import UsageError
from traindeck.core.base.home import Home
from traindeck.core.privacy import budget as budgets
from traindeck.core.privacy.budget import concerns
from traindeck.core.privacy.ledger import ledgers
from traindeck.core.privacy.ledger.entries import COPIES
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import pin
from traindeck.core.run.folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("recipes")]


def test_a_budget_at_too_large_a_delta_is_none(traindeck: Command, home: Home) -> None:
    """Refused when it is made, where recipes say how many records there are."""
    words = ("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-4")
    text = traindeck(*words, code=2).stderr
    assert "is not below 1/10000" in text and "just below 0.0001, 1e-05 is usual" in text
    private = home.recipes / "private.py"
    private.rename(home.root / "private.py")  # so that nobody knows yet
    traindeck(*words)
    (home.root / "private.py").rename(private)
    assert "is not below 1/10000" in traindeck("run", "private", code=5).stderr
    assert "budget rm toy" in traindeck("budget", "forecast", "private", code=5).stdout
    assert Ledger(home.ledger, "toy").account().runs == ()
    assert "nobody can be asked here; --yes" in traindeck("budget", "rm", "toy", code=2).stderr
    traindeck("budget", "rm", "toy", "--yes")
    assert not Ledger(home.ledger, "toy").exists and len(list(home.ledger.glob("removed/*"))) == 1


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
    state = shown(traindeck)
    assert state["epsilon_spent_pld"] is None  # infinite
    assert [one["reason"] for one in state["exposures"]] == [
        "seeded noise: not private",
        "no privacy",
    ]


def test_a_bound_on_records_is_that_of_its_own_data_set(home: Home) -> None:
    """The digits' 1,797 do not have the bound of MNIST's 60,000, which the same recipe takes."""
    assert concerns(home, "digits", 3.0, 1e-4) == []
    with pytest.raises(UsageError, match="not below 1/60000"):
        concerns(home, "mnist", 3.0, 1e-4)


def test_a_shuffled_run_is_admitted_by_a_budget_of_its_own_relation_only(
    traindeck: Command, home: Home
) -> None:
    shuffled = RECIPE.replace("records = 10000", 'records = 10000\n# sampler = "shuffle"')
    (home.recipes / "shuffled.py").write_text(shuffled.replace('"private"', '"shuffled"'))
    words = ("budget", "create", "toy", "--epsilon", "8", "--delta", "1e-5")
    traindeck(*words)
    refused = traindeck("run", "shuffled", code=5).stderr
    assert "is for the relation add-or-remove-one, this run's is zero-out" in refused
    assert "zero-out" in traindeck("budget", "forecast", "shuffled", code=5).stdout
    traindeck("budget", "rm", "toy", "--yes")
    assert "is none" in traindeck(*words, "--relation", "swap", code=2).stderr
    traindeck(*words, "--relation", "zero-out")
    doc = run(traindeck, "shuffled")
    assert doc["privacy"]["relation"] == shown(traindeck)["relation"] == "zero-out"
    traindeck("run", "private", "-p", "epsilon=0.5", "--wait")  # its bound holds for both
    within = traindeck("run", "shuffled", "-p", "resumed=30", "--wait", code=5)
    assert "at the end of a pass only, every 20 steps, not after step 30" in within.stdout


def test_without_a_budget_nothing_is_asked(traindeck: Command) -> None:
    traindeck("run", "plain", "--wait")
    doc = run(traindeck, "private", "-p", "epsilon=inf")
    assert doc["privacy"]["epsilon"] is None and "no noise" in doc["privacy"]["label"]
    traindeck("budget", "show", "toy", code=3)


def test_the_data_is_pinned_at_its_first_use_and_other_data_is_refused(
    traindeck: Command, budget: Ledger
) -> None:
    traindeck("run", "private", "-p", f"fingerprint={'a' * 64}", "--wait")
    assert shown(traindeck)["fingerprint"].startswith("hmac:")
    for words in (("show", "toy"), ("export", "toy"), ("history", "toy", "--json")):
        assert "a" * 64 not in traindeck("budget", *words).stdout
    doc = run(traindeck, "private", "-p", f"fingerprint={'b' * 64}", code=5)
    assert doc["state"] == "over_budget" and "that of other data" in doc["reason"]
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


def test_copies_of_records_that_were_derived_before_spend_nothing(
    traindeck: Command, budget: Ledger, home: Home
) -> None:
    ledgers.derive(budget, "toy-turned", COPIES)
    (home.recipes / "turned.py").write_text(
        RECIPE.replace('"toy"', '"toy-turned"').replace('"private"', '"turned"')
    )
    refused = traindeck("run", "turned", code=5).stderr
    assert "toy-turned was declared to hold several records that were made of one of toy" in refused
    assert not budget.account().runs


@pytest.mark.parametrize("part", ["toy.owner-2", "toy-owners.clinic"])
def test_a_part_that_has_its_own_budget_binds_who_trains_on_the_whole(
    traindeck: Command, home: Home, part: str
) -> None:
    own = budgets.create(home, part, 3.0, 1e-5, "example", None)
    refused = traindeck("run", "private", code=5).stderr
    assert f"{part} has a privacy budget of its own, and its data is part of toy" in refused
    traindeck("run", "plain", code=5)
    script = [sys.executable, str(home.recipes / "private.py")]
    assert subprocess.run(script, capture_output=True).returncode == 5
    assert not own.account().runs and not own.account().exposed
    accepted = run(traindeck, "plain", "--accept-no-privacy")
    assert [one.run for one in own.account().exposures] == [accepted["id"]]


@pytest.mark.skipif(
    subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode != 0,
    reason="needs a pid namespace of its own",
)
def test_a_run_that_is_only_looked_at_from_another_container_goes_on(
    traindeck: Command, budget: Ledger
) -> None:
    words = ("-p", "seconds=0.2", "-p", "steps=2000", "--json")
    going = json.loads(traindeck("run", "private", *words).stdout)
    until(lambda: budget.account().runs[0].committed, "a step")
    inside = [COMMAND, "budget", "show", "toy", "--json"]
    looked = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *inside],
        capture_output=True,
        text=True,
    )
    [seen] = json.loads(looked.stdout)["runs"]
    assert (seen["state"], seen["settled"]) == ("running", None)
    traindeck("stop", going["id"])
    assert wait_for_state(RunFolder(Path(going["path"])))["state"] == "stopped"
    [charge] = budget.account().runs
    assert charge.state == "stopped" and charge.settled


@pytest.mark.skipif(
    subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode != 0,
    reason="needs a pid namespace of its own",
)
def test_a_run_whose_container_has_gone_is_lost_and_gives_back_its_rest(
    traindeck: Command, budget: Ledger, home: Home
) -> None:
    """By the lock that its supervisor held: no pid of another container says anything here."""
    launch = [COMMAND, "run", "private", "-p", "seconds=0.2", "-p", "steps=2000"]
    inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with subprocess.Popen(
        [*inside, "sh", "-c", '"$@"; sleep 60', "sh", *launch], stdout=subprocess.PIPE, text=True
    ) as container:
        try:
            assert container.stdout is not None
            going = container.stdout.readline().strip()
            until(lambda: budget.account().runs[0].committed, "a step")
            looked = json.loads(traindeck("show", going, "--json").stdout)
            assert looked["state"] == "unreachable"
        finally:
            container.kill()
    until(lambda: RunFolder(home.runs / going).state()[0] == "lost", "its end")
    entries = budget.path.read_bytes()
    [seen] = shown(traindeck)["runs"]
    assert seen["state"] == "lost" and seen["settled"] == seen["committed"] < 2000
    assert budget.path.read_bytes() == entries
    traindeck("rm", going)
    run(traindeck, "private")
    assert [one.state for one in budget.account().runs] == ["lost", "finished"]


def test_what_is_derived_spends_its_parents_budget(traindeck: Command, budget: Ledger) -> None:
    traindeck("budget", "derive", "toy", "toy-small", "--kind", "subset")
    assert shown(traindeck, "toy-small")["name"] == "toy"
    made = traindeck("budget", "derive", "toy", "toy-turned", "--kind", "augmentation", code=2)
    assert "several records that are made of one are spent together" in made.stderr
    traindeck("budget", "create", "toy-small", "--epsilon", "9", "--delta", "1e-5", code=5)
