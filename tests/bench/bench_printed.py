"""Reading what commands print: megabytes a second, of plain text and of lines that hold numbers.

    .venv/bin/python tests/bench/bench_printed.py [--mb 20] [--seconds 20]

First the reader alone; then the whole path of a real run, from its pipe to points.bin, in seconds
of processor time of all that is beside the run; then what is beside a run that prints 1,000 lines a
second takes of a core.

Wanted: plain text 200 MB/s, numbers 20 MB/s; at 1,000 lines a second under 1 % of a core.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from traindeck.core.exchange.printed.reader import StdoutMetrics
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity
from traindeck.core.run.state import ENDED

WANTED = {"plain": 200, "numbers": 20}
CHUNK = 1 << 20


def kinds() -> dict[str, tuple[str, list[str]]]:
    """Each kind of output: what is wanted of it, and 1,000 lines to be repeated."""
    r = random.Random(1)
    words = [
        "the",
        "model",
        "reads",
        "a",
        "batch",
        "of",
        "pictures",
        "and",
        "writes",
        "what",
        "it",
        "has",
        "learnt",
        "about",
        "them",
    ]

    def text() -> str:
        return " ".join(r.choice(words) for _ in range(14))

    steps = range(1000)
    return {
        "plain text": ("plain", [text() for _ in steps]),
        "dated text": (
            "numbers",
            [f"2026-11-28 19:{s % 60:02}:00,123 INFO worker: waiting for a batch" for s in steps],
        ),
        "JSON": (
            "numbers",
            [
                f'{{"step": {s}, "loss": {r.random()}, "val": {{"acc": {r.random()}}}}}'
                for s in steps
            ],
        ),
        "printed dicts": (
            "numbers",
            [
                f"{{'loss': {r.random():.4f}, 'grad_norm': {r.random()}, 'epoch': 0.5}}"
                for _ in steps
            ],
        ),
        "pairs": (
            "numbers",
            [f"epoch 3 step {s} loss={r.random():.6f} acc: {r.random() * 100:.2f}%" for s in steps],
        ),
        "logging": (
            "numbers",
            [
                f"2026-11-28 19:00:{s % 60:02},{s:03} INFO train: step {s} loss {r.random():.6f}"
                f" acc {r.random():.4f} lr {r.random():.3e} (12.3 ms)"
                for s in steps
            ],
        ),
        "bars": (
            "numbers",
            [
                f"\r{s // 10:3}%|{'#' * (s // 100):10}| {s}/1000 [00:{s % 60:02}<00:10, 5.0it/s,"
                f" loss={r.random():.3f}]"
                for s in steps
            ],
        ),
    }


PRINT = """
import sys
block, times = open(sys.argv[1], "rb").read(), int(sys.argv[2])
for _ in range(times):
    sys.stdout.buffer.write(block)
"""
LIVE = """
import sys, time
start = time.monotonic()
for step in range(1000 * int(sys.argv[1])):
    print(f"step {step} loss {1 / (step + 1):.5f} acc {step % 100 / 100} lr 1.0e-03", flush=True)
    time.sleep(max(0.0, start + step / 1000 - time.monotonic()))
"""


def beside(command: list[str], home: Path) -> tuple[float, float]:
    """Processor seconds of supervisor, keeper and scribe during a run, and the run's own length."""
    words = [str(Path(sys.executable).parent / "traindeck"), "run", "--", *command]
    environment = {**os.environ, "TRAINDECK_HOME": str(home / "home")}
    start = time.monotonic()
    shown = subprocess.run(words, env=environment, cwd=home, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    (folder,) = [path for path in (home / "home/runs").iterdir() if path.name in shown.stdout]
    run = RunFolder(folder)
    spent: dict[int, float] = {}
    while True:
        spec = run.spec() or {}
        for who in ("supervisor", "keeper", "scribe"):
            process = identity(spec, who)
            if process is not None and process.alive():
                spent[process.pid] = _seconds(process.pid, spent.get(process.pid, 0.0))
        if run.state()[0] in ENDED:
            return sum(spent.values()), time.monotonic() - start
        time.sleep(0.02)


def _seconds(pid: int, known: float) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return known
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def whole(size: int, seconds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        for number, (name, (kind, lines)) in enumerate(kinds().items()):
            home = Path(place, str(number))
            home.mkdir()
            block = "".join(f"{line}\n" for line in lines).encode()
            (home / "block").write_bytes(block)
            times = size // len(block) + 1
            idle, _ = beside([sys.executable, "-c", PRINT, str(home / "block"), "0"], home)
            again = home / "again"
            again.mkdir()
            words = [sys.executable, "-c", PRINT, str(home / "block"), str(times)]
            spent, _ = beside(words, again)
            rate = len(block) * times / max(spent - idle, 0.01) / 1e6
            print(f"whole path: {name:14} {rate:7.1f} MB/s  wanted {WANTED[kind]:4}", flush=True)
        live, silent = Path(place, "live"), Path(place, "silent")
        live.mkdir()
        silent.mkdir()
        spent, _ = beside([sys.executable, "-c", LIVE, str(seconds)], live)
        idle, _ = beside(["sleep", str(seconds)], silent)
        told = f"{100 * (spent - idle) / seconds:.2f} % of a core over a silent run"
        print(f"1,000 lines a second: {told} ({100 * idle / seconds:.2f} %)  wanted 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    size = arguments.mb << 20
    for name, (kind, lines) in kinds().items():
        block = "".join(f"{line}\n" for line in lines).encode()
        data = block * (size // len(block) + 1)
        best = 0.0
        for _ in range(3):
            reader = StdoutMetrics()
            start = time.process_time()
            points = 0
            for at in range(0, len(data), CHUNK):
                points += len(reader.feed(data[at : at + CHUNK]))
            best = max(best, len(data) / (time.process_time() - start) / 1e6)
        print(f"{name:14} {best:7.1f} MB/s  wanted {WANTED[kind]:4}  ({points} points)", flush=True)
    whole(size, arguments.seconds)


if __name__ == "__main__":
    main()
