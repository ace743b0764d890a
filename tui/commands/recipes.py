"""`traindeck recipes`: what can be run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.tui.commands.output import (
    AS_JSON,
    GAP,
    cell_width,
    print_json,
    print_table,
    say,
    terminal_width,
)

if TYPE_CHECKING:
    from traindeck.core.recipe.params import Param
    from traindeck.core.recipe.recipe import Recipe


def register(app: typer.Typer) -> None:
    group = typer.Typer(invoke_without_command=True, help="List the recipes.")
    group.callback()(list_recipes)
    group.command("show")(show)
    app.add_typer(group, name="recipes")


def list_recipes(context: typer.Context, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """List the recipes: built in, in ./recipes and in $TRAINDECK_HOME/recipes."""
    if context.invoked_subcommand:
        return
    from traindeck.core.base.home import Home
    from traindeck.core.base.sanitize import plain
    from traindeck.core.recipe.find import shelf

    recipes, broken = shelf(Home.default())
    if as_json:
        wrong = [{"path": str(b.path), "line": b.line, "reason": b.reason} for b in broken]
        print_json({"recipes": [describe(recipe) for recipe in recipes], "broken": wrong})
        return
    print_table(
        ("NAME", "FRAMEWORK", "PRIVACY", "DEVICES", "TITLE", "FROM"),
        ((r.name, r.framework, r.privacy, ",".join(r.devices), r.title, r.origin) for r in recipes),
    )
    for b in broken:
        say(plain(f"broken: {b.path}:{b.line}: {b.reason}", 1000))


def show(name: str, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Show one recipe: what it trains, its parameters and what it needs."""
    from traindeck.core.base.errors import MissingError
    from traindeck.core.base.home import Home
    from traindeck.core.base.sanitize import plain
    from traindeck.core.recipe.environments import python
    from traindeck.core.recipe.find import find_recipe
    from traindeck.core.recipe.requirements import lacks

    home = Home.default()
    recipe = find_recipe(home, name)
    if as_json:
        print_json(describe(recipe))
        return
    try:
        lack = lacks(recipe, python(home, recipe)).words.removeprefix("needs ")
    except MissingError as error:
        lack = str(error)
    print(plain(f"{recipe.name}: {recipe.title}"))
    if recipe.description:
        print(plain(recipe.description, 2000))
    facts = {
        "framework": recipe.framework,
        "task": recipe.task,
        "data set": recipe.dataset,
        "privacy": recipe.privacy,
        "devices": ", ".join(recipe.devices),
        "tags": ", ".join(recipe.tags),
        "needs": ", ".join(recipe.dependencies),
        "missing": lack,
        "script": str(recipe.path),
    }
    for key, value in facts.items():
        if value:
            print(f"  {key:<10} {plain(value, 1000)}")
    if recipe.params:
        print()
        _print_params(recipe)


def _print_params(recipe: Recipe) -> None:
    """A table, or where that is wider than the terminal each parameter with its help below it."""
    head = ("PARAMETER", "TYPE", "DEFAULT", "ALLOWED", "WHAT IT IS")
    rows = [(p.name, p.type, _default(recipe, p), p.limits, p.help) for p in recipe.params.values()]
    most = terminal_width()
    widths = [max(map(cell_width, column)) for column in zip(head, *rows, strict=True)]
    if most is None or sum(widths) + GAP * (len(widths) - 1) <= most:
        print_table(head, rows)
        return
    import textwrap

    from traindeck.core.base.sanitize import plain

    for name, kind, default, limits, text in rows:
        facts = (kind, f"default {default}", limits)
        for words, indent in ((f"{name}: {', '.join(filter(None, facts))}", 2), (text, 6)):
            if words:
                left = " " * indent
                print(
                    textwrap.fill(
                        plain(words, 2000), most, initial_indent=left, subsequent_indent=" " * 6
                    )
                )


def _default(recipe: Recipe, param: Param) -> str:
    own = "–" if param.default is None else str(param.default)
    elsewhere = recipe.defaults_elsewhere(param.name)
    return f"{own}, {elsewhere}" if elsewhere else own


def describe(recipe: Recipe) -> dict[str, Any]:
    """A recipe for --json."""
    fields = asdict(recipe)
    fields["path"] = str(recipe.path)
    return fields
