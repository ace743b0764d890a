"""What a private run trains in PyTorch: momentum, running average and checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.framework


class TestTraining:
    """Momentum, running average and checkpoints, from gradients of 1 in a model of one weight."""

    def made(self, folder: Path, **kind: Any) -> Any:
        from traindeck.recipes.shared.training.dp.torch_state import Training

        given = {"noise_multiplier": 1.0, "sampling_rate": 0.1, "steps": 9, "clipping_norm": 0.5}
        given |= {"seeded": False, "bands": 1, "max_batch": 0, "adaptive": None} | kind
        run = SimpleNamespace(
            plan=SimpleNamespace(mechanism=SimpleNamespace(**given), **given),
            artifacts=folder,
            artifact=lambda path, kind: None,
            resumed=lambda steps, checkpoint: None,
            seal=lambda path: None,
        )
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        return Training(run, model, lr=0.5, momentum=0.9, averaging=0.99)

    def test_a_step_is_that_of_momentum_and_a_running_average(self, tmp_path: Path) -> None:
        training = self.made(tmp_path)
        position = velocity = average = 0.0
        for step in range(5):
            training.update([torch.ones(1, 1)])
            velocity = 0.9 * velocity + 1
            position -= 0.5 * velocity
            keep = (1 + step) / (10 + step)
            average = keep * average + (1 - keep) * position
            assert training.model.weight.item() == pytest.approx(position)
            assert training.average.weight.item() == pytest.approx(average)
        assert training.step == 5

    def test_a_checkpoint_holds_all_that_the_next_step_needs(self, tmp_path: Path) -> None:
        training = self.made(tmp_path)
        for _ in range(3):
            training.update([torch.ones(1, 1)])
        training.save()
        [path] = tmp_path.iterdir()
        again = self.made(tmp_path)
        again.resume(path)
        for one in (training, again):
            one.update([torch.ones(1, 1)])
        assert again.step == 4
        assert torch.equal(again.model.weight, training.model.weight)
        assert torch.equal(again.average.weight, training.average.weight)

    @pytest.mark.parametrize(
        "kind",
        [
            {"noise_multiplier": 0.5},
            {"sampling_rate": 0.2},
            {"clipping_norm": 1.0},
            {"seeded": True},
        ],
    )
    def test_steps_of_another_kind_are_not_gone_on_with(
        self, tmp_path: Path, kind: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.made(tmp_path).save()
        [path] = tmp_path.iterdir()
        with pytest.raises(SystemExit) as ended:
            self.made(tmp_path, **kind).resume(path)
        assert ended.value.code == 2
        assert f"was trained with {next(iter(kind))}" in capsys.readouterr().err

    def test_any_other_file_is_no_checkpoint(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(b"something else")
        with pytest.raises(SystemExit):
            self.made(tmp_path).resume(path)
        assert "is not a checkpoint of this recipe" in capsys.readouterr().err
