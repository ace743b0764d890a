"""What being managed costs a real training loop, against the same loop by hand and untracked.

    python tests/bench/bench_overhead.py [--seconds 50]

Two PyTorch loops on scikit-learn's digits, both started by traindeck: a small convolutional network
that uses every core, and a tiny fully connected one in a single thread, whose steps take well under
a millisecond. Each trains in turns of 0.3 s, all of the same number of steps, in random order:
`managed` logs to the run's folder with the supervisor beside it; `by hand` logs as the script does
when it is started with python; `untracked` calls nothing of traindeck's. The supervisor is halted
in the latter two. (Three processes instead of one would differ by several per cent for reasons of
their own: two equal ones do.) Turns that follow each other are compared, so that the load of the
machine meets all alike; printed are the median of these differences and its 95 % interval.
Wanted: under 1 %.

On a busy machine such differences drown in its noise. So what being managed consists of is measured
by itself too: the CPU of the calls to track, what they write included, and that of the supervisor.
Together they bound the overhead of a loop that leaves no core free.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import signal
import socket
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.common import (
    PATIENCE,
    Spent,
    confidence,
    head,
    make_recipe,
    process_of,
    row,
    start,
    throwaway_home,
)
from traindeck.core.base.home import Home

TURN_SECONDS = 0.3
TRACKED_STEPS = 20_000
PARTS_SECONDS = 6.0
LOOP = """
import json, os, socket, sys, time

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as the recipe for MNIST has it: threads do not spin
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, interpolate
from traindeck.core import track

torch.manual_seed(0)
digits = load_digits()
images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
labels = torch.from_numpy(digits.target).long()
if os.environ["BENCH_LOOP"] == "cnn":
    batch, images = 64, interpolate(images, size=28)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(),
        nn.Linear(128, 10))
else:
    torch.set_num_threads(1)
    batch = 32
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

bench = socket.socket(socket.AF_UNIX)
bench.connect(os.environ["BENCH_SOCKET"])
step, values = 0, {}
with track.start() as managed, bench.makefile("rw", buffering=1) as turns:
    runs = {"managed": managed, "by hand": track.Run(), "untracked": None, "calls alone": managed}
    for order in turns:
        kind, steps = order.split(":")
        run, training = runs[kind], kind != "calls alone"
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            step += 1
            if training:
                began = time.perf_counter()
                picked = torch.randint(len(images), (batch,))
                logits = model(images[picked])
                loss = cross_entropy(logits, labels[picked])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if step % 10 == 0:
                    hits = (logits.argmax(1) == labels[picked]).float().mean().item()
                    seconds = time.perf_counter() - began
                    values = {"train/loss": loss.item(), "train/accuracy": hits,
                              "step_seconds": seconds, "examples_per_second": batch / seconds}
            if run:
                run.progress(step, 10_000_000)
                if run.should_stop():
                    sys.exit()
                if step % 10 == 0:
                    run.log(step, values)
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), file=turns)
"""
LOOPS = {"cnn": "small CNN, all cores", "mlp": "tiny MLP, one thread"}
UNTRACKED, BY_HAND, MANAGED, CALLS_ALONE = "untracked", "by hand", "managed", "calls alone"
Turn = Callable[[str, int], Spent]
"""Lets the run go through so many steps in one of these ways."""


def measure(home: Home, loop: str, seconds: float) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        address = home.root / f"{loop}.sock"
        listener.bind(str(address))
        listener.listen()
        listener.settimeout(PATIENCE)
        os.environ.update(BENCH_LOOP=loop, BENCH_SOCKET=str(address))
        run = start(home, make_recipe(home, "loop", LOOP))
        supervisor = process_of(run, "supervisor").pid
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            raise SystemExit(f"the run did not start to train: {run.state()}") from None
    with connection, connection.makefile("rw", buffering=1) as turns:

        def turn(kind: str, steps: int) -> Spent:
            print(f"{kind}:{steps}", file=turns)
            return Spent(*json.loads(turns.readline()))

        try:
            for kind in (UNTRACKED, BY_HAND, MANAGED):
                turn(kind, 100)
            steps = max(5, int(TURN_SECONDS * 100 / turn(UNTRACKED, 100).wall))
            tell(loop, steps, play(turn, supervisor, steps, seconds))
        finally:
            os.kill(supervisor, signal.SIGCONT)
        tell_parts(turn, supervisor, int(steps * PARTS_SECONDS / TURN_SECONDS))


def play(turn: Turn, supervisor: int, steps: int, seconds: float) -> list[dict[str, Spent]]:
    """Rounds in which each kind has one turn, until the time is over."""
    chance, kinds = random.Random(), [UNTRACKED, BY_HAND, MANAGED]
    rounds: list[dict[str, Spent]] = []
    spent = 0.0
    while spent < seconds or len(rounds) < 5:
        chance.shuffle(kinds)
        rounds.append({})
        for kind in kinds:
            os.kill(supervisor, signal.SIGCONT if kind == MANAGED else signal.SIGSTOP)
            rounds[-1][kind] = turn(kind, steps)
        spent += sum(one.wall for one in rounds[-1].values())
    return rounds


def tell(loop: str, steps: int, rounds: Sequence[dict[str, Spent]]) -> None:
    step = statistics.median(one[UNTRACKED].wall for one in rounds) / steps
    row(f"{LOOPS[loop]}: a step", f"{1000 * step:.2f} ms; {len(rounds)} rounds of {steps} steps")
    for what, name in (("wall", "time"), ("cpu", "CPU")):
        for of, base in ((MANAGED, BY_HAND), (MANAGED, UNTRACKED), (BY_HAND, UNTRACKED)):
            over = [getattr(one[of], what) / getattr(one[base], what) - 1 for one in rounds]
            low, high = confidence(over)
            shown = f"{statistics.median(over):+.2%} ({low:+.2%} to {high:+.2%})"
            row(f"  {name}, {of} over {base}", shown, "under 1 %" if of == MANAGED else "")


def tell_parts(turn: Turn, supervisor: int, steps: int) -> None:
    """What being managed consists of, at the pace of real life."""
    turn(MANAGED, max(1, steps // 5))  # meanwhile the supervisor catches up
    before = cpu_seconds(supervisor)
    spent = turn(MANAGED, steps)
    beside = (cpu_seconds(supervisor) - before) / spent.wall
    calls = turn(CALLS_ALONE, TRACKED_STEPS).cpu / TRACKED_STEPS
    share = calls * steps / spent.wall
    row("  calls to track, CPU a step", f"{1e6 * calls:.1f} µs, {share:.2%} of a core")
    row("  its supervisor's CPU", f"{beside:.2%} of a core")
    row("  both together", f"{share + beside:.2%} of a core", "under 1 %")


def cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--seconds", type=float, default=50, help="of training, for each loop")
    given = asked.parse_args()
    head("overhead of being managed")
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("sklearn") is None:
        row("training loop", "torch or scikit-learn is not installed")
        return
    with throwaway_home() as home:
        for loop in LOOPS:
            measure(home, loop, given.seconds)


if __name__ == "__main__":
    main()
