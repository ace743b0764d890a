"""Reads the comparison of the usual twins off the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.versus.pairs import suite
from traindeck.core.versus.report import Report, found_devices, make
from traindeck.tui.readers.watch import Watch

LOOK_EVERY = 1.0


class VersusWatch(Watch[Report]):
    """Makes the report anew when runs have come or ended, from `start` on."""

    def __init__(
        self,
        home: Home,
        *,
        ready: Callable[[Report], object],
        failed: Callable[[Exception], object],
        interval: float = LOOK_EVERY,
    ) -> None:
        super().__init__("versus watch", ready=ready, failed=failed, interval=interval)
        self._home = home
        self._library = Library(home)
        self._found: list[str] | None = None
        self._known: tuple[object, Report] | None = None

    def park(self, parked: bool) -> None:
        """Look no more while nobody sees it, or go on."""
        self._parked = parked
        if not parked:
            self.look_now()

    def _look(self) -> Report:
        self._library.runs()
        version = self._library.version()
        if self._known is not None and self._known[0] == version:
            return self._known[1]
        if self._found is None:
            self._found = found_devices()
        report = make(
            self._home, suite(self._home, None, {}), library=self._library, devices=self._there
        )
        # The load of each moment would be another report.
        report = replace(report, machine=self._known[1].machine if self._known else report.machine)
        self._known = version, report
        return report

    def _there(self) -> list[str]:
        return self._found or []
