"""The private recipes of TensorFlow as people run them: by hand, as processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.recipes import by_hand
from tests.recipes.by_hand import Ran
from tests.training.idxfiles import write
from tests.training.test_users import writers_file

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.framework

FOLDER = by_hand.FOLDER / "tensorflow"


def start(home: Path, recipe: str, *flags: object) -> Ran:
    ran = by_hand.start(home, FOLDER / recipe, *flags)
    assert ran.code == 0, ran.error
    return ran


def values(ran: Ran, series: str) -> list[float]:
    return [value for _, value in ran.series()[series]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("private") / "home"


@pytest.fixture(scope="module")
def images(home: Path) -> Path:
    """A folder of 40 training images."""
    return write(home.parent / "data")


@pytest.fixture(scope="module")
def seeded(home: Path) -> Ran:
    return start(home, "cancer_dp.py", "--steps=20", "--noise-seed=5", "--audit")


class TestRecipes:
    def test_a_run_says_what_it_is_and_keeps_what_is_private_apart(self, seeded: Ran) -> None:
        assert "self-test passed: gradients, clipping, noise, sampling" in seeded.out
        assert "at delta 1e-05; seeded noise: not private" in seeded.out
        assert len(seeded.checkpoints) == 10
        names = (seeded.folder / "points.names").read_text().split()
        assert {name for name in names if name.startswith(("private/", "train/"))} == {
            "private/loss",
            "private/gradient_norm_median",
            "private/clip_fraction",
            "private/batch_size",
            "private/faulty",
        }
        assert values(seeded, "test/accuracy_low") < values(seeded, "test/accuracy")

    def test_canaries_leave_their_scores(self, seeded: Ran) -> None:
        with np.load(seeded.folder / "artifacts" / "audit.npz") as scores:
            assert len(scores["included"]) + len(scores["excluded"]) == 5000
            assert scores["included"].mean() > scores["excluded"].mean()

    def test_a_resumed_run_ends_at_the_same_step_and_epsilon(self, home: Path, seeded: Ran) -> None:
        half = seeded.checkpoints[4]
        rest = start(home, "cancer_dp.py", "--steps=20", "--noise-seed=5", f"--resume={half}")
        assert "resuming after step 10 of 20" in rest.out
        assert len(rest.checkpoints) == 5
        for run in (seeded, rest):
            assert run.spent()["event"]["steps"] == 20
            assert run.spent()["event"]["sampling_rate"] == 128 / 569
            assert run.spent()["epsilon"] == pytest.approx(3.0, abs=0.01)

    def test_empty_batches_add_noise_and_count(self, home: Path, images: Path) -> None:
        """With 40 images of the 60,000 that the plan is for, almost every batch is empty."""
        ran = start(
            home,
            "mnist_dp.py",
            f"--data-dir={images}",
            "--batch-size=64",
            f"--epochs={3.5 * 64 / 60000}",
            "--noise-multiplier=1",
            "--no-self-test",
        )
        assert sum(values(ran, "private/batch_size")) < 5
        assert ran.spent()["event"]["steps"] == 3
        with np.load(ran.checkpoints[-1]) as state:
            assert state["step"] == 3
            moving = [state[name].ravel() for name in state if name.startswith("velocity/")]
            velocity = np.concatenate(moving)
        # Noise of three steps with momentum, over the public batch size: not that of the batch.
        expected = 0.1 / 64 * (1 + 0.9**2 + 0.9**4) ** 0.5
        off = np.sqrt(np.mean(velocity**2)) / expected - 1
        assert abs(off) < 5 / (2 * len(velocity)) ** 0.5 + 1e-3

    def test_scattering_trains(self, home: Path, images: Path) -> None:
        ran = start(
            home,
            "mnist_scatter_dp.py",
            f"--data-dir={images}",
            f"--epochs={2.5 * 4096 / 60000}",
        )
        assert "self-test passed" in ran.out
        with np.load(ran.checkpoints[-1]) as state:
            assert state["average/0"].shape == (3969, 10)

    def test_whole_users_are_protected_and_the_self_test_measures_it(
        self, home: Path, images: Path
    ) -> None:
        writers_file(images, np.arange(40, dtype=np.int32) % 12)
        flags = (f"--data-dir={images}", "--unit=user", "--batch-size=1000", "--epochs=1")
        ran = start(home, "mnist_scatter_dp.py", *flags, "--user-images=3")
        assert "made-up" not in ran.out and "self-test passed" in ran.out
        assert "of about 1000 users" in ran.out
        assert max(values(ran, "private/batch_size")) <= 12


@pytest.mark.parametrize("name", ["mnist_dp.py", "mnist_scatter_dp.py", "cancer_dp.py"])
def test_help_imports_neither_a_framework_nor_numpy(name: str) -> None:
    text, heavy = by_hand.heavy_of_help(FOLDER / name, "tensorflow", "scipy", "numpy")
    assert "--epsilon FLOAT" in text
    assert heavy == "[]"
