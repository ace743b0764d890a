"""Ten scripts as their frameworks' beginnings write them: their curves, progress and parameters.

None knows of traindeck; each leaves what it knows of itself in results.json. Those of frameworks
that are not among traindeck's dependencies need an interpreter that has them, by
TRAINDECK_FRAMEWORKS: lightning, tensorboard, transformers, accelerate, fastai, xgboost, jax,
papermill, ipykernel.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.slow]

Run = Callable[..., subprocess.CompletedProcess[str]]
SCRIPTS = Path(__file__).parent / "scripts"
OTHERS = os.environ.get("TRAINDECK_FRAMEWORKS", "")
needs_others = pytest.mark.skipif(
    not OTHERS, reason="TRAINDECK_FRAMEWORKS names no interpreter that has the frameworks"
)


class Seen:
    """What traindeck made of a run, and what the script knew."""

    def __init__(self, shown: dict[str, Any], points: dict[str, Any], results: Any) -> None:
        self.params = shown["params"]
        self.metrics = shown["metrics"]
        self.progress = shown["progress"] and (
            shown["progress"]["done"],
            shown["progress"]["total"],
        )
        self.points = points
        self.results = results

    def steps(self, name: str) -> list[int]:
        return [step for step, _ in self.points[name]]

    def values(self, name: str) -> list[float]:
        return [value for _, value in self.points[name]]


@pytest.fixture
def seen(traindeck: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    work = tmp_path / "work"
    work.mkdir()

    def run(*command: str) -> Seen:
        traindeck("run", "--wait", "--", *command, cwd=work)
        shown = json.loads(traindeck("show", "@last", "--json").stdout)
        points: dict[str, Any] = {}
        for row in csv.DictReader(traindeck("metrics", "@last", "--csv").stdout.splitlines()):
            point = (int(row["step"]), float(row["value"]))
            points.setdefault(row["series"], []).append(point)
        results = work / "results.json"
        return Seen(shown, points, json.loads(results.read_text()) if results.exists() else None)

    return run


def test_a_plain_torch_loop(seen: Callable[..., Seen]) -> None:
    run = seen(
        sys.executable, str(SCRIPTS / "torch_loop.py"), "--lr=0.2", "--epochs", "2", "--save-model"
    )
    assert run.params == {"lr": 0.2, "epochs": 2, "save_model": True}
    assert set(run.points) == {"train/Loss", "test/Average_loss", "test/Accuracy"}
    assert run.values("train/Loss") == pytest.approx(run.results["losses"], abs=1e-6)
    assert run.steps("train/Loss") == [0, 320, 640, 960, 1280, 1437, 1757, 2077, 2397, 2717]
    assert run.values("test/Average_loss") == pytest.approx(run.results["test_losses"], abs=1e-4)
    assert run.values("test/Accuracy") == pytest.approx(run.results["test_accuracies"], abs=0.51)
    assert run.progress == (2874, 2874)


def test_keras_fit(seen: Callable[..., Seen]) -> None:
    run = seen(sys.executable, str(SCRIPTS / "keras_fit.py"))
    history = run.results
    assert run.progress == (63, 63)
    for name in ("accuracy", "loss", "val_accuracy", "val_loss"):
        at_ends = dict(run.points[name])
        assert [at_ends[step] for step in (21, 42, 63)] == pytest.approx(history[name], abs=1e-4)
    assert run.values("Test_loss") == pytest.approx(history["test"][:1])
    assert run.values("Test_accuracy") == pytest.approx(history["test"][1:])
    assert len(run.points) == 6


@needs_others
def test_lightning(seen: Callable[..., Seen]) -> None:
    run = seen(OTHERS, str(SCRIPTS / "lightning_fit.py"), "--max_epochs", "2", "--lr", "0.02")
    assert run.params == {"max_epochs": 2, "lr": 0.02}
    assert run.progress == (46, 46)
    assert run.steps("train_loss") == [9, 19, 29, 39]
    for name in ("val_loss", "val_acc"):
        files = name if len(run.points[name]) == 2 else f"events/{name}"
        assert run.steps(files) == [22, 45]
        assert run.values(files)[-1] == pytest.approx(run.results[name], abs=1e-6)
    names = {name.removeprefix("printed/").removeprefix("events/") for name in run.points}
    assert names == {"train_loss", "val_loss", "val_acc", "epoch"}


@needs_others
def test_hugging_faces_trainer(seen: Callable[..., Seen]) -> None:
    words = "--output_dir out --learning_rate 5e-3 --num_train_epochs 2 --eval_strategy epoch"
    more = "--per_device_train_batch_size 20 --logging_steps 5 --report_to none"
    run = seen(OTHERS, str(SCRIPTS / "hf_trainer.py"), *words.split(), *more.split())
    assert run.params["learning_rate"] == 0.005
    assert run.params["num_train_epochs"] == 2
    assert run.progress == (40, 40)
    history: dict[str, list[tuple[int, float]]] = {}
    for entry in run.results:
        for name, value in entry.items():
            history.setdefault(name, []).append((entry["step"], value))
    for name in ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy", "train_loss"):
        assert run.steps(name) == [step for step, _ in history[name]]
        assert run.values(name) == pytest.approx([v for _, v in history[name]], rel=1e-3)


@needs_others
def test_fastais_learner(seen: Callable[..., Seen]) -> None:
    run = seen(OTHERS, str(SCRIPTS / "fastai_learn.py"))
    assert set(run.points) == {"train_loss", "valid_loss", "accuracy", "error_rate"}
    for place, name in enumerate(("train_loss", "valid_loss", "accuracy", "error_rate")):
        assert run.steps(name) == [0, 1, 2, 3]
        expected = [row[place] for row in run.results]
        assert run.values(name) == pytest.approx(expected, abs=1e-6)
    assert run.progress is not None and run.progress[0] == run.progress[1]


@needs_others
def test_xgboost(seen: Callable[..., Seen]) -> None:
    run = seen(OTHERS, str(SCRIPTS / "xgboost_train.py"))
    assert len(run.points) == 4
    for part, metrics in run.results.items():
        for name, values in metrics.items():
            assert run.steps(f"{part}-{name}") == list(range(20))
            assert run.values(f"{part}-{name}") == pytest.approx(values, abs=1e-5)


def test_scikit_learn(seen: Callable[..., Seen]) -> None:
    run = seen(sys.executable, str(SCRIPTS / "sklearn_fit.py"))
    assert set(run.points) == {"loss", "Accuracy"}
    assert run.values("loss") == pytest.approx(run.results["loss"], abs=1e-7)
    assert run.steps("loss") == list(range(1, len(run.results["loss"]) + 1))
    assert run.values("Accuracy") == pytest.approx([run.results["accuracy"]], abs=1e-4)


@needs_others
def test_jax(seen: Callable[..., Seen]) -> None:
    run = seen(OTHERS, str(SCRIPTS / "jax_loop.py"))
    assert set(run.points) == {"Training_set_accuracy", "Test_set_accuracy"}
    for place, name in enumerate(("Training_set_accuracy", "Test_set_accuracy")):
        assert run.steps(name) == [0, 1, 2, 3]
        assert run.values(name) == pytest.approx([pair[place] for pair in run.results])


def test_a_bash_pipeline(seen: Callable[..., Seen], tmp_path: Path) -> None:
    run = seen("bash", str(SCRIPTS / "pipeline.sh"), "0.05")
    train = [line.split() for line in (tmp_path / "work/train.log").read_text().splitlines()]
    assert set(run.points) == {"loss", "accuracy"}
    assert run.points["loss"] == [(int(words[1][:-4]), float(words[3])) for words in train]
    accuracy = (tmp_path / "work/eval.log").read_text().split()[1]
    assert run.values("accuracy") == [float(accuracy.rstrip("%\n"))]


@needs_others
def test_a_notebook_through_papermill(
    seen: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(OTHERS).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = str(SCRIPTS / "notebook.ipynb")
    params = "-p lr 0.5 -p epochs 4 --log-output"
    run = seen(str(Path(OTHERS).parent / "papermill"), notebook, "out.ipynb", *params.split())
    assert run.params == {"lr": 0.5, "epochs": 4, "log_output": True}
    assert set(run.points) == {"loss", "acc"}
    assert run.steps("loss") == [1, 2, 3, 4]
    for place, name in enumerate(("loss", "acc")):
        expected = [pair[place] for pair in run.results]
        assert run.values(name) == pytest.approx(expected, abs=1e-4)
    assert run.progress == (4, 4)
