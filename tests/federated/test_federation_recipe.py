"""syft-fedavg and its twin as commands: killed, refused by hand, with TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import traindeck.recipes
from tests.conftest import until
from tests.federated import federated_tools as tools
from tests.federated.courses import alive, nothing_left

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
SYFT = Path(traindeck.recipes.__file__).parent / "syft"
PATIENCE = 240.0


def train(recipe: str, folder: Path, *flags: object) -> subprocess.Popen[str]:
    words = [sys.executable, str(SYFT / recipe), "--dataset=digits", f"--run-folder={folder}"]
    return subprocess.Popen(
        [*words, *map(str, flags)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """All that a recipe has printed, once it has ended."""
    try:
        text, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, text
    assert "Traceback" not in text
    return text


def decide(folder: Path, decision: str, reason: str, names: list[str]) -> None:
    """Answer for these owners, once their inboxes ask."""
    for name in names:
        inbox = folder / "federation" / "owners" / name / "inbox"
        [request] = until(lambda inbox=inbox: list(inbox.glob("*/request.json")), f"{name}'s inbox")
        asked = json.loads(request.read_text())
        assert asked["script"] == "fedavg_torch.py"
        facts = {"v": 1, "decision": decision, "sha256": asked["sha256"], "reason": reason, "at": 0}
        part = request.parent / "part"
        part.write_text(json.dumps(facts))
        os.replace(part, request.parent / "decision.json")


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TRAINDECK_RUN_FOLDER", "TRAINDECK_DEVICE", "TRAINDECK_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


class TestRecipe:
    def test_an_aggregator_that_is_killed_takes_all_along_and_is_resumed(
        self, tmp_path: Path
    ) -> None:
        first = tmp_path / "first"

        def checkpoints() -> list[Path]:
            return list(first.glob("artifacts/checkpoint-*.npz"))

        began = train("fedavg.py", first, "--rounds=100", "--approval=hand")
        try:
            decide(first, "approve", "read", ["owner-1", "owner-2", "owner-3"])
            until(checkpoints, "a checkpoint")
            children = psutil.Process(began.pid).children(recursive=True)
        finally:
            began.kill()
        began.communicate()
        confined = tools.status(first / "federation", "owner-1")["sandbox"]
        # what owners are forked from; then each owner, its job server, and those of its job
        assert len(children) == 1 + 3 * (2 + tools.processes_of_a_job(confined))
        _, left = psutil.wait_procs(children, timeout=PATIENCE)
        assert not alive(left)
        done = max(int(path.stem.rpartition("-")[2]) for path in checkpoints())
        resumed = tmp_path / "resumed"
        text = ended(train("fedavg.py", resumed, f"--rounds={done + 2}", f"--resume={first}"))
        rounds = [one["number"] for one in tools.shown(resumed / "federation")["rounds"]]
        assert rounds == [done + 1, done + 2]
        assert f"round {done + 2}/{done + 2}" in text

    def test_a_refusal_by_hand_ends_the_run_with_the_reason(self, tmp_path: Path) -> None:
        began = train("fedavg.py", tmp_path / "run", "--approval=hand")
        decide(tmp_path / "run", "refuse", "who are you?", ["owner-2"])
        text = ended(began, code=1)
        assert "error: owner-2 has refused the job: who are you?" in text
        assert text.count("waits for approval by hand at owner-1, owner-2, owner-3: ") == 1
        shown = tools.shown(tmp_path / "run" / "federation")
        assert shown["phase"] == "failed" and "who are you?" in shown["reason"]
        assert {one["name"]: one["state"] for one in shown["owners"]}["owner-2"] == "refused"

    def test_owners_train_with_tensorflow(self, tmp_path: Path) -> None:
        text = ended(train("fedavg_tf.py", tmp_path / "run", "--rounds=2"))
        assert "round 2/2" in text
        for k in (1, 2, 3):
            status = tools.status(tmp_path / "run" / "federation", f"owner-{k}")
            assert status["state"] == "ended" and status["round"] == 2
            assert status["bytes_out"]["masked"] > 0 and status["bytes_out"]["raw"] == 0


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    with nothing_left():
        yield
