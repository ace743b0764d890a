"""Starting the ranks of a run, each on its share of the run's device, and seeing them through.

The recipe's first process becomes the starter of as many processes of the same recipe as there are
workers. It loads no framework, passes on what they print (`[rank1]: …`), and ends them all when one
fails, saying which and why; with restarts they are then started again from the newest checkpoint.
Ranks find each other by a file, in a folder that only their user can read.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from traindeck.core import track
from traindeck.core.base.errors import FAILED, INTERRUPTED, MISSING, OVER_BUDGET, USAGE
from traindeck.core.run import events
from traindeck.core.run.ranks import Rank
from traindeck.core.supervisor.words import last_line
from traindeck.recipes.shared.training import checkpoints
from traindeck.recipes.shared.training.parallel import shares
from traindeck.recipes.shared.training.parallel.ranks import LOST, timeout

ENDS_SOON = 5.0  # seconds in which ranks end that have lost another, or have nothing more to do
TAIL_BYTES = 1 << 16
_SAYS_WHY = (USAGE, MISSING, OVER_BUDGET, INTERRUPTED)  # exit codes of a recipe that has done so

Extra = Callable[[int], Mapping[str, str]]
"""Variables that a framework needs in each rank's environment."""


class Failure(NamedTuple):
    """A rank that failed.

    rank  its number
    why   in words, of the rank
    code  what the run ends with
    """

    rank: int
    why: str
    code: int


def in_ranks(
    run: track.Run,
    workers: int,
    restarts: int = 0,
    suffix: str = "",
    extra: Extra | None = None,
    inside: Callable[[], None] | None = None,
) -> None:
    """Go on as one of so many ranks: the process that is none yet starts them, and ends with them.

    restarts  how often all are started again after one has died, from the newest checkpoint
    suffix    of the run's checkpoints
    extra     a rank's number → variables that its framework needs
    inside    is called in each rank's process before anything else of it

    With one worker nothing happens.
    """
    if run.rank is not None and run.rank.count != workers:
        track.abort(f"{run.rank.count} ranks were started, not the {workers} of --workers", USAGE)
    if workers == 1 or run.rank is not None:
        return
    timeout()
    run.hand_over()
    starter = _Starter(run, workers, extra or (lambda number: {}), inside)
    raise SystemExit(starter.see(restarts, suffix))


@dataclass
class _Started:
    """A rank's process and the end of what it printed on stderr."""

    process: subprocess.Popen[bytes]
    pumps: list[threading.Thread]
    tail: bytearray = field(default_factory=bytearray)


