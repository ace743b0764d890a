"""The recipes as people run them: by hand, as processes, with the real frameworks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import traindeck.recipes
from tests.core.privacy.ledgers import made
from tests.training.idxfiles import contents, write
from traindeck.core.recipe.read import discover
from traindeck.core.run.follow import PointTail
from traindeck.core.run.points import PROGRESS, read_names
from traindeck.recipes.shared.training.data import datasets, digits, mnist

FOLDER = Path(traindeck.recipes.__file__).parent
SCRIPTS = {
    "torch-digits": FOLDER / "torch" / "digits.py",
    "torch-mnist": FOLDER / "torch" / "mnist.py",
    "tf-digits": FOLDER / "tensorflow" / "digits.py",
    "tf-mnist": FOLDER / "tensorflow" / "mnist.py",
}
DIGITS = ("torch-digits", "tf-digits")
MNIST = ("torch-mnist", "tf-mnist")
SERIES = {
    "train/loss",
    "train/accuracy",
    "test/loss",
    "test/accuracy",
    "step_seconds",
    "examples_per_second",
}
PATIENCE = 240.0  # frameworks take long to load on a busy machine


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the outside: no manager, no data, no network."""
    for name in ("TRAINDECK_RUN_FOLDER", "TRAINDECK_DEVICE", "TRAINDECK_DATA", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # all these jobs are too small for more


def command(recipe: str, *flags: object) -> list[str]:
    return [sys.executable, str(SCRIPTS[recipe]), *map(str, flags)]


def train(recipe: str, *flags: object, code: int = 0, **options: Any) -> str:
    """Run a recipe to its end; what it printed on stdout, or on stderr if it had to fail."""
    done = subprocess.run(
        command(recipe, *flags), capture_output=True, text=True, timeout=PATIENCE, **options
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return str(done.stderr if code else done.stdout)


def stop_at(line: str, recipe: str, *flags: object) -> str:
    """Run a recipe, send SIGTERM once it prints such a line; what it printed from there on."""
    with subprocess.Popen(command(recipe, *flags), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            for printed in process.stdout:
                if printed.startswith(line):
                    break
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    return rest


def refusal(recipe: str, *flags: object, **options: Any) -> str:
    """The one line with which a recipe ends when something it needs is missing."""
    lines = [line for line in train(recipe, *flags, code=4, **options).splitlines() if line]
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:]
    return errors[0].removeprefix("error: ")


def curve(folder: Path, series: str) -> list[tuple[int, float]]:
    """The points of one series of a run folder."""
    tail = PointTail(folder)
    record = np.dtype([("t", "<f8"), ("step", "<i8"), ("series", "<u4"), ("value", "<f8")])
    points = np.frombuffer(tail.read().data, record)
    mine = points[points["series"] == tail.names.index(series)]
    return list(zip(mine["step"].tolist(), mine["value"].tolist(), strict=True))


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "artifacts").glob("checkpoint-*"))


def test_headers_describe_the_four_recipes() -> None:
    recipes, broken = discover([(FOLDER, "built-in", False)])
    assert broken == []
    by_name = {recipe.name: recipe for recipe in recipes}
    assert {name: by_name[name].path for name in SCRIPTS} == SCRIPTS
    for name in SCRIPTS:
        recipe = by_name[name]
        assert recipe.headline == "test/accuracy"
        assert recipe.devices == ("cpu", "gpu")
        choices = ("eager", "graph") if recipe.framework == "torch" else ("eager", "graph", "xla")
        assert recipe.params["mode"].choices == choices
        assert {"seed", "epochs", "batch_size", "lr", "resume"} < set(recipe.params)
        assert ("data_dir" in recipe.params) == (recipe.dataset == "mnist")


def test_a_header_names_the_data_set_that_is_the_default() -> None:
    recipes, _ = discover([(FOLDER, "built-in", False)])
    named = {each.name: each.dataset for each in recipes if "dataset" in each.params}
    chosen = {each.name: each.params["dataset"].default for each in recipes if each.name in named}
    assert named == chosen and "flower-fedavg" in named


