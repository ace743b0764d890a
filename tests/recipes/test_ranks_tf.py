"""tf-mnist by strategies: its first losses are one device's, and a killed worker is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes import by_hand
from tests.recipes.by_hand import Ran
from tests.training.idxfiles import write

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.framework

FAULTS = Path(__file__).parent / "rank_faults.py"
MNIST = by_hand.FOLDER / "tensorflow" / "mnist.py"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("replicas") / "home"
    write(home.parent / "data")
    return home


def start(home: Path, strategy: str, workers: int, *flags: str, fault: str = "none 0 0") -> Ran:
    folder = home.parent / f"run-{len(list(home.parent.iterdir()))}"
    outside = {k: v for k, v in os.environ.items() if k != "TRAINDECK_RUN_FOLDER"}
    one = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    own = (f"--strategy={strategy}", f"--workers={workers}", f"--run-folder={folder}")
    small = (f"--data-dir={home.parent / 'data'}", "--batch-size=8")
    done = subprocess.run(
        [sys.executable, str(FAULTS), str(MNIST), *small, *own, *flags],
        env=outside | {"TRAINDECK_HOME": str(home), "FAULT": fault} | one,
        capture_output=True,
        text=True,
        timeout=by_hand.PATIENCE,
    )
    return Ran(folder, done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_losses_are_those_of_one_device(home: Path, seed: int) -> None:
    """Five steps, all of an epoch: later a rounding may grow to a difference, and does at last."""
    flags = ("--epochs=1", f"--seed={seed}")
    one = start(home, "none", 1, *flags)
    assert one.code == 0, one.error
    expected = [loss for _, loss in one.series()["train/loss"]]
    assert len(expected) == 5
    for strategy in ("mirrored", "multiworker"):
        ran = start(home, strategy, 2, *flags)
        assert ran.code == 0, ran.error
        losses = [loss for _, loss in ran.series()["train/loss"]]
        assert losses == pytest.approx(expected, rel=1e-6), strategy
        assert ran.checkpoints[-1].name == "checkpoint-00000005.keras"
        assert (ran.folder / "artifacts" / "servable").is_dir()


def test_a_killed_worker_ends_the_run_and_is_named(home: Path) -> None:
    ran = start(home, "multiworker", 2, fault="kill 1 3")
    assert ran.code == 1
    assert ran.error.strip().splitlines()[-1] == "error: rank 1 of 2 was killed by SIGKILL"


def test_workers_need_a_strategy(home: Path) -> None:
    ran = start(home, "none", 2)
    assert (ran.code, ran.error) == (
        2,
        "error: 2 workers need --strategy mirrored or multiworker\n",
    )
