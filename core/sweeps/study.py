"""A sweep as it is kept, in a folder of the home of its own.

    sweeps/<id>/
      sweep.json     what is searched and how; people alone change it, under `change.lock`
      driver.json    what the driver last said: why it ended, what each parameter matters
      driver.lock    held (flock) by the driver as long as it lives
      driver.log     what went wrong in it

Which trials there were, and what came of them, no file here says: the run folders do, each of which
names its sweep and trial in its run.json from the moment there is one. So whatever is killed,
nothing is lost or done twice. Standard library only: lists and screens import this.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from traindeck.core.base.errors import ControlError, NotFoundError, TraindeckError, UsageError
from traindeck.core.base.files import is_held, locked, read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.base.ids import is_id, new_folder
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.recipe.typed import command_name
from traindeck.core.run.names import next_name
from traindeck.core.sweeps.space import Space, SpaceError, parse, placeholders

VERSION = 1
Direction = Literal["maximize", "minimize"]
SAMPLERS = ("tpe", "random", "grid", "cmaes")
PRUNERS = ("none", "median", "hyperband")
USUAL_TRIALS = 20
MOST_TRIALS = 10_000
MOST_AT_ONCE = 64
MOST_SEEDS = 100
SEED = "seed"
"""The parameter, or the placeholder of a command, that repeats of a trial differ in."""
LAST = "@last"
RUNNING, FINISHED, STOPPED, STOPPING, INTERRUPTED, FAILED = (
    "running",
    "finished",
    "stopped",
    "stopping",
    "interrupted",
    "failed",
)


class SweepError(TraindeckError):
    """A sweep cannot go on; the message says why and what to do."""


class SweepNotFound(NotFoundError):
    """No sweep goes by what was asked for."""


@dataclass(frozen=True, slots=True)
class Design:
    """What is searched, and how.

    script      the recipe's path and `origin` where it was listed; None: `command` is run
    typed       each parameter as it was typed, see `space`
    trials      how many there are to be
    series      the metric whose last value is sought the most or the least of (`direction`)
    seeds       how often each trial is repeated; its value is the mean
    seed        what the sampler's draws follow from
    again       trials that were stopped before this moment (unix seconds) are to be done again
    failed      and those that failed before this one
    wanted      whether it is to run or to stop
    price       what it costs in privacy, as it was reserved; None where nothing is accounted for
    select      whether only the best is ever shown, of a random number of trials (`selection`)
    grace       seconds from a stop to SIGKILL where the recipe says none
    """

    id: str
    name: str
    script: str | None
    origin: str
    command: tuple[str, ...]
    typed: Mapping[str, str]
    trials: int
    series: str
    direction: Direction
    sampler: str = "tpe"
    pruner: str = "none"
    seeds: int = 1
    at_once: int = 1
    on: str = "cpu"
    cwd: str = "/"
    python: str | None = None
    accept_no_privacy: bool = False
    reason: str = ""
    seed: int = 0
    created: float = 0.0
    again: float = 0.0
    failed: float = 0.0
    wanted: str = RUNNING
    price: Mapping[str, Any] | None = None
    select: bool = False
    grace: float | None = None
    v: int = VERSION

    @property
    def maximize(self) -> bool:
        return self.direction == "maximize"

    def better(self, value: float, than: float) -> bool:
        return value > than if self.maximize else value < than

    def recipe(self) -> Recipe | None:
        """The recipe, read anew; None for a command. Raises SweepError when it has gone."""
        if self.script is None:
            return None
        path = Path(self.script)
        found = read_recipe(path, self.origin, bare=True) if path.exists() else None
        if found is None:
            raise SweepError(f"sweep {self.id}: its recipe {path} has gone")
        return found

    def space(self) -> Space:
        """Raises SpaceError where the recipe's header does not allow it any more."""
        return parse(self.typed, self.recipe())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Design:
        """Raises ValueError, TypeError or KeyError for what is none."""
        known = {one.name for one in fields(cls)}
        made = cls(**{key: value for key, value in data.items() if key in known})
        if not (
            isinstance(made.typed, dict) and isinstance(made.trials, int) and made.v == VERSION
        ):
            raise ValueError("not a sweep")
        return replace(made, command=tuple(made.command))


