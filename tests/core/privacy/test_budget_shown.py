"""What is said of a budget and of the runs that spend it, by the real commands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.core.privacy.private_recipes import Command, run, shown
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.report import report

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("recipes")]


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
    text = traindeck("show", "@last").stdout
    for part in (
        "at most, at delta 1e-05, of one example (add-or-remove-one)",
        "Poisson sampling at rate 0.05, Gaussian noise (float) ",
        "100 steps, clipping norm 1; dp-accounting ",
        "an attacker allowed 1 false accusation in 100 finds at most",
    ):
        assert part in text
    assert (
        "an attacker allowed 1 false accusation in 100" in traindeck("budget", "show", "toy").stdout
    )
    assert "1 false accusation" in traindeck("budget", "forecast", "private").stdout
    seeded = traindeck("budget", "forecast", "private", "-p", "noise_seed=1", code=5).stdout
    assert "seeded noise: not private" in seeded and "accusation" not in seeded
    assert "does not fit" in seeded
    run(traindeck, "private", "-p", "noise_seed=1", "--accept-no-privacy")
    text = traindeck("show", "@last").stdout
    assert "seeded noise: not private" in text and "accusation" not in text
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


def test_what_is_spent_is_known_however_much_was_told_since(
    traindeck: Command, budget: Ledger
) -> None:
    doc = run(traindeck, "private", "-p", "steps=10")
    log = Path(doc["path"]) / "events.jsonl"
    with log.open("a") as file:
        file.writelines('{"v": 1, "t": 0.0, "type": "note", "text": "x"}\n' for _ in range(6000))
    privacy = report(Path(doc["path"]), "toy")
    assert privacy is not None and privacy.steps == 10
    assert privacy.epsilon == privacy.planned.epsilon > 0
    with log.open("a") as file:
        file.write('{"v": 1, "t": 0.0, "type": "spend", "event": {}, "epsilon": 0.1, "delta": 1}\n')
    privacy = report(Path(doc["path"]), "toy")
    assert privacy is not None and math.isinf(privacy.epsilon) and "not known" in privacy.label


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
    checked = json.loads(traindeck("budget", "verify", "--json", code=1).stdout)
    assert not checked[0]["verified"] and checked[0]["problems"]


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
    price = json.loads(traindeck(*words).stdout)
    assert price["epsilon"] < price["epsilon_best_of_random_repeats"] < price["epsilon_all"] < 10
