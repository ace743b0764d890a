"""Starting a run: its folder is made, then a supervisor takes it over."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.core.base.errors import NOT_FOUND, USAGE, TraindeckError
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.base.ids import new_folder
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.document import RunDoc, document
from traindeck.core.engines.choose import engine
from traindeck.core.privacy import PLAN_FILE
from traindeck.core.privacy.gate import admit, check_parts, ledger_for
from traindeck.core.privacy.origin import inherited
from traindeck.core.privacy.plan import make as make_plan
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run.folder import DAMAGED, RunFolder, clean_tags
from traindeck.core.run.spec import Spec, new_spec

if TYPE_CHECKING:
    from traindeck.core.engines.base import Engine
    from traindeck.core.privacy.ledger.ledger import Ledger
    from traindeck.core.privacy.plan import Plan
    from traindeck.core.queue.slots import Claim

GRACE_SECONDS = 10.0
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
    """What to run and where: a recipe with its parameters, or any command."""

    recipe: Recipe | None = None
    command: Sequence[str] = ()
    params: Mapping[str, Value] = field(default_factory=dict)
    on: str = "cpu"
    name: str | None = None
    tags: Sequence[str] = ()
    python: str | None = None
    cwd: str | None = None
    again_of: str | None = None
    accept_no_privacy: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Job:
    """What a request comes to: all that can be wrong with it has been looked for."""

    recipe: Recipe | None
    params: Mapping[str, Value]
    plan: Plan | None
    ledger: Ledger | None
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
        runner.start(folder, "start")
    except BaseException as error:
        if isinstance(error, OSError) or not handed_over:
            _undo(folder, job.ledger)
        if isinstance(error, OSError):
            raise LaunchError(_cannot_write(home, error)) from None
        raise
    doc = document(RunFolder(folder))
    if doc is None:
        raise LaunchError(f"the folder of the run has gone: {folder}")
    return doc


def _job(home: Home, request: LaunchRequest, runner: Engine) -> _Job:
    """Make of a request what is launched. Raises what `launch` does, and leaves nothing behind."""
    recipe = request.recipe
    cwd = request.cwd or _here()
    params = recipe.validate(_resumed(home, request, cwd)) if recipe else {}
    recipe = recipe.chosen(params) if recipe else None
    plan = make_plan(recipe, params) if recipe else None
    ledger = ledger_for(home.ledger, recipe) if recipe else None
    claim = runner.claim(request.on, recipe.devices if recipe else ())
    python = _interpreter(request.python) if request.python else sys.executable
    if recipe:
        argv = [python, str(recipe.path), *recipe.argv(params)]
        name = request.name or recipe.name
    else:
        argv = list(request.command)
        if not argv or not argv[0]:
            raise CommandError("there is no command to run")
        name = request.name or _command_name(argv)
    return _Job(recipe, params, plan, ledger, claim, python, argv, name, cwd)


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
        command=typed_command(request, job.params),
        cwd=job.cwd,
        python=job.python,
        follow=recipe is None or not recipe.params,
        again_of=request.again_of,
        on=request.on,
        claim=job.claim.to_json(),
        grace=GRACE_SECONDS,
        launcher=me.to_json() if me else None,
        state="starting",
        reason="",
    )


def _reserve(folder: Path, job: _Job, request: LaunchRequest) -> None:
    """Reserve what the run may spend. Raises BudgetRefused when the budget is too small."""
    if job.recipe:
        ledgers = folder.parent.parent / "ledger"
        check_parts(ledgers, folder.name, job.recipe, request.accept_no_privacy)
        admit(
            job.ledger,
            folder.name,
            job.recipe.name,
            job.plan,
            earlier=inherited(job.params, job.cwd, folder.parent.parent),
            accept_no_privacy=request.accept_no_privacy,
            instead=job.recipe.private_choices(),
            why=request.reason,
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


def _resumed(home: Home, request: LaunchRequest, cwd: str) -> Mapping[str, Value]:
    """The parameters, a run that is named for a checkpoint's path replaced by its folder."""
    from traindeck.core.catalogue.library import Library, RunNotFound

    params, recipe = request.params, request.recipe
    ref, param = params.get(RESUME), recipe.params.get(RESUME) if recipe else None
    if param is None or param.type != "path" or not isinstance(ref, str) or not ref:
        return params
    try:
        if Path(cwd, ref).expanduser().exists() or Path(ref).expanduser().exists():
            return params
        run = Library(home).find(ref, metrics=False)
    except (RunNotFound, OSError, ValueError, RuntimeError):
        raise CheckpointMissing(
            f"resume: {ref} is no file, no folder and no run; `traindeck ls` lists the runs"
        ) from None
    return {**params, RESUME: str(home.runs.absolute() / run["id"])}


