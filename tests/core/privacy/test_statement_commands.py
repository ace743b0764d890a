"""Statements by the real commands: of budgets, of runs with and without one, and their check."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.core.privacy.private_recipes import Command, run
from traindeck.core.base.home import Home
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.statement.check import check
from traindeck.core.privacy.statement.claims import with_figures
from traindeck.core.privacy.statement.signing import opened, sign

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("recipes")]


def statement(traindeck: Command, *words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(traindeck(*words).stdout)
    return document


def test_a_budget_is_stated_and_checked_by_commands(
    traindeck: Command, budget: Ledger, tmp_path: Path
) -> None:
    doc = run(traindeck, "private", "-p", "steps=20")
    file = tmp_path / "toy.json"
    told = traindeck("budget", "statement", "toy", "-o", str(file))
    key = told.stderr.partition("signed by key ")[2][:32]
    checked = traindeck("verify", str(file), "--key", key)
    assert "wrong" not in checked.stdout and f"by key {key}" in checked.stdout
    assert "ledger: toy: entry" in checked.stdout
    document = json.loads(file.read_text())
    assert [one["id"] for one in document["runs"]] == [doc["id"]]
    assert document["runs"][0]["event"]["steps"] == 20
    page = file.with_suffix(".md").read_text()
    assert traindeck("verify", str(file), "--page").stdout == page
    for words in ("unit of privacy | example", "add-or-remove-one", "signed by key", "20 of 20"):
        assert words in page
    assert str(budget.folder) not in file.read_text() + page
    lines = json.loads(traindeck("verify", str(file), "--json").stdout)
    assert lines["ok"] and all(line["ok"] for line in lines["lines"])


def test_what_is_wrong_ends_with_1_and_what_is_no_statement_with_2(
    traindeck: Command, budget: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "toy.json"
    traindeck("budget", "statement", "toy", "-o", str(file))
    other = traindeck("verify", str(file), "--key", "0" * 32, code=1)
    assert "signed by another key than" in other.stdout
    data = file.read_text()
    file.write_text(data.replace('"epsilon": 3.0', '"epsilon": 2.0'))
    changed = traindeck("verify", str(file), code=1)
    assert "these are not the bytes that its key has signed" in changed.stdout
    traindeck("verify", str(file), "--page", code=2)
    file.write_text("{}")
    assert "no privacy statement" in traindeck("verify", str(file), code=2).stderr
    traindeck("verify", str(tmp_path / "gone"), code=3)
    traindeck("verify", str(file), "--key", "me", code=2)
    traindeck("budget", "statement", "toy", "-o", str(tmp_path / "toy.md"), code=2)
    traindeck("budget", "statement", "digits", code=3)


def test_a_run_without_a_budget_is_stated_by_its_plan_and_steps(
    traindeck: Command, tmp_path: Path
) -> None:
    run(traindeck, "private", "-p", "steps=20")
    file = tmp_path / "run.json"
    traindeck("show", "@last", "--statement", "-o", str(file))
    assert "wrong" not in traindeck("verify", str(file)).stdout
    document = json.loads(file.read_text())
    assert document["budget"] is document["ledger"] is None
    [only] = document["runs"]
    assert only["event"]["steps"] == 20 and 0.9 < only["epsilon"] <= 1.0
    assert document["guarantee"]["whole_plan"]["epsilon"] == only["epsilon"]
    assert (only["clipping_norm"], only["records_at_most"], only["batch_size"]) == (1.0, 10000, 500)
    assert "not charged" in document["hyperparameters"]


def test_a_charged_run_is_matched_to_its_ledger(
    traindeck: Command, budget: Ledger, tmp_path: Path
) -> None:
    doc = run(traindeck, "private", "-p", "steps=20", "-p", f"fingerprint={'a' * 64}")
    document = statement(traindeck, "show", doc["id"], "--statement")
    account = budget.account()
    assert document["ledger"] == {
        "name": "toy",
        "entries": account.entries,
        "head": account.head,
    }
    assert document["subject"]["data"] == {"toy": account.fingerprint}
    assert document["runs"][0]["state"] == "finished"
    file = tmp_path / "run.json"
    traindeck("show", doc["id"], "--statement", "-o", str(file))
    checked = traindeck("verify", str(file)).stdout
    assert "20 steps stated, 20 charged in the ledger" in checked
    nowhere = {**os.environ, "TRAINDECK_HOME": str(tmp_path / "nowhere")}
    elsewhere = traindeck("verify", str(file), env=nowhere).stdout
    assert "not checked  ledger: toy: no such one here" in elsewhere
    home = Home(budget.folder.parent)
    for name, value in ("noise_multiplier", 50.0), ("sampling_rate", 1e-4):
        other = {k: v for k, v in document.items() if k not in ("format", "key", "signature")}
        other["runs"] = [{**one, "plan": {**one["plan"], name: value}} for one in other["runs"]]
        lines = check(opened(sign(with_figures(other, 1e-5), home.root)), home)
        assert [line.what for line in lines if line.ok is False] == ["runs.plan"]
    assert not (tmp_path / "nowhere").exists()


def test_what_has_no_privacy_is_stated_as_infinite(
    traindeck: Command, budget: Ledger, tmp_path: Path
) -> None:
    run(traindeck, "plain", "--accept-no-privacy")
    plain = statement(traindeck, "show", "@last", "--statement")
    assert plain["guarantee"]["fixed_schedule"] is None and plain["runs"] == []
    why = plain["guarantee"]["infinite_because"]
    assert "trained with no privacy" in why[0] and "no privacy accounting" in why[1]
    run(traindeck, "private", "-p", "noise_seed=1", "--accept-no-privacy")
    for words in (["show", "@last", "--statement"], ["budget", "statement", "toy"]):
        file = tmp_path / "infinite.json"
        traindeck(*words, "-o", str(file))
        guarantee = json.loads(file.read_text())["guarantee"]
        assert guarantee["fixed_schedule"]["epsilon"] is None
        assert any("seeded noise" in why for why in guarantee["infinite_because"])
        traindeck("verify", str(file))


def test_a_lost_run_is_stated_with_all_that_it_committed(
    traindeck: Command, budget: Ledger
) -> None:
    budget.reserve("gone", "private", Mechanism(2.0, 0.05, 100), 0.002, 1.0, None)
    budget.commit("gone", 60)
    document = statement(traindeck, "budget", "statement", "toy")
    assert document["runs"][0]["state"] == "lost" and document["runs"][0]["event"]["steps"] == 60
    assert document["guarantee"]["filter"]["epsilon"] > 0
