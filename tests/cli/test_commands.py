"""The commands, as people and scripts use them: real processes, JSON on stdout, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import on_terminal
from tests.conftest import process_of, until, wait_for_state
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]

TOY = """\
# /// script
# [tool.traindeck]
# name = "toy"
# title = "A toy"
# headline = "loss"
# [tool.traindeck.params.steps]
# type = "int"
# default = 5
# min = 1
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.5
# ///
import time
from traindeck.core import track
with track.start() as run:
    for step in range(run.params.steps):
        run.log(step, {"loss": run.params.lr / (step + 1), "bad": float("nan")})
        run.progress(step + 1, run.params.steps)
        time.sleep(0.01)
    run.note("all done")
"""


@pytest.fixture
def toy(home: Home) -> Path:
    path = home.recipes / "toy.py"
    path.write_text(TOY)
    return path


def of(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def until_all_is_written(folder: Path) -> None:
    """A run's provenance may come after its end."""
    supervisor = process_of(RunFolder(folder), "supervisor")
    until(lambda: not supervisor.alive(), "the supervisor's end")


def test_help_and_version(traindeck: Command) -> None:
    words = traindeck("--help").stdout
    named = "recipes run ls show metrics logs watch stop kill rm devices reindex doctor"
    assert all(f"  {command} " in words for command in named.split())
    assert traindeck("--version").stdout.startswith("traindeck ")


def test_recipes_lists_good_and_broken(traindeck: Command, toy: Path) -> None:
    toy.with_name("broken.py").write_text(TOY.replace('"int"', '"integer"'))
    listed = of(traindeck("recipes", "--json"))
    assert "toy" in {recipe["name"] for recipe in listed["recipes"]}
    assert listed["broken"][0]["line"] == 7
    listed = traindeck("recipes")
    assert "broken.py:7: parameter 'steps': type 'integer'" in listed.stderr
    shown = of(traindeck("recipes", "show", "toy", "--json"))
    assert shown["params"]["steps"]["default"] == 5


