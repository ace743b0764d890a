"""What the benches share: throw-away homes full of real runs, timed processes, the table."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import random
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.base.ids import decode, encode
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run.folder import RunFolder, encode_exit
from traindeck.core.run.spec import identity
from traindeck.core.run.state import ENDED

T = TypeVar("T")

COMMAND = Path(sys.executable).parent / "traindeck"
PATIENCE = 60.0  # seconds after which something that should have happened is given up
HEADER = """# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.traindeck]
# name = "{name}"
# headline = "train/loss"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.25
# [tool.traindeck.params.epochs]
# type = "int"
# default = 10
# [tool.traindeck.params.seed]
# type = "int"
# default = 0
# ///
"""
SEED_RUN = """
from traindeck.core import track

with track.start() as run:
    for epoch in range(run.params.epochs):
        for step in range(epoch * 10, epoch * 10 + 10):
            loss = 1 / (step + 1)
            run.log(step, {"train/loss": loss, "train/accuracy": 1 - loss})
            run.log(step, {"step_seconds": 0.01, "examples_per_second": 3200.0})
        run.log(step, {"test/loss": loss, "test/accuracy": 1 - loss})
        run.progress(epoch + 1, run.params.epochs)
        print(f"epoch {epoch + 1}  test loss {loss:.4f}")
"""


# Homes


@contextlib.contextmanager
def throwaway_home() -> Iterator[Home]:
    """A home of this process' own in $TRAINDECK_HOME; its runs are ended and all of it removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what follows is cleaned up
    root = Path(tempfile.mkdtemp(prefix="traindeck-bench-"))
    home = Home(root / "home")
    home.make()
    os.environ["TRAINDECK_HOME"] = str(home.root)
    os.environ.pop("TRAINDECK_RUN_FOLDER", None)
    try:
        yield home
    finally:
        for folder in home.runs.iterdir():
            end(folder)
        shutil.rmtree(root, ignore_errors=True)


def make_recipe(home: Home, name: str, body: str) -> Recipe:
    """A recipe of the home: a header with three parameters and this body."""
    path = home.recipes / f"{name}.py"
    path.write_text(HEADER.format(name=name) + body, encoding="utf-8")
    recipe = read_recipe(path)
    assert recipe is not None
    return recipe


def start(home: Home, recipe: Recipe, name: str | None = None) -> RunFolder:
    return RunFolder(Path(launch(home, LaunchRequest(recipe=recipe, name=name))["path"]))


def process_of(run: RunFolder, who: str) -> Identity:
    """The run's `supervisor`, `keeper` or `child`, once it is recorded."""
    return until(lambda: identity(run.spec() or {}, who), f"the {who}")


def wait_for_end(run: RunFolder) -> str:
    """Wait until the run has ended and its processes have gone; returns its state."""
    until(lambda: run.state()[0] in ENDED, "the run's end")
    spec = run.spec() or {}
    processes = [identity(spec, who) for who in ("keeper", "supervisor")]
    until(lambda: not any(one and one.alive() for one in processes), "the supervisor's end")
    return run.state()[0]


def end(folder: Path) -> None:
    """Kill a run, if it goes on, and wait for its supervisor."""
    from traindeck.core.control import kill

    run = RunFolder(folder)
    with contextlib.suppress(TraindeckError):
        kill(folder)
    if run.spec() is not None:
        wait_for_end(run)


def fill(home: Home, count: int) -> None:
    """Catalogue this many ended runs: one real run, its folder repeated with ids of their own.

    They are an hour apart; every fifth has failed. What never changes in a folder is hard-linked.
    """
    seed = start(home, make_recipe(home, "seed", SEED_RUN))
    assert wait_for_end(seed) == "finished", seed.state()
    spec, verdict = seed.spec(), seed.exit()
    assert spec is not None and verdict is not None
    files = [path for path in seed.path.iterdir() if path.is_file() and path.suffix != ".lock"]
    shared = [path.name for path in files if path.name not in ("run.json", "exit.json")]
    for number in range(1, count):
        run_id = encode(decode(seed.id) - number)
        folder = home.runs / run_id
        folder.mkdir(mode=0o700)
        (folder / "artifacts").mkdir()
        shutil.copytree(seed.path / "source", folder / "source", copy_function=os.link)
        for name in shared:
            os.link(seed.path / name, folder / name)
        ago = 3600.0 * number
        times = {key: spec[key] - ago for key in ("created", "started", "ended")}
        own = {**spec, **times, "id": run_id, "name": f"seed-{count - number}"}
        ended = {**verdict, "ended": verdict["ended"] - ago}
        if number % 5 == 0:
            failed = {"state": "failed", "reason": "exit code 1: ValueError", "exit_code": 1}
            own |= failed
            ended |= failed
        (folder / "run.json").write_text(json.dumps(own, indent=1) + "\n")
        (folder / "exit.json").write_bytes(encode_exit(ended))
    assert Catalogue(home).reindex() == count


