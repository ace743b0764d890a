"""What a supervisor does only to report, such as metrics: what goes wrong in it ends no run."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from traindeck.core.run import events

T = TypeVar("T")


def tell_trouble() -> None:
    """Print the error that is being handled to supervisor.log, if that can be written."""
    with contextlib.suppress(OSError, ValueError):
        traceback.print_exc()


class Reports:
    """Does what reports; what has failed once is told, and done no more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._failed: set[str] = set()

    def do(self, what: str, report: Callable[[], T], instead: T) -> T:
        """What `report` gives, or `instead` where it fails or has failed; `what` it reports."""
        if what in self._failed:
            return instead
        try:
            return report()
        except Exception as error:
            tell_trouble()
            self._failed.add(what)
            with contextlib.suppress(OSError):
                text = f"{what} are not reported from now on: {error!r}"
                events.append(self._folder / "events.jsonl", "note", text=text)
            return instead
