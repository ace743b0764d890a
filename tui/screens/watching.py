"""A screen that a thread reads for: it rests while another screen is on top, and ends with it."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from textual.message import Message
from textual.screen import ModalScreen, Screen


class Parkable(Protocol):
    """A reader's thread: see `readers.watch`."""

    def stop(self) -> None: ...

    def park(self, parked: bool) -> None: ...


W = TypeVar("W", bound=Parkable)


class WatchingScreen(Screen[None], Generic[W], inherit_bindings=False):
    """Whoever inherits from it starts `_watch` when it is mounted."""

    class Failed(Message):
        """What it shows could not be read."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    _watch: W | None = None

    def from_thread(self, message: Message) -> None:
        """Post what a thread read; dropped once the screen has gone."""
        if self.is_attached and self.app._running:
            self.post_message(message)

    def on_unmount(self) -> None:
        if self._watch is not None:
            self._watch.stop()

    def on_screen_suspend(self) -> None:
        if self._watch is not None and not isinstance(self.app.screen, ModalScreen):
            self._watch.park(True)

    def on_screen_resume(self) -> None:
        if self._watch is not None:
            self._watch.park(False)
