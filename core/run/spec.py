"""run.json, exit.json and user.json: what the files of a run hold, and who of it is who.

A new field of run.json is a line of `Launched`, if whoever launches a run says it, or of `Course`,
if its supervisor does. How it is checked follows from its type (see `schema`); make it NotRequired,
for homes of before lack it. If lists, screens and `--json` show it, it is also a line of
`catalogue.document.RunDoc`, by the same name.

Standard library only: the supervisor imports this.
"""

from __future__ import annotations

import os
import time
from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict, Unpack

from traindeck.core.base.process import Identity, boot_id
from traindeck.core.base.schema import Schema, moment, one_of, wait_status
from traindeck.core.run.state import ENDED, LIVE, boottime

VERSION = 1

State = Annotated[str, one_of(*LIVE, *ENDED)]
Moment = Annotated[float, moment]
Who = Literal["launcher", "supervisor", "keeper", "scribe", "child"]


class Queue(TypedDict):
    """Why a run waits, and its place: 1 is next."""

    place: int
    reason: str


class Imported(TypedDict):
    """Where a run was made of another tool's files, instead of launched.

    tool   whose they are, `place` where they lay, `part` which of several runs there
    mark   a digest of all that was taken: the same run again has the same
    """

    tool: str
    place: str
    part: str
    mark: str


class Launched(TypedDict):
    """What a launch says of its run.

    recipe     its name, and `script` its path, `origin` where it was listed; None: a bare command
    headline   the metric that lists show
    privacy    the recipe's kind of privacy, for `dataset`, paid from `ledger`
    argv       the process, `command` what was typed to start it
    isolated   whether `python` is of an environment that was made for its script
    follow     whether what it writes is looked through for metrics; `parse` by which expressions of
               the user's, besides
    arguments  what was passed on to the script behind its parameters
    again_of   the run that it repeats, and `resumed` the one whose checkpoint it takes up by its id
    claim      what it must hold before it starts (`queue.slots.Claim`)
    grace      seconds between SIGTERM and SIGKILL
    sweep      of a trial: the sweep's `id`, the `trial`'s number, which repeat of it (`part`),
               the `values` that were varied, and the `place` it took over in a ledger
    imported   of a run that was never launched here: whose it is
    keep_checkpoints  how many of its own a recipe leaves, the best and the last; None: all
    """

    id: NotRequired[str]
    name: str
    recipe: NotRequired[str | None]
    script: NotRequired[str | None]
    origin: NotRequired[str]
    framework: str
    headline: NotRequired[str | None]
    privacy: NotRequired[str]
    dataset: NotRequired[str]
    ledger: NotRequired[str | None]
    params: dict[str, Any]
    argv: list[str]
    command: list[str]
    cwd: str
    python: NotRequired[str]
    isolated: NotRequired[bool]
    parse: NotRequired[list[str]]
    arguments: NotRequired[list[str]]
    follow: NotRequired[bool]
    again_of: NotRequired[str | None]
    resumed: NotRequired[str | None]
    on: str
    claim: dict[str, Any]
    grace: Moment
    keep_checkpoints: NotRequired[int | None]
    launcher: NotRequired[Any]
    sweep: NotRequired[dict[str, Any] | None]
    imported: NotRequired[Imported]


class Course(TypedDict, total=False):
    """How the run goes; once the supervisor lives, it is the only writer.

    device     what `on` became, with `gpus` by their UUIDs
    group      the path of its control group
    pipe       what /proc calls the pipe that it prints to
    oom_kills  the machine's count of them when it started
    """

    state: Required[State]
    reason: str
    supervisor: Any
    queue: Queue | None
    group: str | None
    oom_kills: int
    device: str
    gpus: list[str]
    started: Moment | None
    started_boottime: Moment | None
    keeper: Any
    scribe: Any
    pipe: str
    child: Any
    exit_code: int | None
    ended: Moment | None


class _Said(Launched, Course):
    pass


class Spec(_Said):
    """run.json. Moments are unix seconds, those of `…_boottime` seconds since the boot."""

    v: NotRequired[int]
    created: Moment
    created_boottime: Moment
    boot_id: str
    host: str


class End(TypedDict, total=False):
    """exit.json: the wait status from the keeper, the verdict from the supervisor."""

    state: Annotated[str, one_of(*ENDED)]
    reason: str
    error: str
    status: Annotated[int, wait_status]
    exit_code: int | None
    seconds: Moment | None
    ended: Moment
    ended_boottime: Moment


class User(TypedDict, total=False):
    """user.json: what people may change at any time."""

    name: str
    tags: list[str]
    notes: str


SPEC, END, USER, IMPORTED = Schema(Spec), Schema(End), Schema(User), Schema(Imported)


def new_spec(**said: Unpack[_Said]) -> Spec:
    """The run.json of a run that is launched here and now."""
    return {
        "v": VERSION,
        "created": time.time(),
        "created_boottime": boottime(),
        "boot_id": boot_id(),
        "host": os.uname().nodename,
        **said,
    }


def identity(spec: Spec, who: Who) -> Identity | None:
    """A process of the run, if it is recorded."""
    data = spec.get(who)
    try:
        return Identity.from_json(data) if isinstance(data, dict) else None
    except ValueError:
        return None


def is_elsewhere(spec: Spec) -> bool:
    """Whether the run belongs to another machine that shares this home, or another container."""
    if spec["boot_id"] != boot_id():
        return spec["host"] != os.uname().nodename
    who = identity(spec, "supervisor") or identity(spec, "launcher")
    return who is not None and who.out_of_sight
