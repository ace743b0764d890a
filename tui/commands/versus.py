"""`traindeck versus`: two frameworks, or two recipes, by what was measured on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traindeck.core.base.errors import FAILED, INTERRUPTED, BudgetRefused, UsageError
from traindeck.core.base.format import counted
from traindeck.tui.commands.output import AS_JSON, duration, print_json, print_table, say, tell

if TYPE_CHECKING:
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.versus.pairs import Suite
    from traindeck.core.versus.queue import Wanted
    from traindeck.core.versus.report import Report

RECIPES = typer.Argument(
    help="Two recipes, by name or path, or one of a pair; none: torch-digits and tf-digits.",
    metavar="[A B]",
)
Recipes = Annotated[list[str] | None, RECIPES]
PARAM = typer.Option("-p", "--param", metavar="KEY=VALUE", help="A parameter of both recipes.")
Param = Annotated[list[str] | None, PARAM]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Compare two frameworks, or two recipes, by what was measured here.",
        no_args_is_help=True,
    )
    for command in (run, show, report):
        group.command(command.__name__)(command)
    app.add_typer(group, name="versus")


def run(
    recipes: Recipes = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The default: what takes minutes.")
    ] = False,
    full: Annotated[
        bool,
        typer.Option("--full", help="Five repeats; private twins, federations, servers, workers."),
    ] = False,
    param: Param = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="twin, steps, mistakes, bundle, serve, dp, plain, federated, scaling."),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only list what is missing.")] = False,
) -> None:
    """Make the runs that are missing, by turns, one at a time; then show the comparison.

    Interrupted anywhere, it goes on there when typed again.
    """
    if quick and full:
        raise UsageError("--quick and --full: say one of them")
    from traindeck.core.base.home import Home
    from traindeck.core.versus import queue
    from traindeck.core.versus.evidence import gather, still_going

    home = Home.default()
    wanted_suite = replace(_suite(home, recipes, param, full), only=_roles(only))
    wanted = queue.missing(gather(home, wanted_suite), wanted_suite)
    if dry:
        for one in wanted:
            tell(one.words)
        say(f"{counted(len(wanted), 'run')} {'is' if len(wanted) == 1 else 'are'} missing")
        return
    queue.check_installed(home, wanted)
    home.make()

    def said(place: int, count: int, one: Wanted, doc: RunDoc | None) -> None:
        if doc is None:
            say(f"{place}/{count} {one.words} ...")
        elif one.is_made(doc):
            say(f"  run {doc['id']} {doc['state']} after {duration(doc['seconds'])}")
        else:
            why = f": {doc['reason']}" if doc["reason"] else ""
            say(f"  run {doc['id']} {doc['state']}{why}; `traindeck logs {doc['id']}` tells more")

    try:
        failed = queue.run_missing(home, wanted_suite, said)
    except KeyboardInterrupt:
        for going in still_going(home):
            say(f"\nrun {going} goes on; `traindeck stop {going}` ends it")
        say("what is still missing is made when this is typed again")
        raise typer.Exit(INTERRUPTED) from None
    except BudgetRefused as error:
        _print(_made(home, wanted_suite))
        elsewhere = "a comparison accepts nothing; make it in a home without the budget"
        raise BudgetRefused(
            f"{error}; {elsewhere}: TRAINDECK_HOME=DIR traindeck versus run"
        ) from None
    _print(_made(home, wanted_suite))
    if failed:
        raise typer.Exit(FAILED)


def _roles(only: list[str] | None) -> tuple[str, ...]:
    from traindeck.core.versus.pairs import ROLES

    for word in only or ():
        if word not in ROLES:
            raise UsageError(f"--only {word}: there are {', '.join(ROLES)}")
    return tuple(only or ())


def show(
    recipes: Recipes = None,
    param: Param = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Show the six axes by what there is; what is missing is said with what makes it."""
    from traindeck.core.base.home import Home

    home = Home.default()
    found = _made(home, _suite(home, recipes, param, False))
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)


def report(
    recipes: Recipes = None,
    param: Param = None,
    html: Annotated[Path | None, typer.Option(help="Write one page that a browser opens.")] = None,
    md: Annotated[Path | None, typer.Option(help="Write Markdown.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write JSON.")] = None,
) -> None:
    """Write the comparison into files; `-` is standard output."""
    if html is None and md is None and json is None:
        raise UsageError("say what is to be written: --html FILE, --md FILE or --json FILE")
    from traindeck.core.base.home import Home
    from traindeck.core.versus import page, text

    home = Home.default()
    found = _made(home, _suite(home, recipes, param, False))
    if html is not None:
        _write(html, page.html(found))
    if md is not None:
        _write(md, text.markdown(found))
    if json is not None:
        import json as encoder

        _write(json, encoder.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    say(f"{found.count - found.missing} of {found.count} indicators are measured on both sides")
    if found.command:
        more = "" if "--full" in found.command else "; --full what takes long"
        say(f"`{found.command}` makes more of them{more}")


def _write(path: Path, content: str) -> None:
    if str(path) == "-":
        typer.echo(content, nl=False)
        return
    path.expanduser().write_text(content, "utf-8")
    say(f"written: {path}")


def _suite(home: Home, recipes: list[str] | None, param: list[str] | None, full: bool) -> Suite:
    from traindeck.core.recipe.find import find_recipe
    from traindeck.core.versus.pairs import suite, twin
    from traindeck.tui.commands.run import params

    names = recipes or []
    if len(names) == 1:
        names = [names[0], twin(home, find_recipe(home, names[0])).name]
    if len(names) > 2:
        raise UsageError(f"two recipes are compared, not {len(names)}")
    return suite(home, (names[0], names[1]) if names else None, params(param or []), full)


def _made(home: Home, wanted: Suite) -> Report:
    from traindeck.core.versus.report import make

    return make(home, wanted)


def _print(found: Report) -> None:
    from traindeck.core.versus.text import PREFACE

    tell(f"{found.title}\n{PREFACE}")
    for axis in found.axes:
        tell(f"\n{axis.title.upper()}: {axis.verdict(found.labels)}")
        rows = []
        for one in axis.indicators:
            cells = [
                "–" if side is None else side.shown() + (" *" if one.winner == at else "")
                for at, side in enumerate(one.sides)
            ]
            unit = f" [{one.unit}]" if one.unit else ""
            if None not in one.sides or one.measured:
                rows.append((f"{one.name}{unit}", *cells))
        if rows:
            print_table(("INDICATOR", *found.labels), rows)
        for why in dict.fromkeys(
            one.missing(found.labels) for one in axis.indicators if None in one.sides
        ):
            names = [
                o.name
                for o in axis.indicators
                if None in o.sides and o.missing(found.labels) == why
            ]
            tell(f"{', '.join(names)}: {why}")
        for held in dict.fromkeys(one.held for one in axis.indicators if one.held):
            tell(f"not compared: {held}")
    tell("\n* ahead beyond the spread")
    for name, value in found.machine.items():
        tell(f"{name}: {value}")
    tell(", ".join(f"{name} {version}" for name, version in found.versions.items()))
    say(f"{found.count - found.missing} of {found.count} indicators are measured on both sides")
