"""The thread behind a run's screen: reads run folders within budgets, hands over whole pictures.

One thread reads everything a screen shows. Every read has a limit in bytes and every round one in
time, so a huge file is taken in slices; a file system that hangs holds up this thread alone. The
screen gets one immutable `Picture` at a time, never a backlog: a new one replaces what was not
taken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.catalogue.document import document
from traindeck.core.privacy.plan import Plan
from traindeck.core.privacy.report import RunPrivacy, exposes
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.follow import LineTail, PointTail
from traindeck.tui.readers.budgets import BudgetLook
from traindeck.tui.readers.device_history import DeviceCollector
from traindeck.tui.readers.federation import FederationLook
from traindeck.tui.readers.log import LogFile, LogSearch
from traindeck.tui.readers.media import MediaLook
from traindeck.tui.readers.picture import MAX_EVENTS, EventsState, LogState, Picture, RunState
from traindeck.tui.readers.provenance import Provenance, read_provenance

if TYPE_CHECKING:
    from traindeck.tui.plot.store import SeriesStore

ROUND_SECONDS = 0.04
POINT_BYTES = 1 << 20
LOG_BYTES = 16 << 20
EVENT_BYTES = 1 << 18

LIVE_PAUSE, ENDED_PAUSE = 0.05, 1.0
LIVE_DOC, ENDED_DOC = 0.5, 2.0
"""Seconds between two looks at a run's files, and at its state."""


class _Run:
    """What is read for every run, one or many."""

    def __init__(self, folder: Path, store: SeriesStore) -> None:
        self.folder = folder
        self.store = store
        self.points = PointTail(folder)
        self.state = RunState(folder.name)
        self._doc_due = 0.0
        self._last_version = -1

    def read_points(self) -> tuple[bool, bool]:
        """Take some points: (is there something new, is more waiting)."""
        batch = self.points.read(POINT_BYTES)
        if batch.restarted:
            self.store.clear()
        if batch.data:
            self.store.ingest(batch.data, self.points.names)
        return bool(batch.data) or batch.restarted, len(batch.data) > POINT_BYTES // 2

    def read_doc(self, now: float) -> bool:
        """Look at the run's state if it is time to; True if it changed."""
        if now < self._doc_due:
            return False
        doc, problem = None, "run.json is missing or damaged"
        try:
            doc = document(RunFolder(self.folder), metrics=False)
        except Exception as error:  # a run.json that is not of our making
            problem = f"run.json cannot be understood: {error!r}"
        before = self.state
        self.state = replace(
            before,
            doc=doc or before.doc,
            privacy=RunPrivacy.from_json(doc["privacy"]) if doc else before.privacy,
            read_at=now,
            deleted=doc is None and not self.folder.is_dir(),
            problem="" if doc else problem,
        )
        self._doc_due = now + (LIVE_DOC if self.state.live else ENDED_DOC)
        return replace(before, read_at=now) != self.state or before.read_at == 0.0

    def read_last(self) -> None:
        """Note each series' last value."""
        if self.store.version == self._last_version:
            return
        self._last_version = self.store.version
        last: dict[str, float] = {}
        for name in self.store.names():
            series = self.store.snapshot(name)
            if series is not None and len(series):
                last[name] = float(series.last[-1])
        self.state = replace(self.state, last=last)

    def look_now(self) -> None:
        self._doc_due = 0.0


class RunReader:
    """Reads the runs of one screen on a daemon thread.

    A daemon, not a worker of the event loop's pool: leaving the program waits for those, and a
    read of a hung network mount may never return.

    folders   the runs' folders
    interval  least seconds between two pictures
    ready     called on the thread when `take` has something new
    failed    called on the thread when a round failed; once for each different failure in a row
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        interval: float,
        ready: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        from traindeck.tui.plot.store import SeriesStore

        self.interval = interval
        self.stores = {folder.name: SeriesStore(folder / "points.bin") for folder in folders}
        self._runs = [_Run(folder, self.stores[folder.name]) for folder in folders]
        self._detail = _Detail(folders[0]) if len(folders) == 1 else None
        self._ready, self._failed = ready, failed
        self._due = 0.0
        self.parked = False
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._latest: Picture | None = None
        self._thread = threading.Thread(target=self._loop, name="run reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. Does not wait: it may be stuck in a slow file."""
        self._stopped.set()
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def take(self) -> Picture | None:
        """The newest picture not yet taken."""
        with self._lock:
            latest, self._latest = self._latest, None
            return latest

    # What the screen asks for; all of it at once, nothing waits

    def park(self, parked: bool) -> None:
        """Stop reading while nobody looks, or go on."""
        self.parked = parked
        self._wake.set()

    def look_now(self) -> None:
        """Something was done to a run: look at its state at once."""
        for run in self._runs:
            run.look_now()
        self._hurry()

    def want_log(self, first: int, count: int, *, follow: bool) -> None:
        """Lines to hand over from now on; following, the last `count`. A count of 0: none."""
        if self._detail is not None:
            self._detail.wanted = (first, count, follow)
            self._hurry()

    def search_log(self, needle: str) -> None:
        """Search the log for a text from now on; an empty one ends the search."""
        if self._detail is not None:
            self._detail.search = LogSearch(needle) if needle else None
            self._hurry()

    def want_image(self, path: str) -> None:
        """The picture to hand over from now on, by the path that its line in media.jsonl has."""
        if self._detail is not None:
            self._detail.media.wanted = path
            self._hurry()

    def _hurry(self) -> None:
        """Someone waits for an answer: the next picture need not keep its distance."""
        self._due = 0.0
        self._wake.set()

    # The thread

    def _loop(self) -> None:
        failure = ""
        news = False
        while not self._stopped.is_set():
            busy = False
            if self.parked:
                self._wake.wait()
                self._wake.clear()
                continue
            try:
                changed, busy = self._round()
                news = news or changed
                failure = ""
            except Exception as error:  # whatever a file can do must reach the screen, not end us
                if failure != (failure := repr(error)) and not self._stopped.is_set():
                    self._failed(error)
            now = time.monotonic()
            if news and now >= self._due:
                self._put()
                news, self._due = False, now + self.interval
            if not busy:
                live = any(run.state.live for run in self._runs)
                self._wake.wait(LIVE_PAUSE if live or news else ENDED_PAUSE)
            self._wake.clear()
        if self._detail is not None:
            self._detail.log.close()

    def _round(self) -> tuple[bool, bool]:
        """Read a slice of everything: (is there something new, is more waiting)."""
        changed = busy = False
        now = time.monotonic()
        for run in self._runs:
            changed |= run.read_doc(now)
            deadline = time.monotonic() + ROUND_SECONDS / len(self._runs)
            more = True
            while more and not self._stopped.is_set():
                new, more = run.read_points()
                changed |= new
                if time.monotonic() >= deadline:
                    break
            busy |= more
        if self._detail is not None:
            new, more = self._detail.read()
            changed |= new
            busy |= more
        return changed, busy

    def _put(self) -> None:
        for run in self._runs:
            run.read_last()
        states = tuple(run.state for run in self._runs)
        picture = self._detail.picture(states) if self._detail else Picture(states)
        with self._lock:
            waiting = self._latest is not None
            self._latest = picture
        if not waiting and not self._stopped.is_set():
            self._ready()


