"""The help lists commands without making them: what it says of them is true all the same."""

from __future__ import annotations

from importlib import import_module

import typer

from traindeck.tui.commands.contents import COMMANDS


def test_the_table_names_what_each_module_makes_and_nothing_else() -> None:
    made = {}
    for module in {each for each, _ in COMMANDS.values()}:
        app = typer.Typer()
        import_module(f"traindeck.tui.commands.{module}").register(app)
        made |= {one.name or one.callback.__name__: module for one in app.registered_commands}
        made |= {group.name: module for group in app.registered_groups}
    assert made == {name: module for name, (module, _) in COMMANDS.items()}


def test_every_line_stands_whole_at_80_columns() -> None:
    widest = max(map(len, COMMANDS))
    assert all(2 + widest + 2 + len(line) <= 80 for _, line in COMMANDS.values())
