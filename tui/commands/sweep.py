"""`traindeck sweep`: search the parameters of a recipe or a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from traindeck.core.base.errors import OVER_BUDGET, UsageError
from traindeck.tui.commands.output import (
    ACCEPT_NO_PRIVACY,
    AS_JSON,
    INTERPRETER,
    REASON,
    patience,
    print_json,
    say,
)
from traindeck.tui.commands.sweep_words import follow, told

if TYPE_CHECKING:
    from traindeck.core.base.home import Home
    from traindeck.core.sweeps.study import SweepRequest


def register(app: typer.Typer) -> None:
    app.command("sweep")(sweep)


def sweep(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's name, or the path of a script.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--param",
            metavar="KEY=VALUES",
            help="log:1e-4..1e-1, 1..8, 0..1/0.25, 64,128 or one value; may be repeated.",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="How many trials; by default 20, or all if there are fewer.")
    ] = None,
    maximize: Annotated[
        str | None, typer.Option(metavar="SERIES", help="The metric sought the most of.")
    ] = None,
    minimize: Annotated[
        str | None, typer.Option(metavar="SERIES", help="The metric sought the least of.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="tpe, random, grid or cmaes; by default tpe, or grid.")
    ] = None,
    pruner: Annotated[str, typer.Option(help="none, median or hyperband.")] = "none",
    on: Annotated[str, typer.Option(help="Where each trial runs, as of `run`.")] = "cpu",
    at_once: Annotated[int, typer.Option(help="How many trials go on at once.")] = 1,
    seeds: Annotated[int, typer.Option(help="Repeats of each trial, by its seed.")] = 1,
    name: Annotated[str | None, typer.Option(help="What to call the sweep.")] = None,
    python: Annotated[str | None, INTERPRETER] = None,
    seed: Annotated[int | None, typer.Option(help="What the sampler's draws follow from.")] = None,
    private_select: Annotated[
        bool,
        typer.Option(
            "--private-select",
            help="Show only the best, of a secret random number of trials: costs far less.",
        ),
    ] = False,
    price: Annotated[
        bool, typer.Option("--price", help="Only say what it would cost in privacy.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Print each trial until it ends.")] = False,
    accept_no_privacy: Annotated[bool, ACCEPT_NO_PRIVACY] = False,
    reason: Annotated[str, REASON] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Search parameters: many runs, each chosen by what came of those before.

    traindeck sweep RECIPE -p lr=log:1e-4..1e-1 --maximize test/accuracy, or a command with {lr}
    where the value goes: traindeck sweep -p lr=0.1,0.2 --minimize loss -- python train.py {lr}.
    """
    from traindeck.core.base.home import Home
    from traindeck.core.sweeps import study
    from traindeck.core.sweeps.begin import begin, check_installed, priced
    from traindeck.tui.settings import read_settings

    check_installed()
    home = Home.default()
    if maximize is not None and minimize is not None:
        raise UsageError("say one of --maximize and --minimize")
    request = _request(
        home,
        recipe,
        context.obj,
        study.SweepRequest(
            typed=_typed(param or []),
            trials=study.USUAL_TRIALS if trials is None else trials,
            series=maximize or minimize or "",
            direction="minimize" if minimize is not None else "maximize",
            sampler=sampler or "tpe",
            pruner=pruner,
            seeds=seeds,
            at_once=at_once,
            on=on,
            name=name,
            python=python,
            seed=seed,
            accept_no_privacy=accept_no_privacy,
            reason=reason,
            select=private_select,
            grace=read_settings(home.settings).grace,
        ),
    )
    if trials is None and sampler is None and not private_select:
        request = study.all_of_few(request)
    with patience("working out what the sweep would spend …"):
        costs = priced(home, request)
        if costs is not None:
            for line in costs.lines():
                say(line)
        if price:
            if costs is None:
                say("not private: no budget is charged")
            elif as_json:
                print_json(costs.to_json())
            if costs is not None and not costs.admitted:
                raise typer.Exit(OVER_BUDGET)
            return
        folder = begin(home, request)
    if wait:
        follow(folder)
    if as_json:
        print_json(told(folder))
    elif not wait:
        print(folder.id)
        say(f"started; `traindeck sweeps show {folder.id}` tells what came of it so far")


def _typed(pairs: list[str]) -> dict[str, str]:
    typed: dict[str, str] = {}
    for pair in pairs:
        name, equals, values = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-p {pair!r} is not KEY=VALUES")
        if name.replace("-", "_") in typed:
            raise UsageError(f"-p {name} is given twice: separate its values by commas")
        typed[name.replace("-", "_")] = values
    return typed


def _request(
    home: Home, name: str | None, command: list[str] | None, asked: SweepRequest
) -> SweepRequest:
    """The request with its recipe or command in it. Raises TraindeckError."""
    import shutil
    from dataclasses import replace

    from traindeck.core.base.errors import NotFoundError
    from traindeck.core.launch import LaunchRequest
    from traindeck.core.recipe.find import find_recipe
    from traindeck.core.sweeps.study import usual_aim
    from traindeck.tui.commands.run import check_needs

    if (name is None) == (command is None):
        raise UsageError("say one of: a recipe, or `-- COMMAND …` with {name} where a value goes")
    if command is not None:
        if asked.python:
            raise UsageError("a command has its own interpreter: leave --python out")
        if not command:
            raise UsageError("after -- comes the command to run")
        if command[0] and "{" not in command[0] and shutil.which(command[0]) is None:
            raise NotFoundError(f"there is no command {command[0]!r} that could be run")
        return replace(asked, command=command)
    assert name is not None
    recipe = find_recipe(home, name)
    check_needs(home, LaunchRequest(recipe=recipe, python=asked.python))
    if not asked.series:
        series, direction = usual_aim(recipe)
        asked = replace(asked, series=series, direction=direction)
    return replace(asked, recipe=recipe)
