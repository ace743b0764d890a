"""What one log call of five metrics costs: ours beside those of other trackers.

    python tests/bench/bench_log.py [PEER...]

Each tracker is measured in a process of its own, offline and writing to a temporary folder: calls
in a row for two seconds, at most 20,000, each timed. The median counts (the mean has in it what
else the machine was doing); the CPU beside it is that of the whole process while it logged, threads
included. Wanted: 10 µs. A peer that is not installed beside this python is said to be so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.common import head, percentile, row

SECONDS, MOST, WARMUP = 2.0, 20_000, 20
NAMES = ("train/loss", "train/accuracy", "test/loss", "test/accuracy", "step_seconds")
FIGURES = "figures: "

Metrics = dict[str, float]
Log = Callable[[int, Metrics], object]


def traindeck(folder: str) -> tuple[Log, Callable[[], object]]:
    """As in a run that traindeck launched."""
    from traindeck.core.track import Run

    run = Run(folder=Path(folder), managed=True)
    return run.log, run.close


def torch_writer(folder: str) -> tuple[Log, Callable[[], object]]:
    return _scalars(import_module("torch.utils.tensorboard").SummaryWriter(folder))


def tensorboardx(folder: str) -> tuple[Log, Callable[[], object]]:
    return _scalars(import_module("tensorboardX").SummaryWriter(folder))


def wandb(folder: str) -> tuple[Log, Callable[[], object]]:
    wandb = import_module("wandb")
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    run = wandb.init(project="bench", dir=folder, mode="offline", settings=settings)
    return (lambda step, metrics: run.log(metrics, step=step)), run.finish


def mlflow(folder: str) -> tuple[Log, Callable[[], object]]:
    mlflow = import_module("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("bench")
    mlflow.start_run()
    return (lambda step, metrics: mlflow.log_metrics(metrics, step=step)), mlflow.end_run


def trackio(folder: str) -> tuple[Log, Callable[[], object]]:
    os.environ["TRACKIO_DIR"] = folder
    run = import_module("trackio").init(project="bench", embed=False)
    return (lambda step, metrics: run.log(metrics, step=step)), run.finish


def _scalars(writer: Any) -> tuple[Log, Callable[[], object]]:
    def log(step: int, metrics: Metrics) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


TRACKERS = {
    "traindeck": traindeck,
    "trackio": trackio,
    "wandb": wandb,
    "torch": torch_writer,
    "tensorboardX": tensorboardx,
    "mlflow": mlflow,
}
TITLES = {"torch": "torch SummaryWriter", "wandb": "wandb (offline)"}


def measure(name: str) -> None:
    """Print what one tracker needed, as JSON on a line of its own among what it prints itself."""
    with tempfile.TemporaryDirectory(prefix="traindeck-bench-") as folder:
        log, close = TRACKERS[name](folder)
        values = dict.fromkeys(NAMES, 0.5)
        for step in range(WARMUP):
            log(step, values)
        calls: list[float] = []
        began, cpu = time.perf_counter(), time.process_time()
        now = began
        while now - began < SECONDS and len(calls) < MOST:
            values["train/loss"] = 1 / (len(calls) + 1)
            start = time.perf_counter()
            log(WARMUP + len(calls), values)
            now = time.perf_counter()
            calls.append(now - start)
        cpu = time.process_time() - cpu
        close()
    figures = {
        "calls": len(calls),
        "mean": sum(calls) / len(calls),
        "p50": percentile(calls, 50),
        "p99": percentile(calls, 99),
        "cpu": cpu / len(calls),
    }
    print(f"\n{FIGURES}{json.dumps(figures)}", flush=True)


def run(name: str) -> str:
    """Measure one tracker in a process of its own; what to say of it."""
    if find_spec(name) is None:
        return "not installed"
    words = [sys.executable, __file__, "--one", name]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        return "did not end within 90 s"
    if done.returncode:
        return f"failed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1][:100]}"
    line = next(line for line in done.stdout.splitlines() if line.startswith(FIGURES))
    figures = json.loads(line.removeprefix(FIGURES))
    mean, p50, p99, cpu = (1e6 * figures[key] for key in ("mean", "p50", "p99", "cpu"))
    return f"{p50:.1f} µs (mean {mean:.1f}, p99 {p99:.1f}, CPU {cpu:.1f})"


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["--one"]:
        measure(words[1])
        return
    head("one log call of 5 metrics")
    row("traindeck", run("traindeck"), "10 µs")
    for name in words or [name for name in TRACKERS if name != "traindeck"]:
        row(TITLES.get(name, name), "", "", run(name))
    row("traindeck, once more", run("traindeck"), "10 µs")


if __name__ == "__main__":
    main()
