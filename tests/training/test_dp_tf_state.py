"""What a private run trains in TensorFlow: momentum, running average and checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.training.dp_tf_models import build, flat

pytestmark = pytest.mark.framework


class Recorder:
    """A run of which a checkpoint is asked, and whose plan is another each time."""

    def __init__(self, folder: Path, noise_multiplier: float = 1.5) -> None:
        self.artifacts, self.folder = folder, None
        self.plan = SimpleNamespace(
            mechanism=SimpleNamespace(
                sampler="poisson",
                noise_multiplier=noise_multiplier,
                sampling_rate=0.01,
                steps=100,
                bands=1,
                max_batch=0,
            ),
            unit="example",
            clipping_norm=0.1,
            seeded=False,
            adaptive=None,
        )
        self.paid = 0

    def artifact(self, path: Path, kind: str) -> None:
        assert (path.parent, kind) == (self.artifacts, "checkpoint")

    def resumed(self, steps: int, checkpoint: Path) -> None:
        self.paid = steps

    def seal(self, checkpoint: Path) -> None:
        assert checkpoint.parent == self.artifacts


class TestTraining:
    def model(self, tf: Any) -> Any:
        return build(tf, (3,), lambda k: k.Dense(2), head=False)

    def training(self, tf: Any, run: Any) -> Any:
        from traindeck.recipes.shared.training.dp.tf_state import Training

        return Training(run, self.model(tf), 0.5, 0.9, 0.98)

    def test_a_step_is_that_of_momentum_and_a_running_average(
        self, tf: Any, dp: Any, tmp_path: Path
    ) -> None:
        training = self.training(tf, Recorder(tmp_path))
        weight = average = flat(training.model.weights)
        velocity = np.zeros_like(weight)
        for step in range(3):
            training.update([tf.ones((3, 2)) * (step + 1), tf.ones(2) * (step + 1)])
            velocity = 0.9 * velocity + (step + 1)
            weight = weight - 0.5 * velocity
            keep = (1 + step) / (10 + step)
            average = keep * average + (1 - keep) * weight
        assert training.step == 3
        assert np.allclose(flat(training.model.weights), weight, atol=1e-6)
        assert np.allclose(flat(training.average.weights), average, atol=1e-6)

    def test_a_checkpoint_holds_all_that_the_next_step_needs(
        self, tf: Any, dp: Any, tmp_path: Path
    ) -> None:
        first, run = self.training(tf, Recorder(tmp_path)), Recorder(tmp_path)
        first.update([tf.ones((3, 2)), tf.ones(2)])
        first.save()
        second = self.training(tf, run)
        second.resume(tmp_path / "checkpoint-00000001.npz")
        assert run.paid == second.step == 1
        for one in (first, second):
            one.update([tf.ones((3, 2)), tf.ones(2)])
        assert np.array_equal(flat(first.model.weights), flat(second.model.weights))
        assert np.array_equal(flat(first.average.weights), flat(second.average.weights))

    def test_steps_of_another_kind_are_not_gone_on_with(
        self, tf: Any, dp: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.training(tf, Recorder(tmp_path)).save()
        with pytest.raises(SystemExit) as refused:
            self.training(tf, Recorder(tmp_path, 0.75)).resume(tmp_path / "checkpoint-00000000.npz")
        assert refused.value.code == 2
        assert "noise_multiplier 1.5, not 0.75" in capsys.readouterr().err

    def test_any_other_file_is_no_checkpoint(
        self, tf: Any, dp: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "notes.npz").write_bytes(b"not an archive")
        with pytest.raises(SystemExit) as refused:
            self.training(tf, Recorder(tmp_path)).resume(tmp_path / "notes.npz")
        assert refused.value.code == 4
        assert "not a checkpoint of this recipe" in capsys.readouterr().err