@pytest.mark.parametrize("recipe", SCRIPTS)
class TestWithoutAFramework:
    """What must not wait for a framework to load."""

    def test_help_is_quick_and_complete(self, recipe: str) -> None:
        seconds = []
        for _ in range(3):  # the best of three, on a machine that may be busy
            began = time.perf_counter()
            text = train(recipe, "--help")
            seconds.append(time.perf_counter() - began)
        assert min(seconds) < 1.0
        assert "--batch-size INT" in text and "passes over the training images" in text

    def test_help_imports_neither_a_framework_nor_numpy(self, recipe: str) -> None:
        script = (
            "import runpy, sys; sys.argv = sys.argv[1:]\n"
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "except SystemExit: print(sorted({'torch', 'tensorflow', 'numpy'} & set(sys.modules)))"
        )
        words = [sys.executable, "-c", script, *command(recipe, "--help")[1:]]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_wrong_values_are_refused(self, recipe: str) -> None:
        assert "is below the least allowed" in train(recipe, "--lr=0", code=2)
        assert "'fast' is not one of eager, graph" in train(recipe, "--mode=fast", code=2)

    def test_a_missing_framework_is_one_line(self, recipe: str, tmp_path: Path) -> None:
        flags = [f"--data-dir={write(tmp_path / 'data')}"] if recipe in MNIST else []
        name = "torch" if recipe.startswith("torch") else "tensorflow"
        # A finder that comes first and has none of it: the same as not being installed.
        (tmp_path / "sitecustomize.py").write_text(
            "import sys\n"
            "class Missing:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name == {name!r}:\n"
            "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
            "sys.meta_path.insert(0, Missing())\n"
        )
        line = refusal(recipe, *flags, env=os.environ | {"PYTHONPATH": str(tmp_path)})
        assert line == f"{name} is not installed: {sys.executable} -m pip install {name}"


@pytest.mark.parametrize("recipe", MNIST)
def test_missing_or_damaged_data_is_one_line(recipe: str, tmp_path: Path) -> None:
    line = refusal(recipe)
    assert line.startswith("MNIST was not found") and "--data-dir" in line
    damaged = write(tmp_path / "data", contents() | {"t10k-labels-idx1-ubyte": b"\0\0\x08\x01"})
    line = refusal(recipe, f"--data-dir={damaged}")
    assert line.startswith(f"{damaged}/t10k-labels-idx1-ubyte: ends within its header")


def test_nothing_to_resume_from_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert refusal("torch-digits", f"--resume={gone}").endswith(f"{gone}: no such file or folder")
    line = refusal("tf-digits", f"--resume={tmp_path}")
    assert line == f"--resume: {tmp_path}: no checkpoint-*.keras in it"


def test_graph_mode_of_torch_needs_a_compiler(tmp_path: Path) -> None:
    line = refusal("torch-digits", "--mode=graph", env=os.environ | {"PATH": str(tmp_path)})
    assert "needs a C++ compiler, and g++ was not found" in line or "clang++" in line
    assert line.endswith("or use --mode eager")