class SweepFolder:
    """One sweep's folder; every read gives what is known now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    @property
    def home(self) -> Home:
        return Home(self.path.parent.parent)

    def design(self) -> Design:
        """Raises SweepError when it is damaged."""
        try:
            return Design.from_json(read_json(self.path / "sweep.json") or {})
        except (ValueError, TypeError, KeyError):
            raise SweepError(f"sweep {self.id}: {self.path}/sweep.json is damaged") from None

    def said(self) -> dict[str, Any]:
        """What its driver last said."""
        return read_json(self.path / "driver.json") or {}

    def driven(self) -> bool:
        """Whether its driver lives."""
        return (self.path / "driver.lock").exists() and is_held(self.path / "driver.lock")

    def state(self) -> tuple[str, str]:
        """The state and its reason."""
        said, driven = self.said(), self.driven()
        wanted = self.design().wanted
        if driven:
            return (RUNNING, "") if wanted == RUNNING else (STOPPING, "its trials are ending")
        ended = said.get("state")
        if ended in (FINISHED, FAILED) or (ended == STOPPED and wanted != RUNNING):
            return str(ended), str(said.get("reason") or "")
        why = f"its driver has gone; `traindeck sweeps resume {self.id}` goes on"
        return INTERRUPTED, why

    def change(self, **changes: Any) -> Design:
        """Change the design. Raises SweepError when it is damaged or the disk does not take it."""
        try:
            with locked(self.path / "change.lock"):
                changed = replace(self.design(), **changes)
                write_json(self.path / "sweep.json", changed.to_json())
        except OSError as error:
            raise SweepError(f"sweep {self.id} cannot be changed: {error.strerror}") from None
        return changed

    def say(self, **facts: Any) -> None:
        """What the driver has to say, for whoever looks. Its own: nobody else writes this."""
        with contextlib.suppress(OSError):
            write_json(self.path / "driver.json", {**self.said(), **facts})


def sweeps_of(home: Home) -> Path:
    return home.root / "sweeps"


def sweeps(home: Home) -> list[SweepFolder]:
    """All sweeps, newest first."""
    try:
        names = [name for name in os.listdir(sweeps_of(home)) if is_id(name)]
    except OSError:
        return []
    return [SweepFolder(sweeps_of(home) / name) for name in sorted(names, reverse=True)]


def find(home: Home, ref: str) -> SweepFolder:
    """The sweep of this id, unique start of one, name, or `@last`.

    Raises SweepNotFound, and UsageError when several go by it.
    """
    there = sweeps(home)
    if ref == LAST and there:
        return there[0]
    matching = [one for one in there if ref and one.id.startswith(ref.lower())]
    if not matching:
        matching = [one for one in there if _name(one) == ref]
    if not matching:
        raise SweepNotFound(f"no sweep {ref!r}; `traindeck sweeps ls` lists them")
    if len(matching) > 1:
        some = ", ".join(one.id for one in matching[:5])
        raise UsageError(f"{ref!r} is the start or name of {len(matching)} sweeps, such as {some}")
    return matching[0]


def _name(folder: SweepFolder) -> str:
    return str((read_json(folder.path / "sweep.json") or {}).get("name"))


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What to search: a recipe, or a command with `{name}` where a value goes; see `Design`."""

    recipe: Recipe | None = None
    command: Sequence[str] = ()
    typed: Mapping[str, str] = field(default_factory=dict)
    trials: int = USUAL_TRIALS
    series: str = ""
    direction: Direction = "maximize"
    sampler: str = "tpe"
    pruner: str = "none"
    seeds: int = 1
    at_once: int = 1
    on: str = "cpu"
    name: str | None = None
    python: str | None = None
    seed: int | None = None
    accept_no_privacy: bool = False
    reason: str = ""
    select: bool = False
    grace: float | None = None

    def runs(self, space: Space) -> int:
        """How many runs it comes to, if none must be done again."""
        size = space.size() if self.sampler == "grid" else None
        return min(self.trials, size or self.trials) * self.seeds


def all_of_few(request: SweepRequest) -> SweepRequest:
    """Each of the different trials once, where there are no more than usual."""
    size = parse(request.typed, request.recipe).size()
    if size is None or size > USUAL_TRIALS:
        return request
    return replace(request, sampler="grid", trials=size)


def usual_aim(recipe: Recipe) -> tuple[str, Direction]:
    """The series that is sought where nothing else is said, and whether the most or least of it."""
    series = recipe.headline or ""
    least = any(word in series for word in ("loss", "error", "perplexity"))
    return series, "minimize" if least else "maximize"


