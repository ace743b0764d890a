"""What this machine can train on, what it is doing, which run is where, and who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from traindeck.core.run.state import LIVE
from traindeck.tui.host import Host
from traindeck.tui.keys import SCREEN_KEYS
from traindeck.tui.panels.devices import DevicesPanel
from traindeck.tui.readers.feed import RunsSnapshot
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.tui.readers.machine import Machine, MachineWatch

LOOK_EVERY = 1.0
"""Seconds between two looks at the machine, while the screen is on show."""


class DevicesScreen(Screen[None], inherit_bindings=False):
    """Looks at the machine only while it is on show."""

    CSS_PATH = "devices.tcss"
    BINDING_GROUP_TITLE = "Devices"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "open_run",
            "Open run",
            id="devices.open",
            tooltip="Watch the run under the cursor, or the first",
        ),
        Binding(
            "f5",
            "refresh",
            "Look anew",
            id="devices.refresh",
            tooltip="Look for devices again: some can be plugged in",
        ),
        *SCREEN_KEYS,
    ]

    app = getters.app(Host)
    panel = getters.query_one(DevicesPanel)

    class Looked(Message):
        """A look at the machine was taken."""

        def __init__(self, machine: Machine, watch: MachineWatch) -> None:
            super().__init__()
            self.machine = machine
            self.watch = watch

    class Failed(Message):
        """A look at the machine could not be taken."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    def __init__(self) -> None:
        super().__init__()
        self._watch: MachineWatch | None = None
        self._machine: Machine | None = None
        self._live: list[RunDoc] = []

    def compose(self) -> ComposeResult:
        yield TopBar("devices")
        yield DevicesPanel()
        yield KeyBar()

    def on_mount(self) -> None:
        self.watch(self.app, "snapshot", self._take)
        self.panel.focus()

    # Looking, while on show

    def on_screen_resume(self) -> None:
        self._begin()

    def on_screen_suspend(self) -> None:
        self._end()

    def on_unmount(self) -> None:
        self._end()

    def action_refresh(self) -> None:
        self._end()
        self._begin()

    def _begin(self) -> None:
        from traindeck.tui.readers.machine import MachineWatch

        self._end()
        watch = MachineWatch(
            self.app.home,
            interval=LOOK_EVERY,
            ready=lambda machine: self.post_message(self.Looked(machine, watch)),
            failed=lambda error: self.post_message(self.Failed(error)),
        )
        self._watch = watch
        watch.runs = self._live
        watch.start()

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def on_devices_screen_looked(self, message: Looked) -> None:
        if message.watch is self._watch:
            self._machine = message.machine
            self._show()

    def on_devices_screen_failed(self, message: Failed) -> None:
        self.app.tell_error("The devices cannot be read", message.error)

    def _take(self, snapshot: RunsSnapshot | None) -> None:
        if snapshot is None:
            return
        self._live = [run for run in snapshot.runs if run["state"] in LIVE]
        if self._watch is not None:
            self._watch.runs = self._live

    def _show(self) -> None:
        with self.app.batch_update():
            self.panel.show(self._machine, self._live)

    # Going to a run

    @on(DevicesPanel.Chosen)
    def _chosen(self, event: DevicesPanel.Chosen) -> None:
        self.app.open_runs([event.run_id])

    def action_open_run(self) -> None:
        run_id = self.panel.marked_run()
        if run_id is None:
            self.app.notify("No run goes on; on the recipes (2) one is launched")
        else:
            self.app.open_runs([run_id])
