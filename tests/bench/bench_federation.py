"""Federated averaging over PySyft owners: rounds a minute, what hiding updates costs, memory.

    python tests/bench/bench_federation.py [--rounds N]
    python tests/bench/bench_federation.py --dp [--seeds N]     # accuracy, with privacy

The setting is the recipe's own: 3 owners, 12,000 MNIST images split by Dirichlet(0.5), a network
of 25,450 parameters, masked sums. MNIST is found as the recipes find it. Each figure is of whole
rounds: training at the owners, masking or encrypting, sealing, the sum, and its evaluation.
`bench_flower.py` measures the same in Flower.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import traindeck.recipes

SYFT = Path(traindeck.recipes.__file__).parent / "syft"
SCRIPTS = {"PyTorch": SYFT / "fedavg.py", "TensorFlow": SYFT / "fedavg_tf.py"}
EDGE = 20  # rounds at each end that are held against each other


def federate(*flags: str, script: Path = SCRIPTS["PyTorch"]) -> dict[str, Any]:
    """Run the recipe by hand; gives its rounds, what it said of its speed, and owners' memory."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(script), f"--run-folder={folder}", *flags]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{script} ended with {done.returncode}\n{done.stderr}")
        federation = Path(folder) / "federation"
        status = json.loads((federation / "coordinator.json").read_text())
        owners = [json.loads(path.read_text()) for path in federation.glob("owners/*/status.json")]
    speed = re.search(r"(\d+) rounds a minute", done.stdout)
    ready = re.search(r"Ready after ([0-9.]+) s", done.stdout)
    return {
        "rounds": status["rounds"],
        "a_minute": float(speed[1]) if speed else 0.0,
        "ready": float(ready[1]) if ready else 0.0,
        "memory": max(owner["memory"] for owner in owners),
        "bytes": statistics.mean(sum(o["bytes_round"].values()) for o in owners),
    }


def seconds(measured: dict[str, Any]) -> float:
    """Median seconds of a round; the first ones warm up."""
    return statistics.median(each["seconds"] for each in measured["rounds"][2:])


def accuracy(seeds: int) -> None:
    """Test accuracy with differential privacy, at the recipes' own settings."""
    print("Hyperparameters were chosen on the test set, and epsilon does not include that choice.")
    for dp in ("central", "local"):
        for name, script in SCRIPTS.items():
            each = [
                federate(f"--dp={dp}", f"--seed={seed}", script=script)["rounds"][-1]["accuracy"]
                for seed in range(seeds)
            ]
            shown = ", ".join(f"{100 * one:.2f}" for one in each)
            print(f"{dp:>8} {name:>10}: {statistics.median(each):.2%} of {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--dp", action="store_true", help="test accuracy with privacy instead")
    parser.add_argument("--seeds", type=int, default=3, help="of --dp; default: %(default)s")
    given = parser.parse_args()
    if given.dp:
        accuracy(given.seeds)
        return

    long = federate(f"--rounds={given.rounds}")
    times = [each["seconds"] for each in long["rounds"]]
    first, last = statistics.mean(times[:EDGE]), statistics.mean(times[-EDGE:])
    print(f"3 owners, secagg, {given.rounds} rounds: {long['a_minute']:.0f} rounds a minute")
    print(f"  last {EDGE} rounds over the first {EDGE}: {last / first:.2f}")
    print(f"  ready to train after {long['ready']:.1f} s")

    sixty = federate("--rounds=60")
    print(f"  test accuracy of a run of 60 rounds: {sixty['rounds'][-1]['accuracy']:.4f}")

    plain = None
    for mode in ("transport", "secagg", "ckks"):
        measured = federate("--rounds=40", f"--aggregation={mode}")
        each = seconds(measured)
        plain = plain or each
        print(
            f"{mode:>10}: {each * 1000:.0f} ms a round, {each / plain:.2f}x transport,"
            f" {measured['bytes'] / 1000:.0f} kB an owner and round"
        )

    many = federate("--rounds=10", "--owners=16", "--alpha=10")
    print(
        f"16 owners: {many['a_minute']:.0f} rounds a minute, at most"
        f" {many['memory'] / 1e6:.0f} MB an owner (proportional set size)"
    )


if __name__ == "__main__":
    main()
