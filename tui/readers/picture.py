"""What a run's screen shows, as values: read by one thread, handed over whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from traindeck.core.catalogue.document import RunDoc
from traindeck.core.federation.status import FederationStatus
from traindeck.core.privacy.plan import Plan
from traindeck.core.privacy.report import RunPrivacy
from traindeck.core.run.state import LIVE
from traindeck.tui.readers.device_history import DeviceHistory
from traindeck.tui.readers.log import LogLine, LogSearch
from traindeck.tui.readers.media import MediaState
from traindeck.tui.readers.provenance import Provenance

MAX_EVENTS = 5000


@dataclass(frozen=True, slots=True)
class RunState:
    """One run: its document, when that was read (`time.monotonic()`), its last metric values.

    privacy  that of its document, None when it accounts for none
    """

    id: str
    doc: RunDoc | None = None
    privacy: RunPrivacy | None = None
    read_at: float = 0.0
    deleted: bool = False
    problem: str = ""
    last: dict[str, float] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        return self.doc is not None and self.doc["state"] in LIVE and not self.deleted


@dataclass(frozen=True, slots=True)
class LogState:
    """The log's extent, the lines asked for, and how its search goes.

    `search` goes on growing in the reader's thread; it may be asked from any.
    """

    lines: int = 0
    indexed: int = 0
    on_disk: int = 0
    restarts: int = 0
    window: tuple[LogLine, ...] = ()
    error: str | None = None
    search: LogSearch | None = None
    hits: int = 0
    searched: bool = True


@dataclass(frozen=True, slots=True)
class EventsState:
    """The last `MAX_EVENTS` events, oldest first, and how many there were in all."""

    events: tuple[dict[str, Any], ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """All that a screen shows. Details are those of a single run; several have only `runs`.

    plan    what a private run set out to do
    budget  epsilon of the data set that it trains on, when there is one
    exposed that it made a budget's epsilon infinite, of a run without privacy
    """

    runs: tuple[RunState, ...] = ()
    devices: DeviceHistory = field(default_factory=DeviceHistory)
    events: EventsState = field(default_factory=EventsState)
    log: LogState = field(default_factory=LogState)
    provenance: Provenance = field(default_factory=Provenance)
    plan: Plan | None = None
    budget: float | None = None
    federation: FederationStatus | None = None
    problem: str = ""
    exposed: str = ""
    media: MediaState = field(default_factory=MediaState)

    @property
    def rare(self) -> frozenset[str]:
        """Those panels that most runs have nothing for, and this one has something."""
        there = {"federation": self.federation, "media": self.media.series}
        return frozenset(panel for panel, what in there.items() if what)
