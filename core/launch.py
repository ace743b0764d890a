"""Starting a run: its folder is made, then a supervisor takes it over."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.core.base.errors import NOT_FOUND, USAGE, TraindeckError
from traindeck.core.base.files import write_json
from traindeck.core.base.grace import check_grace, first_said
from traindeck.core.base.home import Home, has_ledgers
from traindeck.core.base.ids import new_folder
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.document import RunDoc, document
from traindeck.core.catalogue.names import free_name
from traindeck.core.engines.choose import engine
from traindeck.core.privacy import PLAN_FILE
from traindeck.core.recipe import environments
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.recipe.typed import command_name, is_followed, parameters
from traindeck.core.run.folder import RunFolder, check_words, clean_tags
from traindeck.core.run.spec import Spec, new_spec

if TYPE_CHECKING:
    from traindeck.core.engines.base import Engine
    from traindeck.core.privacy.ledger.ledger import Ledger
    from traindeck.core.privacy.plan import Plan
    from traindeck.core.queue.slots import Claim

RESUME = "resume"
"""The parameter by which recipes take up a checkpoint."""


class LaunchError(TraindeckError):
    """A run could not be started; the message says why and what to do."""


class CommandError(LaunchError):
    """What was typed is no command."""

    exit_code = USAGE


class InterpreterMissing(LaunchError):
    """There is no such Python."""

    exit_code = NOT_FOUND


class CheckpointMissing(LaunchError):
    """There is nothing that could be resumed."""

    exit_code = NOT_FOUND


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What to run and where: a recipe with its parameters, or any command.

    name         as it is; without one the recipe's or command's, numbered where runs have it
    grace        seconds from a stop to SIGKILL, and `usual_grace` where the recipe says none either
    arguments    passed on to a script behind its parameters
    parse        the user's expressions for what the run prints
    sweep        which sweep's trial it is, see `run.spec`
    isolated     in an environment of the recipe's own, made of what its header asks for
    keep_checkpoints  how many are left where the recipe does not say it
    """

    recipe: Recipe | None = None
    command: Sequence[str] = ()
    params: Mapping[str, Value] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    parse: Sequence[str] = ()
    on: str = "cpu"
    name: str | None = None
    tags: Sequence[str] = ()
    python: str | None = None
    isolated: bool = False
    cwd: str | None = None
    again_of: str | None = None
    accept_no_privacy: bool = False
    reason: str = ""
    grace: float | None = None
    usual_grace: float | None = None
    sweep: Mapping[str, Any] | None = None
    keep_checkpoints: int | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """What a request comes to: all that can be wrong with it has been looked for."""

    recipe: Recipe | None
    params: Mapping[str, Value]
    plan: Plan | None
    ledger: Ledger | None
    resumed: str | None
    claim: Claim
    python: str
    argv: list[str]
    name: str
    cwd: str


def launch(home: Home, request: LaunchRequest) -> RunDoc:
    """Start a run and return it at once; it goes on without us.

    A private run's whole plan is reserved in its data set's ledger before its process starts.
    Raises LaunchError, ParamError for a parameter, RequestError or HardwareMissing for the device,
    PlanError for a private run's plan and BudgetRefused when its data set's budget is too small.

    A KeyboardInterrupt that comes when the run may have been started has the note of `going_on`.

    Where a path called `resume` is nothing that exists, it may be a run's id, unique start, name or
    `@last`: that run's folder is meant. Raises AmbiguousRun when several runs go by it, and
    CheckpointMissing when none does.
    """
    runner = engine(request.on)
    job = _job(home, request, runner)
    folder = _new_folder(home)
    handed_over = False
    try:
        _write(folder, job, request)
        _reserve(folder, job, request)
        runner.prepare()
        handed_over = True  # from here on the run may have been started, whatever we hear
        with going_on(folder.name):
            runner.start(folder, "start")
            doc = document(RunFolder(folder))
    except BaseException as error:
        if isinstance(error, OSError) or not handed_over:
            _undo(folder, job.ledger)
        if isinstance(error, OSError):
            raise LaunchError(_cannot_write(home, error)) from None
        raise
    if doc is None:
        raise LaunchError(f"the folder of the run has gone: {folder}")
    return doc


