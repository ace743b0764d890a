"""`traindeck run`: start a recipe, a command, or what ran before."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from traindeck.core.base.errors import (
    TERMINATED,
    NotFoundError,
    TraindeckError,
    UsageError,
)
from traindeck.tui.commands.output import (
    ACCEPT_NO_PRIVACY,
    AS_JSON,
    INTERPRETER,
    REASON,
    patience,
    print_json,
    say,
    say_error,
)
from traindeck.tui.commands.script_words import HANDED, RunCommand

SETTLE_SECONDS = 10.0

if TYPE_CHECKING:
    from pathlib import Path

    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.launch import LaunchRequest
    from traindeck.core.recipe.params import Value


def register(app: typer.Typer) -> None:
    passing_on = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("run", cls=RunCommand, context_settings=passing_on)(run)


def run(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's name, or the path of a script.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="A parameter; may be repeated."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(help="cpu, cpu:0-1, cpu*2, gpu, gpu:0 … (default: cpu, all cores, shared)."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Print live lines until it ends.")] = False,
    name: Annotated[str | None, typer.Option(help="What to call the run.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    again: Annotated[str | None, typer.Option(metavar="ID", help="Repeat this run.")] = None,
    python: Annotated[str | None, INTERPRETER] = None,
    isolated: Annotated[
        bool,
        typer.Option("--isolated", help="In an environment made of what its header asks for."),
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="From a stop, SIGTERM, to SIGKILL (default: 30)."),
    ] = None,
    parse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGEX", help="Read what it prints by named groups: 'L=(?P<loss>\\S+)'."
        ),
    ] = None,
    accept_no_privacy: Annotated[bool, ACCEPT_NO_PRIVACY] = False,
    reason: Annotated[str, REASON] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Start a run and come back at once; it goes on when the terminal is closed.

    traindeck run RECIPE -p lr=0.1, traindeck run SCRIPT --its-own-flags,
    traindeck run -- COMMAND …, or traindeck run --again ID.

    What stands behind a SCRIPT is the script's. An option of the list below goes to it too where
    its source has it in quotes; what comes behind `SCRIPT --` is the script's in any case.
    """
    from traindeck.core.engines.choose import engine

    engine(on or "cpu").prepare()  # while we find out what to run
    from traindeck.core.base.home import Home
    from traindeck.core.launch import launch, resumed_run
    from traindeck.tui.settings import read_settings

    home = Home.default()
    given = params(param or [])
    command: list[str] | None = context.obj
    arguments = list(context.args)
    if parted := context.meta.get(HANDED):
        arguments += parted.theirs
        for note in parted.notes:
            say(note)
    if command is not None and recipe is not None and recipe.endswith(".py"):
        arguments, command = [*arguments, *command], None
    if recipe is not None and recipe.startswith("-"):
        if again is not None:
            _say_by_param([recipe, *arguments])
        why = f"{recipe} is no option of `traindeck run`; what is a script's comes behind it"
        raise UsageError(f"{why}: traindeck run SCRIPT {shlex.quote(recipe)} …")
    if sum(x is not None for x in (recipe, command, again)) != 1:
        raise UsageError("say one of: a recipe, `-- COMMAND …` or `--again ID`")
    arguments = _passed_on(arguments, recipe)
    if again is not None:
        request = _again(home, again, given, on=on, name=name, tags=tag, python=python)
    elif command is not None:
        if given or python:
            raise UsageError("a command takes its own parameters: write them behind it")
        request = _command(command, on, name, tag)
    else:
        assert recipe is not None
        request = _recipe(home, recipe, given, on, name, tag, python)
        request = _with_arguments(request, arguments)
    usual = read_settings(home.settings)
    request = replace(
        request,
        grace=request.grace if grace is None else grace,
        usual_grace=usual.grace,
        keep_checkpoints=usual.keep_checkpoints,
    )
    request = replace(request, parse=_patterns(home, request, parse))
    if isolated:
        request = replace(request, isolated=True)
    if accept_no_privacy:
        request = replace(request, accept_no_privacy=True, reason=reason)
    elif reason:
        raise UsageError("--reason belongs to --accept-no-privacy")
    check_needs(home, request)
    with patience("working out what the run would spend, or waiting for the disk …"):
        doc = launch(home, request)
    if resumed := resumed_run(home, doc, given):
        say(f"resume: the newest checkpoint of run {resumed}")
    _say_exposed(home, doc)
    if not wait:
        if as_json:
            print_json({"id": doc["id"], "state": doc["state"], "path": doc["path"]})
        else:
            from traindeck.core.base.sanitize import plain

            print(doc["id"])
            say(f"launched {plain(doc['name'])}; `traindeck watch {doc['id']}` follows it")
        return
    _wait(home, doc["id"], as_json)


def _say_by_param(words: list[str]) -> NoReturn:
    """Raises UsageError: flags are no way to change a run that is repeated."""
    from traindeck.core.recipe.typed import parameters

    typed = parameters(["", *words], ".").items()
    instead = " ".join(f"-p {shlex.quote(f'{name}={value}')}" for name, value in typed)
    why = f"{words[0]} is no option of `traindeck run`; --again changes parameters by"
    raise UsageError(f"{why} {instead or '-p KEY=VALUE'}")


def _passed_on(words: list[str], recipe: str | None) -> list[str]:
    """What was typed for the script. Raises UsageError where there is none."""
    if words and recipe is None:
        raise UsageError(f"{words[0]} is no option of `traindeck run`; a command comes behind --")
    return words


