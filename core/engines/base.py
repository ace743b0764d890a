"""What an engine is: it starts a run somewhere and brings its folder home.

The supervisor always runs beside the run, wherever that is, and writes the run's folder. An engine
makes that folder and its supervisor meet, carries over what is asked of the run, and says what the
folder cannot: that the run is out of reach, say.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from traindeck.core.run.state import Verdict
from traindeck.core.run.verdict import recorded, true_state

if TYPE_CHECKING:
    from traindeck.core.queue.slots import Claim
    from traindeck.core.run.folder import RunFolder
    from traindeck.core.run.spec import End, Spec

Mode = Literal["start", "adopt"]
"""A new run, or one whose supervisor was killed."""

Ask = Literal["stop", "kill"]
"""Politely, with a grace; or at once, with all that it started."""


class Engine(Protocol):
    """Starts runs in one kind of place."""

    def claim(self, on: str, kinds: Collection[str]) -> Claim:
        """What a run there must hold; `kinds` are the devices its recipe can use, all if empty.

        Raises UsageError for what is no device or not the recipe's, MissingError for what there
        is none of.
        """
        ...

    def prepare(self) -> None:
        """Begin what a start takes and needs no run for; `start` goes on with it.

        Raises OSError.
        """
        ...

    def start(self, folder: Path, mode: Mode) -> None:
        """Give a run to a supervisor; returns when it has charge of the run. Raises OSError."""
        ...

    def signal(self, folder: Path, ask: Ask) -> None:
        """Ask a run to end. Raises ControlError when that cannot be asked of it."""
        ...

    def look(self, run: RunFolder, spec: Spec) -> Verdict | None:
        """What is known here of a run that goes on; None: its folder knows best."""
        ...


def known(engine: Engine, run: RunFolder, spec: Spec, end: End | None) -> Verdict:
    """The state of a run: as its files say that it ended, else as its engine or processes tell."""
    return (
        recorded(spec, end)
        or engine.look(run, spec)
        or true_state(spec, end, deserted=run.deserted(spec))
    )
