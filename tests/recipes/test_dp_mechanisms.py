"""The MNIST CNNs with banded noise and with adaptive clipping, in both frameworks, as processes."""

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


def start(recipe: Path, home: Path, digits: Path, *flags: object) -> Ran:
    """The CNN, of a folder of recipes or a copy, for 8 steps."""
    few = ("--batch-size=2048", f"--epochs={8.5 * 2048 / 60000}", "--noise-multiplier=2")
    recipe = recipe / "mnist_dp.py" if recipe.is_dir() else recipe
    return by_hand.start(home, recipe, f"--data-dir={digits}", *few, *flags)


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


def test_an_adaptive_norm_moves_is_kept_and_is_no_private_series(
    folder: Path, home: Path, digits: Path
) -> None:
    ran = start(folder, home, digits, "--clipping=adaptive", "--audit")
    assert ran.code == 0, ran.error
    assert "self-test passed" in ran.out and "102.4 on a count" in ran.out
    norms = [norm for _, norm in ran.series()["clipping_norm"]]
    assert norms[0] == 0.1 and len(set(norms)) == len(norms) == 8
    held = kept(ran.checkpoints[3])

    assert float(held["clipping/norm"]) == norms[4]

    rest = start(folder, home, digits, "--clipping=adaptive", f"--resume={ran.checkpoints[3]}")
    assert rest.code == 0, rest.error
    assert rest.series()["clipping_norm"][0] == (5, norms[4])
    other = start(folder, home, digits, f"--resume={ran.checkpoints[3]}")
    assert other.code == 2 and "was trained with clipping adaptive, not fixed" in other.error


FOLLOW = "        step.follow(result.norms)\n"
CLIP = "        clipped.clip_to(step.clipping_norm)\n"


@pytest.mark.parametrize(
    "right, wrong, why",
    [
        (FOLLOW, f"        step.count_noise = 0.0\n{FOLLOW}", "none reaches clipping/norm"),
        (FOLLOW, "", "and has 26011 parameters"),
        (CLIP, "", "sensitivity: measured by its noise, a record alone moves"),
    ],
    ids=["a count without noise", "no count", "clipped to the first norm for ever"],
)
def test_what_is_wrong_with_adaptive_clipping_is_seen(
    folder: Path, home: Path, digits: Path, tmp_path: Path, right: str, wrong: str, why: str
) -> None:
    source = (folder / "mnist_dp.py").read_text()
    assert right in source
    (tmp_path / "wrong.py").write_text(source.replace(right, wrong))
    ran = start(tmp_path / "wrong.py", home, digits, "--clipping=adaptive")
    assert ran.code == 1
    assert ran.error.startswith("error: self-test: ") and why in ran.error
    assert not (ran.folder / "events.jsonl").exists() or not ran.events("spend")
