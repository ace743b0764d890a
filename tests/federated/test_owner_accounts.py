"""What an owner lets happen in a private run, so that its account is of all that has left it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import traindeck.recipes
from tests.core.privacy.ledgers import made
from tests.federated.federated_tools import JOB, as_before
from tests.federated.owner_pairs import NAME, make
from traindeck.core import track
from traindeck.core.base.home import Home
from traindeck.core.privacy import budget
from traindeck.core.privacy import plan as plans
from traindeck.core.recipe.read import read_recipe
from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.owner import gate as gates
from traindeck.recipes.shared.federated.post import mail, wire
from traindeck.recipes.shared.federated.post.mail import SCIENTIST
from traindeck.recipes.shared.federated.scientist import fedavg

FEDAVG = Path(traindeck.recipes.__file__).parent / "syft" / "fedavg.py"
DONE, ROUNDS = 4, 9
MODEL = np.ones(4, "<f4").tobytes()

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def private(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What the owner of a run resumed at round DONE of ROUNDS is told beside the usual."""
    recipe = read_recipe(FEDAVG)
    assert recipe is not None
    given = {"dp": "local", "noise_multiplier": 4.0, "rounds": ROUNDS}
    plan = plans.make(recipe, recipe.validate(given))
    with as_before():
        os.umask(0o077)
        yield {"plan": plan, "done": DONE, "rounds": ROUNDS}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({"params": '{"noise_multiplier": 0}'}, "its parameters are not those that were agreed"),
        ({"script": "print('another')"}, "is not the one that was agreed"),
    ],
)
def test_nobody_approves_by_hand_what_is_not_what_is_accounted(
    tmp_path: Path,
    private: dict[str, Any],
    sent: dict[str, str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = make(tmp_path, approval="hand", **private)
    monkeypatch.setattr(pair.owner, "_waiting", lambda: pytest.fail("it waits for somebody"))
    pair.befriend()
    pair.submit(**sent)
    pair.consider()
    state, reason = pair.answer()
    assert state == "rejected" and f"{why}, and it is that which is accounted" in reason
    assert not (pair.owner.policy.home / "inbox").exists()


def test_who_approves_by_hand_is_told_the_price(
    tmp_path: Path, private: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = private["plan"]
    made(tmp_path / "ledger", f"{plan.dataset}.{NAME}")
    pair = make(tmp_path, approval="hand", **private)
    inbox = pair.owner.policy.home / "inbox"

    def refuse() -> None:
        answer = '{"decision": "refuse", "sha256": "", "reason": "too dear"}'
        (inbox / "a-job" / "decision.json").write_text(answer)

    monkeypatch.setattr(pair.owner, "_waiting", refuse)
    pair.befriend()
    pair.submit()
    pair.consider()
    assert pair.answer() == ("rejected", "too dear")
    assert json.loads((inbox / "a-job" / "request.json").read_text())["privacy"] == {
        "unit": plan.unit,
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "steps": plan.mechanism.steps,
        "ledger": f"{plan.dataset}.{NAME}",
        "charged": "",
    }


@pytest.mark.framework
def test_the_panel_says_why_a_budget_has_ended_the_run(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data set's budget is lowered after the first round."""
    ledger = budget.create(home, "digits-owners", 30.0, 1e-5, "owner", None)
    monkeypatch.setenv("TRAINDECK_HOME", str(home.root))
    given = ["--dataset=digits", "--dp=central", "--owners=3", f"--run-folder={tmp_path / 'run'}"]
    with as_before(), pytest.raises(SystemExit) as ended, track.start(given, FEDAVG) as run:
        tell = run.round

        def lower(number: int, **facts: Any) -> None:
            ledger.set_budget(0.0, 0.0)
            tell(number, **facts)

        monkeypatch.setattr(run, "round", lower)
        fedavg.learn(run, JOB, ("syft_rds", "numpy"))
    assert ended.value.code == 5
    shown = json.loads((tmp_path / "run" / "federation" / "coordinator.json").read_text())
    assert "the budget of digits-owners was lowered" in shown["reason"]
    assert [one["number"] for one in shown["rounds"]] == [1]


class TestGate:
    @pytest.fixture
    def gate(
        self, tmp_path: Path, private: dict[str, Any]
    ) -> Iterator[tuple[gates.Gate, socket.socket]]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(5)
            theirs.settimeout(5)
            pair = make(tmp_path, **private)
            yield gates.Gate(pair.owner, ours, tmp_path / "outputs"), theirs

    def begin(self, gate: gates.Gate, number: int) -> None:
        gate._from_aggregator(mail.Letter(SCIENTIST, {"type": "round", "number": number}, MODEL))

    def test_no_round_is_done_again_of_those_that_the_model_holds(
        self, gate: tuple[gates.Gate, socket.socket]
    ) -> None:
        made, script = gate
        for number in (1, DONE, ROUNDS + 1):
            with pytest.raises(Refused, match=f"round {number} of {ROUNDS} was not agreed"):
                self.begin(made, number)
        self.begin(made, DONE + 1)
        assert wire.receive(script)[0]["number"] == DONE + 1

    def test_a_script_gives_no_result_that_is_not_paid_for(
        self, gate: tuple[gates.Gate, socket.socket], tmp_path: Path
    ) -> None:
        made, script = gate
        wire.send(script, {"type": "result", "result": {"weights": [1.0]}})
        with pytest.raises(Refused, match="gives no result beside its rounds"):
            made._from_job()
        assert not (tmp_path / "outputs").exists()