@contextlib.contextmanager
def going_on(run_id: str) -> Iterator[None]:
    """Give a KeyboardInterrupt a note that this run goes on, and what ends it."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"run {run_id} goes on; `traindeck stop {run_id}` ends it")
        raise


def _job(home: Home, request: LaunchRequest, runner: Engine) -> _Job:
    """Make of a request what is launched. Raises what `launch` does, and leaves nothing behind."""
    recipe = request.recipe
    check_words(name=request.name, tags=request.tags)
    check_grace(request.grace)
    cwd = request.cwd or _here()
    given, resumed = _resumed(home, request, cwd)
    params = recipe.validate(given) if recipe else {}
    recipe = recipe.chosen(params) if recipe else None
    plan = _plan(recipe, params) if recipe else None
    ledger = _ledger(home, recipe) if recipe else None
    claim = runner.claim(request.on, recipe.devices if recipe else ())
    python = _interpreter(home, request)
    if recipe:
        argv = [python, str(recipe.path), *recipe.argv(params), *request.arguments]
        if request.arguments:
            params = {**params, **parameters([str(recipe.path), *request.arguments], cwd)}
        name = request.name or free_name(home, recipe.name)
    else:
        argv = list(request.command)
        if not argv or not argv[0]:
            raise CommandError("there is no command to run")
        name = request.name or free_name(home, command_name(argv))
        params = parameters(argv, cwd)
    return _Job(recipe, params, plan, ledger, resumed, claim, python, argv, name, cwd)


def _plan(recipe: Recipe, params: Mapping[str, Value]) -> Plan | None:
    """What the run will release; none where the recipe accounts for nothing."""
    if recipe.accounting is None:
        return None
    from traindeck.core.privacy.plan import make

    return make(recipe, params)


def _ledger(home: Home, recipe: Recipe) -> Ledger | None:
    """The ledger that the run spends, or is refused by."""
    if not has_ledgers(home.ledger):
        return None
    from traindeck.core.privacy.gate import ledger_for

    return ledger_for(home.ledger, recipe)


def _new_folder(home: Home) -> Path:
    try:
        home.make()
        return new_folder(home.runs, home.trash)
    except OSError as error:
        raise LaunchError(_cannot_write(home, error)) from None


def _write(folder: Path, job: _Job, request: LaunchRequest) -> None:
    """Put into the folder all that is known of the run before it starts. Raises OSError."""
    spec = _spec(folder.name, job, request)
    (folder / "artifacts").mkdir()
    (folder / "source").mkdir()
    write_json(folder / "params.json", job.params)
    if job.plan:
        write_json(folder / PLAN_FILE, job.plan.to_json())
    if job.recipe:
        shutil.copyfile(job.recipe.path, folder / "source" / job.recipe.path.name)
    if request.tags:
        write_json(folder / "user.json", {"tags": clean_tags(request.tags)})
    write_json(folder / "run.json", spec)


def _spec(run_id: str, job: _Job, request: LaunchRequest) -> Spec:
    recipe, me = job.recipe, Identity.of(os.getpid())
    return new_spec(
        id=run_id,
        name=job.name,
        recipe=recipe.name if recipe else None,
        script=str(recipe.path) if recipe else None,
        origin=recipe.origin if recipe else "",
        framework=recipe.framework if recipe else "other",
        headline=recipe.headline if recipe else None,
        privacy=recipe.privacy if recipe else "none",
        dataset=recipe.dataset if recipe else "",
        ledger=job.ledger.name if job.ledger else None,
        params=dict(job.params),
        argv=job.argv,
        command=typed_command(
            request, {**job.params, RESUME: job.resumed} if job.resumed else job.params
        ),
        cwd=job.cwd,
        python=job.python,
        isolated=request.isolated,
        follow=is_followed(recipe),
        parse=list(request.parse),
        arguments=list(request.arguments),
        again_of=request.again_of,
        resumed=job.resumed,
        on=request.on,
        claim=job.claim.to_json(),
        grace=first_said(request.grace, recipe.grace if recipe else None, request.usual_grace),
        keep_checkpoints=(recipe and recipe.keep_checkpoints) or request.keep_checkpoints,
        launcher=me.to_json() if me else None,
        state="starting",
        reason="",
        sweep=dict(request.sweep) if request.sweep else None,
    )


def _reserve(folder: Path, job: _Job, request: LaunchRequest) -> None:
    """Reserve what the run may spend. Raises BudgetRefused when the budget is too small."""
    ledgers = folder.parent.parent / "ledger"
    if job.recipe and (job.plan or has_ledgers(ledgers)):
        from traindeck.core.privacy.gate import admit, check_paid, check_parts
        from traindeck.core.privacy.origin import inherited

        check_parts(ledgers, folder.name, job.recipe, request.accept_no_privacy)
        if job.ledger is None and job.plan:
            check_paid(ledgers, job.plan)
        admit(
            job.ledger,
            folder.name,
            job.recipe.name,
            job.plan,
            earlier=inherited(job.params, job.cwd, folder.parent.parent),
            accept_no_privacy=request.accept_no_privacy,
            instead=job.recipe.private_choices(),
            why=request.reason,
            place=str((request.sweep or {}).get("place", "")),
        )


def _undo(folder: Path, ledger: Ledger | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if ledger:
        with contextlib.suppress(OSError, TraindeckError):
            ledger.settle(folder.name, "failed", 0)


def resumed_run(home: Home, doc: RunDoc, given: Mapping[str, Value]) -> str:
    """The run whose checkpoint a launch takes up by the run's id or name; empty when none is."""
    folder = doc["params"].get(RESUME)
    if not isinstance(folder, str) or given.get(RESUME) in (None, folder):
        return ""
    return Path(folder).name if Path(folder).parent == home.runs.absolute() else ""


