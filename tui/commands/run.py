"""`traindeck run`: start a recipe, a command, or what ran before."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from traindeck.core.base.errors import (
    INTERRUPTED,
    MissingError,
    NotFoundError,
    TraindeckError,
    UsageError,
)
from traindeck.tui.commands.output import AS_JSON, patience, print_json, say

if TYPE_CHECKING:
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.launch import LaunchRequest
    from traindeck.core.recipe.params import Value


def register(app: typer.Typer) -> None:
    app.command("run")(run)


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
    python: Annotated[
        str | None, typer.Option(help="Run the recipe with another interpreter.")
    ] = None,
    accept_no_privacy: Annotated[
        bool,
        typer.Option(
            "--accept-no-privacy",
            help="Train without privacy even on a data set that has a privacy budget.",
        ),
    ] = False,
    reason: Annotated[
        str, typer.Option(help="Why no privacy is accepted, for the budget's ledger.")
    ] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Start a run and come back at once; it goes on when the terminal is closed.

    traindeck run RECIPE -p lr=0.1, or traindeck run -- COMMAND …, or traindeck run --again ID.
    """
    from traindeck.core.engines.choose import engine

    engine(on or "cpu").prepare()  # while we find out what to run
    from traindeck.core.base.home import Home
    from traindeck.core.launch import launch, resumed_run

    home = Home.default()
    given = params(param or [])
    command: list[str] | None = context.obj
    if sum(x is not None for x in (recipe, command, again)) != 1:
        raise UsageError("say one of: a recipe, `-- COMMAND …` or `--again ID`")
    if again is not None:
        request = _again(home, again, given, on=on, name=name, tags=tag, python=python)
    elif command is not None:
        if given or python:
            raise UsageError("a command takes its own parameters: write them behind it")
        request = _command(command, on, name, tag)
    else:
        assert recipe is not None
        request = _recipe(home, recipe, given, on, name, tag, python)
    if accept_no_privacy:
        request = replace(request, accept_no_privacy=True, reason=reason)
    elif reason:
        raise UsageError("--reason belongs to --accept-no-privacy")
    _check_dependencies(request)
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
            say(f"started {plain(doc['name'])}; `traindeck watch {doc['id']}` follows it")
        return
    _wait(home, doc["id"], as_json)


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


def _check_dependencies(request: LaunchRequest) -> None:
    from traindeck.core.recipe.find import missing_dependencies

    if request.recipe is None or request.python:
        return
    missing = missing_dependencies(request.recipe)
    if missing:
        wanted = " ".join(f"'{requirement}'" for requirement in missing)
        needs = f"{request.recipe.name} needs {', '.join(missing)}"
        raise MissingError(f"{needs}: pip install {wanted}")


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
    from traindeck.core.catalogue.library import Library
    from traindeck.core.launch import again

    return again(home, Library(home).find(ref, metrics=False)["id"], given, **changes)


def _wait(home: Home, run_id: str, as_json: bool) -> None:
    from traindeck.core.catalogue.library import Library
    from traindeck.tui.commands.live import follow

    try:
        code = follow(home.runs / run_id, to_stderr=as_json)
    except KeyboardInterrupt:
        say(f"\nrun {run_id} goes on; `traindeck stop {run_id}` ends it")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        from traindeck.tui.commands.runs import shown

        print_json(shown(Library(home).find(run_id), private=False))
    if code:
        raise typer.Exit(code)
