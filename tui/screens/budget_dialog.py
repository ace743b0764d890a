"""Giving a data set a privacy budget, and changing the one it has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from traindeck.core.recipe.accounting import UNITS
from traindeck.tui.keys import SCREEN_KEYS
from traindeck.tui.screens.dialogs import LEAVE
from traindeck.tui.widgets.field_row import FieldRow
from traindeck.tui.widgets.key_bar import KeyBar

_USUAL_DELTA = "1e-5"
_LABEL_WIDTH, _CONTROL_WIDTH = 10, 44


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be created, as `traindeck budget create` takes it."""

    name: str
    epsilon: float
    delta: float
    unit: str
    reason: str


class BudgetDialog(ModalScreen[Asked | None], inherit_bindings=False):
    """Asks for all that a budget is made of; answers None when left."""

    CSS_PATH = "dialogs.tcss"
    BINDING_GROUP_TITLE = "New budget"
    BINDINGS: ClassVar[list[BindingType]] = [
        LEAVE,
        *SCREEN_KEYS,
        Binding("ctrl+s", "keep", "Create it", id="dialog.keep", priority=True),
    ]

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self._name = name

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content("A privacy budget for a data set"), classes="question")
            yield from (
                FieldRow(
                    label,
                    Input(text, placeholder=hint, compact=True, id=label.replace(" ", "-")),
                    _LABEL_WIDTH,
                    control_width=_CONTROL_WIDTH,
                )
                for label, text, hint in (
                    ("data set", self._name, "such as mnist"),
                    ("epsilon", "", "all that may ever be spent"),
                    ("delta", _USUAL_DELTA, "below 1 over the number of records"),
                    ("unit", "example", " or ".join(UNITS)),
                    ("reason", "", "why, for the record (may be empty)"),
                )
            )
            yield Static("", classes="wrong")
            yield Static(
                Content(
                    "Unit and delta never change afterwards. ctrl+s creates it, escape leaves it"
                ),
                classes="detail",
            )
        yield KeyBar()

    def _typed(self, id: str) -> str:
        return self.query_one(f"#{id}", Input).value.strip()

    def _asked(self) -> Asked:
        """What is typed. Raises ValueError with a sentence for people."""
        name = self._typed("data-set")
        if not name:
            raise ValueError("data set: its name is missing")
        unit = self._typed("unit")
        if unit not in UNITS:
            raise ValueError(f"unit: {unit!r} is none; one is {', '.join(UNITS)}")
        return Asked(
            name,
            positive("epsilon", self._typed("epsilon")),
            positive("delta", self._typed("delta")),
            unit,
            self._typed("reason"),
        )

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_keep(self) -> None:
        try:
            asked = self._asked()
        except ValueError as error:
            self.query_one(".wrong", Static).update(Content(str(error)))
        else:
            self.dismiss(asked)

    @on(Input.Submitted)
    def _next(self, event: Input.Submitted) -> None:
        if event.input.id == "reason":
            self.action_keep()
        else:
            self.focus_next()


def positive(what: str, text: str) -> float:
    """A number above 0. Raises ValueError with a sentence for people."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(
            f"{what}: {text!r} is not a number" if text else f"{what} is missing"
        ) from None
    if not 0 < value < math.inf:
        raise ValueError(f"{what}: {text} must be above 0 and finite")
    return value


def not_an_epsilon(text: str) -> str | None:
    """What is wrong with a new epsilon, 0 being what freezes a budget; None when nothing is."""
    if text.strip() == "0":
        return None
    try:
        positive("epsilon", text.strip())
    except ValueError as error:
        return str(error)
    return None
