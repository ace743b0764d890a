"""What Flower's apps write down, as the screen shows it; and its tokens, on no command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.federated.flower_stand_in import NODES, read
from traindeck.recipes.shared.federated.flower.board import UNKNOWN, Board, Journal
from traindeck.recipes.shared.federated.flower.deployment import SUPEREXEC


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
        lines = [
            {"type": "waiting", "round": 1, "nodes": ["11", "77"]},
            {"type": "failed", "reason": "round 1: 2 are left (node 11: late; node 77: late)"},
        ]
        journal = board.aggregator_folder / "journal.jsonl"
        journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
        board.look()
        shown = read(tmp_path / "coordinator.json")
        assert shown["waiting_for"] == ["owner-1", UNKNOWN]
        assert [owner["state"] for owner in shown["owners"]] == ["training", "warming", "warming"]
        assert board.failure == (
            "round 1: 2 are left (owner-1: late; an owner that has not spoken yet: late)"
        )

    def test_whose_number_comes_late_has_its_name_from_then_on(self, tmp_path: Path) -> None:
        board = Board(tmp_path, dict.fromkeys(NODES, 5), "secagg", 2, 2)
        waiting = {"type": "waiting", "round": 1, "nodes": ["11", "22"]}
        (board.aggregator_folder / "journal.jsonl").write_text(json.dumps(waiting) + "\n")
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
