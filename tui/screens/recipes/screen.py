"""Pick a recipe, set it up, launch it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from textual import getters, on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.sanitize import plain
from traindeck.core.recipe.params import ParamError, Value
from traindeck.core.recipe.recipe import BrokenRecipe, Recipe
from traindeck.tui.host import Host
from traindeck.tui.keys import key_of
from traindeck.tui.readers.drafts import Draft
from traindeck.tui.readers.pricing import brief
from traindeck.tui.screens.recipes.devices import DeviceOffers
from traindeck.tui.screens.recipes.drafts import Drafts
from traindeck.tui.screens.recipes.keys import RECIPE_KEYS
from traindeck.tui.screens.recipes.missing import look_for_missing
from traindeck.tui.screens.recipes.prices import Prices
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.launch_bar import LaunchBar
from traindeck.tui.widgets.param_form import as_text
from traindeck.tui.widgets.recipe_about import BrokenAbout
from traindeck.tui.widgets.recipe_form import RecipeForm
from traindeck.tui.widgets.recipe_list import RecipeList
from traindeck.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.launch import LaunchRequest

_SETTLE = 0.12
"""Seconds the cursor must rest on a recipe before its form is built: held down, it builds none."""
_LOOK_EVERY = 2.0
"""Seconds between looks at which devices are free."""


class RecipesScreen(Screen[None], inherit_bindings=False):
    """The recipes on the left, the launch form of one on the right; one at a time when narrow."""

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#recipe-options"
    BINDING_GROUP_TITLE = "Recipes"
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (100, "wide"), (150, "broad")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = RECIPE_KEYS

    app = getters.app(Host)
    recipe_list = getters.query_one(RecipeList)

    def __init__(self) -> None:
        super().__init__()
        self.form: RecipeForm | None = None
        """The form on show, when a usable recipe is and its form is whole."""
        self._building = asyncio.Lock()
        self._pane_shows: object = self  # nothing yet
        self._settle: Timer | None = None
        self._look_timer: Timer | None = None
        self._drafts = Drafts(self.app)
        self._offers = DeviceOffers(self.app, lambda: self.form)
        self._prices = Prices(self.app, lambda: self.form)
        self._held = False
        self._read_once = False
        self._reading = False

    def compose(self) -> ComposeResult:
        yield TopBar("recipes")
        with Horizontal(id="recipes"):
            yield RecipeList(id="recipe-list")
            yield Vertical(id="recipe-pane")
        yield KeyBar()

    # Reading recipes and devices

    def on_mount(self) -> None:
        self._look_timer = self.set_interval(_LOOK_EVERY, self._offers.look, pause=True)
        self.watch(self.app, "app_focus", self._terminal_focused, init=False)
        self._drafts.read(self._drafts_read)

    def on_screen_resume(self) -> None:
        if self._look_timer is not None:
            self._look_timer.resume()
        if self._read_once:
            self.action_refresh()

    def on_screen_suspend(self) -> None:
        if self._look_timer is not None:
            self._look_timer.pause()

    def _terminal_focused(self, focused: bool) -> None:
        if focused and self.is_current:
            self.action_refresh()

    def _drafts_read(self) -> None:
        self._read_once = True
        self.action_refresh()

    def action_refresh(self) -> None:
        self._offers.forget()
        self._offers.look()
        if not self._reading:
            self._reading = True
            self.app.in_background("The recipes cannot be read", self._read, self._recipes_read)

    def _read(self) -> tuple[list[Recipe], list[BrokenRecipe]]:
        from traindeck.core.recipe.find import shelf

        try:
            return shelf(self.app.home)
        finally:
            self._reading = False

    def _recipes_read(self, shelf: tuple[list[Recipe], list[BrokenRecipe]]) -> None:
        recipes, broken = shelf
        known = (self.recipe_list.recipes, self.recipe_list.broken)
        if shelf != known or not (recipes or broken):
            self.recipe_list.load(recipes, broken)
        if (form := self.form) is not None:
            look_for_missing(self.app, form)
            self._prices.ask(form)

    def on_unmount(self) -> None:
        self._prices.stop()
        self._drafts.save()

    # From the list to the form and back

    @on(RecipeList.Highlighted)
    def _highlighted(self) -> None:
        if self._held and not self.recipe_list.options.has_focus:
            return  # the list was read anew: the form that was filled stays
        if self._settle is not None:
            self._settle.stop()
        self._settle = self.set_timer(_SETTLE, self._show_current)

    @on(RecipeList.Chosen)
    async def _open_form(self) -> None:
        await self._show_current()
        self._turn_to(form=True)
        if self.form is not None:
            self.form.focus_first()

    async def action_enter_form(self) -> None:
        """Go to the form of the recipe under the cursor, and type there what was typed since."""
        await self._open_form()
        await self.recipe_list.options.release()

    async def _show_current(self) -> None:
        """Build the form of the recipe under the cursor, unless it is there already."""
        async with self._building:
            if self._settle is not None:
                self._settle.stop()
                self._settle = None
            if (wanted := self.recipe_list.current) != self._pane_shows:
                await self._build(wanted)

    async def _build(
        self,
        wanted: Recipe | BrokenRecipe | None,
        draft: Draft | None = None,
        again_of: str = "",
    ) -> None:
        before, self.form = self.form, None
        focused = before.focused_param() if before is not None else ""
        inside = before is not None and before.has_focus_within
        if before is not None:
            before.take_typed()
            self._drafts.keep(before)
        pane = self.query_one("#recipe-pane", Vertical)
        with self.app.batch_update():
            await pane.remove_children()
            if isinstance(wanted, Recipe):
                form = RecipeForm(wanted, draft or self._drafts.of(wanted), again_of)
                self._offers.show(form)
                await pane.mount(form)
                self.form = form
                if before is not None and before.recipe.name == wanted.name:
                    form.focus_param(focused)
                elif inside:
                    form.focus_first()
                look_for_missing(self.app, form)
                self._prices.ask(form)
            elif wanted is not None:
                await pane.mount(BrokenAbout(wanted))
            else:
                await pane.mount(Static("Choose a recipe on the left.", classes="form-none"))
        self._pane_shows = wanted
        self.refresh_bindings()

    async def turn_to(self, name: str) -> None:
        """Put the cursor on a recipe and show its form."""
        self.recipe_list.select(name)
        if self.recipe_list.named(name) is not None:
            await self._open_form()

    async def fill(self, request: LaunchRequest, of: str) -> None:
        """Show the form as a run was launched; what is changed from there is marked."""
        recipe = request.recipe
        assert recipe is not None
        texts = {name: as_text(value) for name, value in request.params.items()}
        tags, sweep = " ".join(request.tags), self._drafts.of(recipe).sweep
        draft = Draft(texts, request.on, request.name or "", tags, request.isolated, sweep)
        self._held = True
        async with self._building:
            if self._settle is not None:
                self._settle.stop()
                self._settle = None
            listed = self.recipe_list.named(recipe.name)
            if listed is not None and listed.path != recipe.path:  # only called the same
                listed = None
            if listed is not None:
                self.recipe_list.select(recipe.name)
            await self._build(listed or recipe, draft, of)
        self._turn_to(form=True)
        if self.form is not None:
            self.form.again = request
            self.form.focus_first()

    def _let_go(self) -> None:
        """A form that was filled from a run is left: the recipe's own comes back."""
        self._held = False
        if self.form is not None and self.form.repeats:
            self._pane_shows = self
            self.call_later(self._show_current)

    def action_back_to_list(self) -> None:
        self._let_go()
        if self.recipe_list.options.has_focus:
            if not self.recipe_list.filter.value:
                raise SkipAction
            self.recipe_list.filter.value = ""
        self._turn_to(form=False)
        self.set_focus(self.recipe_list.options)

    def action_filter(self) -> None:
        self._turn_to(form=False)
        self.set_focus(self.recipe_list.filter)

    def _turn_to(self, *, form: bool) -> None:
        """Where there is room for one of list and form: display it now, so it takes the focus."""
        self.set_class(form, "-form")
        self.app.stylesheet.update(self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        about_form = action in ("launch", "copy_command", "reset", "sweep")
        ready = self.form is not None or self._building.locked()  # they wait for one being built
        if action == "launch" and isinstance(self._pane_shows, BrokenRecipe):
            return True  # it says why not
        return None if about_form and not ready else True

    # What was typed

    @on(RecipeForm.Changed)
    def _edited(self, event: RecipeForm.Changed) -> None:
        self._drafts.keep(event.form)
        self._prices.ask(event.form)

    def action_reset(self, all_fields: bool) -> None:
        if self.form is not None and not self.form.reset(all_fields=all_fields):
            all_are = "Every parameter is at its default."
            self.app.notify(all_are if all_fields else "No changed parameter under the cursor.")

    @on(LaunchBar.Copy)
    async def action_copy_command(self) -> None:
        await self._follow_the_list()
        if self.form is not None:
            self.form.take_typed()
            self.app.copy(self.form.command(), "The command")

    async def action_sweep(self) -> None:
        await self._follow_the_list()
        if self.form is not None:
            self.form.take_typed()
            from traindeck.tui.screens.recipes.sweep import SweepFormScreen

            self.app.push_screen(SweepFormScreen(self.form))

    # Launching

    async def _follow_the_list(self) -> None:
        """Bring the form to the recipe under the cursor, unless it is the form that is in use."""
        if self.form is None or not self.form.has_focus_within:
            await self._show_current()

    @on(LaunchBar.Launch)
    async def action_launch(self) -> None:
        await self._follow_the_list()
        form = self.form
        if form is None:
            self._tell_broken()
            return
        if form.busy:
            return
        if self.has_class("narrow") and not self.has_class("-form"):
            self._turn_to(form=True)
            form.focus_first()
            key = key_of(self.app, "recipes.launch", "ctrl+l")
            self.app.notify(f"This is what would be launched: {key} once more launches it.")
            return
        form.take_typed()
        self.add_class("-form")
        if obstacle := form.check():
            form.bar.show_obstacle(obstacle)
            return
        form.busy = True
        self._start(form)

    def action_why(self) -> None:
        if self.form is not None:
            self.form.bar.show_whole(not self.form.bar.whole)

    def _tell_broken(self) -> None:
        broken = self.recipe_list.current
        if isinstance(broken, BrokenRecipe):
            self.app.tell_problem(
                f"{plain(broken.path.name)} cannot be launched: "
                f"line {broken.line}: {plain(broken.reason)}"
            )

    def _start(self, form: RecipeForm) -> None:
        home, recipe, values = self.app.home, form.recipe, form.values()
        draft, tags, accepted = form.draft(), form.tags, form.bar.accepted
        again = form.again

        def act() -> RunDoc | Exception:
            from traindeck.tui.readers.launching import start

            try:
                return start(
                    home,
                    recipe,
                    values,
                    on=draft.on,
                    name=draft.name,
                    tags=tags,
                    accept_no_privacy=accepted,
                    isolated=draft.isolated,
                    again=again,
                )
            except Exception as error:  # handed to the form that asked
                return error

        def done(result: RunDoc | Exception) -> None:
            form.busy = False
            if isinstance(result, Exception):
                self._refused(form, result)
            else:
                self._launched(form, result, values)

        self.app.in_background("The run could not be launched", act, done)

    def _refused(self, form: RecipeForm, error: Exception) -> None:
        if form.is_attached and isinstance(error, (TraindeckError, ParamError)):
            short = getattr(error, "short", "") or brief(str(error))
            form.bar.show_obstacle(f"not launched: {short}", f"not launched: {error}")
        else:
            self.app.tell_error(f"{form.recipe.name} was not launched", error)

    def _launched(self, form: RecipeForm, run: RunDoc, values: Mapping[str, Value]) -> None:
        from traindeck.core.launch import resumed_run

        if form.is_attached:
            form.forget_run()
            self._let_go()
        self._turn_to(form=False)
        self.set_focus(self.recipe_list.options)  # on the way back, no key is typed into a field
        if resumed := resumed_run(self.app.home, run, values):
            self.app.notify(f"resume: the newest checkpoint of run {resumed}", markup=False)
        if self.is_current:
            self.app.open_runs([run["id"]])
        else:
            self.app.notify(f"{run['name']} launched as {run['id']}", markup=False)