def _with_arguments(request: LaunchRequest, words: list[str]) -> LaunchRequest:
    """The request with a script's own flags: parameters of a recipe that declares them."""
    from traindeck.core.recipe.typed import parameters

    if not words or request.recipe is None:
        return request
    if not request.recipe.params:
        return replace(request, arguments=words)
    typed = {name: str(value) for name, value in parameters(["", *words], ".").items()}
    stray = [word for word in words if word.startswith("-")]
    if not typed:
        raise UsageError(f"{(stray or words)[0]} is no option of `traindeck run`")
    return replace(request, params={**typed, **request.params})


def _patterns(home: Home, request: LaunchRequest, typed: list[str] | None) -> list[str]:
    """The expressions that read what is printed: those typed, else the script's in the settings.

    Raises UsageError for one that cannot be used.
    """
    from traindeck.core.exchange.printed.patterns import Pattern

    texts = list(typed or request.parse)
    if not texts and home.settings.exists():
        from traindeck.tui.settings import read_settings

        words = [str(request.recipe.path)] if request.recipe else request.command
        parse = read_settings(home.settings).parse
        texts = [text for word in words for text in parse.get(os.path.basename(word), ())]
    for text in texts:
        Pattern(text)
    return texts


def _say_exposed(home: Home, doc: RunDoc) -> None:
    """A run on an exposed budget is told so: what it spends protects nobody any more."""
    from traindeck.core.run.folder import RunFolder

    name = RunFolder(home.runs / doc["id"]).ledger()
    if name:
        from traindeck.core.privacy.ledger.ledger import Ledger

        with contextlib.suppress(OSError, TraindeckError):  # the run goes on by now
            if exposed_by := Ledger(home.ledger, name).account().exposed_by:
                say(exposed_by)


def params(pairs: list[str]) -> dict[str, Value]:
    """What -p says. Raises UsageError for what is not KEY=VALUE."""
    given: dict[str, Value] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-p {pair!r} is not KEY=VALUE")
        given[name.replace("-", "_")] = value
    return given


def _recipe(
    home: Home,
    name: str,
    given: dict[str, Value],
    on: str | None,
    run_name: str | None,
    tags: list[str] | None,
    python: str | None,
) -> LaunchRequest:
    from traindeck.core.launch import LaunchRequest
    from traindeck.core.recipe.find import find_recipe

    recipe = find_recipe(home, name)
    return LaunchRequest(
        recipe=recipe, params=given, on=on or "cpu", name=run_name, tags=tags or (), python=python
    )


def check_needs(home: Home, request: LaunchRequest) -> None:
    """Raises MissingError for what the interpreter lacks that its recipe will run on.

    Where that is one of its own, it is made. Raises NotFoundError where `--python` names none.
    """
    if request.python and shutil.which(request.python) is None:
        raise NotFoundError(f"--python {request.python}: there is no such program")
    if request.recipe is None:
        if request.isolated:
            raise UsageError("--isolated is for a script: a command has no header")
        return
    if request.isolated:
        from traindeck.core.recipe.isolated import python as made

        made(home, request.recipe, request.python, say)
        return
    from traindeck.core.recipe.environments import python
    from traindeck.core.recipe.requirements import lacks

    if lack := lacks(request.recipe, request.python or python(home, request.recipe)):
        raise lack.error()


def _command(
    command: list[str], on: str | None, name: str | None, tags: list[str] | None
) -> LaunchRequest:
    from traindeck.core.launch import LaunchRequest

    if not command:
        raise UsageError("after -- comes the command to run")
    if command[0] and shutil.which(command[0]) is None:
        raise NotFoundError(f"there is no command {command[0]!r} that could be run")
    return LaunchRequest(command=command, on=on or "cpu", name=name, tags=tags or ())


def _again(home: Home, ref: str, given: dict[str, Value], **changes: object) -> LaunchRequest:
    from traindeck.core.again import again
    from traindeck.core.catalogue.library import Library

    return again(home, Library(home).find(ref, metrics=False)["id"], given, **changes)


def _wait(home: Home, run_id: str, as_json: bool) -> None:
    from traindeck.core.catalogue.library import Library
    from traindeck.core.launch import going_on
    from traindeck.tui.commands.live import follow

    folder = home.runs / run_id
    asked = _stop_when_terminated(folder)
    with going_on(run_id):
        code = follow(folder, to_stderr=as_json)
        _let_settle(folder)
    if code and asked.is_set():
        code = TERMINATED
    if as_json:
        from traindeck.tui.commands.runs import shown

        print_json(shown(Library(home).find(run_id), private=False))
    if code:
        raise typer.Exit(code)


def _stop_when_terminated(folder: Path) -> threading.Event:
    """Pass SIGTERM on to the run, as service managers expect; set once that was heard."""
    from traindeck.core import control

    asked = threading.Event()

    def stop() -> None:
        try:
            control.stop(folder)
        except (TraindeckError, OSError) as error:
            say_error(error)

    def hear(*_: object) -> None:
        if not asked.is_set():
            asked.set()
            threading.Thread(target=stop, name="traindeck-stop").start()

    signal.signal(signal.SIGTERM, hear)
    return asked


def _let_settle(folder: Path) -> None:
    """Wait for the supervisor to end: nothing of it may be left once a service's command ends."""
    from traindeck.core.run.folder import RunFolder
    from traindeck.core.run.spec import identity

    spec = RunFolder(folder).spec()
    supervisor = identity(spec, "supervisor") if spec else None
    deadline = time.monotonic() + SETTLE_SECONDS
    while supervisor and supervisor.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
