"""Set up a sweep of a recipe, see what it costs, begin it."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from traindeck.core.base.errors import TraindeckError
from traindeck.core.sweeps.study import SweepFolder
from traindeck.tui.host import Host
from traindeck.tui.keys import SCREEN_KEYS
from traindeck.tui.readers.pricing import Pricing, brief
from traindeck.tui.readers.sweeping import SweepPrice, price, start
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.launch_bar import LaunchBar
from traindeck.tui.widgets.recipe_form import RecipeForm
from traindeck.tui.widgets.sweep_form import SweepForm
from traindeck.tui.widgets.top_bar import TopBar


class SweepFormScreen(Screen[None], inherit_bindings=False):
    """The form of a sweep; what is typed is kept with the launch form that it was opened from."""

    CSS_PATH = "sweep.tcss"
    BINDING_GROUP_TITLE = "Sweep form"
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (100, "wide"), (150, "broad")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+l",
            "launch",
            "Launch",
            id="recipes.launch",
            tooltip="Begin the sweep that the form says",
        ),
        Binding(
            "ctrl+y",
            "copy_command",
            "Copy",
            id="recipes.copy-command",
            tooltip="Copy the command that begins the same",
        ),
        Binding(
            "ctrl+r",
            "reset(False)",
            "Reset",
            id="recipes.reset",
            tooltip="Put the field under the cursor back to its default",
        ),
        Binding(
            "ctrl+o",
            "reset(True)",
            "Reset all",
            id="recipes.reset-all",
            tooltip="Put every field back to its default",
        ),
        Binding(
            "f2",
            "why",
            "Why not",
            id="recipes.why",
            show=False,
            tooltip="Say all of why the sweep was not begun, or one line of it",
        ),
        *SCREEN_KEYS,
    ]

    app = getters.app(Host)

    def __init__(self, launch_form: RecipeForm) -> None:
        super().__init__()
        self._launch_form = launch_form
        self.form = SweepForm(launch_form.recipe, launch_form.draft())
        self._pricing = Pricing[SweepPrice](self._answered)
        self._asked = 0
        self._priced: SweepPrice | None = None
        self._busy = False

    def compose(self) -> ComposeResult:
        yield TopBar("recipes")
        yield self.form
        yield KeyBar()

    def on_mount(self) -> None:
        self.form.focus_first()
        self._ask()

    def on_unmount(self) -> None:
        self._pricing.stop()

    # What it costs

    @on(SweepForm.Changed)
    def _edited(self) -> None:
        self._launch_form.sweep = self.form.texts()
        if self._launch_form.is_attached:
            self._launch_form.post_message(RecipeForm.Changed(self._launch_form))
        self._ask()

    def _ask(self) -> None:
        request = self.form.request()
        self._priced = None if request else SweepPrice(refused=self.form.wrong())
        self.form.show_price(self._priced)
        question = partial(price, self.app.home, request) if request else None
        self._asked = self._pricing.ask(question)

    def _answered(self, number: int, found: SweepPrice) -> None:
        """On the thread."""
        self.app.from_thread(self.app.Done(lambda: self._show_price(number, found)))

    def _show_price(self, number: int, found: SweepPrice) -> None:
        if number == self._asked and self.is_attached:
            self._priced = found
            self.form.show_price(found)

    def action_reset(self, all_fields: bool) -> None:
        if not self.form.reset(all_fields=all_fields):
            all_are = "Every field is at its default."
            self.app.notify(all_are if all_fields else "No changed field under the cursor.")

    # Beginning it

    def action_why(self) -> None:
        self.form.bar.show_whole(not self.form.bar.whole)

    @on(LaunchBar.Copy)
    def action_copy_command(self) -> None:
        self.form.take_typed()
        self.app.copy(self.form.command(), "The command")

    @on(LaunchBar.Launch)
    def action_launch(self) -> None:
        form = self.form
        if self._busy:
            return
        form.take_typed()
        request = form.request()
        if request is None:
            form.bar.show_obstacle(f"not begun: {form.wrong()}")
            form.focus_first(wrong=True)
            return
        if self._priced is None:
            form.bar.show_obstacle("not begun: what it costs is still being worked out")
            return
        if self._priced.refused:
            refused = self._priced.refused
            form.bar.show_obstacle(f"not begun: {brief(refused)}", f"not begun: {refused}")
            return
        self._busy = True
        form.bar.set_busy(True)

        def act() -> SweepFolder | Exception:
            try:
                return start(self.app.home, request)
            except Exception as error:  # handed to the form that asked
                return error

        self.app.in_background("The sweep could not be begun", act, self._begun)

    def _begun(self, result: SweepFolder | Exception) -> None:
        self._busy = isinstance(result, SweepFolder)  # it is not begun twice
        self.form.bar.set_busy(self._busy)
        if isinstance(result, SweepFolder):
            self.app.notify(f"sweep {result.id} has begun")
            if self.is_current:
                self.app.pop_screen()
                self.app.call_later(self.app.run_action, "app.sweeps")
        elif isinstance(result, (TraindeckError, OSError)):
            short = brief(str(result))
            self.form.bar.show_obstacle(f"not begun: {short}", f"not begun: {result}")
        else:
            self.app.tell_error("The sweep was not begun", result)
