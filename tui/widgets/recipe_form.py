"""The launch form of one recipe: what it is, its parameters, where it goes, and the command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static, Switch

from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe
from traindeck.tui.readers.drafts import Draft
from traindeck.tui.readers.pricing import LaunchPrice
from traindeck.tui.widgets.device_select import DeviceSelect
from traindeck.tui.widgets.field_row import CONTROL_WIDTH, FieldRow
from traindeck.tui.widgets.launch_bar import LaunchBar, command_line
from traindeck.tui.widgets.param_form import ParamForm
from traindeck.tui.widgets.recipe_about import RecipeAbout

if TYPE_CHECKING:
    from traindeck.core.launch import LaunchRequest

_LABEL_WIDEST = 24


def split_tags(text: str) -> list[str]:
    """Tags as typed, separated by commas or spaces; each once."""
    return list(dict.fromkeys(tag for tag in re.split(r"[\s,]+", text) if tag))


class FormScroll(VerticalScroll, can_focus=False, inherit_bindings=False):
    """Scrolls by page: the arrow keys are for going from field to field."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page_up", "Page up", id="scroll.page-up", show=False),
        Binding("pagedown", "page_down", "Page down", id="scroll.page-down", show=False),
    ]


class RecipeForm(Vertical):
    """Everything that is asked before a launch; `Changed` tells of each edit.

    Up, down and enter walk from field to field. It never touches files and never launches: the
    screen does.
    """

    BINDING_GROUP_TITLE = "Launch form"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next field", id="form.next", show=False),
        Binding("up", "app.focus_previous", "Field before", id="form.previous", show=False),
    ]

    class Changed(Message):
        def __init__(self, form: RecipeForm) -> None:
            super().__init__()
            self.form = form

    def __init__(self, recipe: Recipe, draft: Draft, again_of: str = "") -> None:
        """`again_of` names the run that the draft repeats: what differs from it is marked."""
        super().__init__()
        self.recipe = recipe
        self.repeats = bool(again_of)
        self.again: LaunchRequest | None = None
        """What the form was filled from, until it was launched."""
        self.sweep = draft.sweep
        """What was typed into the form of its sweep."""
        self._busy = False
        widest = max(len(name) for name in ("isolated", *recipe.params))
        label_width = min(widest, _LABEL_WIDEST) + 2
        params = recipe.chosen(draft.params).params
        self.params: ParamForm | None = None
        if params:
            self.params = ParamForm(
                params.values(), draft.params, label_width, recipe.defaults(), again_of
            )
        self.device = DeviceSelect(draft.on, label_width)
        self.bar = LaunchBar()
        self._about = RecipeAbout(recipe.chosen(draft.params))
        self._missing = ("", "")
        self._run_name = Input(
            draft.name,
            placeholder="made up from the recipe's name",
            select_on_focus=False,
            id="run-name",
        )
        self._run_tags = Input(
            draft.tags,
            placeholder="separated by spaces or commas",
            select_on_focus=False,
            id="run-tags",
        )
        self._isolated = Switch(draft.isolated, animate=False, id="run-isolated")
        self._isolated_row = FieldRow("isolated", self._isolated, label_width)
        self._label_width = label_width
        self._show_command()

    def compose(self) -> ComposeResult:
        wide = 3 * CONTROL_WIDTH // 2
        with FormScroll(id="form-scroll"):
            yield self._about
            with Horizontal(id="form-columns"):
                with Vertical(id="form-params"):
                    yield Static("Parameters", classes="form-heading")
                    yield self.params or Static("It has none.", classes="form-none")
                with Vertical(id="form-run"):
                    yield Static("Run", classes="form-heading")
                    yield self.device
                    yield FieldRow("name", self._run_name, self._label_width, control_width=wide)
                    yield FieldRow("tags", self._run_tags, self._label_width, control_width=wide)
                    if self.recipe.dependencies or self.recipe.requires_python:
                        yield self._isolated_row
        yield self.bar

    @property
    def chosen(self) -> Recipe:
        """The recipe as what is typed makes it."""
        return self.recipe.chosen(self.params.texts() if self.params else {})

    @property
    def busy(self) -> bool:
        """Whether a launch is on its way: a second one must wait for its answer."""
        return self._busy

    @busy.setter
    def busy(self, busy: bool) -> None:
        self._busy = busy
        if self.is_attached:
            self.bar.set_busy(busy)

    @property
    def name_typed(self) -> str:
        return self._run_name.value.strip()

    @property
    def tags(self) -> list[str]:
        return split_tags(self._run_tags.value)

    def take_typed(self) -> None:
        """Read every field now: launches and drafts must hold what the screen shows."""
        if self.params is not None:
            self.params.take_typed()
        self.device.take_typed()

    def draft(self) -> Draft:
        """All that is typed, to be shown again."""
        return Draft(
            params=self.params.texts() if self.params else {},
            on=self.device.value or "cpu",
            name=self.name_typed,
            tags=self._run_tags.value,
            isolated=self._isolated.value,
            sweep=self.sweep,
        )

    def values(self) -> dict[str, Value]:
        """The parameters that differ from their defaults. Raises ParamError."""
        return self.params.values() if self.params else {}

    def command(self) -> str:
        """The command that launches what the form says, wrong values included."""
        draft = self.draft()
        return command_line(
            self.recipe.name,
            draft.params,
            on=draft.on,
            name=draft.name,
            tags=self.tags,
            accept_no_privacy=self.bar.accepted,
            isolated=draft.isolated,
        )

    def show_missing(self, lack: str, mend: str) -> None:
        """Say what the recipe lacks here, and what mends it; an environment of its own has it."""
        self._missing = (lack, mend)
        self._about.show_missing(*(("", "") if self._isolated.value else self._missing))

    def focus_first(self) -> None:
        if self.params is None or not self.params.focus_first():
            self.screen.set_focus(self.device.input)

    def focused_param(self) -> str:
        """The parameter under the cursor; empty when none is."""
        row = self.params.focused_row() if self.params else None
        return row.param.name if row else ""

    def focus_param(self, name: str) -> None:
        for row in self.params.rows if self.params else []:
            if row.param.name == name:
                self.screen.set_focus(row.control)

    def priced(self) -> Mapping[str, Value] | None:
        """The values to work a price out from; None while one of them is wrong."""
        if self.params is not None and self.params.errors():
            return None
        return self.values()

    def show_price(self, price: LaunchPrice | None) -> None:
        self.bar.show_price(price)
        self._show_command()

    def check(self) -> str:
        """What stands in the way of a launch, with the focus put there; empty when nothing does."""
        errors = self.params.errors() if self.params else {}
        if errors and self.params:
            self.params.focus_first(invalid=True)
            return "not launched: " + "; ".join(f"{name}: {why}" for name, why in errors.items())
        if self.device.error:
            self.device.input.focus()
            return f"not launched: {self.device.error}"
        return ""

    def forget_run(self) -> None:
        """A name is for one run, and so is that it has no privacy: the next one gets another."""
        self._run_name.value = ""
        self.again = None
        self.bar.take_back()

    def reset(self, *, all_fields: bool) -> bool:
        """Put the focused parameter, or all of them, back to default; False when nothing was."""
        if self.params is None:
            return False
        rows = self.params.rows if all_fields else [self.params.focused_row()]
        changed = [row for row in rows if row is not None and row.changed]
        for row in changed:
            row.reset()
        return bool(changed)

    @on(Input.Submitted)
    def _field_done(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

    @on(ParamForm.Changed)
    @on(DeviceSelect.Changed)
    @on(Input.Changed, "#run-name")
    @on(Input.Changed, "#run-tags")
    @on(Switch.Changed, "#run-isolated")
    def _edited(self, event: Message) -> None:
        event.stop()
        if self.params is not None and self.recipe.variants:
            self.params.take(self.chosen.params)
        self.bar.show_obstacle("")
        self._about.show(self.chosen)
        self.show_missing(*self._missing)
        self._show_command()
        self.post_message(self.Changed(self))

    @on(LaunchBar.Accepted)
    def _accepted(self, event: LaunchBar.Accepted) -> None:
        event.stop()
        self.bar.show_obstacle("")
        self._show_command()

    def _show_command(self) -> None:
        self._isolated_row.say(
            hint="in an environment made of what its header asks for",
            beside="on" if self._isolated.value else "off",
        )
        self.bar.show_command(self.command())