class _Detail:
    """What is read only where a single run is shown."""

    def __init__(self, folder: Path) -> None:
        self.log = LogFile(folder / "output.log")
        self.media = MediaLook(folder)
        self.wanted = (0, 0, True)
        self.search: LogSearch | None = None
        self._folder = folder
        self._device_tail = PointTail(folder, "device")
        self._devices = DeviceCollector()
        self._event_tail = LineTail(folder / "events.jsonl")
        self._events = EventsState()
        self._provenance = Provenance()
        self._provenance_due = 0.0
        self._plan: Plan | None = None
        self._budget = BudgetLook(folder.parent.parent)
        self._federation = FederationLook(folder)
        self._log = LogState()
        self._shown: tuple[object, ...] = ()
        self._exposed: str | None = None

    def picture(self, runs: tuple[RunState, ...]) -> Picture:
        doc, privacy = runs[0].doc, runs[0].privacy
        if privacy is not None:
            self._budget.look(privacy.ledger)
        elif doc is not None and self._exposed is None:
            ledger = RunFolder(self._folder).ledger()
            self._exposed = exposes(ledger) if ledger else ""
        return Picture(
            runs,
            self._devices.history(),
            self._events,
            self._log,
            self._provenance,
            self._plan,
            self._budget.epsilon,
            self._federation.latest,
            self.log.error or "",
            self._exposed or "",
            self.media.state,
        )

    def read(self) -> tuple[bool, bool]:
        """Read a slice of each file: (is there something new, is more waiting)."""
        changed, busy = self._read_log()
        batch = self._device_tail.read(POINT_BYTES)
        changed |= self._devices.take(batch, self._device_tail.names)
        busy |= len(batch.data) > POINT_BYTES // 2
        lines = self._event_tail.read(EVENT_BYTES)
        if lines:
            new_events = [event for line in lines if (event := events.parse(line))]
            kept = (*self._events.events, *new_events)[-MAX_EVENTS:]
            self._events = EventsState(kept, self._events.count + len(new_events))
            changed, busy = True, True
        new, more = self.media.read()
        changed, busy = changed | new, busy | more
        now = time.monotonic()
        if now >= self._provenance_due:
            self._provenance_due = now + 2.0
            provenance = read_provenance(self._folder)
            if provenance != self._provenance:
                self._provenance, changed = provenance, True
            if self._plan is None and (plan := Plan.read(self._folder)) is not None:
                self._plan, changed = plan, True
        return changed | self._budget.news() | self._federation.read(now), busy

    def _read_log(self) -> tuple[bool, bool]:
        deadline = time.monotonic() + ROUND_SECONDS
        more = self.log.update(LOG_BYTES, deadline)
        search, (first, count, follow) = self.search, self.wanted
        searching = search is not None and search.step(self.log, LOG_BYTES, deadline)
        if follow:
            first = max(0, self.log.lines - count)
        shown = (
            self.log.restarts,
            self.log.indexed,
            self.log.on_disk,
            self.log.error,
            first,
            count,
            search,
            search.count if search else 0,
            searching,
        )
        if shown == self._shown:
            return False, more or searching
        self._shown = shown
        self._log = LogState(
            lines=self.log.lines,
            indexed=self.log.indexed,
            on_disk=self.log.on_disk,
            restarts=self.log.restarts,
            window=tuple(self.log.read(first, count)) if count else (),
            error=self.log.error,
            search=search,
            hits=search.count if search else 0,
            searched=not (more or searching),
        )
        return True, more or searching
