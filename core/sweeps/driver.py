"""What keeps a sweep going: a process of its own, which may be killed and started again at will.

It looks at the runs, prunes, and launches the next trial while fewer than are wanted at once go on.
One at a time: it holds a lock from its birth, which it gets from whoever starts it and the kernel
frees when it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.core import control
from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import opened
from traindeck.core.base.home import Home
from traindeck.core.base.installed import package_folder
from traindeck.core.base.process import boot_id
from traindeck.core.engines.choose import engine, engine_of
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.core.sweeps import selection
from traindeck.core.sweeps import trials as found
from traindeck.core.sweeps.space import filled
from traindeck.core.sweeps.study import (
    FAILED,
    FINISHED,
    RUNNING,
    SEED,
    STOPPED,
    SweepFolder,
)
from traindeck.core.sweeps.trials import Attempt, Runs, Trial, trials, unfinished

if TYPE_CHECKING:
    from traindeck.core.recipe.recipe import Recipe
    from traindeck.core.sweeps.price import Held
    from traindeck.core.sweeps.sampler import Pruning

TICK = 0.02, 0.5
"""Seconds between looks: of trials of a moment, and of long ones."""
ADOPT_SECONDS = 1.0
INSIGHT_SECONDS = 5.0
FIRST_FAILURES = 5
"""Trials that may fail before one succeeds; then something is wrong with all of them.

