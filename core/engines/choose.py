"""Which engine a run is started by, and asked through ever after: its `on` says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from traindeck.core.engines.local import Local

if TYPE_CHECKING:
    from traindeck.core.engines.base import Engine
    from traindeck.core.run.folder import RunFolder
    from traindeck.core.run.state import Verdict

_local = Local()


def engine(on: str) -> Engine:
    """The engine for what `--on` and run.json say: the same each time, so it stays prepared."""
    return _local


def engine_of(run: RunFolder) -> Engine:
    """The engine of a run; this machine's where nothing can be read of it."""
    spec = run.spec()
    return engine(spec["on"]) if spec else _local


def verdict(run: RunFolder) -> Verdict:
    """The state of a run as it is known here, its reason and the exit code."""
    from traindeck.core.engines.base import known

    spec = run.spec()
    return known(engine(spec["on"]), run, spec, run.exit()) if spec else run.verdict()
