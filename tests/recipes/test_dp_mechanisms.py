"""The MNIST CNNs with banded noise, in both frameworks, as people run them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import by_hand
from tests.recipes.by_hand import Ran
from tests.training.idxfiles import write

pytestmark = [pytest.mark.framework, pytest.mark.slow]


@pytest.fixture(scope="module", params=["torch", "tensorflow"])
def folder(request: pytest.FixtureRequest) -> Path:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"no {request.param}")
    return by_hand.FOLDER / str(request.param)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mechanisms") / "home"


@pytest.fixture(scope="module")
def digits(home: Path) -> Path:
    """A folder of 40 training images."""
    return write(home.parent / "data")


def start(folder: Path, home: Path, digits: Path, *flags: object) -> Ran:
    few = ("--batch-size=2048", f"--epochs={8.5 * 2048 / 60000}", "--noise-multiplier=2")
    return by_hand.start(home, folder / "mnist_dp.py", f"--data-dir={digits}", *few, *flags)


def kept(checkpoint: Path) -> dict[str, Any]:
    """All that a checkpoint holds, by name."""
    if checkpoint.suffix == ".npz":
        with np.load(checkpoint) as file:
            return dict(file)
    import torch

    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    return state


def test_banded_noise_trains_and_goes_on_after_a_cycle_with_nothing_of_it_kept(
    folder: Path, home: Path, digits: Path
) -> None:
    banded = ("--noise=banded", "--bands=3")
    ran = start(folder, home, digits, *banded, "--audit")
    assert ran.code == 0, ran.error
    assert "self-test passed" in ran.out and "entropy, in 3 bands" in ran.out
    assert [int(path.stem.split("-")[1]) for path in ran.checkpoints] == [3, 6, 8]
    assert ran.spent()["event"]["bands"] == 3
    plain = start(folder, home, digits, "--no-self-test")
    names = kept(ran.checkpoints[0]).keys() - {"bands"}
    assert names == kept(plain.checkpoints[0]).keys()
    sizes = {path.stat().st_size for path in (ran.checkpoints[0], plain.checkpoints[0])}
    assert max(sizes) - min(sizes) < 1000  # of 80 thousand bytes of weights

    rest = start(folder, home, digits, *banded, f"--resume={ran.checkpoints[1]}")
    assert rest.code == 0, rest.error
    assert "resuming after step 6 of 8" in rest.out and rest.spent()["event"]["steps"] == 8
    other = start(folder, home, digits, f"--resume={ran.checkpoints[1]}")
    assert other.code == 2 and "was trained with bands 3, not 1" in other.error
    back = start(folder, home, digits, *banded, f"--resume={plain.checkpoints[1]}")
    assert back.code == 2 and "was trained with bands 1, not 3" in back.error