def test_ctrl_c_before_anything_is_read_in_is_no_traceback() -> None:
    code = (
        "import signal, sys, traindeck.tui.start as start\n"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL, 'while it is read in'\n"
        "import traindeck.tui.cli as cli\n"
        "cli.main = lambda: signal.raise_signal(signal.SIGINT)\n"
        "start.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_what_stands_for_a_run_is_no_name(traindeck: Command, toy: Path) -> None:
    run = traindeck("run", "toy", "--wait").stdout.split()[0]
    for words in (["edit", run, "--name", "@last"], ["run", "toy", "--name", "@last"]):
        assert "@last" in traindeck(*words, code=2).stderr


@pytest.mark.parametrize("columns", [60, 80, 400])
def test_no_word_of_a_recipes_parameters_is_cut(
    traindeck: Command, home: Home, columns: int
) -> None:
    params = of(traindeck("recipes", "show", "torch-finetune", "--json"))["params"]
    lines = on_terminal(columns, "recipes", "show", "torch-finetune")
    shown = " ".join(" ".join(lines[lines.index("") :]).split())
    assert max(map(len, lines[lines.index("") :])) <= columns
    assert [param for param in params.values() if param["help"] not in shown] == []


def test_run_wait_show_metrics(traindeck: Command, home: Home, toy: Path) -> None:
    shown = of(traindeck("run", "toy", "-p", "steps=7", "--tag", "x", "--wait", "--json"))
    assert shown["state"] == "finished"
    assert shown["exit_code"] == 0
    assert shown["params"] == {"steps": 7, "lr": 0.5}
    assert shown["metrics"]["loss"]["count"] == 7
    assert shown["metrics"]["loss"]["max"] == 0.5
    assert shown["metrics"]["bad"]["last"] is None
    assert shown["progress"]["done"] == shown["progress"]["total"] == 7
    assert shown["command"] == ["traindeck", "run", "toy", "-p", "steps=7"]
    assert shown["privacy"] is None
    assert shown["tags"] == ["x"]
    wanted = "id name recipe framework state reason exit_code device params created started ended"
    assert set(wanted.split()) | {"progress", "metrics", "privacy", "path"} <= shown.keys()
    assert of(traindeck("show", "@last", "--json")) == shown
    assert of(traindeck("ls", "--json")) == [shown]
    rows = list(csv.DictReader(io.StringIO(traindeck("metrics", "@last", "--csv").stdout)))
    assert [row["step"] for row in rows if row["series"] == "loss"] == list("0123456")
    points = of(traindeck("metrics", "@last", "--series", "loss", "--json"))
    assert len(points["loss"]["points"]) == 7
    assert "no privacy accounting" in traindeck("show", "toy").stdout
    assert "note: all done" in traindeck("watch", "toy").stdout


def test_run_says_id_and_state_at_once(traindeck: Command, home: Home, toy: Path) -> None:
    begun = of(traindeck("run", "toy", "-p", "steps=100000", "--json"))
    assert begun["state"] in ("starting", "running")
    assert traindeck("stop", begun["id"]).stdout == ""
    assert wait_for_state(RunFolder(home.runs / begun["id"]))["state"] in ("stopped", "killed")


def test_what_is_printed_live_begins_and_ends_with_the_state(
    traindeck: Command, home: Home, toy: Path
) -> None:
    lines = traindeck("run", "toy", "-p", "steps=30", "--wait").stdout.splitlines()
    states = [line.split()[1] for line in lines if line.startswith(lines[0].split()[0])]
    assert states[0] in ("starting", "running")
    assert states[-1] == lines[-1].split()[1] == "finished"
    assert any("loss" in line for line in lines)


def test_again_repeats_with_changes(traindeck: Command, home: Home, toy: Path) -> None:
    first = of(traindeck("run", "toy", "-p", "steps=3", "--wait", "--json"))
    again = of(traindeck("run", "--again", first["id"], "-p", "lr=2", "--wait", "--json"))
    assert again["params"] == {"steps": 3, "lr": 2.0}
    assert again["id"] != first["id"]
    toy.unlink()
    assert "has gone" in traindeck("run", "--again", "@last", code=1).stderr


def test_a_run_is_named_to_be_resumed(traindeck: Command, home: Home, toy: Path) -> None:
    toy.write_text(
        TOY.replace(
            "# ///\nimport", '# [tool.traindeck.params.resume]\n# type = "path"\n# ///\nimport'
        )
    )
    first = of(traindeck("run", "toy", "--wait", "--json"))
    done = traindeck("run", "toy", "-p", "resume=@last", "--wait", "--json")
    assert f"resume: the newest checkpoint of run {first['id']}" in done.stderr
    assert of(done)["params"]["resume"] == first["path"]


def test_a_command_without_a_header(traindeck: Command, home: Home, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import json, sys\n"
        "for step in range(20):\n"
        "    print(json.dumps({'step': step, 'loss': 1 / (step + 1)}))\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    shown = traindeck("run", "--wait", "--json", "--", sys.executable, str(script), "3", code=1)
    doc = of(shown)
    assert (doc["state"], doc["exit_code"], doc["recipe"]) == ("failed", 3, None)
    assert doc["name"] == "train.py"
    assert doc["metrics"]["loss"]["count"] == 20
    assert traindeck("logs", "@last").stdout.count("loss") == 20


def test_a_recipe_that_ends_itself_is_repeated(traindeck: Command, home: Home) -> None:
    (home.recipes / "ends.py").write_text(
        TOY.replace("toy", "ends").split("import time")[0] + "from traindeck.core import track\n"
        "with track.start() as run:\n"
        "    track.abort('nothing here; ' * 40 + 'get it', run.params.steps)\n"
    )
    for code in (2, 3, 4, 7):
        expected = code if code < 5 else 1
        waited = traindeck("run", "ends", "-p", f"steps={code}", "--wait", "--json", code=expected)
        assert of(waited)["state"] == "failed" and of(waited)["exit_code"] == code
        last = traindeck("watch", "@last", code=expected).stdout.splitlines()[-1]
        assert "failed: " in last and last.endswith("get it")  # what mends it is said last


def test_exit_codes(traindeck: Command, home: Home, toy: Path) -> None:
    for words, code, why in [
        (["run", "toy", "-p", "steps=0"], 2, "below the least allowed, 1"),
        (["run", "toy", "-p", "step=1"], 2, "has no parameter 'step'; it has: steps, lr"),
        (["run", "toy", "-p", "steps"], 2, "is not KEY=VALUE"),
        (["run", "toy", "--on", "toaster"], 2, "is not a device"),
        (["run", "toy", "--on", "gpu"], 2, "runs on cpu, not on gpu"),
        (["run", "toy", "--on", "cpu:4096"], 4, "core"),
        (["run", "toi"], 3, "no recipe 'toi'"),
        (["run"], 2, "a recipe"),
        (["run", "--"], 2, "the command to run"),
        (["show", "nope"], 3, "traindeck ls"),
        (["metrics", "@last"], 3, "there are no runs yet"),
        (["ls", "--query", "accuracy>>1"], 2, ""),
        (["stop"], 2, ""),
        (["frobnicate"], 2, ""),
        ([], 2, "needs a terminal"),
    ]:
        done = traindeck(*words, code=code)
        assert why in done.stderr
        assert done.stdout == ""
    assert list(home.runs.iterdir()) == []


def test_rm_and_restore(traindeck: Command, home: Home, toy: Path) -> None:
    run_id = of(traindeck("run", "toy", "--wait", "--json"))["id"]
    traindeck("edit", run_id, "--name", "kept", "--tag", "a", "--notes", "why not")
    traindeck("rm", "kept")
    assert of(traindeck("ls", "--json")) == []
    assert traindeck("restore").stdout.split() == [run_id]
    traindeck("restore", run_id[:6])
    [doc] = of(traindeck("ls", "--query", "tag:a kept", "--json"))
    assert (doc["name"], doc["notes"]) == ("kept", "why not")


def test_reindex_devices_doctor(traindeck: Command, home: Home, toy: Path) -> None:
    traindeck("run", "toy", "--wait")
    home.catalogue.unlink()
    assert "1 run in" in traindeck("reindex").stderr
    home.catalogue.write_text("{")
    assert "traindeck reindex" in traindeck("ls", code=1).stderr
    devices = of(traindeck("devices", "--json"))
    assert devices["cpu"]["usable_cores"]
    findings = of(traindeck("doctor", "--json"))
    here = "its packages are here"
    assert {"what": "recipe toy", "ok": True, "is": here, "mend": ""} in findings


def test_doctor_misses_a_recipes_own_environment(traindeck: Command, home: Home, toy: Path) -> None:
    toy.write_text(
        toy.read_text().replace(
            "# [tool.traindeck]\n",
            '# [tool.traindeck]\n# environment = "elsewhere"\n'
            '# packages = ["flwr==1.*", "numpy"]\n',
            1,
        )
    )
    check = {each["what"]: each for each in of(traindeck("doctor", "--json"))}["recipe toy"]
    place = home.root / "envs" / "elsewhere"
    assert not check["ok"] and str(place) in check["is"]
    making = f"python3 -m venv {place} && {place}/bin/pip install 'flwr==1.*' numpy"
    assert check["mend"] == making
    python = place / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert {each["what"]: each for each in of(traindeck("doctor", "--json"))}["recipe toy"]["ok"]


def test_the_home_is_private_and_keeps_no_secret(
    traindeck: Command, home: Home, tmp_path: Path
) -> None:
    secret = "hunter2-s3cr3t"
    environment = {
        **os.environ,
        "WANDB_API_KEY": secret,
        "TORCH_TOKEN": secret,
        "CUDA_CACHE_PATH": "kept",
    }
    traindeck("run", "--wait", "--", "true", env=environment)
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    [folder] = home.runs.iterdir()
    until_all_is_written(folder)
    assert "kept" in (folder / "source" / "provenance.json").read_text()
    for path in home.root.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_what_was_launched_is_kept(traindeck: Command, home: Home, tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    script = tmp_path / "mine.py"
    script.write_text(TOY)
    git("init", "-b", "trunk")
    git("add", "mine.py")
    git("commit", "-m", "first")
    script.write_text(TOY.replace("0.01", "0.02"))
    doc = of(traindeck("run", str(script), "--wait", "--json"))
    folder = Path(doc["path"])
    until_all_is_written(folder)
    kept = json.loads((folder / "source" / "provenance.json").read_text())
    assert kept["git"]["branch"] == "trunk"
    assert kept["git"]["dirty"] is True
    assert len(kept["git"]["commit"]) == 40
    assert "+        time.sleep(0.02)" in (folder / "source" / "diff.patch").read_text()
    assert (folder / "source" / "mine.py").read_text() == script.read_text()
    assert kept["packages"]["numpy"]
    assert Path(kept["python"]["executable"]).parent == Path(sys.executable).parent


def test_hostile_output_is_kept_as_bytes(traindeck: Command, home: Home) -> None:
    hostile = b"\x1b]52;c;aGk=\x07\x1b[2J[red]\x00\xff\xfe" + b"x" * (10 << 20) + b"\n"
    text = (
        "import sys; w = sys.stdout.buffer.write;"
        "w(b'\\x1b]52;c;aGk=\\x07\\x1b[2J[red]\\x00\\xff\\xfe' + b'x' * (10 << 20) + b'\\n');"
        "[w(b'line %d\\n' % n) for n in range(200000)]"
    )
    doc = of(traindeck("run", "--wait", "--json", "--", sys.executable, "-c", text))
    assert doc["state"] == "finished"
    kept = (Path(doc["path"]) / "output.log").read_bytes()
    assert kept.startswith(hostile)
    assert kept.count(b"\n") == 200001
    piped = subprocess.run(
        [Path(sys.executable).parent / "traindeck", "logs", "@last"], capture_output=True
    )
    assert piped.stdout == kept


def test_a_failure_is_told_without_control_characters(traindeck: Command, home: Home) -> None:
    text = "print('\\x1b[31mbad\\x1b[0m [bold]'); raise SystemExit(1)"
    doc = of(traindeck("run", "--wait", "--json", "--", sys.executable, "-c", text, code=1))
    assert doc["reason"] == "exit code 1: bad [bold]"


def test_tensorboard_files_of_a_command_become_metrics(
    traindeck: Command, home: Home, tmp_path: Path
) -> None:
    script = tmp_path / "board.py"
    script.write_text(
        "from tensorboard.compat.proto.event_pb2 import Event\n"
        "from tensorboard.compat.proto.summary_pb2 import Summary\n"
        "from tensorboard.summary.writer.event_file_writer import EventFileWriter\n"
        "writer = EventFileWriter('logs')\n"
        "for step in range(50):\n"
        "    value = Summary.Value(tag='eval/loss', simple_value=1 / (step + 1))\n"
        "    writer.add_event(Event(step=step, summary=Summary(value=[value])))\n"
        "writer.close()\n"
    )
    command = ("--", sys.executable, "-W", "ignore", str(script))
    doc = of(traindeck("run", "--wait", "--json", *command, cwd=tmp_path))
    [(name, metric)] = doc["metrics"].items()
    assert name.endswith("eval/loss")
    assert (metric["count"], metric["step"], metric["max"]) == (50, 49, 1.0)