def _resumed(
    home: Home, request: LaunchRequest, cwd: str
) -> tuple[Mapping[str, Value], str | None]:
    """The parameters, a run that is named for a path replaced by its folder, and its id."""
    params, recipe = request.params, request.recipe
    ref, param = params.get(RESUME), recipe.params.get(RESUME) if recipe else None
    if param is None or param.type != "path" or not isinstance(ref, str) or not ref:
        return params, None
    from traindeck.core.catalogue.library import Library, RunNotFound

    try:
        if Path(cwd, ref).expanduser().exists() or Path(ref).expanduser().exists():
            return params, None
        run = Library(home).find(ref, metrics=False)
    except (RunNotFound, OSError, ValueError, RuntimeError):
        raise CheckpointMissing(
            f"resume: {ref} is no file, no folder and no run; `traindeck ls` lists the runs"
        ) from None
    return {**params, RESUME: str(home.runs.absolute() / run["id"])}, run["id"]


def typed_command(request: LaunchRequest, params: Mapping[str, Value]) -> list[str]:
    """The `traindeck run` command that does the same; defaults are left out."""
    command = ["traindeck", "run"]
    bare = request.recipe and request.arguments and not request.recipe.params
    if request.recipe and not bare:
        by_path = request.recipe.origin.endswith(".py")
        command.append(str(request.recipe.path) if by_path else request.recipe.name)
        defaults = request.recipe.chosen(params).defaults()
        for name, value in params.items():
            if name in defaults and value != defaults[name]:
                shown = str(value).lower() if isinstance(value, bool) else value
                command += ["-p", f"{name}={shown}"]
    if request.on != "cpu":
        command += ["--on", request.on]
    if request.python:
        command += ["--python", request.python]
    if request.isolated:
        command.append("--isolated")
    if request.grace is not None:
        command += ["--grace", f"{request.grace:g}"]
    if request.accept_no_privacy:
        command.append("--accept-no-privacy")
    for text in request.parse:
        command += ["--parse", text]
    if bare and request.recipe:  # its flags may be called as ours are
        return [*command, str(request.recipe.path), "--", *request.arguments]
    command += request.arguments
    return command if request.recipe else [*command, "--", *request.command]


def _here() -> str:
    """The working folder. Raises LaunchError when it was deleted."""
    try:
        return os.getcwd()
    except OSError as error:
        why = f"the folder that you are in cannot be used: {error.strerror}; cd to another"
        raise LaunchError(why) from None


def _interpreter(home: Home, request: LaunchRequest) -> str:
    """What runs it, as it can be started from anywhere: what `--python` names, or the header.

    Raises InterpreterMissing for the one, MissingError for the other, and for an environment of
    its own that cannot be made.
    """
    python = request.python
    if request.isolated and request.recipe:
        from traindeck.core.recipe import isolated

        return isolated.python(home, request.recipe, python)
    if python is None:
        return (request.recipe and environments.python(home, request.recipe)) or sys.executable
    if shutil.which(python) is None:
        raise InterpreterMissing(f"--python {python}: there is no such program")
    return os.path.abspath(python) if os.sep in python else python


def _cannot_write(home: Home, error: OSError) -> str:
    return f"a run cannot be recorded in {home.root}: {error.strerror or error}"
