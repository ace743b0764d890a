"""`?`: every key of the screen below, what it does, and the id settings.toml knows it by."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from traindeck.tui.keys import SCREEN_KEYS, SCROLL_KEYS, Group, groups, key_names
from traindeck.tui.widgets.key_bar import KeyBar


class HelpText(VerticalScroll, inherit_bindings=False):
    """What scrolls, by the same keys as everything that does."""

    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS


class HelpScreen(ModalScreen[None], inherit_bindings=False):
    """A grouped table of all commands of a screen."""

    CSS_PATH = "help.tcss"
    BINDING_GROUP_TITLE = "Help"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "leave", "Back", id="help.back"),
        *SCREEN_KEYS,
    ]

    def __init__(self, below: Screen[object]) -> None:
        super().__init__()
        self._below = below

    def compose(self) -> ComposeResult:
        all_groups = groups(self._below, self.app._keymap)
        with HelpText(id="help"):
            yield Static(
                Content(
                    "Every command is also in the palette. To give one another key, name its id "
                    f"in {self._settings()}:\n\n    [keys]\n"
                    '    "runs.stop" = "ctrl+s"'
                ),
                id="about",
            )
            widest = max(len(key_names(each)) for group in all_groups for each in group.commands)
            for group in all_groups:
                yield Static(Content(group.title), classes="title")
                yield Static(_table(group, widest), classes="table")
        yield KeyBar()

    def _settings(self) -> str:
        home = getattr(self.app, "home", None)
        return str(home.settings) if home is not None else "settings.toml"

    def action_leave(self) -> None:
        self.dismiss(None)


def _table(group: Group, key_width: int) -> Content:
    lines = [
        Content.assemble(
            (f"{key_names(each):>{key_width}}", "bold $primary"),
            f"  {each.help or each.title}  ",
            (each.id, "dim"),
        )
        for each in group.commands
    ]
    return Content("\n").join(lines)
