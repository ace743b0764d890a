"""Private selection: a random number of trials, of which only the best is ever shown.

That costs far less than all of them (Papernot & Steinke 2022, theorem 2), if its conditions hold,
and all of them are enforced here: configurations are drawn independently from what was fixed
before (random search, no pruning, one plan); how many there are is geometric, drawn from the
system's randomness, and told to nobody; all of them run; what is sought is no series of private
data. The trials run in a home of their own within the sweep's folder, which no list looks into;
the best is moved out, and the others are removed.

Who may read that folder can look while they run, and how long it takes tells of their number: as
with the ledgers, this guards against accidents, not against the user.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import shutil
import time
from pathlib import Path

from traindeck.core.base.errors import ControlError, UsageError
from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity
from traindeck.core.sweeps.study import Design, SweepError, SweepFolder
from traindeck.core.sweeps.trials import Runs, Trial, best

HIDDEN = "hidden"
_SHARED = ("locks", "queue")
"""Of the home: who holds which device is one matter for all runs."""
PATIENCE = 30.0


def hidden(folder: SweepFolder) -> Home:
    """The home of the trials that nobody is shown, made if needed. Raises OSError."""
    root = folder.path / HIDDEN
    root.mkdir(mode=0o700, exist_ok=True)
    for name in _SHARED:
        with contextlib.suppress(FileExistsError):
            (root / name).symlink_to(folder.home.root / name)
    home = Home(root)
    home.make()
    return home


def count(folder: SweepFolder, design: Design) -> int:
    """How many trials there are: drawn once, geometric, `design.trials` on average.

    Raises SweepError when what was drawn is damaged: another draw would be another sweep.
    """
    path = folder.path / HIDDEN / "count.json"
    if path.exists():
        known = (read_json(path) or {}).get("count")
        if not isinstance(known, int):
            raise SweepError(f"sweep {folder.id}: {path} is damaged; nothing can be selected")
        return known
    drawn = geometric(design.trials)
    write_json(path, {"count": drawn})
    return drawn


def geometric(mean: int) -> int:
    """A number from 1 on of this mean, from the system's randomness."""
    if mean <= 1:
        return 1
    chance = (secrets.randbits(53) + 1) / 2**53  # from above 0 to 1
    return 1 + math.floor(math.log(chance) / math.log1p(-1 / mean))


def is_over(folder: SweepFolder, design: Design) -> bool:
    """Whether the best was moved out, or there was none: no other draw is made."""
    return bool(folder.said().get("selected") or Runs(folder.home, design).update())


def release(folder: SweepFolder, design: Design, known: list[Trial]) -> None:
    """Move the best trial's run among the others, and remove all the rest.

    Which of how many it was is not told. Raises OSError.
    """
    place = folder.path / HIDDEN
    found = None if is_over(folder, design) else best(design, known)
    _wait(place / "runs")
    if found is not None:
        old = place / "runs" / found.attempts[0].run
        spec = read_json(old / "run.json") or {}
        write_json(old / "run.json", {**spec, "sweep": {**spec["sweep"], "trial": 0}})
        run = folder.home.runs / old.name
        if run.exists():
            raise SweepError(f"sweep {folder.id}: a run {run.name} is there already")
        old.rename(run)
        Catalogue(folder.home).sync(run)
    folder.say(selected=True)
    shutil.rmtree(place, ignore_errors=True)


def _wait(runs: Path) -> None:
    """For supervisors that still write to their ended runs."""
    deadline = time.monotonic() + PATIENCE
    for path in runs.iterdir() if runs.is_dir() else ():
        spec = RunFolder(path).spec()
        supervisor = identity(spec, "supervisor") if spec else None
        while supervisor and supervisor.alive() and time.monotonic() < deadline:
            time.sleep(0.02)


def drop(folder: SweepFolder, design: Design) -> None:
    """Remove what nobody was shown. Raises ControlError while any of it goes on."""
    place = folder.path / HIDDEN
    if place.is_dir():
        if any(one.live for one in Runs(Home(place), design).update()):
            raise ControlError(f"a trial of sweep {folder.id} goes on: stop the sweep first")
        shutil.rmtree(place, ignore_errors=True)


def check(sampler: str, pruner: str, seeds: int, series: str) -> None:
    """Raises UsageError where a condition of private selection does not hold."""
    from traindeck.core.privacy.telemetry import is_private

    for holds, why in (
        (sampler == "random", "its trials are drawn at random: --sampler random"),
        (pruner == "none", "all of its trials run to their end: leave --pruner out"),
        (seeds == 1, "a trial is one run: leave --seeds out"),
        (not is_private(series), f"{series} is of private data: seek one on public or test data"),
    ):
        if not holds:
            raise UsageError(f"--private-select: {why}")
