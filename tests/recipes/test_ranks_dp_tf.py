"""tf-mnist-dp over replicas: one epsilon, one noise, and what refuses or kills it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core.privacy.ledgers import made
from tests.recipes import by_hand
from tests.recipes.by_hand import Ran
from tests.training.idxfiles import write
from traindeck.core.privacy.gate import account_now

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.framework

HERE = Path(__file__).parent
FAULTS = HERE / "rank_faults.py"
PRIVATE = by_hand.FOLDER / "tensorflow" / "mnist_dp.py"
TWO = ("--strategy=multiworker", "--workers=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("idx") / "data")


def start(home: Path, data: Path, *flags: object, fault: str = "none 0 0") -> Ran:
    """Run the recipe by two ranks, five steps of 1.4 records, to its end or its fault."""
    folder = home.parent / f"run-{len(list(home.parent.iterdir()))}"
    outside = {k: v for k, v in os.environ.items() if k != "TRAINDECK_RUN_FOLDER"}
    mine = {"TRAINDECK_HOME": str(home), "FAULT": fault, "OMP_NUM_THREADS": "1"}
    small = (f"--run-folder={folder}", f"--data-dir={data}", "--epochs=0.2", "--no-self-test")
    done = subprocess.run(
        [sys.executable, str(FAULTS), str(PRIVATE), *small, *TWO, *map(str, flags)],
        env=outside | mine,
        capture_output=True,
        text=True,
        timeout=by_hand.PATIENCE,
    )
    return Ran(folder, done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(("strategy", "workers"), [("mirrored", 3), ("multiworker", 2)])
def test_sums_over_replicas_are_those_of_a_plain_loop(
    tmp_path: Path, strategy: str, workers: int
) -> None:
    """Batches of 0, 1, 2, 5 and 11 records, so that some replicas have none; noise comes once."""
    flags = (f"--strategy={strategy}", f"--workers={workers}")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = by_hand.start(tmp_path / "home", HERE / "rank_sums_tf.py", *flags, **quiet)
    assert ran.code == 0, ran.error
    line = next(line for line in ran.out.splitlines() if line.startswith("found "))
    found: dict[str, Any] = json.loads(line.removeprefix("found "))
    assert found["replicas"] == workers
    assert found["off"] < 1e-5
    assert found["norms_off"] < 1e-5
    assert 0.49 < found["longest"] <= 0.5 * (1 + 1e-6)  # one record alone
    assert abs(found["noise"] - 1) < 5 / (2 * found["values"]) ** 0.5
    assert found["faulty"] == [3, 3]
    assert found["faulty_off"] < 1e-5
    assert found["faulty_sum"] == 0
    of_ranks = {"rank0/cpu_percent", f"rank{workers - 1}/memory_rss_bytes"}
    assert (of_ranks <= set(found["telemetry"])) == (strategy == "multiworker")


def test_runs_of_any_strategy_are_the_same(tmp_path: Path, data: Path) -> None:
    """Seeded, of batches of 1.4 records, or none; the self-test looks at all ranks."""
    flags = (f"--data-dir={data}", "--epochs=0.2", "--noise-seed=3", "--audit")
    flags += ("--clipping=adaptive",)  # each step has another norm, of which all must hear
    kinds = (("--no-self-test",), ("--no-self-test", "--strategy=mirrored", "--workers=2"), TWO)
    one, *others = (by_hand.start(tmp_path / "home", PRIVATE, *flags, *kind) for kind in kinds)
    assert one.code == 0, one.error
    weights = np.load(one.checkpoints[-1])
    for ran in others:
        assert ran.code == 0, ran.error
        same = np.load(ran.checkpoints[-1])
        trained = [name for name in weights.files if "/" in name]
        assert {"model/0", "average/0", "velocity/0", "clipping/norm"} <= set(trained)
        for name in trained:
            np.testing.assert_allclose(same[name], weights[name], rtol=1e-4, atol=1e-5)
        assert ran.spent() == one.spent() | {"t": ran.spent()["t"]}
        assert (ran.folder / "artifacts" / "audit.npz").is_file()
        assert (ran.folder / "artifacts" / "servable").is_dir()
    assert "self-test passed: gradients, clipping, noise, sampling" in others[-1].out


def test_a_budget_that_refuses_is_heard_before_anybody_computes(tmp_path: Path, data: Path) -> None:
    home = tmp_path / "home"
    ledger = made(home / "ledger", epsilon=40.0, rho_budget=25.0)
    ran = start(home, data, fault="lower 0 0")
    assert ran.code == 5
    assert "was lowered since" in ran.error.strip().splitlines()[-1]
    for rank in ("", "[rank1]: "):
        assert [line for line in ran.out.splitlines() if line.startswith(f"{rank}at step")] == [
            f"{rank}at step 0"
        ]
    assert "lost another rank" not in ran.error
    assert [run.settled for run in ledger.account().runs] == [1]
    refused = start(home, data)
    assert refused.code == 5, refused.error
    assert "at step" not in refused.out


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_a_run_that_has_paid_for_all_it_released(
    tmp_path: Path, data: Path, rank: int
) -> None:
    home = tmp_path / "home"
    ledger = made(home / "ledger", epsilon=80.0, rho_budget=50.0)
    ran = start(home, data, fault=f"kill {rank} 3")
    fault = next(line for line in ran.out.splitlines() if "about to kill" in line)
    assert time.time() - float(fault.split()[-1]) < 15
    why = f"rank {rank} of 2 was killed by SIGKILL"
    assert (ran.code, ran.error.strip().splitlines()[-1]) == (1, f"error: {why}")
    assert ran.events("error")[-1]["text"] == why
    assert ran.checkpoints[-1].name == "checkpoint-00000003.npz"
    [killed] = account_now(ledger).runs
    assert killed.settled is not None and killed.settled >= 4  # three released, the fourth begun
    if rank == 0:
        return
    small = (f"--data-dir={data}", "--epochs=0.2", "--no-self-test")
    resumed = by_hand.start(home, PRIVATE, *small, f"--resume={ran.folder}")
    assert resumed.code == 0, resumed.error
    assert "resuming after step 3 of 5" in resumed.out
    killed, rest = ledger.account().runs
    assert killed.charged >= 4 and rest.settled == 2


def test_workers_need_a_strategy(tmp_path: Path, data: Path) -> None:
    ran = by_hand.start(tmp_path / "home", PRIVATE, f"--data-dir={data}", "--workers=2")
    assert (ran.code, ran.error) == (
        2,
        "error: 2 workers need --strategy mirrored or multiworker\n",
    )
