"""What the screens know about the runs: read by one thread, handed over as immutable snapshots.

Files may be slow; the event loop never waits for them. The thread looks at a cheap token and reads
only when it changed. A reader that falls behind gets the newest snapshot, never a backlog.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from traindeck.core.base.home import Home
from traindeck.core.base.ids import is_id
from traindeck.core.catalogue.document import RunDoc, document
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import LIVE

MANY, FIRST, FIRST_SECONDS = 1000, 100, 0.5
"""From how many runs on a first look is taken, at how many, and how long it may be waited for."""
WRITE_SECONDS = 0.03
MAX_PAUSE = 5.0
RECHECK_SECONDS = 2.0
"""Live runs are asked about this often though no file changed: a killed one writes nothing."""
QUIET_SECONDS, QUIET_PAUSE = 10.0, 1.0
"""When nothing goes on and nothing has changed for so long, it is looked at this seldom."""
PAUSE_FOR_COST, SLOWEST = 20.0, 1.0
"""Reading live runs takes at most a twentieth of the time: many of them, or slow files, are read
less often, down to once in so many seconds."""
TEND_SECONDS = 15.0
"""How often what killed supervisors left is mended, while runs go on."""
FIRST_TEND_SECONDS = 1.0
"""The first time is soon, but not while the first screen is being drawn."""


class RunSource(Protocol):
    """Where runs are read from; `traindeck.core.catalogue.library.Library` is one."""

    def version(self) -> object:
        """Equal to the last answer as long as `runs` would say the same. Must be cheap."""

    def runs(self) -> list[RunDoc]:
        """Every run, newest first. A run that did not change is the same object as before."""

    def tend(self) -> None:
        """Mends what killed processes left: runs without a supervisor, ends not recorded."""


@dataclass(frozen=True, slots=True)
class RunsSnapshot:
    """Every run as it was at one moment, newest first."""

    runs: tuple[RunDoc, ...] = ()
    live: int = 0
    queued: int = 0
    by_id: dict[str, RunDoc] = field(default_factory=dict)
    whole: bool = True

    @classmethod
    def of(cls, runs: list[RunDoc], whole: bool = True) -> RunsSnapshot:
        states = [run["state"] for run in runs if run["state"] in LIVE]
        return cls(
            tuple(runs),
            len(states),
            states.count("queued"),
            {run["id"]: run for run in runs},
            whole,
        )


def newest(home: Home) -> list[RunDoc]:
    """The newest of very many runs, read from their folders and without metrics: a first look.

    Nothing where the runs are few enough to read all of them at once.
    """
    try:
        ids = [name for name in os.listdir(home.runs) if is_id(name)]
    except OSError:
        return []
    if len(ids) < MANY:
        return []
    docs = (
        document(RunFolder(home.runs / name), metrics=False)
        for name in sorted(ids, reverse=True)[:FIRST]
    )
    return [doc for doc in docs if doc is not None]


class Feed:
    """The poll thread.

    source    what to read
    interval  seconds between two looks
    ready     called on the thread when `take` has something new
    failed    called on the thread with what is the trouble and its error, once for each different
              failure in a row
    first     some runs that can be read at once, shown while the rest is read. That waits for
              `shown`, for the reading of one big file lets no other thread have its turn.
    """

    def __init__(
        self,
        source: RunSource,
        *,
        interval: float,
        ready: Callable[[], None],
        failed: Callable[[str, Exception], None],
        first: Callable[[], list[RunDoc]] = list,
    ) -> None:
        self.interval = interval
        self._source = source
        self._ready = ready
        self._failed = failed
        self._first = first
        self._first_shown = threading.Event()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._latest: RunsSnapshot | None = None
        self._tended = False
        self._thread = threading.Thread(target=self._poll, name="runs feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def poke(self) -> None:
        """Looks now rather than at the next interval: something was just done to a run."""
        self._wake.set()

    def shown(self) -> None:
        """What was taken is on the screen."""
        self._first_shown.set()

    def stop(self, timeout: float = 1.0) -> None:
        """Ends the thread; one stuck in a slow file is left behind: it is a daemon."""
        self._stopped.set()
        self._first_shown.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def take(self) -> RunsSnapshot | None:
        """The newest snapshot not yet taken."""
        with self._lock:
            latest, self._latest = self._latest, None
            return latest

    def _look(self) -> None:
        try:
            runs = self._first()
        except Exception as error:  # as below
            self._failed("The newest runs cannot be read", error)
            return
        if runs:
            self._put(RunsSnapshot.of(runs, whole=False))
            self._first_shown.wait(FIRST_SECONDS)
            self._stopped.wait(WRITE_SECONDS)  # painted, but the terminal is written by a thread

    def _poll(self) -> None:
        self._look()
        seen: object = _NOTHING
        read_at = tend_at = 0.0
        live, cost = 0, 0.0
        pause = self.interval
        failure = ""
        while not self._stopped.is_set():
            trouble = "The runs cannot be read"
            try:
                # Asked for before reading: a change in between shows as a new token next time.
                version = self._source.version()
                now = time.monotonic()
                if version != seen or (live and now - read_at >= RECHECK_SECONDS):
                    snapshot = RunsSnapshot.of(self._source.runs())
                    cost = time.monotonic() - now
                    tend_at = tend_at or now + FIRST_TEND_SECONDS
                    live, seen, read_at = snapshot.live, version, now
                    self._put(snapshot)
                if tend_at and now >= tend_at and (live or not self._tended):
                    self._tended = True
                    tend_at = now + TEND_SECONDS
                    trouble = "What killed runs left cannot be mended"
                    self._source.tend()
                quiet = not live and now - read_at >= QUIET_SECONDS
                slow = min(cost * PAUSE_FOR_COST, SLOWEST) if live else 0.0
                pause, failure = max(self.interval, slow, QUIET_PAUSE * quiet), ""
            except Exception as error:  # whatever a file can do must reach the screen, not end us
                if failure != (failure := repr(error)) and not self._stopped.is_set():
                    self._failed(trouble, error)
                pause = min(max(pause, self.interval) * 2, max(MAX_PAUSE, self.interval))
            self._wake.wait(pause)
            self._wake.clear()

    def _put(self, snapshot: RunsSnapshot) -> None:
        with self._lock:
            waiting = self._latest is not None
            self._latest = snapshot
        if not waiting and not self._stopped.is_set():
            self._ready()


_NOTHING = object()
