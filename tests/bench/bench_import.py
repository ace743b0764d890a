"""How long `traindeck import` takes for a million points, by format; wanted: seconds.

    bench_import.py [POINTS]

Each file is made anew and imported by the command, as a process of its own, into an empty home.
All of it is computing: CPU seconds are what tells on a busy machine.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.core.exchange.outside import wandb_file, wandb_records
from tests.core.exchange.tensorboard import event_files as tb

COMMAND = Path(sys.executable).parent / "traindeck"
COLUMNS = 5
BEGAN = 1.7e9


def csv_file(folder: Path, points: int) -> Path:
    path = folder / "metrics.csv"
    with path.open("w") as file:
        file.write("step,time," + ",".join(f"m{n}" for n in range(COLUMNS)) + "\n")
        for step in range(points // COLUMNS):
            row = ",".join(f"{step * 0.001 + n:.6f}" for n in range(COLUMNS))
            file.write(f"{step},{BEGAN + step},{row}\n")
    return path


def json_file(folder: Path, points: int) -> Path:
    path = folder / "log.jsonl"
    with path.open("w") as file:
        for step in range(points // COLUMNS):
            row = {f"m{n}": round(step * 0.001 + n, 6) for n in range(COLUMNS)}
            file.write(json.dumps({"step": step, "time": BEGAN + step, **row}) + "\n")
    return path


def mlflow_folder(folder: Path, points: int) -> Path:
    run = folder / "mlruns/1/run"
    (run / "metrics").mkdir(parents=True)
    (run / "meta.yaml").write_text("run_id: run\nrun_name: fit\nstatus: 3\n")
    for n in range(COLUMNS):
        lines = (f"{(int(BEGAN) + s) * 1000} {s * 0.001} {s}\n" for s in range(points // COLUMNS))
        (run / f"metrics/m{n}").write_text("".join(lines))
    return folder / "mlruns"


def event_file(folder: Path, points: int) -> Path:
    events = (
        tb.event(step, tb.simple(f"m{n}", step * 0.001), time=BEGAN + step)
        for step in range(points // COLUMNS)
        for n in range(COLUMNS)
    )
    return tb.put(folder / tb.NAME, *events).parent


def wandb_run(folder: Path, points: int) -> Path:
    return wandb_file(folder / "run.wandb", wandb_records(points // COLUMNS, width=COLUMNS))


FORMATS = {
    "CSV": csv_file,
    "JSON lines": json_file,
    "MLflow": mlflow_folder,
    "TensorBoard": event_file,
    "W&B": wandb_run,
}


def computing() -> float:
    """The CPU seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for name, make in FORMATS.items():
        with tempfile.TemporaryDirectory() as place:
            made = make(Path(place), points)
            home = {**os.environ, "TRAINDECK_HOME": f"{place}/home"}
            began, computed = time.perf_counter(), computing()
            done = subprocess.run(
                [COMMAND, "import", made, "--json"], env=home, capture_output=True, check=True
            )
            took, computed = time.perf_counter() - began, computing() - computed
        count = json.loads(done.stdout)[0]["points"]
        print(f"{name:<12} {count:>9,} points  {took:6.2f} s, of the CPU {computed:6.2f} s")


if __name__ == "__main__":
    main()
