"""flower-fedavg: with stand-ins for Flower's commands what starts and ends, then Flower itself.

The real one needs an environment of its own, named by TRAINDECK_FLOWER (see recipes/flower).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import traindeck.recipes
from tests.conftest import until
from tests.core.privacy.ledgers import made
from traindeck.core.recipe.read import read_recipe
from traindeck.core.run.follow import PointTail
from traindeck.recipes.shared.federated.flower.board import UNKNOWN, Board, Journal
from traindeck.recipes.shared.federated.flower.deployment import SUPEREXEC
from traindeck.recipes.shared.federated.flower.env import INSTALL, VARIABLE, missing
from traindeck.recipes.shared.training.data import datasets

RECIPE = Path(traindeck.recipes.__file__).parent / "flower" / "fedavg.py"
FLOWER = os.environ.get(VARIABLE, "")
LACK = missing(Path(FLOWER)) if FLOWER else f"{VARIABLE} names no environment that has Flower"
PATIENCE = 600.0
NODES = {"owner-1": "11", "owner-2": "22", "owner-3": "33"}

STAND_IN = """#!{python}
import json, os, pathlib, socket, subprocess, sys, time, tomllib
root = pathlib.Path(__file__).parent.parent
name = pathlib.Path(__file__).name
flags = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
folder = lambda text: pathlib.Path(json.loads(text.split("=", 1)[1]))
def say(where, lines):
    with (where / "journal.jsonl").open("a") as file:
        for line in lines:
            print(json.dumps(line), file=file, flush=True)
            time.sleep(0.02)
if name == "flower-superlink":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    server = socket.create_server(("127.0.0.1", int(flags["--port"])))
    time.sleep(600)
if name == "flower-supernode":
    own = folder(flags["--node-config"])
    print("INFO : SuperNode ID:", json.loads((root / "nodes.json").read_text())[own.name])
    sys.stdout.flush()
    if own.name == (root / "silent").read_text():
        time.sleep(600)
    assert (own / "data.npz").stat().st_mode & 0o777 == 0o600
    nodes = json.loads((root / "nodes.json").read_text())
    say(own, [{{"type": "message", "node": nodes[own.name], "round": 1}}])
    if own.name == (root / "dies").read_text():
        time.sleep(1.0)
        sys.exit("Error: the connection was refused")
    time.sleep(600)
if name == "flwr":
    given = tomllib.loads(pathlib.Path(flags["--run-config"]).read_text())
    here = pathlib.Path(given["folder"])
    (here / "weights.npz").write_bytes(b"weights")
    (here / "told.json").write_text(json.dumps(dict(os.environ)))
    logs = [here / (own + ".log") for own in json.loads((root / "nodes.json").read_text())]
    while not all("SuperNode ID" in log.read_text() for log in logs):
        time.sleep(0.02)
    joined, board = time.time(), here.parent / "coordinator.json"
    while board.stat().st_mtime <= joined or json.loads(board.read_text())["waiting_for"]:
        time.sleep(0.02)
    say(here, json.loads((root / "says.json").read_text()))
    ends = (root / "ends").read_text()
    if ends:
        sys.exit(int(ends) and "the app could not be read")
    time.sleep(600)
