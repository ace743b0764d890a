"""Looks at a run's federation every so often; belongs to the thread of the run's reader."""

from __future__ import annotations

from pathlib import Path

from traindeck.core.federation.reader import FederationReader
from traindeck.core.federation.status import FederationStatus

LOOK_EVERY = 0.25
"""Seconds between two looks: a few stats an owner each."""


class FederationLook:
    """What was last read; None unless the run is federated."""

    def __init__(self, run: Path) -> None:
        self.latest: FederationStatus | None = None
        self._reader = FederationReader(run)
        self._due = 0.0

    def read(self, now: float) -> bool:
        """Look if it is time to, in seconds of the monotonic clock; True if something is new."""
        if now < self._due:
            return False
        self._due = now + LOOK_EVERY
        before, self.latest = self.latest, self._reader.read()
        return self.latest is not before
