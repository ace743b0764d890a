"""The app in a real terminal: how soon it paints, what it costs, how soon a key is answered.

    python tests/bench/bench_app.py [--runs 10000] [--live 16] [--rate 1000] [--seconds 15]

Prints a line a figure, beside the figure to reach. Times are of this machine, at this load: the
load average is printed too. Nothing of it is kept: the home is a temporary folder.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import random
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.tui.homes import RATES, fill, make_home
from traindeck.core.base.home import Home
from traindeck.core.control import kill
from traindeck.core.launch import LaunchRequest, launch

SIZE = (120, 30)
TICK = os.sysconf("SC_CLK_TCK")

WRITER = """
import sys, time
from traindeck.core import track
with track.start() as run:
    step, start = 0, time.monotonic()
    while not run.should_stop():
        step += 1
        run.log(step, {f"series/{n}": step / (n + 1) for n in range(10)})
        run.progress(step, 1_000_000)
        time.sleep(max(0.0, start + step * 10 / RATE - time.monotonic()))
"""

HEADER = """# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.traindeck]
# name = "writer"
# headline = "series/0"
# ///
"""


class Terminal:
    """The app on a pseudo-terminal that answers nothing, as a slow but honest one would."""

    def __init__(self, home: Home) -> None:
        command = shutil.which("traindeck", path=str(Path(sys.executable).parent))
        if command is None:
            raise SystemExit("traindeck is not installed beside this python: pip install -e .")
        self.main, worker = pty.openpty()
        fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        environment = {
            **os.environ,
            "TRAINDECK_HOME": str(home.root),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }
        for name in ("SSH_CONNECTION", "NO_COLOR"):
            environment.pop(name, None)
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [command],
            stdin=worker,
            stdout=worker,
            stderr=worker,
            env=environment,
            start_new_session=True,
        )
        os.close(worker)

    def wait_for(self, *texts: bytes, seconds: float = 30.0) -> float:
        """Reads until one of the texts was painted; the moment it was."""
        until = time.perf_counter() + seconds
        tail = b""
        while True:
            left = until - time.perf_counter()
            if left <= 0 or not select.select([self.main], [], [], left)[0]:
                raise SystemExit(f"{texts!r} was not painted within {seconds} s: {tail[-2000:]!r}")
            data = os.read(self.main, 1 << 16)
            seen = time.perf_counter()
            if any(text in tail + data for text in texts):
                return seen
            tail = (tail + data)[-4096:]

    def drain(self, seconds: float) -> int:
        """Reads for so long; how many bytes came."""
        until = time.perf_counter() + seconds
        count = 0
        while (left := until - time.perf_counter()) > 0:
            if select.select([self.main], [], [], left)[0]:
                try:
                    count += len(os.read(self.main, 1 << 16))
                except OSError:  # the app has closed its side
                    break
        return count

    def send(self, keys: bytes) -> None:
        os.write(self.main, keys)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_percent(self, seconds: float) -> tuple[float, float]:
        """Of one core over so many seconds, and the bytes written a second."""
        before, start = self.cpu_seconds(), time.perf_counter()
        count = self.drain(seconds)
        spent = time.perf_counter() - start
        return 100 * (self.cpu_seconds() - before) / spent, count / spent

    def close(self) -> None:
        self.send(b"\x11")
        until = time.perf_counter() + 10
        while self.process.poll() is None and time.perf_counter() < until:
            self.drain(0.05)
        self.process.kill()
        self.process.wait()
        os.close(self.main)


def first_paint(home: Home, newest: bytes, times: int) -> list[tuple[float, float]]:
    """Seconds from starting the command to the newest run being painted: on the wall, and of CPU.

    On a busy machine only the second says something about the app.
    """
    seen = []
    for _ in range(times):
        terminal = Terminal(home)
        wall = terminal.wait_for(newest) - terminal.started
        seen.append((wall, terminal.cpu_seconds()))
        terminal.drain(0.2)
        terminal.close()
    return seen


def key_to_paint(terminal: Terminal, rows: tuple[bytes, bytes], presses: int) -> list[float]:
    """Milliseconds from a key being sent to the cursor's new line being painted."""
    chance = random.Random(1)
    seen = []
    for number in range(presses):
        terminal.drain(chance.uniform(0.02, 0.12))
        sent = time.perf_counter()
        terminal.send(b"j" if number % 2 == 0 else b"k")
        seen.append(1000 * (terminal.wait_for(*rows, seconds=5) - sent))
    return seen


def start_writers(home: Home, count: int, rate: int) -> list[Path]:
    script = home.recipes / "writer.py"
    script.write_text(HEADER + WRITER.replace("RATE", str(rate)), encoding="utf-8")
    from traindeck.core.recipe.read import read_recipe

    recipe = read_recipe(script)
    return [
        Path(launch(home, LaunchRequest(recipe=recipe, on="cpu", name=f"live-{number}"))["path"])
        for number in range(count)
    ]


