"""PyTorch's recipes in several processes: by hand, with real ranks, and what kills them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.core.privacy.ledgers import made
from tests.recipes import by_hand
from tests.recipes.by_hand import Ran
from tests.training.idxfiles import write
from traindeck.core.privacy.gate import account_now

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.framework

HERE = Path(__file__).parent
FAULTS = HERE / "rank_faults.py"
MNIST = by_hand.FOLDER / "torch" / "mnist.py"
PRIVATE = by_hand.FOLDER / "torch" / "mnist_dp.py"
TWO = "--workers=2"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks") / "home"


@pytest.fixture(scope="module")
def data(home: Path) -> Path:
    return write(home.parent / "data")


def start(
    home: Path, *flags: object, recipe: Path = MNIST, fault: str = "none 0 0", **environment: str
) -> Ran:
    """Run a recipe, each step of torch-mnist logged, to its end or its fault."""
    folder = home.parent / f"run-{len(list(home.parent.iterdir()))}"
    outside = {k: v for k, v in os.environ.items() if k != "TRAINDECK_RUN_FOLDER"}
    mine = {"TRAINDECK_HOME": str(home), "OMP_NUM_THREADS": "1", "FAULT": fault}
    done = subprocess.run(
        [sys.executable, str(FAULTS), str(recipe), f"--run-folder={folder}", *map(str, flags)],
        env=outside | mine | environment,
        capture_output=True,
        text=True,
        timeout=by_hand.PATIENCE,
    )
    return Ran(folder, done.returncode, done.stdout, done.stderr)


def five_losses(ran: Ran) -> list[float]:
    assert ran.code == 0, ran.error
    return [loss for _, loss in ran.series()["train/loss"]][:5]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_losses_are_those_of_one_process(home: Path, data: Path, seed: int) -> None:
    small = (f"--data-dir={data}", "--batch-size=8", "--lr=0.1", f"--seed={seed}")
    alone, together = (start(home, *small, *more, fault="enough 0 5") for more in ((), (TWO,)))
    assert five_losses(together) == pytest.approx(five_losses(alone), rel=1e-6)


def test_each_rank_is_named_in_log_and_series(home: Path, data: Path) -> None:
    ran = start(home, f"--data-dir={data}", "--batch-size=8", "--epochs=2", TWO)
    assert ran.code == 0, ran.error
    assert "[rank1]: training on cpu" in ran.out
    series = ran.series()
    for rank in ("rank0", "rank1"):
        assert {f"{rank}/train/loss", f"{rank}/cpu_percent", f"{rank}/memory_rss_bytes"} <= set(
            series
        )
    halves = [series[f"{rank}/train/loss"] for rank in ("rank0", "rank1")]
    for (step, whole), (_, one), (_, other) in zip(series["train/loss"], *halves, strict=True):
        assert whole == pytest.approx((one + other) / 2), step
    assert [path.name for path in ran.checkpoints][-1] == "checkpoint-00000010.pt"
    assert (ran.folder / "artifacts" / "servable").is_dir()


def test_ranks_end_well_though_their_threads_are_not_done(home: Path, data: Path) -> None:
    small = (f"--data-dir={data}", "--batch-size=8", "--epochs=1", TWO)
    ran = start(home, *small, fault="late 0 0")
    assert ran.code == 0, ran.error


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("kill 1 3", "error: rank 1 of 2 was killed by SIGKILL"),
        ("kill 0 3", "error: rank 0 of 2 was killed by SIGKILL"),
        ("raise 1 3", "error: rank 1 of 2 failed: ValueError: bad record in shard 1"),
        ("hang 1 3", "error: rank 1 of 2 did not answer the others for 3 s and was ended"),
    ],
)
def test_a_failed_rank_ends_the_run_and_is_named(
    home: Path, data: Path, fault: str, why: str
) -> None:
    small = (f"--data-dir={data}", "--batch-size=8", TWO)
    ran = start(home, *small, fault=fault, TRAINDECK_RANK_TIMEOUT="3")
    assert ran.code == 1
    assert ran.error.strip().splitlines()[-1] == why
    assert ran.events("error")[-1]["text"] == why.removeprefix("error: ")


def test_a_killed_rank_is_restarted_from_the_newest_checkpoint(home: Path, data: Path) -> None:
    small = (f"--data-dir={data}", "--batch-size=8", "--epochs=3")
    whole = start(home, *small)
    ran = start(home, *small, TWO, "--restarts=1", fault="kill 1 7")
    assert ran.code == 0, ran.error
    assert "resuming after step 5 of 15" in ran.out
    assert ran.events("note")[0]["text"] == "rank 1 of 2 was killed by SIGKILL"
    expected = [loss for _, loss in whole.series()["train/loss"]]
    assert [loss for _, loss in ran.series()["train/loss"]][-10:] == pytest.approx(
        expected[-10:], rel=1e-3
    )


def test_a_batch_that_cannot_be_divided_is_refused(home: Path, data: Path) -> None:
    ran = start(home, f"--data-dir={data}", "--batch-size=7", TWO)
    assert ran.code == 2
    assert "batch_size 7 cannot be divided among 2 workers: take 6 or 8" in ran.error


def test_private_sums_over_ranks_are_those_of_one_process(home: Path) -> None:
    ran = by_hand.start(home, HERE / "rank_sums.py", "--workers=3")
    assert ran.code == 0, ran.error
    line = next(line for line in ran.out.splitlines() if line.startswith("found "))
    found = json.loads(line.removeprefix("found "))
    assert found["off"] < 1e-6
    assert found["norms_off"] < 1e-4
    assert 0.49 < found["longest"] <= 0.5 * (1 + 1e-6)  # one record alone
    assert 0.49 < found["shift"] <= 0.5 * (1 + 1e-5)  # one record among others
    assert abs(found["noise"] - 1) < 5 / (2 * found["values"]) ** 0.5
    assert (found["faulty"], found["faulty_sum"]) == (3, 0.0)
    assert {"rank0/cpu_percent", "rank2/memory_rss_bytes"} <= set(found["telemetry"])


def test_private_runs_of_one_and_two_ranks_are_the_same(home: Path, data: Path) -> None:
    """Seeded, of batches of 1.4 records, or none."""
    flags = (f"--data-dir={data}", "--epochs=0.2", "--noise-seed=3", "--audit")
    one, two = (by_hand.start(home, PRIVATE, *flags, f"--workers={n}") for n in (1, 2))
    for ran in (one, two):
        assert ran.code == 0, ran.error
        assert "self-test passed: gradients, clipping, noise, sampling" in ran.out
    weights, same = (torch.load(r.checkpoints[-1], weights_only=True)["model"] for r in (one, two))
    for name, values in weights.items():
        torch.testing.assert_close(same[name], values, rtol=1e-4, atol=1e-5)
    assert two.spent()["epsilon"] == one.spent()["epsilon"]
    assert (two.folder / "artifacts" / "audit.npz").is_file()


def test_a_budget_is_charged_once_for_all_ranks(home: Path, data: Path) -> None:
    other = home.parent / "other"
    ledger = made(other / "ledger", epsilon=40.0, rho_budget=25.0)
    ran = by_hand.start(other, PRIVATE, f"--data-dir={data}", "--epochs=0.2", TWO)
    assert ran.code == 0, ran.error
    assert [run.settled for run in ledger.account().runs] == [5]
    refused = by_hand.start(other, PRIVATE, f"--data-dir={data}", "--epsilon=50", TWO)
    assert refused.code == 5, refused.error


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_a_private_run_that_has_paid_for_all_it_released(
    home: Path, data: Path, rank: int
) -> None:
    other = home.parent / f"killed-{rank}" / "home"
    ledger = made(other / "ledger", epsilon=80.0, rho_budget=50.0)
    flags = (f"--data-dir={data}", "--epochs=0.2", "--no-self-test", TWO)
    ran = start(other, *flags, recipe=PRIVATE, fault=f"kill {rank} 3")
    fault = next(line for line in ran.out.splitlines() if "about to kill" in line)
    assert time.time() - float(fault.split()[-1]) < 15
    why = f"rank {rank} of 2 was killed by SIGKILL"
    assert (ran.code, ran.error.strip().splitlines()[-1]) == (1, f"error: {why}")
    assert ran.events("error")[-1]["text"] == why
    assert ran.checkpoints[-1].name == "checkpoint-00000003.pt"
    [killed] = account_now(ledger).runs
    assert killed.settled is not None and killed.settled >= 4  # three released, the fourth begun
    resumed = start(other, *flags, f"--resume={ran.folder}", recipe=PRIVATE)
    assert resumed.code == 0, resumed.error
    assert "resuming after step 3 of 5" in resumed.out
    killed, rest = ledger.account().runs
    assert killed.charged >= 4 and rest.settled == 2