"""


def a_round(number: int, **lost: dict[str, str]) -> list[dict[str, Any]]:
    """What the aggregator writes of one round; nodes are `late` or `wrong`, with the reason."""
    facts = {"seconds": 1.5, "loss": 0.5, "accuracy": 0.8, "late": {}, "wrong": {}}
    return [
        {"type": "waiting", "round": number, "nodes": list(NODES.values())},
        {"type": "waiting", "round": number, "nodes": list(lost.get("late", ()))},
        {"type": "round", "round": number, **facts, **lost},
    ]


@dataclass
class StandIn:
    """An environment whose Flower does as it is told."""

    root: Path

    def does(
        self, says: list[dict[str, Any]], ends: str = "", dies: str = "", silent: str = ""
    ) -> None:
        (self.root / "says.json").write_text(json.dumps(says))
        (self.root / "nodes.json").write_text(json.dumps(NODES))
        (self.root / "ends").write_text(ends)
        (self.root / "dies").write_text(dies)
        (self.root / "silent").write_text(silent)


def packages(root: Path, *names: str) -> None:
    for name in names:
        (root / f"lib/python3.11/site-packages/{name}.dist-info").mkdir(parents=True)


@pytest.fixture
def flower(tmp_path: Path) -> StandIn:
    root = tmp_path / "env"
    packages(root, "flwr-1.41.0", "torch-2.13.0", "numpy-2.4.6")
    (root / "bin").mkdir()
    for name in ("flower-superlink", "flower-supernode", "flwr", "python"):
        path = root / "bin" / name
        path.write_text(STAND_IN.format(python=sys.executable))
        path.chmod(0o755)
    return StandIn(root)


def words(folder: Path, *flags: object) -> list[str]:
    return [sys.executable, str(RECIPE), f"--run-folder={folder}", *map(str, flags)]


def surroundings(tmp_path: Path, flower: str | Path = "") -> dict[str, str]:
    outside = {k: v for k, v in os.environ.items() if not k.startswith("TRAINDECK_")}
    return outside | {"TRAINDECK_HOME": str(tmp_path / "home"), VARIABLE: str(flower)}


def train(tmp_path: Path, flower: str | Path, *flags: object, code: int = 0) -> str:
    """Run the recipe to its end; what it printed on stdout, or on stderr if it had to fail."""
    done = subprocess.run(
        words(tmp_path / "run", *flags),
        env=surroundings(tmp_path, flower),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def series(folder: Path) -> dict[str, list[tuple[int, float]]]:
    tail = PointTail(folder)
    record = np.dtype([("t", "<f8"), ("step", "<i8"), ("series", "<u4"), ("value", "<f8")])
    points = np.frombuffer(tail.read().data, record)
    return {
        name: [(int(p["step"]), float(p["value"])) for p in points[points["series"] == number]]
        for number, name in enumerate(tail.names)
    }


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == kind]


@pytest.fixture
def started(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Start the recipe; whatever it started is ended with the test."""
    processes: list[psutil.Process] = []

    def start(flower: str | Path, *flags: object) -> tuple[psutil.Popen, list[psutil.Process]]:
        """The recipe, and all its processes once its rounds have begun."""
        with (tmp_path / "out").open("wb") as out:
            process = psutil.Popen(
                words(tmp_path / "run", *flags),
                env=surroundings(tmp_path, flower),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)
        coordinator = tmp_path / "run" / "federation" / "coordinator.json"
        until(lambda: (read(coordinator) or {}).get("phase") == "training", "the training")
        children = process.children(recursive=True)
        processes.extend(children)
        return process, children

    yield start
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait(60)


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
        found = series(run)
        assert found["test/accuracy"] == [(1, 0.8), (2, 0.8)]
        assert found["round_seconds"] == [(1, 1.5), (2, 1.5)]
        assert found["owners"] == [(1, 2.0), (2, 2.0)]
        assert [event["lost"] for event in events(run, "round")] == [["owner-1"], ["owner-2"]]
        assert len(events(run, "artifact")) == 2
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
        told = read(tmp_path / "run/federation/flower/told.json")
        assert told["FLWR_TELEMETRY_ENABLED"] == "0"
        assert told["FLWR_HOME"].startswith(str(tmp_path / "run"))
        assert not {"PYTHONPATH", "TRAINDECK_HOME", "USER", "SSH_AUTH_SOCK"} & set(told)

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
        told = train(tmp_path, flower.root, code=5)
        assert "renamed has a privacy budget and flower-fedavg would train on it" in told
        assert not (tmp_path / "run/federation").exists()

    @pytest.mark.parametrize("name", ["digits.owner-2", "digits-owners.owner-3"])
    def test_an_owners_budget_is_asked(self, tmp_path: Path, flower: StandIn, name: str) -> None:
        made(tmp_path / "home" / "ledger", name)
        told = train(tmp_path, flower.root, code=5)
        assert told.startswith(f"error: {name} has a privacy budget and flower-fedavg would train")
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