def points_a_second(folders: list[Path], seconds: float) -> float:
    def size() -> int:
        return sum((folder / "points.bin").stat().st_size for folder in folders)

    before, start = size(), time.perf_counter()
    time.sleep(seconds)
    return (size() - before) / 28 / (time.perf_counter() - start) / len(folders)


def percentile(values: list[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def tell(what: str, value: str, reach: str) -> None:
    print(f"{what:<42} {value:>36}   {reach}", flush=True)


def keys_line(what: str, times: list[float], reach: str) -> None:
    p50, p99 = percentile(times, 50), percentile(times, 99)
    tell(what, f"p50 {p50:.1f}, p99 {p99:.1f} ms, worst {max(times):.0f}", reach)


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--runs", type=int, default=10_000)
    asked.add_argument("--live", type=int, default=16)
    asked.add_argument("--rate", type=int, default=1000, help="points a second of each live run")
    asked.add_argument("--seconds", type=float, default=15.0, help="of each CPU measurement")
    asked.add_argument("--times", type=int, default=7, help="starts for the first paint")
    asked.add_argument("--presses", type=int, default=300)
    given = asked.parse_args()
    root = Path(tempfile.mkdtemp(prefix="traindeck-bench-"))
    try:
        measure(make_home(root), given)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def shaped_paints(home: Home, newest: bytes, times: int, count: int) -> None:
    """The first paint with parameters and best metrics as columns, and in groups over seeds."""
    state = home.root / "state.json"
    columns = ["state", "name", "lr", "seed", "test/accuracy:best", "train/loss", "took", "age"]
    for what, shape, seen in (
        ("with parameter columns", {"columns": columns}, newest),
        ("grouped by a parameter", {"columns": columns, "group": "params.lr"}, b"0.003"),
        ("grouped over seeds", {"columns": columns, "group": "all but seed"}, b"0.003"),
    ):
        state.write_text(json.dumps({"runs": shape}))
        paints = first_paint(home, seen, times)
        tell(
            f"first paint {what}",
            f"{statistics.median(wall for wall, _ in paints):.2f} s (best {min(paints)[0]:.2f}), "
            f"CPU {statistics.median(cpu for _, cpu in paints):.2f} s",
            "0.7 s",
        )
    state.write_text(json.dumps({"runs": {"columns": columns, "group": "params.lr"}}))
    terminal = Terminal(home)
    whole = str(count // len(RATES)).encode()
    tell("all in groups", f"{terminal.wait_for(whole) - terminal.started:.2f} s", "")
    terminal.close()
    state.unlink()


def measure(home: Home, given: argparse.Namespace) -> None:
    fill(home, given.runs, now=time.time(), seeds=True)
    newest = f"mnist-{given.runs - 1}".encode()
    rows = (f"mnist-{given.runs - 5}".encode(), f"mnist-{given.runs - 6}".encode())
    print(f"{given.runs:,} runs; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")

    paints = first_paint(home, newest, given.times)
    tell(
        "first paint of the runs",
        f"{statistics.median(wall for wall, _ in paints):.2f} s (best {min(paints)[0]:.2f}), "
        f"CPU {statistics.median(cpu for _, cpu in paints):.2f} s",
        "0.7 s",
    )

    shaped_paints(home, newest, given.times, given.runs)

    terminal = Terminal(home)
    terminal.wait_for(newest)
    terminal.drain(15)
    percent, written = terminal.cpu_percent(given.seconds)
    tell("CPU, idle", f"{percent:.2f} %, {written:.0f} B/s", "under 1 %")
    tell("memory", f"{terminal.memory_mb():.0f} MB", "")
    terminal.send(b"jjjj")
    terminal.drain(1)
    keys_line("key to paint, idle", key_to_paint(terminal, rows, given.presses), "p99 under 50 ms")
    terminal.close()

    folders = start_writers(home, given.live, given.rate)
    terminal = Terminal(home)
    try:
        terminal.wait_for(b"live-0")
        terminal.drain(6)
        rate = points_a_second(folders, 2)
        terminal.drain(0.5)
        percent, written = terminal.cpu_percent(given.seconds)
        tell(
            f"CPU, {given.live} live runs at {rate:.0f} points/s",
            f"{percent:.1f} %, {written / 1000:.1f} kB/s",
            "under 15 % of a core",
        )
        terminal.send(b"j" * (given.live + 4))
        terminal.drain(1)
        times = key_to_paint(terminal, rows, given.presses)
        keys_line("key to paint, with them", times, "p99 under 50 ms")
    finally:
        terminal.close()
        for folder in folders:
            kill(folder)
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
