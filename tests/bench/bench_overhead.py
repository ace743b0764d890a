"""What being managed costs a real training loop, against the same loop by hand and untracked.

    python tests/bench/bench_overhead.py [--seconds 45]

Two PyTorch loops on scikit-learn's digits: a small convolutional network that uses every core, and
a tiny fully connected one in a single thread, whose steps take well under a millisecond. Each
trains in three processes: `managed` was started by traindeck, with its supervisor beside it; `by
hand` is the same script started with python; `untracked` is that loop without a line of traindeck.
They take turns of 0.3 s each, in random order, all with the same number of steps, so that the load
of the machine meets all alike; the supervisor is halted while another one trains, and what it then
catches up on counts. Per round the managed turn is compared with the others': printed are the
median of these differences and its 95 % interval. Wanted: under 1 %.

On a busy machine such differences drown in its noise. So what being managed consists of is measured
by itself too: the CPU of the calls to track for one step, what they write included, and that of the
supervisor. Together they bound the overhead of a loop that leaves no core free.
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
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from traindeck.core.home import Home

TURN_SECONDS = 0.3
TRACKED_STEPS = 20_000
PARTS_SECONDS = 6.0
LOOP = """
import contextlib, json, os, socket, sys, time

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as the recipe for MNIST has it: threads do not spin
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

kind = os.environ["BENCH_KIND"]
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
if kind == "untracked":
    tracked = contextlib.nullcontext()
else:
    from traindeck.core import track
    tracked = track.start()

bench = socket.socket(socket.AF_UNIX)
bench.connect(os.environ["BENCH_SOCKET"])
step, values = 0, {}
with tracked as run, bench.makefile("rw", buffering=1) as turns:
    for order in turns:
        what, steps = order.split()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            step += 1
            if what == "train":
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
UNTRACKED, BY_HAND, MANAGED = "untracked", "by hand", "managed"
TRAIN, TRACK = "train", "track"
Turn = Callable[[str, int], Spent]
"""Lets one process train so many steps, or only track them."""


@contextmanager
def listening(folder: Path) -> Iterator[socket.socket]:
    """Where the training processes report for work."""
    with socket.socket(socket.AF_UNIX) as listener:
        os.environ["BENCH_SOCKET"] = str(folder / "bench.sock")
        listener.bind(os.environ["BENCH_SOCKET"])
        listener.listen()
        listener.settimeout(PATIENCE)
        yield listener


@contextmanager
def started_by_python(listener: socket.socket, script: Path) -> Iterator[Turn]:
    words = [sys.executable, str(script)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with connected(listener) as turn:
            yield turn
    finally:
        process.kill()
        process.wait()


@contextmanager
def connected(listener: socket.socket) -> Iterator[Turn]:
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        raise SystemExit("a training process did not start") from None
    with connection, connection.makefile("rw", buffering=1) as turns:

        def turn(what: str, steps: int) -> Spent:
            print(what, steps, file=turns)
            return Spent(*json.loads(turns.readline()))

        yield turn


def supervised(turn: Turn, supervisor: int) -> Turn:
    """The same, its supervisor halted before and after."""

    def managed(what: str, steps: int) -> Spent:
        os.kill(supervisor, signal.SIGCONT)
        try:
            return turn(what, steps)
        finally:
            os.kill(supervisor, signal.SIGSTOP)

    return managed


def cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def measure(home: Home, listener: socket.socket, loop: str, seconds: float) -> None:
    os.environ["BENCH_LOOP"] = loop
    recipe = make_recipe(home, "loop", LOOP)
    with ExitStack() as stack:
        trainers: dict[str, Turn] = {}
        for kind in (UNTRACKED, BY_HAND):
            os.environ["BENCH_KIND"] = kind
            trainers[kind] = stack.enter_context(started_by_python(listener, recipe.path))
        os.environ["BENCH_KIND"] = MANAGED
        supervisor = process_of(start(home, recipe), "supervisor").pid
        stack.callback(os.kill, supervisor, signal.SIGCONT)
        managed = stack.enter_context(connected(listener))
        trainers[MANAGED] = supervised(managed, supervisor)
        for turn in trainers.values():
            turn(TRAIN, 100)
        steps = max(5, int(TURN_SECONDS * 100 / trainers[UNTRACKED](TRAIN, 100).wall))
        tell(loop, steps, play(trainers, steps, seconds))
        parts(managed, supervisor, int(steps * PARTS_SECONDS / TURN_SECONDS))


def parts(managed: Turn, supervisor: int, steps: int) -> None:
    """What being managed consists of: measured by itself, at the pace of real life."""
    os.kill(supervisor, signal.SIGCONT)
    managed(TRAIN, max(1, steps // 5))  # the supervisor catches up
    before = cpu_seconds(supervisor)
    spent = managed(TRAIN, steps)
    beside = (cpu_seconds(supervisor) - before) / spent.wall
    calls = managed(TRACK, TRACKED_STEPS).cpu / TRACKED_STEPS
    share = calls * steps / spent.wall
    row("  calls to track, CPU a step", f"{1e6 * calls:.1f} µs, {share:.2%} of a core")
    row("  its supervisor's CPU", f"{beside:.2%} of a core")
    row("  both together", f"{share + beside:.2%} of a core", "under 1 %")


def play(trainers: dict[str, Turn], steps: int, seconds: float) -> list[dict[str, Spent]]:
    """Rounds in which each trains once, until the time is over."""
    chance, kinds = random.Random(), list(trainers)
    rounds: list[dict[str, Spent]] = []
    spent = 0.0
    while spent < seconds or len(rounds) < 5:
        chance.shuffle(kinds)
        rounds.append({kind: trainers[kind](TRAIN, steps) for kind in kinds})
        spent += sum(one.wall for one in rounds[-1].values())
    return rounds


def tell(loop: str, steps: int, rounds: Sequence[dict[str, Spent]]) -> None:
    step = statistics.median(one[UNTRACKED].wall for one in rounds) / steps
    row(f"{LOOPS[loop]}: a step", f"{1000 * step:.2f} ms; {len(rounds)} rounds of {steps} steps")
    for other in (BY_HAND, UNTRACKED):
        for what in ("wall", "cpu"):
            over = [getattr(one[MANAGED], what) / getattr(one[other], what) - 1 for one in rounds]
            low, high = confidence(over)
            shown = f"{statistics.median(over):+.2%} ({low:+.2%} to {high:+.2%})"
            name = "time" if what == "wall" else "CPU"
            row(f"  {name}, managed over {other}", shown, "under 1 %")


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--seconds", type=float, default=45, help="of training, for each loop")
    given = asked.parse_args()
    head("overhead of being managed")
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("sklearn") is None:
        row("training loop", "torch or scikit-learn is not installed")
        return
    with throwaway_home() as home, listening(home.root) as listener:
        for loop in LOOPS:
            measure(home, listener, loop, given.seconds)


if __name__ == "__main__":
    main()
