"""What the screens may ask of the app they are on: the runs as they are now, work that waits for
files, telling of errors, copying.

Screens know this class; the app, which opens screens, extends it. So neither needs the other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from textual.app import App
from textual.message import Message
from textual.reactive import var

from traindeck.core.base.home import Home
from traindeck.core.run.state import LIVE
from traindeck.tui.readers.feed import Feed, RunSource, RunsSnapshot, newest
from traindeck.tui.readers.inbox import InboxWatch
from traindeck.tui.settings import read_settings, write_state

if TYPE_CHECKING:
    from traindeck.core.federation.inbox import ScriptRequest
    from traindeck.core.launch import LaunchRequest
    from traindeck.tui.notices import Notifier
    from traindeck.tui.readers.notices import RunNotices
    from traindeck.tui.widgets.graphics import Graphics

T = TypeVar("T")

LOCAL_REFRESH, SSH_REFRESH = 0.25, 1.0
"""Seconds between two looks at the runs, unless settings.toml says otherwise."""

logger = logging.getLogger("traindeck.tui")


class Host(App[None], inherit_bindings=False):
    """An app as its screens see it.

    home    where runs are
    source  what to read them through; default: the home's library
    clock   the time in unix seconds, for everything that says how long ago
    """

    snapshot: var[RunsSnapshot | None] = var(None, init=False)
    """The newest state of all runs; None until they were read. Screens `watch` it."""

    feed_problem: var[str] = var("", init=False)
    """Why the runs cannot be read; empty as soon as they were."""

    waiting: var[tuple[ScriptRequest, ...]] = var((), init=False)
    """Scripts that wait for a data owner's hand, in the runs that go on."""

    hides_private = False
    """Whether curves of private training data are hidden, on every run's screen."""

    graphics: Graphics | None = None
    """How the terminal draws pictures by itself; None where half blocks have to do."""

    remembered: Mapping[str, Any] = {}
    """What `state.json` had when the app was started, and what it was told to keep since."""

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

    class KeyTaken(Message):
        """Sent by a widget that is given a key: it comes here behind that key, once that is done.

        `then` goes on, while the app takes no other key.
        """

        def __init__(self, then: Callable[[], Awaitable[object]]) -> None:
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
        self._background: list[threading.Thread] = []
        self._run_notices: RunNotices | None = None
        self._notifier: Notifier | None = None
        self._hands: set[tuple[str, str, str]] = set()
        refresh = self.settings.refresh or (SSH_REFRESH if self.over_ssh else LOCAL_REFRESH)
        self.feed = Feed(
            source or _library(home),
            interval=refresh,
            ready=lambda: self.from_thread(self.SnapshotReady()),
            failed=lambda trouble, error: self.from_thread(self.FeedFailed(trouble, error)),
            first=partial(newest, home) if source is None else list,
        )
        self.inbox = InboxWatch(
            home.runs,
            ready=lambda waiting: self.from_thread(self.Done(partial(self._take_waiting, waiting))),
            failed=lambda error: self.from_thread(self.Failed("No inbox can be read", error)),
        )

    def open_runs(self, ids: Sequence[str]) -> None:
        """Shows one run, or several laid over each other."""
        raise NotImplementedError

    async def show_recipe(self, name: str) -> None:
        """Goes to a recipe's form."""
        raise NotImplementedError

    async def show_budget(self, name: str) -> None:
        """Goes to a data set's privacy budget."""
        raise NotImplementedError

    def open_form(self, request: LaunchRequest, of: str) -> None:
        """Shows the launch form of a recipe filled from a request that repeats the run `of`."""
        raise NotImplementedError

    # Runs

    def on_host_snapshot_ready(self) -> None:
        snapshot = self.feed.take()
        if snapshot is None:
            return
        with self.batch_update():
            self.snapshot = snapshot
            if snapshot.whole:
                self.feed_problem = ""
        if snapshot.whole:
            self._tell_of(snapshot)
        self.inbox.follow(run["id"] for run in snapshot.runs if run["state"] in LIVE)
        if not snapshot.whole:
            self.call_after_refresh(self.feed.shown)

    def _tell_of(self, snapshot: RunsSnapshot) -> None:
        """Tells which runs have ended since the last snapshot, and of budgets left low."""
        if self._run_notices is None:
            from traindeck.tui.readers.notices import RunNotices

            self._run_notices = RunNotices(since=self.clock())
        notices = self._run_notices.take(snapshot.by_id)
        if notices or snapshot.live:
            self.notifier.show_title(snapshot.live)
        for notice in notices:
            self.notifier.tell(notice)
            if any(snapshot.by_id[run_id]["privacy"] for run_id in notice.runs):
                self.in_background("The budgets cannot be read", self._left, self._tell_left)
        if notices:
            self.notifier.show_title(snapshot.live)

    def check_notices(self) -> None:
        """Tells what is wrong in the settings of notices."""
        assert self.notifier

    @property
    def notifier(self) -> Notifier:
        """What tells of notices, made when there is one."""
        if self._notifier is None:
            from traindeck.tui.notices import NoticeSettings, Notifier

            table, file = self.settings.notices, self.home.settings.name
            settings, problems = NoticeSettings.read(table, file)
            for problem in problems:
                self.tell_problem(problem)
            self._notifier = Notifier(self, settings, self._write_to_terminal)
        return self._notifier

    def _write_to_terminal(self, sequence: str) -> None:
        if self._driver is not None and not self.is_headless:
            self._driver.write(sequence)

    def _left(self) -> list[tuple[str, float]]:
        from traindeck.core.privacy.gate import account_now
        from traindeck.core.privacy.ledger.ledgers import ledgers

        accounts = [account_now(ledger) for ledger in ledgers(self.home.ledger)]
        return [(one.name, one.rho_left / one.rho_budget) for one in accounts if one.rho_budget]

    def _tell_left(self, left: list[tuple[str, float]]) -> None:
        for name, share in left:
            self.notifier.budget(name, share)

    def _take_waiting(self, waiting: tuple[ScriptRequest, ...]) -> None:
        from traindeck.tui.readers.notices import waits

        notice = waits(waiting, self._hands)
        self._hands = {(each.run, each.owner, each.job) for each in waiting}
        if notice is not None:
            self.notifier.tell(notice)
        self.waiting = waiting
        self.screen.refresh_bindings()

    # Work that may wait for files

    def from_thread(self, message: Message) -> None:
        """Posts a message from any thread; too late for it, it is dropped."""
        with contextlib.suppress(RuntimeError):  # the event loop has just been closed
            self.post_message(message)

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
                self.from_thread(self.Failed(what, error))
            else:
                self.from_thread(self.Done(lambda: done(result) if done else None))

        thread = threading.Thread(target=work, name=what, daemon=True)
        self._background = [each for each in self._background if each.is_alive()]
        self._background.append(thread)
        thread.start()

    def finish(self, seconds: float) -> None:
        """Ends the looking at files, and waits so long at most for what was still being done."""
        until = time.monotonic() + seconds
        self.inbox.stop()
        self.feed.stop(seconds)
        for thread in self._background:
            thread.join(max(0.0, until - time.monotonic()))

    def on_host_done(self, message: Done) -> None:
        self.feed.poke()
        if self.is_running:  # else the screens that wait for it are gone
            message.then()

    async def on_host_key_taken(self, message: KeyTaken) -> None:
        await message.then()

    def remember(self, what: str, **changes: object) -> None:
        """Keeps something for the next start; `what` heads the notice when that cannot be."""
        self.remembered = {**self.remembered, **changes}
        path = self.home.root / "state.json"
        self.in_background(what, lambda: write_state(path, **changes))

    # Telling

    def on_host_feed_failed(self, message: FeedFailed) -> None:
        self.feed_problem = str(message.error) or type(message.error).__name__
        self.tell_error(message.what, message.error)

    def on_host_failed(self, message: Failed) -> None:
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


def _library(home: Home) -> RunSource:
    from traindeck.core.catalogue.library import Library

    return Library(home)
