"""What cannot be started is refused in one line, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import until, wait_for_state
from traindeck.core import control, launch
from traindeck.core.again import again
from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.names import free_name
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.engines.local import Local
from traindeck.core.launch import LaunchRequest
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import PROGRESS, PointWriter
from traindeck.core.run.state import Verdict, exit_code

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("what", [("--", "true"), ("torch-digits",)])
def test_a_working_folder_that_is_gone(
    home: Home, traindeck: Command, tmp_path: Path, what: tuple[str, ...]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    def leave() -> None:
        os.chdir(gone)
        gone.rmdir()

    done = traindeck("run", *what, code=1, preexec_fn=leave)
    assert "the folder that you are in cannot be used" in done.stderr
    assert list(home.runs.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(28, "full")])
def test_a_launch_that_is_broken_off_leaves_no_folder(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(launch, "write_json", fail)
    with pytest.raises((type(error), TraindeckError)):
        launch.launch(home, LaunchRequest(command=["true"]))
    assert list(home.runs.iterdir()) == []


def test_an_interruption_once_it_may_run_says_which_run_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Local):
        def start(self, run: Path, how: str) -> None:
            super().start(run, how)
            raise KeyboardInterrupt

    monkeypatch.setattr(launch, "engine", lambda on: Interrupted())
    with pytest.raises(KeyboardInterrupt) as interrupt:
        launch.launch(home, LaunchRequest(command=["true"]))
    [run] = home.runs.iterdir()
    [note] = interrupt.value.__notes__
    assert note == f"run {run.name} goes on; `traindeck stop {run.name}` ends it"
    wait_for_state(RunFolder(run))


def test_what_is_no_command_and_what_is_no_python(home: Home, traindeck: Command) -> None:
    assert "no command" in traindeck("run", "--", "", code=2).stderr
    why = traindeck("run", "torch-digits", "--python", "/nonexistent", code=3).stderr
    assert "--python /nonexistent" in why
    assert list(home.runs.iterdir()) == []


def test_a_python_is_named_from_where_one_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(sys.executable).parent)
    request = LaunchRequest(command=["true"], python=f"./{Path(sys.executable).name}", cwd="/")
    run = RunFolder(Path(launch.launch(home, request)["path"]))
    assert (run.spec() or {})["python"] == sys.executable


def test_tags_are_kept_as_an_edit_would_keep_them(home: Home) -> None:
    request = LaunchRequest(command=["true"], tags=[" b", "a", "b ", " "])
    assert launch.launch(home, request)["tags"] == ["a", "b"]


def test_a_run_whose_record_lacks_what_it_takes_is_not_repeated(home: Home) -> None:
    run = RunFolder(Path(launch.launch(home, LaunchRequest(command=["true"]))["path"]))
    wait_for_state(run)
    until(lambda: "ended" in (run.spec() or {}))
    (run.path / "run.json").write_text('{"argv": ["true"]}')
    with pytest.raises(launch.LaunchError, match="damaged"):
        again(home, run.id, {})


def resumable(folder: Path) -> Recipe:
    path = folder / "resumable.py"
    path.write_text(
        '# /// script\n# [tool.traindeck]\n# name = "resumable"\n# title = "R"\n'
        '# [tool.traindeck.params.resume]\n# type = "path"\n# ///\n'
    )
    recipe = read_recipe(path)
    assert recipe is not None
    return recipe


def test_a_run_can_be_named_where_a_checkpoint_is_meant(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = resumable(tmp_path)
    first = launch.launch(home, LaunchRequest(recipe=recipe, name="first one"))
    (tmp_path / "there").write_text("a file")

    def resume(given: str) -> object:
        request = LaunchRequest(recipe=recipe, params={"resume": given})
        return launch.launch(home, request)["params"]["resume"]

    assert resume("first one") == first["path"]
    assert resume(first["id"]) == first["path"]
    assert resume("there") == "there"
    with pytest.raises(launch.CheckpointMissing, match="no file, no folder and no run") as missing:
        resume("nothing-by-this-name")
    assert missing.value.exit_code == 3
    wait_for_state(RunFolder(Path(first["path"])))
    repeated = again(home, first["id"], {"resume": "first one"})
    assert launch.launch(home, repeated)["params"]["resume"] == first["path"]


def test_a_repeated_run_keeps_its_tags(home: Home) -> None:
    first = launch.launch(home, LaunchRequest(command=["true"], tags=["a"]))
    control.tag(home, first["id"], ["b", "c"])
    assert launch.launch(home, again(home, first["id"], {}))["tags"] == ["b", "c"]
    other = again(home, first["id"], {}, tags=["d"])
    assert launch.launch(home, other)["tags"] == ["d"]


def test_what_is_left_is_told_by_the_pace_since_the_first_report(home: Home) -> None:
    """A run that loaded for a long time before it began is not taken for a slow one."""
    run = launch.launch(home, LaunchRequest(command=["sleep", "60"]))
    folder = Path(run["path"])
    wait_for_state(RunFolder(folder), "running")

    def progress() -> dict[str, object]:
        doc = document(RunFolder(folder), metrics=False)
        assert doc is not None
        return dict(doc["progress"] or {})

    def report(done: int, when: float) -> None:
        writer = PointWriter(folder)
        writer.add(done, {PROGRESS: 200.0}, when=when)
        writer.close()

    report(1, 1000.0)
    assert progress() == {"done": 1, "total": 200, "eta_seconds": None}
    assert "." not in str(progress())
    report(101, 1010.0)
    assert progress()["eta_seconds"] == pytest.approx(9.9)
    control.kill(folder)
    wait_for_state(RunFolder(folder))


def test_what_a_command_that_waited_ends_with() -> None:
    for state, code, expected in [
        ("finished", 0, 0),
        ("over_budget", 5, 5),
        ("failed", 1, 1),
        ("failed", 2, 2),
        ("failed", 4, 4),
        ("failed", 5, 1),
        ("failed", None, 1),
        ("stopped", 2, 1),
        ("killed", -9, 1),
    ]:
        assert exit_code(Verdict(state, "", code), recipe=True) == expected
        assert exit_code(Verdict(state, "", code), recipe=False) == {0: 0, 5: 5}.get(expected, 1)


HEADER = '# /// script\n# [tool.traindeck]\n# name = "slow"\n# grace = {}\n# ///\n'


def test_the_grace_is_said_by_the_run_the_recipe_or_the_settings(
    home: Home, traindeck: Command, tmp_path: Path
) -> None:
    script = tmp_path / "slow.py"

    def grace(*words: str) -> float:
        run_id = traindeck("run", *words).stdout.strip()
        spec = RunFolder(home.runs / run_id).spec()
        assert spec is not None
        wait_for_state(RunFolder(home.runs / run_id))
        return spec["grace"]

    assert grace("--", "true") == 30
    home.settings.write_text("grace = 55\n")
    assert grace("--", "true") == 55
    script.write_text(HEADER.format(66.5))
    assert grace(str(script)) == 66.5
    assert grace(str(script), "--grace", "77") == 77
    assert grace("--again", "@last") == 77
    wrong = traindeck("run", "--grace", "-1", "--", "true", code=2).stderr
    assert "a grace of -1 s is not from 0 to 604800 s" in wrong
    script.write_text(HEADER.format(-3))
    assert "slow.py:4: grace -3 is not from 0 to" in traindeck("run", str(script), code=2).stderr


def test_a_run_that_is_repeated_has_a_name_of_its_own(home: Home) -> None:
    first = launch.launch(home, launch.LaunchRequest(command=["true"], name="mine"))
    asked = again(home, first["id"], {})
    assert asked.name == "mine-2"
    assert again(home, first["id"], {}, name="other").name == "other"


def test_a_name_that_nobody_typed_is_one_that_no_run_has(home: Home) -> None:
    def called(name: str | None = None, command: str = "true") -> str:
        doc = launch.launch(home, LaunchRequest(command=[command], name=name))
        wait_for_state(RunFolder(home.runs / doc["id"]))
        return doc["name"]

    assert [called(), called(), called(), called(command="false")] == [
        "true",
        "true-2",
        "true-3",
        "false",
    ]
    assert (called("true"), called("mine"), called("mine")) == ("true", "mine", "mine")
    Catalogue(home).reindex()
    assert (free_name(home, "true"), free_name(home, "mine")) == ("true-4", "mine-2")
    home.catalogue.unlink()
    assert free_name(home, "true-2") == "true-4"


def test_names_are_found_among_those_of_any_letters(home: Home) -> None:
    for name in ('a "b', 'a "b-2', "größe", "a", "a-x"):
        launch.launch(home, LaunchRequest(command=["true"], name=name))
    found = [free_name(home, name) for name in ('a "b', "größe", "a", "a-x", "b")]
    assert found == ['a "b-3', "größe-2", "a-2", "a-x-2", "b"]