class _Starter:
    def __init__(
        self, run: track.Run, workers: int, extra: Extra, inside: Callable[[], None] | None
    ) -> None:
        self._run = run
        self._workers = workers
        self._extra = extra
        self._inside = inside
        self._ranks: list[_Started] = []
        self._asked = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def see(self, restarts: int, suffix: str) -> int:
        """Start the ranks, again as often as may be; what the run ends with."""
        words = [sys.executable, *sys.orig_argv[1:]]
        resume: list[str] = []
        for attempt in range(restarts + 1):
            folder = Path(tempfile.mkdtemp(prefix="traindeck-ranks-"))
            try:
                self._start([*words, *resume], folder)
                failure = self._wait()
            finally:
                self._end()
                shutil.rmtree(folder, ignore_errors=True)
            if failure is None:
                return 0
            if failure.rank == 0 and failure.code in _SAYS_WHY:
                return failure.code
            told = f"rank {failure.rank} of {self._workers} {failure.why}"
            if attempt == restarts or failure.code in _SAYS_WHY or self._asked:
                self._record(told)
                track.abort(told, failure.code)
            newest = self._newest(suffix)
            resume = [f"--resume={newest}"] if newest else []
            where = f"from {newest}" if newest else "anew: there is no checkpoint yet"
            print(f"{told}; all start again {where} ({attempt + 1} of {restarts})", flush=True)
            self._run.note(told)
        raise AssertionError("the last attempt returns")

    def _start(self, words: list[str], folder: Path) -> None:
        self._ranks = []
        self._ends: queue.Queue[tuple[int, int]] = queue.Queue()
        cores = shares.own_cores()
        for number in range(self._workers):
            own = shares.cores_of(number, self._workers, cores)
            rank = Rank(number, self._workers, self._run.id, (folder / "meeting").as_uri())
            process = subprocess.Popen(
                words,
                env={
                    **os.environ,
                    **shares.environment(number, self._workers, self._run.device, own),
                    **self._extra(number),
                    **rank.variable(),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=self._inside,
            )
            if hasattr(os, "sched_setaffinity"):
                with suppress(OSError):
                    os.sched_setaffinity(process.pid, own)
            started = _Started(process, [])
            self._ranks.append(started)
            for target, args in (
                (self._pass_on, (number, process.stdout, sys.stdout, bytearray())),
                (self._pass_on, (number, process.stderr, sys.stderr, started.tail)),
                (self._see_end, (number, process)),
            ):
                thread = threading.Thread(target=target, args=args, daemon=True)
                thread.start()
                started.pumps.append(thread)
        if self._asked:
            self._tell(self._asked)

    def _wait(self) -> Failure | None:
        """Until rank 0 has ended well, or one has failed."""
        while True:
            number, status = self._ends.get()
            if status == LOST:
                return self._who_was_lost(number)
            if status:
                return self._failed(number, status)
            if number == 0:  # it has recorded all that there is
                with suppress(queue.Empty):
                    while any(each.process.poll() is None for each in self._ranks):
                        self._ends.get(timeout=ENDS_SOON)
                return None

    def _who_was_lost(self, number: int) -> Failure | None:
        """Of a rank that has lost another: that other one, which hangs if it has not ended."""
        lost = {number}
        with suppress(queue.Empty):
            while len(lost) < self._workers:
                other, status = self._ends.get(timeout=ENDS_SOON)
                if status not in (0, LOST):
                    return self._failed(other, status)
                if status == 0 and other == 0:
                    return None
                lost.add(other)
        hung = [n for n in range(self._workers) if n not in lost]
        if hung:
            why = f"did not answer the others for {timeout():g} s and was ended"
            return Failure(hung[0], why, FAILED)
        why = f"and the others lost each other: {self._said(number)}"
        return Failure(number, why, FAILED)

    def _failed(self, number: int, status: int) -> Failure:
        if status < 0:
            try:
                name = signal.Signals(-status).name
            except ValueError:
                name = f"signal {-status}"
            return Failure(number, f"was killed by {name}", FAILED)
        said = self._said(number)
        why = f"failed: {said}" if said else f"failed with exit code {status}"
        return Failure(number, why, status)

    def _said(self, number: int) -> str:
        started = self._ranks[number]
        for pump in started.pumps[:2]:
            pump.join(ENDS_SOON)
        return last_line(bytes(started.tail)).removeprefix("error: ")

    def _record(self, told: str) -> None:
        """After what rank 0 may have recorded of its own end: it could not know why."""
        if self._run.folder is not None:
            with suppress(OSError):
                events.append(self._run.folder / "events.jsonl", "error", text=told)

    def _newest(self, suffix: str) -> Path | None:
        folder = self._run.folder and self._run.folder / "artifacts"
        return checkpoints.newest(folder, suffix) if folder else None

    def _ask(self, number: int, frame: object) -> None:
        """The first time rank 0 is told, which agrees with the others; the second time all end."""
        if self._asked:
            for each in self._ranks:
                each.process.kill()
        elif number == signal.SIGINT:
            os.write(2, b"\nstopping after this step; Ctrl-C again ends at once\n")
        self._asked = number
        self._tell(number)

    def _tell(self, number: int) -> None:
        if self._ranks and (pipe := self._ranks[0].process.stdin):
            with suppress(OSError):
                os.write(pipe.fileno(), bytes([number]))

    def _end(self) -> None:
        for each in self._ranks:
            each.process.kill()
        for each in self._ranks:
            each.process.wait()
            for pump in each.pumps:
                pump.join(ENDS_SOON)
            for pipe in (each.process.stdin, each.process.stdout, each.process.stderr):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def _see_end(self, number: int, process: subprocess.Popen[bytes]) -> None:
        self._ends.put((number, process.wait()))

    @staticmethod
    def _pass_on(number: int, pipe: IO[bytes], to: IO[str], tail: bytearray) -> None:
        prefix = f"[rank{number}]: ".encode() if number else b""
        for line in pipe:
            tail += line
            del tail[:-TAIL_BYTES]
            with suppress(OSError):
                os.write(to.fileno(), prefix + line.rstrip(b"\n") + b"\n")  # it may have died in it