def superexec(tmp_path: Path, *flags: str) -> str:
    """What an app sees that ours has Flower's executor start, of which there is a stand-in."""
    package = tmp_path / "flwr" / "supercore"
    (package / "superexec" / "executor").mkdir(parents=True)
    (package / "superexec/executor/subprocess_executor.py").write_text("import subprocess\n")
    (package / "cli.py").write_text(
        "import sys\n"
        "from flwr.supercore.superexec.executor import subprocess_executor\n"
        'app = \'import sys; print(sys.argv[1:], "--token-file" in sys.argv and'
        " open(sys.argv[2]).read())'\n"
        "def flower_superexec():\n"
        f"    words = [sys.executable, '-c', app, *{flags!r}]\n"
        "    subprocess_executor.subprocess.Popen(words).wait()\n"
    )
    done = subprocess.run(
        [sys.executable, SUPEREXEC],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    return done.stdout.strip()


def test_an_apps_token_is_on_no_command_line(tmp_path: Path) -> None:
    flags, _, token = superexec(tmp_path, "--token", "secret", "--insecure").rpartition(" ")
    assert token == "secret"
    assert "--token-file" in flags and "--insecure" in flags and "secret" not in flags


def test_an_app_without_a_token_is_started_as_it_is(tmp_path: Path) -> None:
    assert superexec(tmp_path, "--insecure") == "['--insecure'] False"


class TestBoard:
    def test_who_has_not_joined_is_waited_for_and_nobody_is_a_number(self, tmp_path: Path) -> None:
        board = Board(tmp_path, dict.fromkeys(NODES, 5), "secagg", 2, 2)
        board.meet(["owner-2", "owner-3"], {"11": "owner-1"})
        shown = read(tmp_path / "coordinator.json")
        assert (shown["phase"], shown["waiting_for"]) == ("warming", ["owner-2", "owner-3"])
        told = [
            {"type": "waiting", "round": 1, "nodes": ["11", "77"]},
            {"type": "failed", "reason": "round 1: 2 are left (node 11: late; node 77: late)"},
        ]
        journal = board.aggregator_folder / "journal.jsonl"
        journal.write_text("".join(json.dumps(line) + "\n" for line in told))
        board.look()
        shown = read(tmp_path / "coordinator.json")
        assert shown["waiting_for"] == ["owner-1", UNKNOWN]
        assert [owner["state"] for owner in shown["owners"]] == ["training", "warming", "warming"]
        assert board.failure == (
            "round 1: 2 are left (owner-1: late; an owner that has not spoken yet: late)"
        )

    def test_whose_number_comes_late_has_its_name_from_then_on(self, tmp_path: Path) -> None:
        board = Board(tmp_path, dict.fromkeys(NODES, 5), "secagg", 2, 2)
        told = {"type": "waiting", "round": 1, "nodes": ["11", "22"]}
        (board.aggregator_folder / "journal.jsonl").write_text(json.dumps(told) + "\n")
        board.meet(["owner-2", "owner-3"], {"11": "owner-1"})
        board.look()
        assert UNKNOWN in read(tmp_path / "coordinator.json")["waiting_for"]
        board.meet(["owner-3"], {"11": "owner-1", "22": "owner-2"})
        shown = read(tmp_path / "coordinator.json")
        assert (shown["phase"], shown["waiting_for"]) == ("training", ["owner-1", "owner-2"])
        assert [owner["state"] for owner in shown["owners"]] == ["training", "training", "warming"]

    def test_a_line_that_is_not_whole_comes_later(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.jsonl"
        journal = Journal(path)
        assert journal.read() == []
        path.write_text('{"type": "done"}\n{"type": "ro')
        assert journal.read() == [{"type": "done"}]
        path.write_text('{"type": "done"}\n{"type": "round"}\n')
        assert journal.read() == [{"type": "round"}]

    def test_bytes_are_counted_by_class_and_round(self, tmp_path: Path) -> None:
        board = Board(tmp_path, {"owner-1": 5}, "secagg", 2, 2)
        journal = board.owner_folder("owner-1") / "journal.jsonl"
        out = {"masked": 100, "ciphertext": 0, "metadata": 7}
        sent = [
            {"type": "sent", "node": "9", "round": number, "bytes": out} for number in (1, 1, 2)
        ]
        journal.write_text("".join(json.dumps(line) + "\n" for line in sent))
        assert board.look() == []
        board.end("", False)
        shown = read(tmp_path / "owners/owner-1/status.json")
        assert shown["samples"] == 5 and shown["approval"] == "", "no script is approved"
        assert shown["bytes_out"] == {
            "ciphertext": 0,
            "masked": 300,
            "metadata": 21,
            "mock": 0,
            "raw": 0,
        }
        assert shown["bytes_round"] == {"masked": 100, "metadata": 7}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a round without SecAgg+."""
    place = tmp_path_factory.mktemp("plain")
    train(place, FLOWER, "--rounds=1", "--no-secagg")
    return place / "run"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the same round with it."""
    place = tmp_path_factory.mktemp("secure")
    train(place, FLOWER, "--rounds=1")
    return place / "run"


@pytest.mark.framework
@pytest.mark.skipif(bool(LACK), reason=LACK)
class TestFlower:
    """The real one: a round of SecAgg+ takes most of a minute on two busy cores."""

    def test_the_sum_alone_leads_to_the_same_weights(self, plain: Path, secure: Path) -> None:
        first, second = (
            np.load(run / "artifacts" / "checkpoint-00000001.npz") for run in (plain, secure)
        )
        with first, second:
            assert list(first) == list(second)
            for name in first:
                assert np.abs(first[name] - second[name]).max() < 1e-4

    def test_what_leaves_an_owner_is_masked(self, plain: Path, secure: Path) -> None:
        parameters = 64 * 32 + 32 + 32 * 10 + 10
        open_, masked = (
            read(run / "federation/owners/owner-1/status.json")["bytes_out"]
            for run in (plain, secure)
        )
        assert open_["masked"] == 0 and open_["ciphertext"] > 4 * parameters
        assert masked["masked"] > 8 * parameters  # sums modulo 2^32, sent as 64 bits
        assert 0 < masked["ciphertext"] < 4 * parameters  # shares of keys alone
        assert masked["metadata"] < 4 * parameters

    def test_its_rounds_are_shown(self, secure: Path) -> None:
        shown = read(secure / "federation/coordinator.json")
        assert shown["phase"] == "done"
        assert shown["rounds"][0]["states"] == dict.fromkeys(NODES, "sent")
        for name in NODES:
            owner = read(secure / f"federation/owners/{name}/status.json")
            assert owner["samples"] > 0 and owner["loss"] > 0 and owner["cpu_seconds"] > 0
        assert series(secure)["test/accuracy"][0][0] == 1

    def test_tls_alone_is_spoken_and_killed_it_leaves_no_process(
        self, tmp_path: Path, started: Any
    ) -> None:
        process, children = started(FLOWER)
        tls = tmp_path / "run/federation/flower/tls"
        assert {path.stat().st_mode & 0o777 for path in tls.glob("*.key")} == {0o600}
        trust = ssl.create_default_context(cafile=str(tls / "ca.pem"))
        ports = {
            connection.laddr.port
            for child in children
            for connection in child.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip == "127.0.0.1"
        }
        assert len(ports) == 4  # a SuperLink, three SuperNodes; nothing listens elsewhere
        for port in ports:
            with (
                socket.create_connection(("127.0.0.1", port), 10) as raw,
                trust.wrap_socket(raw, server_hostname="127.0.0.1") as sealed,
            ):
                assert sealed.version() == "TLSv1.3"

        def apps() -> list[str]:
            """Command lines of Flower's apps that run now."""
            lines = []
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    lines.append(" ".join(child.cmdline()))
            return [line for line in lines if "/flwr-clientapp" in line or "/flwr-server" in line]

        found = until(apps, "an app")
        assert all("--token-file" in line and "--token " not in line for line in found)
        process.kill()
        assert not psutil.wait_procs(children, timeout=30)[1]
