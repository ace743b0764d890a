"""Which scripts an owner runs: as agreed, or as somebody has read and decided, and no other."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.federated import federated_tools as tools
from tests.federated.federated_tools import JOB, as_before
from tests.federated.owner_pairs import NAME, Pair, make
from traindeck.core.federation.inbox import PARAMS, SCRIPT
from traindeck.core.privacy.ledger.filter import OtherData
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.post.syft import SyftRequest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def pushed(pair: Pair, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]) -> None:
    """What syft sends of a job is changed on its way out."""
    engine = type(pair.scientist._client.sync_engine)
    push = engine.push_job_files

    def tampered(self: Any, folder: Path) -> Any:
        change(Path(folder))
        return push(self, folder)

    monkeypatch.setattr(engine, "push_job_files", tampered)


def swap_run_script(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\ncat ../../private/*\n")


@pytest.mark.parametrize(
    "held", [{"nothing": np.zeros(0)}, {"w1": np.zeros((3, 2)), "b1": np.zeros(2)}]
)
def test_who_holds_no_rows_has_no_samples(
    held: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "shards", lambda rows: {NAME: held})
    with as_before():
        assert make(tmp_path).owner.status.samples == 0


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("run.sh", "its run.sh is not the one that syft writes: it was swapped"),
        ("unknown", "is not the one that was agreed"),
        ("params", "its parameters are not those that were agreed"),
        ("files", "it has the files main.py, more.py, params.json: a script and its parameters"),
    ],
)
def test_a_job_that_is_not_as_agreed_is_refused(
    kind: str, why: str, pair: Pair, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    pair.befriend()
    if kind == "run.sh":
        pushed(pair, monkeypatch, swap_run_script)
    more = {"more.py": "import os"} if kind == "files" else {}
    script = "print('something else')" if kind == "unknown" else None
    pair.submit(script, '{"lr": 9}' if kind == "params" else "{}", **more)
    pair.consider()
    assert pair.server.started == []
    state, reason = pair.answer()
    assert state == "rejected" and why in reason
    [letter] = pair.letters()
    assert letter.type == "refused" and why in letter.facts["why"]
    status = pair.shown()
    assert status["state"] == "refused" and why in status["reason"]
    assert status["job"]["decision"] == "refused" and why in status["job"]["reason"]
    assert why in capfd.readouterr().out


@pytest.mark.parametrize("what", ["script", "parameters", "script, through syft"])
def test_what_changes_after_it_was_approved_does_not_run(
    what: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.befriend()
    pair.submit()
    approved = pair.owner._site.approve

    def approve(request: SyftRequest, how: str, reason: str = "") -> None:
        approved(request, how, reason)
        file = PARAMS if what == "parameters" else SCRIPT
        if what.endswith("syft"):
            path = request.code.relative_to(pair.owner._site.home / address(NAME)) / file
            tools.propose(pair.scientist, address(NAME), str(path), "changed", JOB.read_text())
        else:
            (request.code / file).write_text('{"changed": 1}')

    monkeypatch.setattr(pair.owner._site, "approve", approve)
    pair.consider()
    assert pair.server.started == []
    [code] = pair.owner._site.home.rglob("a-job/code")
    assert "changed" in (code / "main.py").read_text() + (code / "params.json").read_text()
    why = "a-job was refused: it changed after it was approved"
    assert pair.shown()["reason"] == why
    assert why in [letter.facts.get("why") for letter in pair.letters()]
    assert pair.answer()[0] == "failed"


def test_what_was_agreed_runs_once(pair: Pair) -> None:
    pair.befriend()
    pair.submit()
    pair.consider()
    pair.consider()
    assert pair.server.started == [JOB.read_text()]
    assert pair.shown()["reason"] == "the script ended with 1: it was cut off"
    reasons = [letter.facts.get("why") for letter in pair.letters()]
    assert "the script ended with 1" in reasons, "its last words are the owner's alone"


def test_an_owner_whose_data_is_not_its_budgets_tells_no_hash_of_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = pair.owner._fingerprint

    def other(fingerprint: str, script: str) -> None:
        raise OtherData(f"the budget is that of other data, and this data has {fingerprint}")

    monkeypatch.setattr(pair.owner._payer, "admit", other)
    pair.befriend()
    pair.submit()
    pair.consider()
    assert f"this data has {mine}" in capsys.readouterr().out, "its own log has all"
    letters = pair.letters()
    assert "its data is not that of its budget" in letters[-1].facts["why"]
    assert letters[-1].facts["over_budget"]
    said = json.dumps([letter.facts for letter in letters]), *pair.answer(), str(pair.shown())
    assert not [text for text in said if mine[:12] in text]


def test_the_last_words_of_a_private_script_are_in_the_owners_log_alone(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.owner.policy.plan = object()  # type: ignore[assignment]
    pair.owner.fail("the script ended with 1", "SECRET", by_signal=False)
    assert pair.shown()["reason"] == "the script ended with 1: what it said last is in output.log"
    assert "the script ended with 1: SECRET" in capsys.readouterr().out


class TestByHand:
    """A script that waits for somebody to read it."""

    def decide(self, pair: Pair, **facts: Any) -> Path:
        [folder] = (pair.owner.policy.home / "inbox").iterdir()
        asked = json.loads((folder / "request.json").read_text())
        facts = {"v": 1, "sha256": asked["sha256"], "reason": "", "at": time.time(), **facts}
        (folder / "part").write_text(json.dumps(facts))
        os.replace(folder / "part", folder / "decision.json")
        return folder

    def waits(self, pair: Pair, *decisions: dict[str, Any] | str) -> list[Path]:
        """Run what the owner does; each time it looks, the next of these lies in its inbox."""
        left = list(decisions)
        folders = []

        def wait() -> None:
            assert left, "the decision was not heard"
            decision = left.pop(0)
            if isinstance(decision, str):
                [folder] = (pair.owner.policy.home / "inbox").iterdir()
                (folder / "decision.json").write_text(decision)
            else:
                folders.append(self.decide(pair, **decision))

        pair.owner._waiting = wait  # type: ignore[method-assign]
        pair.consider()
        assert not left
        return folders

    @pytest.fixture
    def pair(self, tmp_path: Path) -> Iterator[Pair]:
        with as_before():
            os.umask(0o077)
            made = make(tmp_path, approval="hand")
            made.befriend()
            yield made

    def test_it_lies_in_the_inbox_as_it_was_sent(self, pair: Pair) -> None:
        script = "print('never agreed, but read')"
        pair.submit(script)
        [folder] = self.waits(pair, {"decision": "approve", "reason": "read it"})
        asked = json.loads((folder / "request.json").read_text())
        assert (folder / "main.py").read_text() == script
        assert (folder / "params.json").read_text() == "{}"
        assert asked["job"] == "a-job" and asked["submitted_by"] == address(SCIENTIST)
        assert asked["agreed"] == str(JOB)
        assert pair.server.started == [script]
        letters = pair.letters()
        assert [letter.type for letter in letters[:2]] == ["asked", "approved"]
        assert "waits for somebody" in letters[0].facts["why"]
        assert pair.shown()["job"]["decision"] == "approved"

    def test_a_refusal_and_its_reason_reach_the_scientist(self, pair: Pair) -> None:
        pair.submit()
        self.waits(pair, {"decision": "refuse", "reason": "not on a Sunday"})
        assert pair.answer() == ("rejected", "not on a Sunday")
        assert pair.server.started == []
        assert pair.shown()["job"]["reason"] == "not on a Sunday"
        assert "a-job was refused: not on a Sunday" in pair.letters()[-1].facts["why"]

    def test_a_decision_about_another_script_does_not_count(self, pair: Pair) -> None:
        pair.submit()
        other = {"decision": "approve", "sha256": "0" * 64}
        self.waits(pair, other, "{torn", '{"decision": 3}', {"decision": "refuse"})
        assert pair.server.started == []
        assert pair.answer() == ("rejected", "the data owner refused it")

    def test_a_swapped_run_script_is_not_even_shown(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pushed(pair, monkeypatch, swap_run_script)
        pair.submit()
        self.waits(pair)
        assert pair.answer()[0] == "rejected"
        assert not (pair.owner.policy.home / "inbox").exists()