def again(home: Home, run_id: str, params: Mapping[str, Value], **changes: Any) -> LaunchRequest:
    """The request that repeats a run, with other values for some of its parameters.

    Its tags are kept; its name is the one that it was launched with. The recipe is read anew from
    where it was. Raises LaunchError when it has gone.
    """
    folder = RunFolder(home.runs / run_id)
    spec = folder.spec()
    if spec is None or "python" not in spec:
        raise LaunchError(f"run {run_id} cannot be repeated: {DAMAGED}")
    recipe = None
    if script := spec.get("script"):
        path = Path(script)
        recipe = read_recipe(path, spec.get("origin", ""), bare=True) if path.exists() else None
        if recipe is None:
            kept = home.runs / run_id / "source" / path.name
            raise LaunchError(f"{path} has gone; as it was launched it is kept in {kept}")
    elif params:
        raise LaunchError(f"run {run_id} is a command without parameters; type it anew")
    own = {key: value for key, value in spec["params"].items() if value is not None}
    typed = {key: _absolute(recipe, key, value) for key, value in params.items()}
    if recipe and recipe.chosen(own).params != recipe.chosen({**own, **typed}).params:
        was = recipe.chosen(own).defaults()  # nobody typed these, and others hold now
        own = {key: value for key, value in own.items() if value != was.get(key)}
    fields: dict[str, Any] = {
        "recipe": recipe,
        "command": () if recipe else spec["argv"],
        "params": {**own, **typed},
        "on": spec["on"],
        "name": spec["name"],
        "tags": folder.tags(),
        "python": spec["python"] if _is_other(spec["python"]) else None,
        "cwd": spec["cwd"],
        "again_of": run_id,
    }
    fields.update({key: value for key, value in changes.items() if value is not None})
    return LaunchRequest(**fields)


def typed_command(request: LaunchRequest, params: Mapping[str, Value]) -> list[str]:
    """The `traindeck run` command that does the same; defaults are left out."""
    command = ["traindeck", "run"]
    if request.recipe:
        by_path = request.recipe.origin.endswith(".py")
        command.append(str(request.recipe.path) if by_path else request.recipe.name)
        defaults = request.recipe.chosen(params).defaults()
        for name, value in params.items():
            if value != defaults[name]:
                shown = str(value).lower() if isinstance(value, bool) else value
                command += ["-p", f"{name}={shown}"]
    if request.on != "cpu":
        command += ["--on", request.on]
    if request.python:
        command += ["--python", request.python]
    if request.accept_no_privacy:
        command.append("--accept-no-privacy")
    return command if request.recipe else [*command, "--", *request.command]


def _here() -> str:
    """The working folder. Raises LaunchError when it was deleted."""
    try:
        return os.getcwd()
    except OSError as error:
        why = f"the folder that you are in cannot be used: {error.strerror}; cd to another"
        raise LaunchError(why) from None


def _interpreter(python: str) -> str:
    """What `--python` names, as it can be started from anywhere. Raises InterpreterMissing."""
    if shutil.which(python) is None:
        raise InterpreterMissing(f"--python {python}: there is no such program")
    return os.path.abspath(python) if os.sep in python else python


def _absolute(recipe: Recipe | None, name: str, value: Value) -> Value:
    """A path that was typed here means the same where the run was launched."""
    param = recipe.params.get(name) if recipe else None
    if param and param.type == "path" and isinstance(value, str) and value:
        if name == RESUME and not os.path.lexists(value):  # it may be a run's id
            return value
        return str(Path(value).absolute())
    return value


def _is_other(python: str) -> bool:
    """Whether this is another environment's interpreter, not ours by another name."""
    return Path(python).parent != Path(sys.executable).parent


def _command_name(argv: Sequence[str]) -> str:
    words = [Path(word).name for word in argv if not word.startswith("-")]
    scripts = [word for word in words if word.endswith((".py", ".sh"))]
    return (scripts or words or list(argv))[0][:60]


def _cannot_write(home: Home, error: OSError) -> str:
    return f"a run cannot be recorded in {home.root}: {error.strerror or error}"


def shown(command: Sequence[str]) -> str:
    """A command as it is typed in a shell."""
    return shlex.join(command)
