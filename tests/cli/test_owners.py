"""A data owner at the shell: who takes part, what waits for a hand, approving and refusing it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tui.federated_runs import (
    PRICE,
    PRIVACY,
    SCRIPT,
    ask,
    decision,
    federated_run,
    write_coordinator,
    write_status,
)
from tests.tui.homes import make_run
from traindeck.core.base.home import Home

Command = Callable[..., "subprocess.CompletedProcess[str]"]
SHA256 = hashlib.sha256(SCRIPT.encode()).hexdigest()


@pytest.fixture
def home(home: Home) -> Iterator[Home]:
    """A home whose made-up runs, supervised by this process, go before anyone ends them."""
    yield home
    shutil.rmtree(home.runs)
    home.runs.mkdir()


@pytest.fixture
def folder(home: Home) -> Path:
    return federated_run(home)


def of(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


class TestOwners:
    def test_are_listed(self, traindeck: Command, folder: Path) -> None:
        write_status(folder, 3, bytes_out={"raw": 4096}, state="refused", reason="not \x1b[2Jmine")
        ask(folder)
        output = traindeck("owners", "@last").stdout
        head, first, second, third, reason = output.splitlines()
        assert head.split()[:5] == ["OWNER", "PID", "STATE", "SAMPLES", "ROUND"]
        assert first.split()[:5] == ["owner-1", "1001", "training", "3481", "3"]
        assert "LOSS" not in output and "0.11" not in output
        head, first, *_ = traindeck("owners", "@last", "--private").stdout.splitlines()
        assert head.split()[5] == "LOSS" and first.split()[5] == "0.11"
        assert "204 kB" in first
        assert "fedavg_torch.py (fedavg-1)" in second
        assert third.split()[2:4] == ["refused", "4443"] and "4.1 kB" in third
        assert reason == "owner-3 refused: not mine"
        assert "\x1b" not in output

    def test_a_long_reason_stands_whole_below_the_table(
        self, traindeck: Command, folder: Path
    ) -> None:
        reason = "no update in 60 s; " * 40 + "start it again"
        write_status(folder, 2, state="refused", reason=reason)
        *table, line = traindeck("owners", "@last").stdout.splitlines()
        assert len(table) == 4 and max(map(len, table)) < 140
        assert line == f"owner-2 refused: {reason}"

    def test_as_json(self, traindeck: Command, folder: Path) -> None:
        ask(folder)
        answer = of(traindeck("owners", folder.name, "--json"))
        assert answer["run"] == folder.name and answer["aggregation"] == "secagg"
        assert answer["owners"][0]["bytes_out"]["masked"] == 203_600
        assert answer["owners"][0]["pid"] == 1001
        assert answer["owners"][1]["waiting"][0]["sha256"] == SHA256

    def test_what_a_private_run_costs_each(self, traindeck: Command, folder: Path) -> None:
        assert "PRIVACY" not in traindeck("owners", "@last").stdout
        write_status(folder, 1, privacy=PRIVACY)
        write_status(folder, 2, privacy={**PRIVACY, "ledger": "mnist.owner-2"})
        _, first, second, third = traindeck("owners", "@last").stdout.splitlines()
        assert "ε ≤ 1.31 of 2.93 at δ 1e-05, per example " in first
        assert "per example (budget mnist.owner-2)" in second
        assert "ε" not in third
        done = {**PRIVACY, "epsilon": 2.93, "steps": 600}
        write_status(folder, 1, privacy=done)
        assert "ε 2.93 of 2.93 at δ" in traindeck("owners", "@last").stdout

    def test_how_many_records_an_owner_has_is_private_where_privacy_is_accounted_for(
        self, traindeck: Command, folder: Path
    ) -> None:
        assert "SAMPLES" in traindeck("owners", "@last").stdout
        write_status(folder, 1, privacy=PRIVACY)
        assert "3481" not in traindeck("owners", "@last").stdout
        assert "3481" in traindeck("owners", "@last", "--private").stdout
        for words, there in (([], False), (["--private"], True)):
            first, *_ = of(traindeck("owners", "@last", "--json", *words))["owners"]
            assert ("samples" in first) is there

    def test_of_a_run_that_has_none(self, traindeck: Command, home: Home) -> None:
        make_run(home, 1)
        assert "is not federated" in traindeck("owners", "@last", code=3).stderr
        assert "no run 'nosuch'" in traindeck("owners", "nosuch", code=3).stderr

    def test_show_has_the_federation(self, traindeck: Command, home: Home, folder: Path) -> None:
        answer = of(traindeck("show", folder.name, "--json"))["federation"]
        assert [owner["name"] for owner in answer["owners"]] == ["owner-1", "owner-2", "owner-3"]
        assert "loss" not in answer["owners"][0] and answer["owners"][0]["samples"] == 3481
        whole = of(traindeck("show", folder.name, "--json", "--private"))["federation"]
        assert whole["owners"][0]["loss"] == 0.11
        for shown, words in ((answer, []), (whole, ["--private"])):
            own = of(traindeck("owners", folder.name, "--json", *words))
            assert {"run": folder.name, **shown} == own
        assert answer["rounds"][0]["number"] == 1 and answer["rounds"][0]["lost"] == []
        assert "secagg, 3 owners, round 3 of 60" in traindeck("show", folder.name).stdout
        write_coordinator(folder, rounds=2, total=60, phase="done", round=60)  # it was resumed
        assert "round 60 of 60, done" in traindeck("show", folder.name).stdout
        plain = make_run(home, 2)
        assert of(traindeck("show", plain, "--json"))["federation"] is None


class TestScript:
    def test_is_printed_byte_for_byte_with_what_differs(
        self, traindeck: Command, folder: Path, tmp_path: Path
    ) -> None:
        agreed = tmp_path / "agreed.py"
        agreed.write_text(SCRIPT)
        changed = SCRIPT.replace("0.05", "0.5") + "# \x1b[31m\u202e\n"
        ask(folder, script=changed, agreed=agreed)
        done = traindeck("owners", "@last", "--script", "owner-2")
        assert done.stdout == changed
        assert hashlib.sha256(changed.encode()).hexdigest() in done.stderr
        assert "+RATE = 0.5" in done.stderr and '"rounds": 60' in done.stderr
        assert "\x1b" not in done.stderr and "cannot be seen" in done.stderr
        answer = of(traindeck("owners", "@last", "--script", "owner-2", "--json"))
        assert answer["text"] == changed and "+RATE = 0.5  # agreed" in answer["diff"]
        assert json.loads(answer["params"])["lr"] == 0.05

    def test_what_it_costs_is_told(self, traindeck: Command, folder: Path) -> None:
        ask(folder, privacy={**PRICE, "ledger": "", "charged": "mnist", "epsilon": None})
        done = traindeck("owners", "@last", "--script", "owner-2")
        assert "  costs       ε ∞ at δ 1e-05, per example, for all 600 steps\n" in done.stderr
        assert "  budget      mnist: reserved already\n" in done.stderr
        answer = of(traindeck("owners", "@last", "--script", "owner-2", "--json"))["privacy"]
        assert (answer["steps"], answer["epsilon"], answer["charged"]) == (600, None, "mnist")

    def test_that_nobody_asks_for(self, traindeck: Command, folder: Path) -> None:
        done = traindeck("owners", "@last", "--script", "owner-1", code=3)
        assert "no script waits at owner-1" in done.stderr
        done = traindeck("owners", "@last", "--script", "nobody", code=3)
        assert "it has owner-1, owner-2, owner-3" in done.stderr


class TestDeciding:
    def test_approving_names_script_and_hash(self, traindeck: Command, folder: Path) -> None:
        request = ask(folder)
        done = traindeck("approve", "@last", "owner-2", "--sha256", SHA256[:12].upper())
        assert done.stdout == f"approved fedavg_torch.py for owner-2, SHA-256 {SHA256}\n"
        assert decision(request)["decision"] == "approve"
        assert decision(request)["sha256"] == SHA256
        done = traindeck("approve", "@last", "owner-2", code=3)
        assert "no script waits" in done.stderr
        done = traindeck("refuse", "@last", "owner-2", "--reason", "x", "--job", "fedavg-1", code=3)
        assert "was answered: approve" in done.stderr

    def test_another_hash_than_the_one_read(self, traindeck: Command, folder: Path) -> None:
        request = ask(folder)
        done = traindeck("approve", "@last", "owner-2", "--sha256", "0" * 64, code=1)
        assert f"is {SHA256}, not 0000" in done.stderr
        assert "12 characters" in (
            traindeck("approve", "@last", "owner-2", "--sha256", "ab", code=2).stderr
        )
        (request / "main.py").write_text("print('swapped')")
        assert "is not the script that was asked for" in (
            traindeck("approve", "@last", "owner-2", code=1).stderr
        )
        assert not (request / "decision.json").exists()

    def test_which_of_several(self, traindeck: Command, folder: Path) -> None:
        ask(folder)
        second = ask(folder, job="fedavg-2", script="print(2)\n")
        done = traindeck("approve", "@last", "owner-2", code=2)
        assert "--job, one of fedavg-1, fedavg-2" in done.stderr
        answer = of(traindeck("approve", "@last", "owner-2", "--job", "fedavg-2", "--json"))
        assert answer["decision"] == "approved" and answer["job"] == "fedavg-2"
        assert decision(second)["decision"] == "approve"
        traindeck("approve", "@last", "owner-2", "--job", "fedavg-3", code=3)

    def test_refusing_has_a_reason(self, traindeck: Command, folder: Path) -> None:
        request = ask(folder)
        traindeck("refuse", "@last", "owner-2", code=2)
        traindeck("refuse", "@last", "owner-2", "--reason", " ", code=2)
        done = traindeck("refuse", "@last", "owner-2", "--reason", "ten times the agreed rate")
        assert done.stdout.startswith("refused fedavg_torch.py for owner-2")
        assert decision(request)["decision"] == "refuse"
        assert decision(request)["reason"] == "ten times the agreed rate"

    def test_a_run_that_is_over(self, traindeck: Command, home: Home) -> None:
        ask(federated_run(home, state="finished"))
        done = traindeck("approve", "@last", "owner-2", code=3)
        assert "nobody waits for an answer" in done.stderr


def test_help_names_the_commands(traindeck: Command) -> None:
    words = traindeck("--help").stdout
    assert all(f"  {command} " in words for command in ("owners", "approve", "refuse"))
