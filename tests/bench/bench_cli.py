"""How soon the command answers: `--help`, `ls` with 10,000 runs, and `run` to a first line.

    python tests/bench/bench_cli.py [--runs 10000] [--times 15]

Each command is a new process, timed from its start to its end; the commands take turns and the
median of each counts (on a busy machine look at the best). `run` is timed from its start to the
moment the recipe's first line is executed, against the same script started with python alone, in
the home with all those runs. Wanted: 150 ms for --help, 400 ms for ls, and a first line at most
250 ms later than by python. A peer is measured where its command is installed beside this python
or on the path.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.common import (
    COMMAND,
    Spent,
    fill,
    head,
    make_recipe,
    repeat,
    row,
    throwaway_home,
    timed,
    until,
    wait_for_end,
)
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder

FIRST_LINE = """
import os, time; now = time.monotonic(); stamp = os.environ["FIRST_LINE"]
with open(stamp + ".part", "w") as file:
    file.write(repr(now))
os.rename(stamp + ".part", stamp)
"""
PEERS = {"guild": 95, "wandb": 492, "mlflow": 3045}
"""Milliseconds of `PEER --help` when the targets were set: by what a peer takes now, one can tell
how fast the machine is today."""


def peers() -> dict[str, str]:
    """What each peer's --help takes here, or took where it was installed."""
    folders = f"{COMMAND.parent}:{os.environ.get('PATH', '')}"
    lines = {}
    for name, once in PEERS.items():
        command = shutil.which(name, path=folders)
        if command is None:
            lines[name] = f"not installed ({once} ms once)"
        elif subprocess.run([command, "--help"], capture_output=True).returncode:
            lines[name] = f"fails here ({once} ms once)"
        else:
            here = repeat({name: partial(timed, [command, "--help"])}, 3)[name]
            lines[name] = f"{here}; {once} ms once"
    return lines


def first_line(stamp: Path, command: list[str]) -> Spent:
    """From starting the command to the script's first line; the CPU is the command's own."""
    os.environ["FIRST_LINE"] = str(stamp)
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout as output:
        output.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    until(stamp.exists, "the recipe's first line")
    moment = float(stamp.read_text())
    stamp.unlink()
    return Spent(moment - began, usage.ru_utime + usage.ru_stime)


def typed_run(home: Home, stamp: Path) -> Spent:
    spent = first_line(stamp, [str(COMMAND), "run", "first-line"])
    wait_for_end(RunFolder(home.runs / max(os.listdir(home.runs))))
    return spent


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--runs", type=int, default=10_000)
    asked.add_argument("--times", type=int, default=15)
    given = asked.parse_args()
    with throwaway_home() as home:
        recipe = make_recipe(home, "first-line", FIRST_LINE)
        fill(home, given.runs)
        stamp = home.root / "stamp"
        bare = [sys.executable, str(recipe.path)]
        head(f"commands, {given.runs:,} runs")
        commands: dict[str, list[str | Path]] = {
            "python": [sys.executable, "-c", "pass"],
            "typer": [sys.executable, "-c", "import typer"],
            "help": [COMMAND, "--help"],
            "ls": [COMMAND, "ls"],
            "json": [COMMAND, "ls", "--json"],
        }
        spent = repeat(
            {name: partial(timed, words) for name, words in commands.items()}, given.times
        )
        row("python -c pass", spent["python"])
        row("python -c 'import typer'", spent["typer"])
        row("traindeck --help", spent["help"], "150 ms")
        for name, what in peers().items():
            row("", "", "", f"{name} --help: {what}")
        row("traindeck ls", spent["ls"], "400 ms")
        row("traindeck ls --json", spent["json"])
        lines = repeat(
            {
                "bare": partial(first_line, stamp, bare),
                "run": partial(typed_run, home, stamp),
            },
            given.times,
        )
        row("python RECIPE to its first line", lines["bare"])
        row("traindeck run RECIPE to its first line", lines["run"])
        medians, bests = (
            1000 * (getattr(lines["run"], which) - getattr(lines["bare"], which))
            for which in ("median", "best")
        )
        row("the latter over the former", f"{medians:.0f} ms (best {bests:.0f})", "250 ms")


if __name__ == "__main__":
    main()
