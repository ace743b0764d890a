"""Reads the sweeps of a home and their trials off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.sweeps import study
from traindeck.core.sweeps.driver import tend
from traindeck.core.sweeps.space import Axis
from traindeck.core.sweeps.study import Design, SweepFolder
from traindeck.core.sweeps.trials import COMPLETE, FAILED, PRUNED, Runs, Trial, best, trials
from traindeck.tui.readers.watch import Watch

LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as it was last read.

    axes        what varies; empty where the recipe's header allows it no more
    trials      by number
    importance  how much of the value each parameter decides, from 0 to 1
    """

    design: Design
    state: str
    reason: str
    axes: tuple[Axis, ...] = ()
    trials: tuple[Trial, ...] = field(default=(), repr=False)
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.design.id

    @property
    def done(self) -> int:
        """Trials that are over."""
        return sum(one.state in (COMPLETE, PRUNED, FAILED) for one in self.trials)

    @property
    def best(self) -> Trial | None:
        return best(self.design, list(self.trials))

    def is_on(self) -> bool:
        return self.state in (study.RUNNING, study.STOPPING)


class SweepsWatch(Watch[tuple[Sweep, ...]]):
    """Looks at all sweeps, from `start` on; one whose driver was killed gets another."""

    def __init__(
        self,
        home: Home,
        *,
        ready: Callable[[tuple[Sweep, ...]], object],
        failed: Callable[[Exception], object],
        interval: float = LOOK_EVERY,
    ) -> None:
        super().__init__("sweeps watch", ready=ready, failed=failed, interval=interval)
        self._home = home
        self._runs: dict[str, Runs] = {}
        self._axes: dict[str, tuple[Axis, ...]] = {}
        self._over: dict[str, tuple[Design, Sweep]] = {}

    def park(self, parked: bool) -> None:
        """Look no more while nobody sees it, or go on."""
        self._parked = parked
        if not parked:
            self.look_now()

    def _look(self) -> tuple[Sweep, ...]:
        tend(self._home)
        found = []
        for folder in study.sweeps(self._home):
            try:
                found.append(self._read(folder))
            except TraindeckError as error:
                blank = Design(folder.id, folder.id, None, "", (), {}, 0, "", "maximize")
                found.append(Sweep(blank, "damaged", str(error)))
        return tuple(found)

    def _read(self, folder: SweepFolder) -> Sweep:
        design = folder.design()
        state, reason = folder.state()
        before = self._over.get(folder.id)
        if before is not None and before[0] == design and before[1].state == state:
            return before[1]
        runs = self._runs.setdefault(folder.id, Runs(self._home, design))
        attempts = runs.update()
        sweep = Sweep(
            design,
            state,
            reason,
            self._space(folder.id, design),
            tuple(trials(design, attempts)),
            folder.said().get("importance") or {},
        )
        if not sweep.is_on() and not any(one.live for one in attempts):
            self._over[folder.id] = design, sweep
        return sweep

    def _space(self, sweep: str, design: Design) -> tuple[Axis, ...]:
        if sweep not in self._axes:
            try:
                self._axes[sweep] = design.space().axes
            except TraindeckError:  # its recipe has gone, or is another: what came of it stays
                self._axes[sweep] = ()
        return self._axes[sweep]
