"""A sweep of real runs: begun, left, stopped, resumed, extended, exported, deleted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import until
from tests.core.sweeps.searched import TINY, asked, ended, known, searched, tiny
from traindeck.core.base.errors import ControlError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder
from traindeck.core.sweeps import begin, driver, study
from traindeck.core.sweeps.removal import remove
from traindeck.core.sweeps.study import SweepRequest
from traindeck.core.sweeps.trials import COMPLETE, FAILED, PRUNED, STOPPED, best

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_sweep_by_command(home: Home, traindeck: Command, tmp_path: Path) -> None:
    tiny(tmp_path)
    done = traindeck(
        "sweep", str(tmp_path / "tiny.py"), "-p", "lr=log:1e-4..1e-1", "-p", "batch_size=64,128",
        "--trials", "5", "--at-once", "2", "--wait",
    )  # fmt: skip
    assert done.stdout.count(" complete 0.") == 5
    [line] = json.loads(traindeck("sweeps", "ls", "--json").stdout)
    assert (line["state"], line["done"], line["series"]) == ("finished", 5, "test/accuracy")
    assert line["direction"] == "maximize"
    values = [one["value"] for one in line["trials"]]
    assert line["best"]["value"] == max(values)
    shown = traindeck("sweeps", "show", "@last").stdout
    assert shown.index(f"{max(values):.4g}") < shown.index(f"{min(values):.4g}")
    runs = json.loads(traindeck("ls", "--json", "--query", f"tag:sweep-{line['id']}").stdout)
    assert {run["id"] for run in runs} == {one["runs"][0] for one in line["trials"]}
    assert {run["recipe"] for run in runs} == {"tiny"}
    first = line["trials"][0]["runs"][0]
    assert f"trial 0 of {line['id']}" in traindeck("show", first).stdout


def test_a_plain_command_is_searched(home: Home, traindeck: Command, tmp_path: Path) -> None:
    script = tmp_path / "square.py"
    script.write_text(
        "import json, sys\nprint(json.dumps({'step': 1, 'loss': (float(sys.argv[1]) - 3) ** 2}))\n"
    )
    done = traindeck(
        "sweep", "-p", "x=1,3,5", "--minimize", "loss", "--sampler", "grid", "--wait", "--json",
        "--", "python3", str(script), "{x}",
    )  # fmt: skip
    told = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert [one["value"] for one in told["trials"]] == [4.0, 0.0, 4.0]
    assert told["best"]["values"] == {"x": "3"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["tiny.py"], "nothing varies"),
        (["tiny.py", "-p", "lr=0.1,1", "-p", "lr=2"], "given twice"),
        (["tiny.py", "-p", "lr=0.1,1", "--sampler", "best"], "--sampler best is not one of tpe"),
        (["tiny.py", "-p", "lr=0.1,1", "--pruner", "all"], "--pruner all is not one of none"),
        (["tiny.py", "-p", "lr=0.1,1", "--trials", "0"], "--trials 0 is not from 1 to"),
        (["tiny.py", "-p", "lr=0..1", "--sampler", "grid"], "a grid needs values"),
        (["tiny.py", "-p", "lr=0.1,1", "--sampler", "cmaes"], "cmaes needs a range"),
        (["tiny.py", "-p", "seed=1,2", "--seeds", "2"], "leave -p seed out"),
        (["-p", "lr=1,2", "--minimize", "loss", "--", "true"], "has no place for lr: write {lr}"),
        (["-p", "lr=1,2", "--", "true", "{lr}"], "say what is sought"),
        (["-p", "lr=1,2", "--maximize", "a", "--minimize", "b"], "one of --maximize and"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_line(
    home: Home, traindeck: Command, tmp_path: Path, words: list[str], why: str
) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    assert why in traindeck("sweep", *words, code=2, cwd=tmp_path).stderr
    assert study.sweeps(home) == []


def test_a_sweep_that_is_not_there(traindeck: Command) -> None:
    for words in (("show", "x"), ("stop", "@last"), ("extend", "x", "3"), ("rm", "x")):
        assert "no sweep" in traindeck("sweeps", *words, code=3).stderr


def test_repeats_are_averaged_and_their_spread_is_said(home: Home, tmp_path: Path) -> None:
    folder = searched(home, asked(tiny(tmp_path), trials=2, seeds=3))
    for trial in known(folder):
        assert [one.part for one in trial.attempts] == [0, 1, 2]
        values = [one.value or 0.0 for one in trial.attempts]
        assert trial.value == pytest.approx(sum(values) / 3)
        assert trial.spread == pytest.approx(0.001)


def test_stopped_and_resumed(home: Home, tmp_path: Path) -> None:
    folder = study.create(home, asked(tiny(tmp_path), trials=4, typed={"seconds": "0.3"}))
    driver.start(folder)
    until(lambda: any(one.state == "running" for one in known(folder)), "a trial")
    study.stop(folder)
    stopped = ended(folder)
    assert folder.state()[0] == study.STOPPED
    assert any(one.state == STOPPED for one in stopped)
    with pytest.raises(ControlError, match="is stopped already"):
        study.stop(folder)
    study.resume(folder)
    driver.start(folder)
    assert [one.state for one in ended(folder)] == [COMPLETE] * 4
    assert folder.state() == (study.FINISHED, "")


def test_extended(home: Home, tmp_path: Path) -> None:
    folder = searched(home, asked(tiny(tmp_path), trials=2))
    before = [one.attempts[0].run for one in known(folder)]
    begin.extend(folder, 2)
    begin.go_on(folder)
    after = [one.attempts[0].run for one in ended(folder)]
    assert len(after) == 4 and after[:2] == before
    with pytest.raises(UsageError, match="from 1 more to"):
        begin.extend(folder, 0)


def test_pruned_trials_are_told_from_stopped_and_failed_ones(home: Home, tmp_path: Path) -> None:
    request = asked(
        tiny(tmp_path),
        typed={"lr": "0.05,0.04,0.03,0.02,0.01,1e-9,2e-9,3e-9"},
        trials=8,
        at_once=1,
        sampler="grid",
        pruner="median",
    )
    trials = known(searched(home, request))
    assert [one.state for one in trials] == [COMPLETE] * 5 + [PRUNED] * 3
    for one in trials[5:]:
        assert one.reason.startswith("median: ")
        assert one.value is None and len(one.reports) < 5
        assert RunFolder(home.runs / one.attempts[0].run).state()[0] == "stopped"


def test_where_all_fail_it_ends_and_says_why(home: Home, tmp_path: Path) -> None:
    folder = searched(home, asked(tiny(tmp_path), trials=40, typed={"fails": "true"}))
    state, why = folder.state()
    assert state == study.FAILED
    assert "trials failed, the last: exit code 7" in why
    assert len(known(folder)) < 10
    assert {one.state for one in known(folder)} == {FAILED}


def test_a_series_that_is_never_logged_is_named(home: Home, tmp_path: Path) -> None:
    folder = searched(home, asked(tiny(tmp_path), trials=2, at_once=1, series="acc"))
    [trial] = known(folder)
    why = "it finished without a value of acc; it has test/accuracy"
    assert (trial.state, trial.reason) == (FAILED, why)
    assert folder.state() == (study.FAILED, f"the first trial failed: {why}")
    script = tmp_path / "tiny.py"  # mended, and the trial done again
    script.write_text(script.read_text().replace('{"test/accuracy"', '{"acc"'))
    study.resume(folder, failed=True)
    driver.start(folder)
    assert [one.state for one in ended(folder)] == [COMPLETE] * 2


def test_the_series_that_was_likely_meant_is_named(home: Home, tmp_path: Path) -> None:
    [trial] = known(searched(home, asked(tiny(tmp_path), trials=1, series="test/acuracy")))
    assert trial.reason == "it finished without a value of test/acuracy; it has test/accuracy"


def test_sweeps_that_are_given_no_name_have_names_of_their_own(home: Home, tmp_path: Path) -> None:
    recipe = asked(tiny(tmp_path), trials=1)
    command = SweepRequest(
        command=("python", "-u", "fit.py", "{lr}"), typed={"lr": "1,2"}, series="loss"
    )
    named = [study.create(home, one).design().name for one in (recipe, recipe, command, command)]
    assert named == ["tiny", "tiny-2", "fit.py", "fit.py-2"]


def test_of_few_different_trials_each_is_made_once(tmp_path: Path) -> None:
    one = asked(tiny(tmp_path))
    few = study.all_of_few(replace(one, typed={"lr": "0.1,0.2,0.3"}))
    assert (few.sampler, few.trials) == ("grid", 3)
    for typed in ({"lr": "0.1..0.2"}, {"lr": ",".join(f"0.{n}" for n in range(10, 40))}):
        many = replace(one, typed=typed)
        assert study.all_of_few(many) is many


def test_deleted_with_its_runs(home: Home, tmp_path: Path) -> None:
    folder = searched(home, asked(tiny(tmp_path), trials=3))
    runs = {one.attempts[0].run for one in known(folder)}
    assert remove(folder) == 3
    assert study.sweeps(home) == []
    assert {path.name for path in home.trash.iterdir()} == runs
    going = study.create(home, asked(tiny(tmp_path), typed={"seconds": "0.3"}))
    driver.start(going)
    with pytest.raises(ControlError, match="goes on: stop it first"):
        remove(going)
    study.stop(going)
    ended(going)


def test_the_best_is_the_first_of_equals(home: Home, tmp_path: Path) -> None:
    request: SweepRequest = asked(
        tiny(tmp_path), typed={"lr": "0.01", "batch_size": "64,32,128"}, sampler="grid"
    )
    folder = searched(home, request)
    found = best(folder.design(), known(folder))
    assert found is not None and found.values == {"batch_size": 128}


def test_a_recipe_that_has_gone_ends_the_sweep_with_a_line(home: Home, tmp_path: Path) -> None:
    folder = study.create(home, asked(tiny(tmp_path)))
    (tmp_path / "tiny.py").unlink()
    driver.start(folder)
    ended(folder)
    assert folder.state()[0] == study.FAILED
    assert "tiny.py has gone" in folder.state()[1]
