"""flower-fedavg over stand-ins for Flower's commands: what starts, and what ends with what."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import until
from tests.core.privacy.ledgers import made
from tests.federated.flower_stand_in import (
    NODES,
    RECIPE,
    StandIn,
    a_round,
    events,
    read,
    series,
    train,
)
from traindeck.core.recipe.read import read_recipe
from traindeck.recipes.shared.federated.flower.env import INSTALL, missing
from traindeck.recipes.shared.training.data import datasets

pytestmark = pytest.mark.slow


def test_its_header_says_what_it_takes() -> None:
    recipe = read_recipe(RECIPE)
    assert recipe is not None
    assert recipe.name == "flower-fedavg"
    assert recipe.headline == "test/accuracy"
    owners = recipe.params["owners"]
    assert (owners.min, owners.max) == (3, 8)


def test_help_imports_neither_numpy_nor_a_framework() -> None:
    script = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: print(sorted({'torch', 'flwr', 'numpy', 'psutil'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(RECIPE), "--help"], capture_output=True, text=True
    )
    assert "--no-secagg" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


class TestItsEnvironment:
    def test_where_there_is_none_the_commands_that_make_it_are_told(self, tmp_path: Path) -> None:
        root = tmp_path / "home" / "envs" / "flower"
        assert train(tmp_path, "", code=4) == (
            f"error: Flower runs in an environment of its own, and there is no environment {root}."
            f" Make it with: python3 -m venv {root} &&"
            f" {root}/bin/pip install 'flwr==1.41.*' torch==2.13.0 numpy\n"
        )

    def test_the_header_names_the_same_packages(self) -> None:
        recipe = read_recipe(RECIPE)
        assert recipe is not None
        assert " ".join(map(shlex.quote, recipe.packages)) == INSTALL

    def test_another_flower_and_a_missing_torch_are_found(self, flower: StandIn) -> None:
        site = flower.root / "lib/python3.11/site-packages"
        assert missing(flower.root) == ""
        (site / "flwr-1.41.0.dist-info").rename(site / "flwr-1.42.0.dist-info")
        assert missing(flower.root) == f"{flower.root} has flwr 1.42.0, not 1.41"
        (site / "torch-2.13.0.dist-info").rmdir()
        assert missing(flower.root) == f"{flower.root} lacks torch"

    def test_its_interpreter_names_it_too(self, tmp_path: Path, flower: StandIn) -> None:
        flower.does([*a_round(1), {"type": "done"}])
        train(tmp_path, "/nowhere", "--rounds=1", f"--python={flower.root}/bin/python")


class TestProcesses:
    def test_rounds_are_shown_and_nothing_private_stays(
        self, tmp_path: Path, flower: StandIn
    ) -> None:
        one, two = a_round(1, wrong={"11": "KeyError"}), a_round(2, late={"22": "no answer"})
        flower.does([*one, *two, {"type": "done"}])
        said = train(tmp_path, flower.root, "--rounds=2")
        assert "round 2/2  test loss 0.5000  test accuracy 0.8000  1.5 s  lost: owner-2" in said
        run = tmp_path / "run"
        curves = series(run)
        assert curves["test/accuracy"] == [(1, 0.8), (2, 0.8)]
        assert curves["round_seconds"] == [(1, 1.5), (2, 1.5)]
        assert curves["owners"] == [(1, 2.0), (2, 2.0)]
        assert [event["lost"] for event in events(run, "round")] == [["owner-1"], ["owner-2"]]
        kinds = [event["kind"] for event in events(run, "artifact")]
        assert kinds == ["checkpoint", "checkpoint", "servable"]
        federation = run / "federation"
        shown = read(federation / "coordinator.json")
        assert (shown["engine"], shown["aggregation"]) == ("flower", "secagg")
        assert (shown["phase"], shown["round"], shown["threshold"]) == ("done", 2, 2)
        assert shown["rounds"][0]["states"]["owner-1"] == "lost"
        assert shown["rounds"][1]["states"] == dict.fromkeys(NODES, "sent") | {"owner-2": "lost"}
        states = {owner["name"]: owner["state"] for owner in shown["owners"]}
        assert states == dict.fromkeys(NODES, "ended") | {"owner-2": "lost"}
        assert not list(federation.glob("**/data.npz")) and not list(federation.glob("**/*.key"))

    def test_flower_sees_nothing_of_our_environment(self, tmp_path: Path, flower: StandIn) -> None:
        flower.does([*a_round(1), {"type": "done"}])
        train(tmp_path, flower.root, "--rounds=1")
        facts = read(tmp_path / "run/federation/flower/told.json")
        assert facts["FLWR_TELEMETRY_ENABLED"] == "0"
        assert facts["FLWR_HOME"].startswith(str(tmp_path / "run"))
        assert not {"PYTHONPATH", "TRAINDECK_HOME", "USER", "SSH_AUTH_SOCK"} & set(facts)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_stop_ends_all_of_them(
        self, tmp_path: Path, flower: StandIn, started: Any, number: int
    ) -> None:
        flower.does(a_round(1))
        process, children = started(flower.root, "--rounds=5")
        assert len(children) >= 7  # warden, SuperLink and what it started, three SuperNodes, flwr
        coordinator = tmp_path / "run/federation/coordinator.json"
        until(lambda: read(coordinator)["rounds"], "the first round")
        process.send_signal(number)
        assert process.wait(60) == (130 if number == signal.SIGINT else 0)
        assert "stopped on request after round 1 of 5" in (tmp_path / "out").read_text()
        assert not psutil.wait_procs(children, timeout=60)[1]
        shown = read(tmp_path / "run/federation/coordinator.json")
        assert (shown["phase"], shown["reason"]) == ("done", "stopped on request")

    def test_killed_it_leaves_no_process(self, flower: StandIn, started: Any) -> None:
        flower.does(a_round(1))
        process, children = started(flower.root, "--rounds=5")
        process.kill()
        assert not psutil.wait_procs(children, timeout=60)[1]

    def test_an_owner_that_ends_is_lost_by_name_and_the_rest_go_on(
        self, tmp_path: Path, flower: StandIn, started: Any
    ) -> None:
        flower.does(a_round(1), dies="owner-2")
        started(flower.root, "--rounds=5")
        status = tmp_path / "run/federation/owners/owner-2/status.json"
        until(lambda: read(status)["state"] == "lost", "the loss")
        why = "exit code 1: Error: the connection was refused"
        assert read(status)["reason"] == why
        shown = read(tmp_path / "run/federation/coordinator.json")
        assert {"name": "owner-2", "state": "lost", "reason": why} in shown["owners"]
        assert shown["phase"] == "training"

    def test_an_owner_has_its_name_before_it_says_anything(
        self, tmp_path: Path, flower: StandIn, started: Any
    ) -> None:
        flower.does(a_round(1)[:1], silent="owner-3")
        started(flower.root, "--rounds=5")
        shown = read(tmp_path / "run/federation/coordinator.json")
        assert shown["waiting_for"] == list(NODES)  # owner-3 has logged its number, and no more

    @pytest.mark.parametrize(
        ("says", "ends", "why"),
        [
            ([], "1", "run: exit code 1: the app could not be read"),
            (a_round(1), "0", "the run ended early: ?"),
            (
                [
                    {
                        "type": "failed",
                        "reason": "RuntimeError: round 2 gave no average (node 22: gone)",
                    }
                ],
                "",
                "RuntimeError: round 2 gave no average (owner-2: gone)",
            ),
        ],
    )
    def test_what_fails_says_why(
        self, tmp_path: Path, flower: StandIn, says: list[dict[str, Any]], ends: str, why: str
    ) -> None:
        flower.does(says, ends)
        line = train(tmp_path, flower.root, "--rounds=5", code=1)
        why = why.replace("?", "")
        assert line.startswith(f"error: {why}") and "run/federation/flower)" in line
        shown = read(tmp_path / "run/federation/coordinator.json")
        assert shown["phase"] == "failed" and shown["reason"].startswith(why)

    def test_budgeted_data_under_another_name_is_known_by_its_contents(
        self, tmp_path: Path, flower: StandIn
    ) -> None:
        made(tmp_path / "home" / "ledger", "renamed", fingerprint=datasets.of("digits"))
        output = train(tmp_path, flower.root, code=5)
        assert "renamed has a privacy budget and flower-fedavg would train on it" in output
        assert not (tmp_path / "run/federation").exists()

    @pytest.mark.parametrize("name", ["digits.owner-2", "digits-owners.owner-3"])
    def test_an_owners_budget_is_asked(self, tmp_path: Path, flower: StandIn, name: str) -> None:
        made(tmp_path / "home" / "ledger", name)
        output = train(tmp_path, flower.root, code=5)
        assert output.startswith(
            f"error: {name} has a privacy budget and flower-fedavg would train"
        )
        assert not (tmp_path / "run/federation").exists()

    def test_a_budget_of_others_is_not(self, tmp_path: Path, flower: StandIn) -> None:
        for name in ("digits.owner-4", "mnist.owner-1"):
            made(tmp_path / "home" / "ledger", name)
        flower.does([*a_round(1), {"type": "done"}])
        train(tmp_path, flower.root, "--rounds=1")

    def test_a_folder_is_used_once(self, tmp_path: Path, flower: StandIn) -> None:
        flower.does([*a_round(1), {"type": "done"}])
        train(tmp_path, flower.root, "--rounds=1")
        assert "is there already" in train(tmp_path, flower.root, "--rounds=1", code=2)
