"""What commands print, wherever it goes: JSON that parses, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import COMMAND
from tests.tui.homes import make_run
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.tui.commands.output import print_json_line

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def of(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def lines_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestStreams:
    def test_a_terminal_that_knows_ascii_only(self, traindeck: Command, home: Home) -> None:
        make_run(home, 1, name="größe")
        ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
        assert "gr??e" in traindeck("ls", env=ascii_only).stdout
        assert of(traindeck("ls", "--json", env=ascii_only))[0]["name"] == "größe"

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    @pytest.mark.parametrize("words", ["ls", "ls --json", "--version", "recipes", "", "show x"])
    def test_a_closed_stream(self, home: Home, words: str, closed: str) -> None:
        make_run(home, 1)
        done = subprocess.run(
            ["sh", "-c", f"{COMMAND} {words} {closed}"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == {"": 2, "show x": 3}.get(words, 0), done.stderr
        assert "Traceback" not in done.stderr

    def test_a_disk_that_is_full(self, home: Home) -> None:
        make_run(home, 1)
        with open("/dev/full", "w") as full:
            for words in (["ls"], ["ls", "--json"], ["--version"]):
                done = subprocess.run(
                    [COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
                )
                assert done.returncode == 1
                assert done.stderr == "error: No space left on device\n"


class TestJson:
    def test_names_that_are_not_unicode(self, traindeck: Command, home: Home) -> None:
        (home.recipes / os.fsdecode(b"caf\xe9.py")).write_text("print(1)\n")
        listed = of(traindeck("recipes", "--json"))
        assert "caf\ufffd.py" in {Path(recipe["path"]).name for recipe in listed["recipes"]}
        traindeck("recipes")

    def test_what_json_does_not_have(self, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        value: dict[Any, Any] = {
            "\udce9": (Path("/caf\udce9"), float("inf"), True, None, 2.5),
            3: {"x": 10**30},
        }
        print_json_line(value)
        printed = json.loads(capfdbinary.readouterr().out)
        assert printed.pop("3")["x"] in (10**30, str(10**30))
        assert printed == {"\ufffd": ["/caf\ufffd", None, True, None, 2.5]}

    def test_logs_as_objects(self, traindeck: Command, home: Home) -> None:
        run_id = make_run(home, 1)
        (home.runs / run_id / "output.log").write_bytes(b"one\n\x1b[31mtwo\xff\n\nlast")
        lines = lines_of(traindeck("logs", "@last", "--json"))
        assert [each["line"] for each in lines] == ["one", "\x1b[31mtwo\ufffd", "", "last"]

    def test_watch_as_objects(self, traindeck: Command, home: Home) -> None:
        run_id = make_run(home, 1, state="failed", reason="exit code 3", metric=0.5, epochs=4)
        events.append(home.runs / run_id / "events.jsonl", "note", text="half way")
        happened = lines_of(traindeck("watch", "@last", "--json", code=1))
        by_type = {each["type"]: each for each in happened}
        assert by_type["state"] == {
            "type": "state",
            "id": run_id,
            "state": "failed",
            "reason": "exit code 3",
        }
        assert by_type["note"]["text"] == "half way"
        assert by_type["metrics"]["progress"] == 0.4
        assert by_type["metrics"]["metrics"]["test/accuracy"] == {"step": 2, "value": 0.5}

    def test_a_parameter_that_is_not_set(self, traindeck: Command, home: Home) -> None:
        make_run(home, 1, params={"data_dir": None})
        assert "data_dir   not set" in traindeck("show", "@last").stdout

    def test_the_trash_as_a_list(self, traindeck: Command, home: Home) -> None:
        assert of(traindeck("restore", "--json")) == []
        ids = [make_run(home, number, name=f"n{number}") for number in (1, 2)]
        (home.runs / ids[1] / "run.json").write_text("{")
        for run_id in ids:
            (home.runs / run_id).rename(home.trash / run_id)
        whole, damaged = of(traindeck("restore", "--json"))
        assert (whole["id"], whole["name"], whole["state"]) == (ids[0], "n1", "finished")
        assert (damaged["id"], damaged["state"]) == (ids[1], None)
        assert [each["id"] for each in of(traindeck("restore", ids[0], "--json"))] == [ids[0]]


class TestExitCodes:
    @pytest.mark.parametrize(
        ("state", "code"), [("finished", 0), ("over_budget", 5), ("failed", 1), ("killed", 1)]
    )
    def test_watching_ends_as_the_run_did(
        self, traindeck: Command, home: Home, state: str, code: int
    ) -> None:
        make_run(home, 1, state=state)
        traindeck("watch", "@last", code=code)

    def test_every_run_is_dealt_with_and_the_worst_code_remains(
        self, traindeck: Command, home: Home
    ) -> None:
        over = make_run(home, 1)
        script = "import time; time.sleep(60)"
        going = [traindeck("run", "--", "python3", "-c", script).stdout.strip() for _ in range(2)]
        done = traindeck("stop", going[0], over, "nope", going[1], code=3)
        assert f"run {over} does not run: finished" in done.stderr
        assert "nope" in done.stderr
        for run_id in going:
            assert f"run {run_id} was asked to stop" in done.stderr
        done = traindeck("kill", over, going[0], going[1], code=1)
        assert done.stderr.count("error: ") >= 1

    def test_last_is_the_run_that_was_last_before(self, traindeck: Command, home: Home) -> None:
        first, last = make_run(home, 1), make_run(home, 2)
        traindeck("rm", "@last", "@last")
        assert document(RunFolder(home.runs / first)) is not None
        assert traindeck("restore").stdout.split() == [last]
        traindeck("restore", "zzzz", last, code=3)
        assert traindeck("restore").stdout == ""
