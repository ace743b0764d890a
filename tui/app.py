"""The app: five places to be (runs, recipes, devices, privacy, models), run screens on top of them,
keys and themes; starting and leaving.

Screens are imported when first shown; numpy and all that draws only with the first run screen.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.screen import ModalScreen, Screen

from traindeck.core.base.home import Home
from traindeck.tui.host import Host
from traindeck.tui.key_checks import KeyChecks
from traindeck.tui.keys import EVERYWHERE, PLACES, CommandsProvider
from traindeck.tui.places import (
    first_place,
    new_screen,
    run_screen_type,
    screen_type,
    sweeps_screen_type,
    versus_screen_type,
)
from traindeck.tui.readers.feed import RunSource
from traindeck.tui.settings import THEMES, read_state
from traindeck.tui.threads import BackgroundLog, favor_the_screen, settle_memory, within

if TYPE_CHECKING:
    from textual.command import Provider

    from traindeck.core.launch import LaunchRequest
    from traindeck.tui.screens.run.screen import RunScreen
    from traindeck.tui.widgets.graphics import Graphics

STARTING_SECONDS = 3.0
"""After so long everything that makes many objects at once is done."""
TERMINAL_SECONDS = 5.0
"""How often it is made sure that there still is a terminal."""
FIRST_LOOK_SECONDS = 0.3
"""How long the first paint waits for a home that is slow to say where to begin."""
CLOSING_SECONDS = 3.0
"""How long leaving waits for what was still being done."""

logger = logging.getLogger("traindeck.tui")


def _things() -> type[Provider]:
    """What else the palette finds; imported when it is first opened."""
    from traindeck.tui.palette import ThingsProvider

    return ThingsProvider


class TraindeckApp(Host, inherit_bindings=False):
    """The screen program; its arguments are those of `Host`."""

    TITLE = "traindeck"
    CSS_PATH = "app.tcss"
    BINDING_GROUP_TITLE = "Everywhere"
    COMMANDS: ClassVar = {*App.COMMANDS, CommandsProvider, _things}
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (100, "wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = EVERYWHERE

    def __init__(
        self,
        home: Home,
        source: RunSource | None = None,
        clock: Callable[[], float] = time.time,
        graphics: Graphics | None = None,
    ) -> None:
        super().__init__(home, source, clock)
        self.graphics = graphics
        self._state_file = home.root / "state.json"
        self._own_log = BackgroundLog(home.root / "traindeck.log")
        for place, _ in PLACES:
            self.add_mode(place, partial(new_screen, place))
        if self.over_ssh:
            self.animation_level = "none"

    # Starting and leaving

    def run(self, *args: Any, **kwargs: Any) -> None:
        """As Textual's; for as long as it lasts, the thread that paints is favored."""
        favor_the_screen(True)
        try:
            super().run(*args, **kwargs)
        finally:
            favor_the_screen(False)

    def _first_look(self) -> tuple[str, dict[str, Any]]:
        """Where to begin, and what was chosen last."""
        return first_place(self.home), read_state(self._state_file)

    async def on_load(self) -> None:
        self._own_log.start()
        logger.addHandler(self._own_log)
        unknown: tuple[str, dict[str, Any]] = ("runs", {})
        place, self.remembered = await within(FIRST_LOOK_SECONDS, self._first_look, unknown)
        self.feed.start()
        # `switch_mode` on mount would do, but after an empty screen was made: that is costly.
        self._current_mode = place
        self._screen_stacks = {place: []}
        theme = self.settings.theme or self.remembered.get("theme")
        problems = list(self.settings.problems)
        if isinstance(theme, str) and theme in self.available_themes:
            self.set_reactive(App.theme, theme)
            self._watch_theme(theme)
        elif self.settings.theme is not None:
            problems.append(
                f"{self.home.settings.name}: there is no theme {theme!r}: "
                f"take dark, light, ansi or one of {', '.join(sorted(self.available_themes))}"
            )
        if self.settings.keys:
            self.set_keymap(self.settings.keys)
        self._problems = problems

    def on_mount(self) -> None:
        if not gc.isenabled():
            self.set_timer(STARTING_SECONDS, settle_memory)
        if not self.is_headless:
            self.set_interval(TERMINAL_SECONDS, self._leave_without_terminal)
        self.in_background("The home cannot be written", self.home.make)
        for problem in self._problems:
            self.tell_problem(problem)
        if self.settings.notices:
            self.check_notices()
        if self.settings.keys:
            KeyChecks(self).start()

    def _leave_without_terminal(self) -> None:
        """A terminal that goes without a hangup signal would leave us reading its end for ever."""
        poll = select.poll()
        poll.register(sys.__stdin__ or 0, 0)
        if poll.poll(0):
            self.exit()

    def on_unmount(self) -> None:
        if self._notifier is not None:
            self._notifier.restore_title()
        until = time.monotonic() + CLOSING_SECONDS
        self.finish(CLOSING_SECONDS)
        logger.removeHandler(self._own_log)
        self._own_log.stop(max(0.0, until - time.monotonic()))

    async def action_quit(self) -> None:
        live = self.snapshot.live if self.snapshot else 0
        if live:
            runs = "1 run goes on" if live == 1 else f"{live} runs go on"
            self.exit(message=f"{runs}; come back with `{_command()}`")
        else:
            self.exit()

    # Places and screens

    async def action_place(self, place: str) -> None:
        """Goes to a place: to its own screen, whatever was opened on top of it."""
        if place == self.current_mode:
            while len(self.screen_stack) > 1:
                await self.pop_screen()
            return
        try:
            screen_type(place)
        except ImportError as error:
            self.tell_error(f"The {place} cannot be shown", error)
        else:
            with self.batch_update():
                await self.switch_mode(place)
                while len(self.screen_stack) > 1:
                    await self.pop_screen()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        stack = self._screen_stacks.get(self._current_mode, ())
        if action == "step_out":
            return len(stack) > 1
        if action == "inbox":
            return not stack or stack[-1].name != "inbox"
        return True

    async def action_step_out(self) -> None:
        if len(self.screen_stack) > 1:
            await self.pop_screen()

    def open_runs(self, ids: Sequence[str]) -> None:
        """Shows one run, or several laid over each other.

        What draws curves is imported on a thread: the first time that takes a moment.
        """
        asked_from = self.screen

        def show(screen_type: type[RunScreen]) -> None:
            if self.screen is asked_from:
                self.push_screen(screen_type(list(ids)))

        self.in_background("The run cannot be shown", run_screen_type, show)

    async def show_recipe(self, name: str) -> None:
        from traindeck.tui.screens.recipes.screen import RecipesScreen

        await self.action_place("recipes")
        if isinstance(self.screen, RecipesScreen):
            await self.screen.turn_to(name)

    async def show_budget(self, name: str) -> None:
        from traindeck.tui.screens.privacy import PrivacyScreen

        await self.action_place("privacy")
        if isinstance(self.screen, PrivacyScreen):
            self.screen.turn_to(name)

    def open_form(self, request: LaunchRequest, of: str) -> None:
        async def show() -> None:
            from traindeck.tui.screens.recipes.screen import RecipesScreen

            await self.action_place("recipes")
            if isinstance(self.screen, RecipesScreen):
                await self.screen.fill(request, of)

        self.in_background(
            "The form cannot be shown",
            lambda: screen_type("recipes"),
            lambda _: self.call_later(show),
        )

    def action_help(self) -> None:
        from traindeck.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    # Scripts that wait

    @property
    def urgent(self) -> frozenset[str]:
        """Ids of the keys that the key bar must not leave out now."""
        return frozenset({"app.inbox"} if self.waiting else ())

    def action_inbox(self) -> None:
        from traindeck.tui.screens.inbox import InboxScreen

        if not isinstance(self.screen, ModalScreen):
            self.push_screen(InboxScreen())

    def action_sweeps(self) -> None:
        """What draws is imported on a thread: the first time that takes a moment."""
        asked_from = self.screen
        if isinstance(asked_from, ModalScreen) or asked_from.name == "sweeps":
            return

        def show(screen_type: type[Screen[None]]) -> None:
            if self.screen is asked_from:
                self.push_screen(screen_type())

        self.in_background("The sweeps cannot be shown", sweeps_screen_type, show)

    def action_versus(self) -> None:
        asked_from = self.screen
        if isinstance(asked_from, ModalScreen) or asked_from.name == "versus":
            return

        def show(screen_type: type[Screen[None]]) -> None:
            if self.screen is asked_from:
                self.push_screen(screen_type())

        self.in_background("The comparison cannot be shown", versus_screen_type, show)

    # Themes and keys

    def action_next_theme(self) -> None:
        order = list(THEMES.values())
        at = order.index(self.theme) if self.theme in order else -1
        self.theme = order[(at + 1) % len(order)]

    def watch_theme(self, theme: str) -> None:
        """Remembers the theme, wherever it was chosen."""
        if not self._running or self._driver is None:
            return
        fixed = self.settings.theme
        if fixed is not None and fixed != theme:
            self.notify(
                f"{self.home.settings.name} sets the theme {fixed}: the next start has it again",
                markup=False,
            )
        else:
            self.remember("The theme cannot be remembered", theme=theme)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Those that are not a key of ours; the rest come from `CommandsProvider`."""
        yield SystemCommand("Theme", "Choose among all themes", self.action_change_theme)
        yield SystemCommand(
            "Screenshot",
            "Save what is shown as SVG",
            lambda: self.set_timer(0.1, self.deliver_screenshot),
        )


def _command() -> str:
    """What starts the app from this shell: its name, or where that is not on PATH, as typed."""
    typed = sys.argv[0]
    if shutil.which("traindeck") or os.path.basename(typed) != "traindeck":
        return "traindeck"
    return shlex.quote(typed)
