"""What a private run trains in PyTorch: momentum, running average and checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.framework


def stand_in(folder: Path, **kind: Any) -> Any:
    """As much of a run as checkpoints ask for."""
    given = {"noise_multiplier": 1.0, "sampling_rate": 0.1, "steps": 9, "clipping_norm": 0.5}
    given |= {"unit": "example", "sampler": "poisson"}
    given |= {"seeded": False, "bands": 1, "max_batch": 0, "adaptive": None} | kind
    return SimpleNamespace(
        plan=SimpleNamespace(mechanism=SimpleNamespace(**given), **given),
        artifacts=folder,
        folder=None,
        artifact=lambda path, kind: None,
        resumed=lambda steps, checkpoint: None,
        seal=lambda path: None,
    )


class TestTraining:
    """Momentum, running average and checkpoints, from gradients of 1 in a model of one weight."""

    def made(self, folder: Path, **kind: Any) -> Any:
        from traindeck.recipes.shared.training.dp.torch_state import Training

        run = stand_in(folder, **kind)
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
            {"unit": "user"},
            {"sampler": "none"},
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


WAYS: dict[str, Any] = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
    "AdamBC": lambda p: adam_bc(p, noise=0.3, lr=0.1, weight_decay=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
}


class TestOptimized:
    """The same by PyTorch's own optimizers, and by Adam without the noise's second moment."""

    def model(self) -> Any:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
        model[0].requires_grad_(False)
        return model

    def made(self, folder: Path, way: str) -> Any:
        from traindeck.recipes.shared.training.dp.torch_state import Optimized

        model = self.model()
        trained = [p for p in model.parameters() if p.requires_grad]
        return Optimized(stand_in(folder), model, WAYS[way](trained), averaging=0.99)

    @pytest.mark.parametrize("way", WAYS)
    def test_steps_are_those_of_the_optimizer_alone(self, tmp_path: Path, way: str) -> None:
        training, alone = self.made(tmp_path, way), self.model()
        trained = list(alone[1].parameters())
        optimizer = WAYS[way](trained)
        for size in (1.0, -0.3, 0.2):
            gradients = [torch.full_like(p, size) for p in trained]
            training.update([g.clone() for g in gradients])
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
        for mine, other in zip(training.model.parameters(), alone.parameters(), strict=True):
            assert torch.equal(mine, other)

    @pytest.mark.parametrize("way", WAYS)
    def test_a_checkpoint_and_a_snapshot_hold_all_that_the_next_step_needs(
        self, tmp_path: Path, way: str
    ) -> None:
        training = self.made(tmp_path, way)
        gradients = [torch.ones(1, 2), torch.ones(1)]
        start = training.snapshot()
        training.update(gradients)
        training.save()
        training.restore(start)
        training.step = 0
        assert all((training.snapshot()[name] == values).all() for name, values in start.items())
        training.update(gradients)
        [path] = tmp_path.iterdir()
        again = self.made(tmp_path, way)
        again.resume(path)
        for one in (training, again):
            one.update(gradients)
        assert again.step == 2
        ends = training.snapshot(), again.snapshot()
        assert ends[0].keys() == ends[1].keys() == start.keys()
        assert all((ends[0][name] == ends[1][name]).all() for name in start)

    @pytest.mark.parametrize(
        "make",
        [lambda p: torch.optim.NAdam(p), lambda p: torch.optim.SGD(p, momentum=0.9, dampening=0.5)],
    )
    def test_an_optimizer_that_starts_otherwise_is_refused(self, tmp_path: Path, make: Any) -> None:
        from traindeck.recipes.shared.training.dp.torch_state import Optimized

        model = self.model()
        with pytest.raises(ValueError, match="does not start at zero: use Adam"):
            Optimized(stand_in(tmp_path), model, make(list(model.parameters())), 0.99)

    def test_one_that_leaves_a_weight_out_is_refused(self, tmp_path: Path) -> None:
        from traindeck.recipes.shared.training.dp.torch_state import Optimized

        model = self.model()
        adam = torch.optim.Adam([model[1].weight])
        with pytest.raises(ValueError, match=r"1\.bias is trained"):
            Optimized(stand_in(tmp_path), model, adam, 0.99)


def adam_bc(*given: Any, **options: Any) -> Any:
    from traindeck.recipes.shared.training.dp.torch_adam import AdamBC

    return AdamBC(*given, **options)


class TestAdamBC:
    def gone(self, optimizer: Any, weights: Any, gradients: Any) -> Any:
        for gradient in gradients:
            weights.grad = gradient.clone()
            optimizer.step()
        return weights.detach()

    def test_without_noise_it_is_adam(self) -> None:
        gradients = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
        ours, torchs = torch.zeros(5, requires_grad=True), torch.zeros(5, requires_grad=True)
        mine = self.gone(adam_bc([ours], 0.0, lr=0.1, floor=1e-30), ours, gradients)
        adam = self.gone(torch.optim.Adam([torchs], lr=0.1, eps=0.0), torchs, gradients)
        assert torch.allclose(mine, adam, rtol=1e-5)

    def test_of_two_weights_in_noise_both_move_alike_as_adams_do_without(self) -> None:
        """One has ten times the other's gradient: in noise, Adam moves it ten times as far."""
        noise, betas = 10.0, (0.9, 0.99999)
        signs = torch.tensor([1.0, -1.0]).repeat(2000)[:, None]
        gradients = torch.tensor([2.0, 0.2]) + noise * signs
        ratios = []
        for make in (
            lambda p: torch.optim.Adam(p, lr=0.01, betas=betas),
            lambda p: adam_bc(p, noise, lr=0.01, betas=betas, floor=0.01),
        ):
            weights = torch.zeros(2, requires_grad=True)
            optimizer = make([weights])
            middle = self.gone(optimizer, weights, gradients[:3000]).clone()
            moved = self.gone(optimizer, weights, gradients[3000:]) - middle
            ratios.append(float(moved[0] / moved[1]))
        assert ratios == [pytest.approx(10, rel=0.05), pytest.approx(1, rel=0.05)]

    def test_a_step_is_that_of_the_paper(self) -> None:
        weights = torch.tensor([1.0, 1.0], requires_grad=True)
        optimizer = adam_bc([weights], 0.3, lr=0.1, floor=0.01, weight_decay=0.5)
        self.gone(optimizer, weights, torch.tensor([[0.5, 0.2]]))
        # m and v, corrected for their start, are g and g²: 0.25 - 0.09, and the floor for the other
        expected = [0.95 - 0.1 * 0.5 / 0.16**0.5, 0.95 - 0.1 * 0.2 / 0.01**0.5]
        assert weights.tolist() == pytest.approx(expected)

    def test_by_itself_the_floor_is_a_tenth_of_the_noises_variance(self) -> None:
        weights = torch.zeros(1, requires_grad=True)
        self.gone(adam_bc([weights], 2.0, lr=1.0), weights, torch.tensor([[2.0]]))
        assert weights.item() == pytest.approx(-2.0 / 0.4**0.5)

    @pytest.mark.parametrize(
        "option",
        [{"noise": -1.0}, {"lr": float("nan")}, {"floor": 0.0}, {"betas": (0.9, 1.0)}],
    )
    def test_values_out_of_range_are_refused(self, option: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(option))):
            adam_bc([torch.zeros(1)], **({"noise": 1.0} | option))
