"""The private recipes of PyTorch as people run them: by hand, as processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import by_hand
from tests.recipes.by_hand import Ran
from tests.training.idxfiles import write
from tests.training.test_users import writers_file

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.framework

FOLDER = by_hand.FOLDER / "torch"
PRIVATE = {
    "private/loss",
    "private/gradient_norm_median",
    "private/clip_fraction",
    "private/batch_size",
    "private/faulty",
}


def start(home: Path, recipe: str | Path, *flags: object, **environment: str) -> Ran:
    return by_hand.start(home, FOLDER / recipe, *flags, **environment)


def state(ran: Ran) -> dict[str, Any]:
    """What a run's last checkpoint holds."""
    loaded: dict[str, Any] = torch.load(ran.checkpoints[-1], weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("private") / "home"


@pytest.fixture(scope="module")
def digits(home: Path) -> Path:
    """A folder of 40 training images."""
    return write(home.parent / "data")


@pytest.fixture(scope="module")
def seeded(home: Path) -> Ran:
    return start(home, "cancer_dp.py", "--steps=20", "--noise-seed=5", "--audit")


class TestCancer:
    def test_trains_and_says_what_it_is(self, seeded: Ran) -> None:
        assert seeded.code == 0, seeded.error
        assert "self-test passed: gradients, clipping, noise, sampling" in seeded.out
        assert "at delta 1e-05; seeded noise: not private" in seeded.out
        assert len(seeded.checkpoints) == 10

    def test_tells_the_test_with_its_interval_and_what_is_private_by_name(
        self, seeded: Ran
    ) -> None:
        series = seeded.series()
        telemetry = {name for name in series if name.startswith("private/")}
        assert telemetry == PRIVATE
        assert not any(name.startswith("train/") for name in series)
        for (_, low), (_, accuracy), (_, high) in zip(
            series["test/accuracy_low"],
            series["test/accuracy"],
            series["test/accuracy_high"],
            strict=True,
        ):
            assert low < accuracy < high
            assert high - low > 0.03

    def test_every_step_is_paid_for_and_none_twice(self, seeded: Ran) -> None:
        last = seeded.spent()
        assert last["event"]["steps"] == 20
        assert last["event"]["sampling_rate"] == 128 / 569
        assert last["epsilon"] == pytest.approx(3.0, abs=0.01)

    def test_canaries_leave_their_scores(self, seeded: Ran) -> None:
        with np.load(seeded.folder / "artifacts" / "audit.npz") as scores:
            assert len(scores["included"]) + len(scores["excluded"]) == 5000
            assert scores["included"].mean() > scores["excluded"].mean()

    def test_a_resumed_run_ends_at_the_same_step_and_epsilon(self, home: Path, seeded: Ran) -> None:
        half = seeded.checkpoints[4]
        rest = start(
            home, "cancer_dp.py", "--steps=20", "--noise-seed=5", f"--resume={half}", "--audit"
        )
        assert rest.code == 0, rest.error
        assert "resuming after step 10 of 20" in rest.out
        assert state(rest)["step"] == 20
        last = rest.spent()
        assert last["event"]["steps"] == 20
        assert last["epsilon"] == pytest.approx(3.0, abs=0.01)

    def test_steps_of_another_kind_are_not_gone_on_with(self, home: Path, seeded: Ran) -> None:
        refused = start(home, "cancer_dp.py", "--steps=20", f"--resume={seeded.checkpoints[4]}")
        assert refused.code == 2
        assert "was trained with seeded True, not False" in refused.error

    def test_wrong_noise_is_found_before_anything_is_spent(
        self, home: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            "from traindeck.recipes.shared.training.dp.randomness import Randomness\n"
            "right = Randomness.normal\n"
            "Randomness.normal = lambda self, shape, scale: right(self, shape, 0.3 * scale)\n"
        )
        wrong = {"PYTHONPATH": str(tmp_path)}
        failed = start(home, "cancer_dp.py", "--steps=20", **wrong)
        assert failed.code == 1
        assert "error: self-test: noise: its standard deviation" in failed.error
        assert not (failed.folder / "events.jsonl").exists() or not failed.events("spend")


class TestMnist:
    def test_empty_batches_add_noise_and_count(self, home: Path, digits: Path) -> None:
        """With 40 images of the 60,000 that the plan is for, almost every batch is empty."""
        ran = start(
            home,
            "mnist_dp.py",
            f"--data-dir={digits}",
            "--batch-size=64",
            f"--epochs={3.5 * 64 / 60000}",
            "--noise-multiplier=1",
            "--no-self-test",
        )
        assert ran.code == 0, ran.error
        assert sum(size for _, size in ran.series()["private/batch_size"]) < 5
        assert ran.spent()["event"]["steps"] == 3
        velocity = torch.cat([v.flatten() for v in state(ran)["velocities"].values()])
        # Noise of three steps with momentum, over the public batch size: not that of the batch.
        expected = 0.1 / 64 * (1 + 0.9**2 + 0.9**4) ** 0.5
        measured = float(velocity.square().mean().sqrt())
        assert abs(measured / expected - 1) < 5 / (2 * len(velocity)) ** 0.5 + 1e-3

    def test_more_images_than_the_plan_is_for_are_refused(
        self, home: Path, digits: Path, tmp_path: Path
    ) -> None:
        text = (FOLDER / "mnist_dp.py").read_text()
        recipe = tmp_path / "few.py"
        recipe.write_text(
            text.replace("{records = 60000", "{records = 39").replace(
                "default = 2048", "default = 8"
            )
        )
        refused = start(home, recipe, f"--data-dir={digits}")
        assert refused.code == 2
        assert "error: more than 39 training images: epsilon is for so many" in refused.error

    def test_scattering_trains_and_keeps_the_features_in_the_home(
        self, home: Path, digits: Path
    ) -> None:
        ran = start(
            home,
            "mnist_scatter_dp.py",
            f"--data-dir={digits}",
            f"--epochs={2.5 * 4096 / 60000}",
        )
        assert ran.code == 0, ran.error
        assert "self-test passed" in ran.out
        assert len(list((home / "cache" / "scattering").iterdir())) == 2
        assert state(ran)["model"]["weight"].shape == (10, 3969)

    def test_whole_users_are_protected_and_the_self_test_measures_it(
        self, home: Path, digits: Path, tmp_path: Path
    ) -> None:
        writers_file(digits, np.arange(40, dtype=np.int32) % 12)
        flags = (f"--data-dir={digits}", "--unit=user", "--batch-size=1000", "--epochs=1")
        ran = start(home, "mnist_scatter_dp.py", *flags, "--user-images=3")
        assert ran.code == 0, ran.error
        assert "made-up" not in ran.out and "self-test passed" in ran.out
        assert "of about 1000 users" in ran.out
        assert max(size for _, size in ran.series()["private/batch_size"]) <= 12
        plan = json.loads((ran.folder / "privacy.json").read_text())
        assert (plan["unit"], plan["records"], plan["mechanism"]["steps"]) == ("user", 3000, 3)

        one_by_one = tmp_path / "by_image.py"  # clips each of a user's images by itself
        one_by_one.write_text(
            (FOLDER / "mnist_scatter_dp.py")
            .read_text()
            .replace(
                "return train_x[indices], y\n",
                "return train_x[indices].flatten(0, 1), y.flatten()\n",
            )
        )
        failed = start(home, one_by_one, *flags, "--user-images=3")
        assert failed.code == 1 and "error: self-test: " in failed.error


@pytest.mark.parametrize("recipe", ["mnist_dp.py", "mnist_scatter_dp.py", "cancer_dp.py"])
def test_help_imports_neither_a_framework_nor_numpy(recipe: str) -> None:
    text, heavy = by_hand.heavy_of_help(FOLDER / recipe, "torch", "scipy", "numpy")
    assert "--epsilon FLOAT" in text
    assert heavy == "[]"
