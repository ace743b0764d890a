"""The app: four places to be (runs, recipes, devices, privacy), run screens on top of them, and
what all of them share: the feed of runs, keys, themes, copying and telling about errors.

Screens are imported when first shown; numpy and all that draws only with the first run screen.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.message import Message
from textual.reactive import var
from textual.screen import ModalScreen, Screen

from traindeck.core.base.home import Home
from traindeck.core.run.state import LIVE
from traindeck.tui.key_checks import KeyChecks
from traindeck.tui.keys import EVERYWHERE, CommandsProvider
from traindeck.tui.places import PLACES, first_place, new_screen, run_screen_type, screen_type
from traindeck.tui.readers.feed import Feed, RunSource, RunsSnapshot, newest
from traindeck.tui.readers.inbox import InboxWatch
from traindeck.tui.settings import THEMES, read_settings, read_state, write_state
from traindeck.tui.threads import BackgroundLog, favor_the_screen, settle_memory, within

if TYPE_CHECKING:
    from traindeck.core.federation.inbox import ScriptRequest
    from traindeck.tui.screens.run.screen import RunScreen

T = TypeVar("T")

LOCAL_REFRESH, SSH_REFRESH = 0.25, 1.0
"""Seconds between two looks at the runs, unless settings.toml says otherwise."""

STARTING_SECONDS = 3.0
"""After so long everything that makes many objects at once is done."""
TERMINAL_SECONDS = 5.0
"""How often it is made sure that there still is a terminal."""
FIRST_LOOK_SECONDS = 0.3
"""How long the first paint waits for a home that is slow to say where to begin."""
CLOSING_SECONDS = 3.0
"""How long leaving waits for what was still being done."""

logger = logging.getLogger("traindeck.tui")


class TraindeckApp(App[None], inherit_bindings=False):
    """The screen program.

    Args:
        home: where runs are.
        source: what to read them through; default: the home's library.
        clock: the time in unix seconds, for everything that says how long ago.
    """

    TITLE = "traindeck"
    CSS_PATH = "app.tcss"
    BINDING_GROUP_TITLE = "Everywhere"
    COMMANDS: ClassVar = {*App.COMMANDS, CommandsProvider}
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (100, "wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = EVERYWHERE

    snapshot: var[RunsSnapshot | None] = var(None, init=False)
    """The newest state of all runs; None until they were read. Screens `watch` it."""

    feed_problem: var[str] = var("", init=False)
    """Why the runs cannot be read; empty as soon as they were."""

    waiting: var[tuple[ScriptRequest, ...]] = var((), init=False)
    """Scripts that wait for a data owner's hand, in the runs that go on."""

    hides_private = False
    """Whether curves of private training data are hidden, on every run's screen."""

    class SnapshotReady(Message):
        """The feed has something new."""

    class Failed(Message):
        """Something on a thread went wrong."""

        def __init__(self, what: str, error: Exception) -> None:
            super().__init__()
            self.what = what
            self.error = error

    class FeedFailed(Failed):
        """The runs cannot be read."""

    class Done(Message):
        """Something on a thread is done; `then` goes on with it on the event loop."""

        def __init__(self, then: Callable[[], object]) -> None:
            super().__init__()
            self.then = then

    def __init__(
        self,
        home: Home,
        source: RunSource | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.home = home
        self.clock = clock
        self.over_ssh = "SSH_CONNECTION" in os.environ
        self.settings = read_settings(home.settings)
        self._state_file = home.root / "state.json"
        self._own_log = BackgroundLog(home.root / "traindeck.log")
        self._background: list[threading.Thread] = []
        for place, _ in PLACES:
            self.add_mode(place, partial(new_screen, place))
        if self.over_ssh:
            self.animation_level = "none"
        refresh = self.settings.refresh or (SSH_REFRESH if self.over_ssh else LOCAL_REFRESH)
        self.feed = Feed(
            source or _library(home),
            interval=refresh,
            ready=lambda: self._from_thread(self.SnapshotReady()),
            failed=lambda trouble, error: self._from_thread(self.FeedFailed(trouble, error)),
            first=partial(newest, home) if source is None else list,
        )
        self.inbox = InboxWatch(
            home.runs,
            ready=lambda found: self._from_thread(self.Done(partial(self._take_waiting, found))),
            failed=lambda error: self._from_thread(self.Failed("No inbox can be read", error)),
        )

    # Starting and leaving

    def run(self, *args: Any, **kwargs: Any) -> None:
        """As Textual's; for as long as it lasts, the thread that paints is favored."""
        favor_the_screen(True)
        try:
            super().run(*args, **kwargs)
        finally:
            favor_the_screen(False)

    def _first_look(self) -> tuple[str, object]:
        """Where to begin, and the theme that was chosen last."""
        return first_place(self.home), read_state(self._state_file).get("theme")

    async def on_load(self) -> None:
        self._own_log.start()
        logger.addHandler(self._own_log)
        unknown: tuple[str, object] = ("runs", None)
        place, remembered = await within(FIRST_LOOK_SECONDS, self._first_look, unknown)
        self.feed.start()
        # `switch_mode` on mount would do, but after an empty screen was made: that is costly.
        self._current_mode = place
        self._screen_stacks = {place: []}
        theme = self.settings.theme or remembered
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
        if self.settings.keys:
            KeyChecks(self).start()

    def _leave_without_terminal(self) -> None:
        """A terminal that goes without a hangup signal would leave us reading its end for ever."""
        poll = select.poll()
        poll.register(sys.__stdin__ or 0, 0)
        if poll.poll(0):
            self.exit()

    def on_unmount(self) -> None:
        until = time.monotonic() + CLOSING_SECONDS
        self.inbox.stop()
        self.feed.stop(CLOSING_SECONDS)
        for thread in self._background:
            thread.join(max(0.0, until - time.monotonic()))
        logger.removeHandler(self._own_log)
        self._own_log.stop(max(0.0, until - time.monotonic()))

    async def action_quit(self) -> None:
        live = self.snapshot.live if self.snapshot else 0
        if live:
            runs = "1 run goes on" if live == 1 else f"{live} runs go on"
            self.exit(message=f"{runs}; come back with `traindeck`")
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
            return not stack or stack[-1].id != "inbox"
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

    def action_help(self) -> None:
        from traindeck.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    # Scripts that wait

    @property
    def urgent(self) -> frozenset[str]:
        """Ids of the keys that the key bar must not leave out now."""
        return frozenset({"app.inbox"} if self.waiting else ())

    def _take_waiting(self, waiting: tuple[ScriptRequest, ...]) -> None:
        self.waiting = waiting
        self.screen.refresh_bindings()

    def action_inbox(self) -> None:
        from traindeck.tui.screens.inbox import InboxScreen

        if not isinstance(self.screen, ModalScreen):
            self.push_screen(InboxScreen())

    # Runs

    def on_traindeck_app_snapshot_ready(self) -> None:
        snapshot = self.feed.take()
        if snapshot is None:
            return
        with self.batch_update():
            self.snapshot = snapshot
            if snapshot.whole:
                self.feed_problem = ""
        self.inbox.follow(run["id"] for run in snapshot.runs if run["state"] in LIVE)
        if not snapshot.whole:
            self.call_after_refresh(self.feed.shown)

    def _from_thread(self, message: Message) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has just been closed
            self.post_message(message)

    # Work that may wait for files

    def in_background(
        self,
        what: str,
        action: Callable[[], T],
        done: Callable[[T], object] | None = None,
    ) -> None:
        """Runs `action` on a thread, then `done` with its result on the event loop.

        An exception of `action` becomes a notification headed `what`. A file that never answers
        cannot keep the app from closing, but closing waits a moment for what was asked for.
        """

        def work() -> None:
            try:
                result = action()
            except Exception as error:  # told to the user, with the trace in the log
                self._from_thread(self.Failed(what, error))
            else:
                self._from_thread(self.Done(lambda: done(result) if done else None))

        thread = threading.Thread(target=work, name=what, daemon=True)
        self._background = [each for each in self._background if each.is_alive()]
        self._background.append(thread)
        thread.start()

    def on_traindeck_app_done(self, message: Done) -> None:
        self.feed.poke()
        if self.is_running:  # else the screens that wait for it are gone
            message.then()

    def on_traindeck_app_feed_failed(self, message: FeedFailed) -> None:
        self.feed_problem = str(message.error) or type(message.error).__name__
        self.tell_error(message.what, message.error)

    def on_traindeck_app_failed(self, message: Failed) -> None:
        self.tell_error(message.what, message.error)

    def tell_error(self, what: str, error: Exception) -> None:
        """An error the user should know of: shown, and logged with its trace."""
        logger.error("%s", what, exc_info=error)
        reason = str(error) or type(error).__name__
        self.notify(reason, title=what, severity="error", timeout=10, markup=False)

    def tell_problem(self, problem: str) -> None:
        """Something to mend that stops nothing."""
        logger.warning("%s", problem)
        self.notify(problem, severity="warning", timeout=10, markup=False)

    # Copying

    def copy(self, text: str, what: str) -> None:
        """Copies through the terminal (OSC 52) and, as many terminals refuse that, into a file."""
        self.copy_to_clipboard(text)
        path = self.home.root / "clipboard.txt"

        def write() -> Path:
            path.write_text(text, encoding="utf-8")
            return path

        self.in_background(
            "Copied to the terminal's clipboard only",
            write,
            lambda path: self.notify(f"{what} copied; also in {path}", markup=False),
        )

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
            self.in_background(
                "The theme cannot be remembered",
                lambda: write_state(self._state_file, theme=theme),
            )

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Those that are not a key of ours; the rest come from `CommandsProvider`."""
        yield SystemCommand("Theme", "Choose among all themes", self.action_change_theme)
        yield SystemCommand(
            "Screenshot",
            "Save what is shown as SVG",
            lambda: self.set_timer(0.1, self.deliver_screenshot),
        )


def _library(home: Home) -> RunSource:
    from traindeck.core.catalogue.library import Library

    return Library(home)