def until(condition: Callable[[], T | None], what: str) -> T:
    """Ask until the answer is true, and return it. Ends the bench when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise SystemExit(f"{what} did not come within {PATIENCE:.0f} s")


# Time


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds on the wall, and of CPU (user and system)."""

    wall: float
    cpu: float


def timed(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Spent:
    """What a command takes from being started to having ended. Its output goes to a file."""
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            said = output.read()[-2000:].decode("utf-8", "replace")
            raise SystemExit(f"{command} ended with exit code {process.returncode}:\n{said}")
    return Spent(wall, usage.ru_utime + usage.ru_stime)


@dataclass(frozen=True, slots=True)
class Repeats:
    """The same thing done several times. On a busy machine the least say most about the thing."""

    all: tuple[Spent, ...]

    @property
    def median(self) -> float:
        """Seconds on the wall."""
        return statistics.median(one.wall for one in self.all)

    @property
    def best(self) -> float:
        """Seconds on the wall."""
        return min(one.wall for one in self.all)

    def __str__(self) -> str:
        cpu = min(one.cpu for one in self.all)
        return f"{_ms(self.median)} ms (best {_ms(self.best)}, its CPU {_ms(cpu)})"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def repeat(actions: Mapping[str, Callable[[], Spent]], times: int) -> dict[str, Repeats]:
    """Each action, so many times; they take turns, so that the machine's load meets all alike."""
    spends: dict[str, list[Spent]] = {name: [] for name in actions}
    for _ in range(times):
        for name, action in actions.items():
            spends[name].append(action())
    return {name: Repeats(tuple(spent)) for name, spent in spends.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def confidence(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median, by 2000 bootstrap resamples (Efron 1979)."""
    chance = random.Random(1)
    medians = [statistics.median(chance.choices(values, k=len(values))) for _ in range(2000)]
    return percentile(medians, 2.5), percentile(medians, 97.5)


# The table


def head(title: str) -> None:
    """The bench's name, the state of the machine, and the columns."""
    print(f"{title}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    row("what", "reached", "target", "peer")


def row(what: str, reached: object, target: str = "", peer: str = "") -> None:
    print(f"{what:<44} | {reached!s:<34} | {target:<16} | {peer}".rstrip(" |"), flush=True)


# The terminal


class Terminal:
    """The app on a pseudo-terminal; it says that it has no graphics, and no more."""

    def __init__(self, home: Home, columns: int = 120, rows: int = 30) -> None:
        self.main, worker = pty.openpty()
        fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {
            **os.environ,
            "TRAINDECK_HOME": str(home.root),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }
        for name in ("SSH_CONNECTION", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [COMMAND],
            stdin=worker,
            stdout=worker,
            stderr=worker,
            env=environment,
            start_new_session=True,
        )
        os.close(worker)

    def read(self, seconds: float) -> bytes:
        """What is painted next; nothing when that takes longer."""
        if not select.select([self.main], [], [], max(0.0, seconds))[0]:
            return b""
        with contextlib.suppress(OSError):  # the app has closed its side
            painted = os.read(self.main, 1 << 16)
            if b"\x1b[c" in painted:
                self.send(b"\x1b[?62;22c")
            return painted
        return b""

    def wait_for(self, text: bytes) -> None:
        """Reads until the text has been painted."""
        deadline = time.monotonic() + PATIENCE
        seen = b""
        while text not in seen:
            if time.monotonic() > deadline:
                raise SystemExit(f"{text!r} was not painted: {seen[-1000:]!r}")
            seen = seen[-4096:] + self.read(0.1)

    def drain(self, seconds: float) -> None:
        """Reads for so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.read(left)

    def send(self, keys: bytes) -> None:
        os.write(self.main, keys)

    def close(self) -> None:
        """Quit the app as people do; kill it should it not listen."""
        with contextlib.suppress(OSError):
            self.send(b"\x11")
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.05)
        self.process.kill()
        self.process.wait()
        os.close(self.main)
