"""Kill -9 of whoever has a part in a run, at random moments: is its end told truly?

What is true is told by the run itself: right before it ends it writes its exit code into a file.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.library import Library
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity
from traindeck.core.run.state import ENDED

MARK = "TRAINDECK_SOAK"
PATIENCE = 90.0
AT_ONCE = 8
HEAD = (
    "import os, signal, subprocess, sys, time\nwait, code = float(sys.argv[1]), int(sys.argv[2])\n"
    "go = os.path.join(os.environ['TRAINDECK_RUN_FOLDER'], 'go')\n"
    "while not os.path.exists(go): time.sleep(0.002)\n"
)
TAIL = """
truth = os.path.join(os.environ["TRAINDECK_RUN_FOLDER"], "truth")
open(truth, "w").write(str(code))
os._exit(code)
"""
WORKLOADS = {
    "sleeps": "time.sleep(wait)",
    "prints": "end = time.time() + wait\nstep = 0\nwhile time.time() < end:\n"
    '    print(\'{"step": %d, "loss": 0.5}\' % step, flush=True); step += 1; time.sleep(0.001)',
    "forks": "subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    "subprocess.Popen(['sleep', '300'])\ntime.sleep(wait)",
    "computes": "end = time.time() + wait\nwhile time.time() < end: sum(range(10000))",
    "deaf": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(wait)",
}
VICTIMS: dict[str, tuple[str, ...]] = {
    "the supervisor": ("supervisor",),
    "the keeper": ("keeper",),
    "the run": ("child",),
    "both guardians": ("supervisor", "keeper"),
    "all three": ("supervisor", "keeper", "child"),
    "the keeper, then the supervisor": ("keeper", "", "supervisor"),
}


@dataclass(slots=True)
class Kills:
    """What came of all of them; `wrong` names each end that is not told truly."""

    count: int = 0
    met: int = 0  # somebody who was still alive
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run, and what is to be killed of it `after` so many seconds."""

    run: RunFolder
    work: str
    victims: str
    after: float
    code: int


def soak(home: Home, count: int, chance: random.Random) -> Kills:
    """So many kills, AT_ONCE at a time; processes that stay are looked for after each lot."""
    os.environ[MARK] = str(os.getpid())
    kills = Kills()
    while kills.count < count:
        lot = [_launched(home, chance) for _ in range(min(AT_ONCE, count - kills.count))]
        kills.met += _kill(lot, chance)
        library = Library(home)
        for trial in lot:
            _judge(trial, library, kills)
        kills.left += _left(home, library)
        kills.count += len(lot)
    return kills


def _launched(home: Home, chance: random.Random) -> Trial:
    work, victims = chance.choice(list(WORKLOADS)), chance.choice(list(VICTIMS))
    seconds, code = chance.uniform(0.0, 2.0), chance.choice((0, 0, 6))
    script = HEAD + WORKLOADS[work] + TAIL
    command = [sys.executable, "-S", "-c", script, str(seconds), str(code)]
    doc = launch(home, LaunchRequest(command=command, name=f"{work}-{victims}".replace(" ", "-")))
    near = seconds + chance.gauss(-0.02, 0.05)  # half of them at about the run's own end
    after = chance.choice((near, chance.uniform(0.0, seconds)))
    return Trial(RunFolder(Path(doc["path"])), work, victims, max(0.0, after), code)


def _kill(lot: Sequence[Trial], chance: random.Random) -> int:
    """Let all of them go at once, and kill each at its moment; how many met somebody alive."""
    for trial in lot:
        deadline = time.monotonic() + PATIENCE
        while _of(trial, "child") is None and not _over(trial) and time.monotonic() < deadline:
            time.sleep(0.01)
    for trial in lot:
        (trial.run.path / "go").touch()
    began, met = time.monotonic(), 0
    for trial in sorted(lot, key=lambda one: one.after):
        time.sleep(max(0.0, began + trial.after - time.monotonic()))
        hit = False
        for who in VICTIMS[trial.victims]:
            process = _of(trial, who) if who else None
            if not who:
                time.sleep(chance.uniform(0.0, 0.05))
            elif process and process.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                    hit = True
        met += hit
    return met


def _of(trial: Trial, who: str) -> Identity | None:
    return identity(trial.run.spec() or {}, who)


def _over(trial: Trial) -> bool:
    return trial.run.state()[0] in ENDED


def _judge(trial: Trial, library: Library, kills: Kills) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _over(trial) and time.monotonic() < deadline:
        library.runs()
        library.tend()
        time.sleep(0.05)
    state, reason = trial.run.state()
    doc = library.find(trial.run.id, metrics=False)
    code = doc["exit_code"]
    told = f"{trial.work}, {trial.victims}: {state} {code} ({reason})"
    kills.ends[trial.victims, state] += 1
    try:
        truth: int | None = int((trial.run.path / "truth").read_text())
    except (OSError, ValueError):
        truth = None  # it did not come to its end
    if state not in ENDED:
        kills.wrong.append(f"no end within {PATIENCE:.0f} s: {told}")
    elif state == "finished" and truth != 0:
        kills.wrong.append(f"a false success, the run said {truth}: {told}")
    elif state == "failed" and truth != code:
        kills.wrong.append(f"the run said {truth}: {told}")
    elif code is None and state != "lost":
        kills.wrong.append(f"no exit code: {told}")
    elif state == "lost":
        guardians = {"supervisor", "keeper"}.issubset(VICTIMS[trial.victims])
        kills.lost[trial.victims] += 1
        if not guardians:
            kills.wrong.append(f"an exit code was lost, the run said {truth}: {told}")


def _left(home: Home, library: Library) -> list[str]:
    """Processes that a lot of ended runs has left once somebody looked, and whose they are.

    What a run left that lost all its guardians is ended by whoever lists the runs next.
    """
    mark = f"{MARK}={os.getpid()}".encode()
    deadline = time.monotonic() + PATIENCE
    while found := _marked(mark, home):
        if time.monotonic() > deadline:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            break
        library.runs()
        library.tend()
        time.sleep(0.1)
    return list(found.values())


def _marked(mark: bytes, home: Home) -> dict[int, str]:
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            given = (process / "environ").read_bytes().split(b"\0")
            if int(process.name) == os.getpid() or mark not in given:
                continue
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ")[:80]
            folder = next(
                (each for each in given if each.startswith(b"TRAINDECK_RUN_FOLDER=")), b""
            )
            run = RunFolder(home.runs / Path(os.fsdecode(folder)).name).spec() or {}
            found[int(process.name)] = f"{run.get('name')}: {words.decode('utf-8', 'replace')}"
    return found