def check(request: SweepRequest) -> Space:
    """The space of a sweep that can be begun. Raises UsageError for one that cannot."""
    recipe = request.recipe
    space = parse(request.typed, recipe)
    names = {axis.name for axis in space.axes} | space.fixed.keys()
    for what, value, most in (
        ("trials", request.trials, MOST_TRIALS),
        ("at once", request.at_once, MOST_AT_ONCE),
        ("seeds", request.seeds, MOST_SEEDS),
    ):
        if not 1 <= value <= most:
            raise UsageError(f"--{what.replace(' ', '-')} {value} is not from 1 to {most}")
    if request.sampler not in SAMPLERS:
        raise UsageError(f"--sampler {request.sampler} is not one of {', '.join(SAMPLERS)}")
    if request.pruner not in PRUNERS:
        raise UsageError(f"--pruner {request.pruner} is not one of {', '.join(PRUNERS)}")
    if request.sampler == "grid":
        next(space.grid())
    if request.sampler == "cmaes" and not any(axis.range for axis in space.axes):
        raise UsageError("--sampler cmaes needs a range, such as -p lr=log:1e-4..1e-1")
    if not request.series:
        raise UsageError("say what is sought: --maximize SERIES or --minimize SERIES")
    if recipe is None:
        holes = placeholders(request.command)
        if missing := sorted(names - holes):
            raise SpaceError(f"the command has no place for {missing[0]}: write {{{missing[0]}}}")
    else:
        holes = set(recipe.params)
        for values in _some(space):
            recipe.validate({**space.fixed, **values})
    if request.seeds > 1:
        if SEED in names:
            raise SpaceError(f"--seeds gives each repeat a {SEED} of its own: leave -p {SEED} out")
        if SEED not in holes:
            where = "no parameter seed" if recipe else "no {seed} in it"
            raise SpaceError(f"--seeds {request.seeds}: it has {where} for repeats to differ in")
    return space


def _some(space: Space) -> list[dict[str, Any]]:
    """Trials of the first and of the last values of all."""
    ends = [{axis.name: axis.ends()[end] for axis in space.axes} for end in (0, 1)]
    return [space.only_active(values) for values in ends]


def create(
    home: Home, request: SweepRequest, price: Mapping[str, Any] | None = None
) -> SweepFolder:
    """Make the folder of a new sweep. Raises UsageError, and SweepError where it cannot be made."""
    space = check(request)
    recipe = request.recipe
    usual = recipe.name if recipe else command_name(request.command)
    taken = {_name(one) for one in sweeps(home)}
    try:
        home.make()
        place = sweeps_of(home)
        place.mkdir(mode=0o700, exist_ok=True)
        path = new_folder(place, home.trash)
        cwd = os.getcwd()
    except OSError as error:
        raise SweepError(f"a sweep cannot be recorded in {home.root}: {error.strerror}") from None
    design = Design(
        id=path.name,
        name=request.name or next_name(usual, taken),
        script=str(recipe.path) if recipe else None,
        origin=recipe.origin if recipe else "",
        command=tuple(request.command),
        typed=dict(request.typed),
        trials=request.runs(space) // request.seeds,
        series=request.series,
        direction=request.direction,
        sampler=request.sampler,
        pruner=request.pruner,
        seeds=request.seeds,
        at_once=request.at_once,
        on=request.on,
        cwd=cwd,
        python=request.python,
        accept_no_privacy=request.accept_no_privacy,
        reason=request.reason,
        seed=secrets.randbelow(2**31) if request.seed is None else request.seed,
        created=time.time(),
        price=price,
        select=request.select,
        grace=request.grace,
    )
    try:
        write_json(path / "sweep.json", json.loads(json.dumps(design.to_json())))
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise SweepError(f"a sweep cannot be recorded in {home.root}: {error.strerror}") from None
    return SweepFolder(path)


def stop(folder: SweepFolder) -> None:
    """Let no further trial start, and ask those that run to end. Raises ControlError."""
    if folder.state()[0] in (FINISHED, STOPPED, FAILED):
        raise ControlError(f"sweep {folder.id} is {folder.state()[0]} already")
    folder.change(wanted=STOPPED)


def resume(folder: SweepFolder, *, failed: bool = False) -> Design:
    """Let it go on: trials that were stopped are done again, with `failed` those that failed."""
    now = time.time()
    return folder.change(wanted=RUNNING, again=now, **({"failed": now} if failed else {}))


def check_trials(trials: int, more: int) -> None:
    """Raises UsageError for so many trials, `more` of them new, that a sweep cannot have."""
    if more < 1 or trials > MOST_TRIALS:
        raise UsageError(f"{more} trials more make {trials}: from 1 more to {MOST_TRIALS} can be")


def extend(folder: SweepFolder, more: int, price: Mapping[str, Any] | None) -> Design:
    """Let it have so many trials more, at this price of all. Raises UsageError for too many."""
    trials = folder.design().trials + more
    check_trials(trials, more)
    return folder.change(wanted=RUNNING, trials=trials, price=price)