One is enough where it finished without the series that is sought.
"""
_ENTRY = (
    "import sys; sys.path[:] = sys.argv[1].split(':');"
    "from traindeck.core.sweeps.driver import main; main()"
)


def start(folder: SweepFolder) -> bool:
    """Start the driver; False where it lives already. Raises OSError."""
    lock = opened(folder.path / "driver.lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        paths = [str(package_folder().parent), *(path for path in sys.path if path)]
        log = opened(folder.path / "driver.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            first = subprocess.Popen(
                [sys.executable, "-c", _ENTRY, ":".join(paths), os.fspath(folder.path), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                pass_fds=(lock,),
            )
        finally:
            os.close(log)
        first.wait()
    finally:
        os.close(lock)
    return True


def main() -> None:
    """Detach, and drive the sweep whose folder and lock the arguments name."""
    folder, lock = Path(sys.argv[2]), int(sys.argv[3])
    if os.fork():
        os._exit(0)
    os.setsid()
    os.set_inheritable(lock, False)
    Driver(SweepFolder(folder)).drive()


class Driver:
    """Drives one sweep until it is over."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._home = folder.home
        self._design = folder.design()
        self._place = self._home
        """Where the runs are."""
        self._trials = self._design.trials
        self._runs = Runs(self._home, self._design)
        self._held: Held | None = None
        self._pruning: Pruning | None = None
        self._adopted_at = 0.0
        self._insight: tuple[float, int] = (0.0, -1)
        self._asked: set[str] = set()

    def drive(self) -> None:
        """Until all trials are over, it was asked to stop, or cannot go on."""
        self._folder.say(state=RUNNING, reason="", pid=os.getpid(), boot=boot_id())
        try:
            if self._design.select and selection.is_over(self._folder, self._design):
                selection.release(self._folder, self._design, [])
                self._folder.say(state=FINISHED, reason="")
                return
            self._begin()
            while not self._over():
                time.sleep(self._pause())
        except (TraindeckError, OSError) as error:
            self._folder.say(state=FAILED, reason=str(error))
        if self._held is not None:
            with contextlib.suppress(TraindeckError, OSError):
                self._held.give_back()

    def _begin(self) -> None:
        self._recipe = self._design.recipe()
        self._space = self._design.space()
        if self._design.select:
            self._place = selection.hidden(self._folder)
            self._trials = selection.count(self._folder, self._design)
            self._runs = Runs(self._place, self._design)
        elif self._recipe is not None:
            self._held = self._hold(self._recipe)
        engine(self._design.on).prepare()
        if self._design.pruner != "none":
            from traindeck.core.sweeps.sampler import Pruning

            self._pruning = Pruning(self._design)

    def _hold(self, recipe: Recipe) -> Held | None:
        """Hold places for the runs that are left; None where nothing is accounted for."""
        design = self._design
        if design.price is None or design.wanted != RUNNING:
            return None
        from traindeck.core.sweeps.price import Held

        held = Held(self._home, design, recipe, self._space)
        attempts = self._runs.update()
        begun = {one.trial for one in attempts}
        size = self._space.size() if design.sampler == "grid" else None
        new = max(0, min(design.trials, size or design.trials) - len(begun))
        held.hold(new * design.seeds + len(unfinished(design, attempts)))
        return held

    def _over(self) -> bool:
        """One look at all of it, and what follows from it; True when nothing is left to do."""
        self._design = self._folder.design()
        attempts = self._runs.update()
        self._adopt(attempts)
        known = trials(self._design, attempts)
        live = [one for one in attempts if one.live]
        if self._design.wanted != RUNNING:
            return self._stopped(live)
        self._prune(known)
        self._look_into(known, force=False)
        if not self._design.select and not any(one.state == found.COMPLETE for one in known):
            failed = [
                one
                for one in known
                if one.state == found.FAILED
                and one.attempts[-1].created >= self._design.failed  # else it is done again
            ]
            lacks = any(one.lacks for trial in failed for one in trial.attempts)
            if lacks or len(failed) >= FIRST_FAILURES:
                if live:
                    return False
                why = f"the first {len(failed)} trials failed, the last: {failed[-1].reason}"
                if len(failed) == 1:
                    why = f"the first trial failed: {failed[0].reason}"
                self._folder.say(state=FAILED, reason=why)
                return True
        while len(live) < self._design.at_once:
            following = self._next(known, attempts, live)
            if following is None:
                if live:
                    return False
                self._look_into(known, force=True)
                if self._design.select:
                    selection.release(self._folder, self._design, known)
                self._folder.say(state=FINISHED, reason="")
                return True
            self._launch(*following)
            attempts = self._runs.update()
            known = trials(self._design, attempts)
            live = [one for one in attempts if one.live]
        return False

    def _next(
        self, known: list[Trial], attempts: list[Attempt], live: list[Attempt]
    ) -> tuple[int, int, Mapping[str, Any]] | None:
        """The trial and its repeat to launch next, and its values; None when there is none."""
        busy = {(one.trial, one.part) for one in live}
        for number, part, values in unfinished(self._design, attempts):
            if (number, part) not in busy:
                return number, part, values
        number = max((one.number for one in known), default=-1) + 1
        if number >= (self._trials if self._design.select else self._design.trials):
            return None
        from traindeck.core.sweeps.sampler import ask

        asked = ask(self._design, self._space, known, number)
        return None if asked is None else (number, 0, asked)

    def _launch(self, number: int, part: int, values: Mapping[str, Any]) -> None:
        design = self._design
        own = {SEED: part} if design.seeds > 1 else {}
        name = f"{design.name} {number}" + (f".{part}" if design.seeds > 1 else "")
        given = {**self._space.fixed, **values, **own}
        request = LaunchRequest(
            recipe=self._recipe,
            command=() if self._recipe else filled(design.command, given),
            params=given if self._recipe else {},
            on=design.on,
            name=design.name if design.select else name,
            tags=(f"sweep-{design.id}",),
            python=design.python,
            cwd=design.cwd,
            accept_no_privacy=design.accept_no_privacy,
            reason=design.reason,
            usual_grace=design.grace,
            sweep={
                "id": design.id,
                "trial": number,
                "part": part,
                "values": dict(values),
                "place": self._held.next() if self._held else "",
            },
        )
        launch(self._place, request)
        engine(design.on).prepare()  # the next one's supervisor

    def _prune(self, known: list[Trial]) -> None:
        if self._pruning is None:
            return
        for number, why in self._pruning.hear(known).items():
            trial = next(one for one in known if one.number == number)
            for one in trial.attempts:
                if one.state == found.RUNNING and one.part == 0 and one.run not in self._asked:
                    self._asked.add(one.run)
                    folder = self._place.runs / one.run
                    events.append(folder / "events.jsonl", found.PRUNED_EVENT, text=why)
                    with contextlib.suppress(TraindeckError):  # it has just ended
                        control.stop(folder)

    def _stopped(self, live: list[Attempt]) -> bool:
        for one in live:
            if one.run not in self._asked:
                self._asked.add(one.run)
                with contextlib.suppress(TraindeckError):
                    control.stop(self._place.runs / one.run)
        if not live:
            self._folder.say(state=STOPPED, reason="stopped on request")
        return not live

    def _adopt(self, attempts: list[Attempt]) -> None:
        """Give runs whose supervisor was killed another one."""
        if time.monotonic() - self._adopted_at < ADOPT_SECONDS:
            return
        self._adopted_at = time.monotonic()
        for one in attempts:
            run = RunFolder(self._place.runs / one.run)
            if (one.live or one.state == found.LOST) and run.needs_supervisor():
                with contextlib.suppress(OSError):
                    engine_of(run).start(run.path, "adopt")

    def _look_into(self, known: list[Trial], *, force: bool) -> None:
        """Say what each parameter matters, now and then."""
        complete = sum(one.state == found.COMPLETE for one in known)
        at, seen = self._insight
        if self._design.select or complete == seen:
            return
        if not force and time.monotonic() - at < INSIGHT_SECONDS:
            return
        self._insight = time.monotonic(), complete
        if complete >= 4:
            from traindeck.core.sweeps.sampler import importance

            self._folder.say(importance=importance(self._design, self._space, known))

    def _pause(self) -> float:
        """Seconds to the next look: the twentieth part of how long trials take, within TICK."""
        least, most = TICK
        now = time.time()
        live = [one for one in self._runs.update() if one.live]
        age = min((now - one.created for one in live), default=0.0)
        return min(most, max(least, age / 20))


def tend(home: Home) -> None:
    """Start the drivers that were killed. Raises OSError where the home cannot be written."""
    from traindeck.core.sweeps.study import sweeps

    for folder in sweeps(home):
        said = folder.said()
        with contextlib.suppress(TraindeckError):
            if (
                said.get("state") == RUNNING
                and said.get("boot") == boot_id()
                and not folder.driven()
            ):
                start(folder)
