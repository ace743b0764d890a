"""Any script, as it is: its flags are parameters, what it prints are curves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tui.homes import make_run
from traindeck.core.base.home import Home

Run = Callable[..., subprocess.CompletedProcess[str]]

SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--fast", action="store_true")
args = parser.parse_args()
for epoch in range(3):
    print(f"Epoch {epoch + 1}/3  loss: {args.lr / (epoch + 1):.4f}  acc: {50 + epoch}%")
"""
WITH_HEADER = """# /// script
# [tool.traindeck]
# name = "declared"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.1
# ///
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def shown(traindeck: Run) -> dict[str, Any]:
    return dict(json.loads(traindeck("show", "@last", "--json").stdout))


def test_a_commands_flags_are_parameters_and_its_lines_are_curves(
    traindeck: Run, script: Path
) -> None:
    traindeck("run", "--wait", "--", sys.executable, str(script), "--lr", "0.5", "--fast")
    run = shown(traindeck)
    assert run["params"] == {"lr": 0.5, "fast": True}
    assert run["metrics"]["loss"]["count"] == 3
    assert run["metrics"]["acc"]["last"] == 52.0
    assert (run["progress"]["done"], run["progress"]["total"]) == (3, 3)
    traindeck("run", "--wait", "--again", "@last", "-p", "lr=0.05")
    run = shown(traindeck)
    assert run["params"] == {"lr": 0.05, "fast": True}
    assert run["metrics"]["loss"]["max"] == 0.05


def test_a_scripts_own_flags_follow_it(traindeck: Run, script: Path) -> None:
    traindeck("run", "--wait", str(script), "--lr", "0.5")
    assert shown(traindeck)["params"] == {"lr": 0.5}
    traindeck("run", "--wait", "--again", "@last", "-p", "lr=0.25")
    run = shown(traindeck)
    assert run["params"] == {"lr": 0.25}
    assert run["metrics"]["loss"]["max"] == 0.25


def test_a_header_does_not_switch_following_off(traindeck: Run, script: Path) -> None:
    script.write_text(WITH_HEADER + SCRIPT)
    traindeck("run", "--wait", str(script), "--lr", "0.5")
    run = shown(traindeck)
    assert run["params"] == {"lr": 0.5}
    assert run["metrics"]["loss"]["count"] == 3
    traindeck("run", str(script), "--nothing", "5", code=2)


def test_expressions_are_given_on_the_command_line_or_in_the_settings(
    traindeck: Run, home: Home, tmp_path: Path
) -> None:
    odd = tmp_path / "odd.py"
    odd.write_text("print('at 3 << 0.5 >>')")
    command = ("--", sys.executable, str(odd))
    expression = r"at (?P<step>\d+) << (?P<gap>\S+)"
    ended = traindeck("run", "--wait", *command)
    assert "traindeck parse" in ended.stdout
    hint = traindeck("metrics", "@last").stderr
    assert "--parse" in hint
    assert "--parse" in traindeck("show", "@last").stderr
    traindeck("run", "--wait", "--parse", expression, *command)
    assert shown(traindeck)["metrics"]["gap"]["step"] == 3
    home.root.joinpath("settings.toml").write_text(f"[parse]\n'odd.py' = '{expression}'\n")
    traindeck("run", "--wait", *command)
    assert shown(traindeck)["metrics"]["gap"]["last"] == 0.5
    traindeck("run", "--parse", "(", *command, code=2)
    traindeck("run", "--parse", "no group", *command, code=2)


def test_parse_shows_what_would_be_read_and_why(traindeck: Run, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("epoch 3 loss=0.5\nlistening on 8080\n")
    told = traindeck("parse", str(log))
    assert "step 3  loss 0.5" in told.stdout
    assert "8080" not in told.stdout
    assert "8080" in traindeck("parse", "--all", str(log)).stdout
    assert json.loads(traindeck("parse", "--json", str(log)).stdout)["series"] == {"loss": 1}
    log.write_text("listening on 8080\n")
    told = traindeck("parse", str(log))  # nothing was read, so what was not is shown
    assert "listening on 8080" in told.stdout and "no metrics in 1 line with numbers" in told.stderr
    traindeck("parse", str(tmp_path / "none.log"), code=3)


def test_parse_says_why_of_bars_and_what_they_do_not_repeat(traindeck: Run, tmp_path: Path) -> None:
    log = tmp_path / "bar.log"
    bar = "\r\x1b[1m{0:3d}%\x1b[0m|###  | {0}/100 [00:01<00:01,  5.0it/s, loss={1}, lr=0.001]"
    log.write_text("".join(bar.format(n, n + 0.5) for n in (0, 20, 50, 100)) + "\n")
    told = [line.strip() for line in traindeck("parse", str(log)).stdout.splitlines()[1::2]]
    assert told == [
        "a progress bar (tqdm): step 0  loss 0.5  lr 0.001",
        "a progress bar (tqdm), what is unchanged is not repeated: step 20  loss 20.5",
        "a progress bar (tqdm), what is unchanged is not repeated: step 50  loss 50.5",
        "a progress bar (tqdm): step 100  loss 100.5  lr 0.001",
    ]


def test_a_box_that_ends_a_log_is_shown_and_imported(
    traindeck: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    log = tmp_path / "ppo.log"
    box = "-" * 30 + "\n| rollout/         |      |\n|    ep_rew_mean   | {} |\n| time/ |  |\n"
    box += "|    total_timesteps | {} |\n"
    log.write_text(box.format(21.5, 2048) + box.format(28.5, 4096))
    told = traindeck("parse", str(log))
    assert "2 points of 1 series: rollout/ep_rew_mean" in told.stderr
    assert "step 4096  rollout/ep_rew_mean 28.5" in told.stdout
    traindeck("import", str(log))
    [run] = json.loads(traindeck("ls", "--json").stdout)
    assert run["metrics"]["rollout/ep_rew_mean"]["last"] == 28.5


def test_fractional_steps_are_kept_in_their_order(traindeck: Run, tmp_path: Path) -> None:
    script = tmp_path / "half.py"
    script.write_text(
        "from traindeck.core import track\n"
        "with track.start() as run:\n"
        "    for i in range(6):\n"
        "        run.log(i / 2, {'loss': 1.0 / (i + 1)})\n"
    )
    traindeck("run", "--wait", str(script))
    metrics = shown(traindeck)["metrics"]
    assert (metrics["loss"]["count"], metrics["loss"]["step"]) == (6, 5)
    assert metrics["step"]["last"] == 2.5


OWN_NAME = """
import argparse
parser = argparse.ArgumentParser(usage="train.py [--name NAME] [--tag] [--reason WHY]")
parser.add_argument("--name")
parser.add_argument("-p", type=int)
parser.add_argument("--wait", action="store_true")
parser.add_argument("rest", nargs="*")
print(parser.parse_args())
"""


def test_what_stands_behind_a_script_is_its_own(traindeck: Run, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(OWN_NAME)
    words = ("--name", "x", "-p", "3", "--wait", "--json", "y")
    done = traindeck("run", "--wait", "--name", "mine", str(script), *words)
    assert "note: --name goes to train.py" in done.stderr
    run = json.loads(done.stdout)
    assert (run["name"], run["params"]) == ("mine", {"name": "x", "p": 3, "wait": True})
    assert run["command"][2:] == [str(script), "--", "--name", "x", "-p", "3", "--wait", "y"]
    traindeck("run", "--wait", *run["command"][2:])
    assert shown(traindeck)["params"] == run["params"]
    done = traindeck("run", str(script), "--tag", "quick")
    assert "note: --tag is taken for traindeck's; for train.py write it behind --" in done.stderr
    assert shown(traindeck)["tags"] == ["quick"]


def test_behind_two_dashes_all_is_the_scripts(traindeck: Run, script: Path) -> None:
    script.write_text(SCRIPT.replace('"--lr"', '"--lr", "--" + "tag"'))
    traindeck("run", "--wait", str(script), "--", "--tag", "0.5")
    run = shown(traindeck)
    assert (run["params"], run["tags"]) == ({"tag": 0.5}, [])


def test_flags_before_the_script_are_told_where_they_go(traindeck: Run, script: Path) -> None:
    told = traindeck("run", "--epochs", "2", str(script), code=2).stderr
    assert "error: --epochs is no option" in told and "traindeck run SCRIPT --epochs" in told
    assert "\nerror: " in traindeck("show", code=2).stderr, "as all others begin"


def test_a_run_is_repeated_with_changes_by_parameters(traindeck: Run, script: Path) -> None:
    traindeck("run", "--wait", str(script), "--lr", "0.5")
    told = traindeck("run", "--again", "@last", "--lr", "0.9", code=2).stderr
    assert "-p lr=0.9" in told


@pytest.mark.parametrize(("code", "done"), [(0, 3), (1, 2)])
def test_epochs_announced_where_they_begin_are_done_if_the_run_ended_well(
    traindeck: Run, tmp_path: Path, code: int, done: int
) -> None:
    path = tmp_path / "starts.py"
    path.write_text(f"for n in 1, 2, 3: print(f'Epoch {{n}}/3\\nloss: {{1 / n}}')\nexit({code})\n")
    traindeck("run", "--wait", "--", sys.executable, str(path), code=code)
    progress = shown(traindeck)["progress"]
    assert (progress["done"], progress["total"]) == (done, 3)


def test_all_values_of_a_flag_are_its_parameter_and_are_replaced(
    traindeck: Run, tmp_path: Path
) -> None:
    path = tmp_path / "sizes.py"
    path.write_text(
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--hidden', nargs='+', type=int)\n"
        "print('loss:', sum(parser.parse_args().hidden))\n"
    )
    traindeck("run", "--wait", str(path), "--hidden", "8", "16")
    assert shown(traindeck)["params"] == {"hidden": "8 16"}
    traindeck("run", "--wait", "--again", "@last", "-p", "hidden=4")
    assert shown(traindeck)["params"] == {"hidden": 4}
    traindeck("run", "--wait", "--again", "@last", "-p", "hidden=4 2 1")
    run = shown(traindeck)
    assert run["params"] == {"hidden": "4 2 1"}
    assert run["metrics"]["loss"]["last"] == 7
    traindeck("run", "--wait", "--", sys.executable, str(path), "--hidden", "8", "16")
    traindeck("run", "--wait", "--again", "@last", "-p", "hidden=4")
    assert shown(traindeck)["metrics"]["loss"]["last"] == 4
    traindeck("run", "--wait", "--", "echo", "--names", "a", "b")
    refused = traindeck("run", "--again", "@last", "-p", "names=c", code=2)
    assert "`--names a b`" in refused.stderr


def test_a_slip_in_what_is_to_be_run_is_told_with_what_was_meant(
    traindeck: Run, script: Path
) -> None:
    shell = script.with_name("flush.sh")
    shell.write_text("true\n")
    for words, why in [
        ("torch-digit", "did you mean torch-digits"),
        ("torch-mnits", "did you mean torch-mnist"),
        ("trian.py", "there is no file 'trian.py'; did you mean train.py?"),
        ("./nowhere/x", "there is no file './nowhere/x', and no such recipe"),
        ("./flush.sh", "to run any command: traindeck run -- sh ./flush.sh"),
        ("train.py.bak", "there is no file"),
        ("zzzzzz", "for a command: traindeck run -- COMMAND"),
    ]:
        said = traindeck("run", words, code=3, cwd=script.parent).stderr
        assert why in said and "flower-breast-cancer" not in said
    shell.chmod(0o755)
    said = traindeck("run", "flush.sh", code=3, cwd=script.parent).stderr
    assert "traindeck run -- ./flush.sh" in said


def test_a_slip_in_a_runs_name_is_told_with_what_was_meant(traindeck: Run, home: Home) -> None:
    make_run(home, 1, name="torch-mnist")
    said = traindeck("show", "torch-mnsit", code=3).stderr
    assert "no run 'torch-mnsit'" in said and "did you mean torch-mnist?" in said
    said = traindeck("parse", "nope.log", code=3).stderr
    assert "there is no file 'nope.log', and no run 'nope.log'" in said


def test_an_expression_is_told_as_it_was_typed(traindeck: Run, script: Path) -> None:
    said = traindeck("parse", str(script), "--parse", r"it \d+", code=2).stderr
    assert r"--parse 'it \d+' names no metric" in said and r"(?P<loss>\S+)" in said