def test_graph_mode_of_torch_needs_a_compiler_that_works(tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho cc1plus: No such file or directory >&2\nexit 1\n")
    broken.chmod(0o755)
    line = refusal("torch-digits", "--mode=graph", env=os.environ | {"CXX": str(broken)})
    assert "cannot compile even an empty file (cc1plus: No such file or directory)" in line


@pytest.mark.framework
@pytest.mark.parametrize("recipe", DIGITS)
class TestDigits:
    def test_learns_and_says_so(self, recipe: str, tmp_path: Path) -> None:
        text = train(recipe, f"--run-folder={tmp_path / 'run'}")
        assert text.startswith("reading the data ...\nloading t")
        assert "epoch 30/30  test loss " in text
        assert set(read_names(tmp_path / "run")) == SERIES | {PROGRESS}
        steps = [step for step, _ in curve(tmp_path / "run", "test/accuracy")]
        assert steps == [44 * epoch for epoch in range(1, 31)]
        assert curve(tmp_path / "run", "test/accuracy")[-1][1] >= 0.95
        assert curve(tmp_path / "run", PROGRESS)[-1] == (1320, 1320.0)
        assert len(checkpoints(tmp_path / "run")) == 30

    def test_stopped_it_saves_and_a_resumed_run_goes_on_exactly(
        self, recipe: str, tmp_path: Path
    ) -> None:
        flags = ("--epochs=300", "--batch-size=64", "--lr=0.05")
        run, rest, whole = tmp_path / "run", tmp_path / "rest", tmp_path / "whole"
        text = stop_at("epoch 2/", recipe, *flags, f"--run-folder={run}")
        stopped = curve(run, "test/accuracy")[-1][0]
        assert f"stopped on request after step {stopped} of 6600" in text
        assert checkpoints(run)[-1].stem == f"checkpoint-{stopped:08d}"

        # One goes on from there, most often within an epoch; one again from the first epoch's end.
        epoch = stopped // 22 + 1
        for folder, start in ((rest, run), (whole, checkpoints(run)[0])):
            words = (*flags, f"--run-folder={folder}", f"--resume={start}")
            stop_at(f"epoch {epoch}/", recipe, *words)
        for series in ("train/loss", "train/accuracy", "test/loss", "test/accuracy"):
            before, through = (dict(curve(at, series)) for at in (run, whole))
            for epoch_end in range(44, stopped, 22):
                assert through[epoch_end] == before[epoch_end]
        for series in ("test/loss", "test/accuracy"):
            after, through = (dict(curve(at, series)) for at in (rest, whole))
            assert through[22 * epoch] == after[22 * epoch]

    def test_what_cannot_be_resumed_from(self, recipe: str, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong"
        wrong.write_bytes(b"not a checkpoint")
        line = refusal(recipe, f"--resume={wrong}")
        assert line.startswith(f"--resume: {wrong} is not a checkpoint of this recipe with")
        train(recipe, "--epochs=1", f"--run-folder={tmp_path}")
        line = refusal(recipe, "--epochs=1", f"--resume={tmp_path}")
        assert line.endswith("has already been trained for 1 epochs: raise --epochs")


@pytest.mark.parametrize("recipe", ["torch-digits", "tf-digits", "torch-mnist", "tf-mnist"])
def test_budgeted_data_under_another_name_is_known_by_its_contents(
    recipe: str, tmp_path: Path
) -> None:
    """Before anything is trained, and before the framework is imported."""
    flags: list[object] = []
    if "digits" in recipe:
        data = digits.load()
    else:
        flags = [f"--data-dir={write(tmp_path / 'data', contents())}"]
        data = mnist.load(str(tmp_path / "data"))
    data_sha256 = datasets.fingerprint(data.train_x, data.train_y)
    made(tmp_path / "home" / "ledger", "renamed", fingerprint=data_sha256)
    refused = train(recipe, *flags, code=5).strip()
    assert f"renamed has a privacy budget and {recipe} would train on it with no privacy" in refused


@pytest.mark.framework
@pytest.mark.parametrize("recipe, mode", [("torch-digits", "graph"), ("tf-digits", "eager")])
def test_the_other_modes_learn_too(recipe: str, mode: str, tmp_path: Path) -> None:
    train(recipe, "--epochs=4", f"--mode={mode}", f"--run-folder={tmp_path}")
    assert curve(tmp_path, "test/accuracy")[-1][1] > 0.9


@pytest.mark.framework
@pytest.mark.parametrize("recipe, mode", [("torch-mnist", "eager"), ("tf-mnist", "xla")])
def test_mnist_recipes_learn(recipe: str, mode: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", contents(512, 200), zipped=True)
    flags = ("--epochs=4", "--batch-size=32", f"--mode={mode}", f"--data-dir={data}")
    train(recipe, *flags, f"--run-folder={tmp_path / 'run'}")
    assert curve(tmp_path / "run", "test/accuracy")[-1][1] > 0.9
    assert set(read_names(tmp_path / "run")) == SERIES | {PROGRESS}
