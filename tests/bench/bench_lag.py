"""From a log call to the screen: how long a new value needs until it is painted.

    python tests/bench/bench_lag.py [--seconds 30] [--rate 10]

A recipe logs five series at 10 Hz; the headline's value is the number of the call. The app shows
the run's screen in a real pseudo-terminal, 120×30, and every value that it paints there is noted
with the time. The lag of a value is the time from its log call (the time in points.bin) to the
first painting of it or of a newer one. Wanted: p95 at most 0.3 s.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.common import (
    Terminal,
    head,
    make_recipe,
    percentile,
    row,
    start,
    throwaway_home,
    until,
)
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import read_points

FIRST = 1000  # values from 1000 to 9999 are painted as they are
CLOCK = f"""
import os, time
from traindeck.core import track

rate = float(os.environ["BENCH_RATE"])
with track.start() as run:
    begun, step = time.monotonic(), 0
    while not run.should_stop():
        others = {{f"other/{{n}}": step % (n + 7) for n in range(4)}}
        run.log(step, {{"train/loss": {FIRST} + step % 9000, **others}})
        step += 1
        run.progress(step, 100_000)
        time.sleep(max(0.0, begun + step / rate - time.monotonic()))
"""
PAINTED = re.compile(rb"train/loss\s+(\d{4})(?!\d)")
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def watch(terminal: Terminal, seconds: float) -> list[tuple[float, int]]:
    """When a newer value was painted, and which; unix seconds."""
    deadline = time.time() + seconds
    seen: list[tuple[float, int]] = []
    text = b""
    while (left := deadline - time.time()) > 0:
        text += terminal.read(left)
        now = time.time()
        plain = ESCAPE.sub(b"", text)
        values = [int(value) for value in PAINTED.findall(plain)]
        if values and (not seen or max(values) > seen[-1][1]):
            seen.append((now, max(values)))
        text = text[-256:]  # what was cut may be a value's first half
    return seen


def lags(painted: list[tuple[float, int]], run: RunFolder) -> list[float]:
    """Seconds from each value's log call to the first painting of it or of a newer one."""
    logged = read_points(run.path, ["train/loss"])["train/loss"]
    first, last = painted[0][1], painted[-1][1]
    seen, at = [], 0
    for when, _, value in logged:
        if first < value <= last:
            while painted[at][1] < value:
                at += 1
            seen.append(painted[at][0] - when)
    return seen


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--seconds", type=float, default=30)
    asked.add_argument("--rate", type=float, default=10, help="log calls a second")
    given = asked.parse_args()
    os.environ["BENCH_RATE"] = str(given.rate)
    with throwaway_home() as home:
        head(f"write-to-screen lag at {given.rate:g} Hz")
        run = start(home, make_recipe(home, "clock", CLOCK))
        until(lambda: (run.path / "points.bin").exists(), "a first point")
        terminal = Terminal(home)
        try:
            terminal.wait_for(run.id.encode())
            terminal.send(b"\r")
            terminal.wait_for(b"train/loss")
            terminal.drain(3)
            before, began = cpu_seconds(terminal), time.monotonic()
            painted = watch(terminal, given.seconds)
            cpu = (cpu_seconds(terminal) - before) / (time.monotonic() - began)
        finally:
            terminal.close()
        if len(painted) < 2:
            raise SystemExit("the run's screen painted no new value")
        seen = lags(painted, run)
        row(
            f"log call to painted value, {len(seen)} values",
            f"p50 {percentile(seen, 50):.2f}, p95 {percentile(seen, 95):.2f}, "
            f"worst {max(seen):.2f} s",
            "p95 0.3 s",
            "LEET 1.9 to 9.1 s (once)",
        )
        row("new values painted a second", f"{len(painted) / given.seconds:.1f}")
        row("the app's CPU meanwhile", f"{cpu:.1%} of a core")


def cpu_seconds(terminal: Terminal) -> float:
    fields = Path(f"/proc/{terminal.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
