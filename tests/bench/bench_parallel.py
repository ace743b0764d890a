"""Examples a second of the MNIST recipes by 1 and 2 workers of one thread each.

    python tests/bench/bench_parallel.py [--repeats 3] [--batch-size 512] [--epochs 1]

Needs MNIST (see the recipes' --data-dir) and two free cores. Kinds are interleaved, so that a busy
machine hits all alike, and each figure is the median of its repeats, of each the median over the
run. Beside it the load, the test accuracy, and how far the first ten losses are at most from one
worker's: each repeat has another seed. Seen by prototypes at batch 512: torch 1.43, TensorFlow 1.40
times one worker's. At --lr 0.1 that batch diverges with some seeds, by a rounding's luck.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.recipes import by_hand

KINDS = {
    "torch, 1": ("torch", ()),
    "torch, 2": ("torch", ("--workers=2",)),
    "tf, 1": ("tensorflow", ()),
    "tf, 2 multiworker": ("tensorflow", ("--strategy=multiworker", "--workers=2")),
    "tf, 2 mirrored": ("tensorflow", ("--strategy=mirrored", "--workers=2")),
}


def measure(home: Path, kind: str, flags: tuple[str, ...]) -> tuple[float, float, float]:
    """Examples a second, test accuracy, and the mean loss of the first ten steps."""
    framework, own = KINDS[kind]
    script = by_hand.FOLDER / framework / "mnist.py"
    data = {"TRAINDECK_DATA": os.environ.get("TRAINDECK_DATA", "")}
    ran = by_hand.start(home, script, *flags, *own, TF_NUM_INTEROP_THREADS="1", **data)
    if ran.code:
        raise SystemExit(f"{kind} ended with exit code {ran.code}: {ran.error}")
    series = ran.series()
    speeds = [speed for _, speed in series["examples_per_second"]]
    return (
        statistics.median(speeds[1:]),
        series["test/accuracy"][-1][1],
        series["train/loss"][0][1],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    flags = (f"--batch-size={given.batch_size}", f"--epochs={given.epochs}", f"--lr={given.lr}")
    found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.repeats):
            for kind, results in found.items():
                results.append(measure(Path(folder) / "home", kind, (*flags, f"--seed={seed}")))
                speed, accuracy, loss = results[-1]
                load = os.getloadavg()[0]
                print(f"{kind:<20}{speed:>9.0f}/s  {accuracy:.4f}  {loss:.7f}  load {load:.1f}")
    print(f"\n{'kind':<20}{'examples/s':>11}{'of one':>8}{'accuracy':>10}{'first losses off':>18}")
    for kind, results in found.items():
        one = found[kind.split(",")[0] + ", 1"]
        speed, of_one = (statistics.median(each[0] for each in few) for few in (results, one))
        accuracy = statistics.median(each[1] for each in results)
        off = max(abs(own[2] - alone[2]) for own, alone in zip(results, one, strict=True))
        print(f"{kind:<20}{speed:>11.0f}{speed / of_one:>8.2f}{accuracy:>10.4f}{off:>18.1e}")


if __name__ == "__main__":
    main()
