"""The keys of the recipes' screen."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from traindeck.tui.keys import SCREEN_KEYS

RECIPE_KEYS: list[BindingType] = [
    Binding(
        "ctrl+l",
        "launch",
        "Launch",
        id="recipes.launch",
        tooltip="Start a run with what the form says",
    ),
    Binding(
        "ctrl+g",
        "sweep",
        "Sweep",
        id="recipes.sweep",
        tooltip="Search its parameters: ranges instead of values, priced before they are tried",
    ),
    Binding(
        "slash",
        "filter",
        "Filter",
        id="recipes.filter",
        tooltip="Narrow the list by name, tag, data set, task or framework",
    ),
    Binding(
        "ctrl+y,y",
        "copy_command",
        "Copy",
        id="recipes.copy-command",
        tooltip="Copy the command that launches the same",
    ),
    Binding(
        "ctrl+r",
        "reset(False)",
        "Reset",
        id="recipes.reset",
        tooltip="Put the parameter under the cursor back to its default",
    ),
    Binding(
        "ctrl+o",
        "reset(True)",
        "Reset all",
        id="recipes.reset-all",
        tooltip="Put every parameter back to its default",
    ),
    Binding(
        "f2",
        "why",
        "Why not",
        id="recipes.why",
        show=False,
        tooltip="Say all of why the launch is refused, or one line of it",
    ),
    Binding(
        "f5",
        "refresh",
        "Reread",
        id="recipes.refresh",
        tooltip="Read the recipe folders and the devices again",
    ),
    Binding(
        "escape",
        "back_to_list",
        "To the list",
        id="recipes.back",
        show=False,
        tooltip="From the form back to the list of recipes",
    ),
    *SCREEN_KEYS,
]
