"""One run, live: its curves, log, privacy, devices, parameters and events; or several compared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import events, getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen

from traindeck.core.catalogue.document import RunDoc
from traindeck.core.run.state import LIVE
from traindeck.tui.keys import key_of
from traindeck.tui.panels.comparison import ComparisonPanel
from traindeck.tui.panels.curves import CurvesPanel
from traindeck.tui.panels.differences import DifferencesPanel
from traindeck.tui.panels.events import EventsPanel
from traindeck.tui.panels.federation import FederationPanel
from traindeck.tui.panels.log import LogPanel
from traindeck.tui.panels.media import MediaPanel
from traindeck.tui.panels.privacy import PrivacyPanel
from traindeck.tui.panels.provenance import ProvenancePanel
from traindeck.tui.panels.run_devices import RunDevicesPanel
from traindeck.tui.panels.summary import SummaryPanel
from traindeck.tui.panels.tradeoff import TradeoffPanel, enough
from traindeck.tui.readers.picture import Picture
from traindeck.tui.readers.run import RunReader
from traindeck.tui.screens.run.actions import RUN_BINDINGS
from traindeck.tui.screens.run.export import EXPORT_BINDING, ExportingScreen
from traindeck.tui.screens.run.layout import (
    RARE,
    TABS,
    WORDS,
    ScreenArrangement,
    arrange,
    tab_bindings,
    why_absent,
)
from traindeck.tui.screens.run.picture import labels, show_details, show_differences
from traindeck.tui.widgets.inbox_line import InboxLine
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.log_view import LogView
from traindeck.tui.widgets.tab_bar import Tab, TabBar

LOCAL_INTERVAL, SSH_INTERVAL = 0.15, 0.5
"""Least seconds between two pictures; over SSH each one is bytes on a slow line."""
MOST_INTERVAL, SHOW_SHARE = 0.5, 8
"""Most seconds between two pictures, and how many times as long as showing one it should be."""


def _actions() -> list[BindingType]:
    """What can be done to a run from its screen; the footer shows what fits 80 columns."""
    shown = ("runs.stop", "runs.again", "runs.delete")
    return [
        replace(binding, show=binding.id in shown)
        for binding in RUN_BINDINGS
        if isinstance(binding, Binding) and binding.id != "runs.restore"
    ]


class RunScreen(ExportingScreen):
    """Watches one run, or lays several over each other.

    run_ids  whole ids of the runs
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = ""
    BINDING_GROUP_TITLE = "Run"
    BINDINGS: ClassVar[list[BindingType]] = [
        *_actions(),
        EXPORT_BINDING,
        Binding("slash", "search", "Find", id="run.search", tooltip="Find a text in the log"),
        *tab_bindings(),
        Binding("right_square_bracket", "step_tab(1)", "Next tab", show=False, id="run.tab_next"),
        Binding(
            "left_square_bracket", "step_tab(-1)", "Tab before", show=False, id="run.tab_previous"
        ),
    ]

    curves = getters.query_one(CurvesPanel)

    class PictureReady(Message):
        """The reader has something new."""

    class ReadFailed(Message):
        """The reader met an error it did not expect."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    def __init__(self, run_ids: Sequence[str]) -> None:
        super().__init__()
        self._ids = tuple(run_ids)
        self._recent = ["curves"]
        self._picture = Picture()
        self._arrangement: ScreenArrangement | None = None
        self._reader: RunReader | None = None
        self._sourced = False
        self._tradeoff = False
        self._cost = 0.0

    @property
    def several(self) -> bool:
        """Whether runs are compared rather than one shown whole."""
        return len(self._ids) > 1

    @property
    def absent(self) -> frozenset[str]:
        """Ids of the keys for panels that are not there."""
        gone = {f"run.tab_{tab}" for tab in TABS if not self._has_tab(tab)}
        return frozenset({*gone, *(["run.search"] if self.several else [])})

    def _has_tab(self, tab: str) -> bool:
        """Whether a tab's key leads anywhere; of several runs the log's is that of their table."""
        if tab in RARE:
            return tab in self._picture.rare
        if not self.several or tab == "curves":
            return True
        tabs = self._arrangement.tabs if self._arrangement else ()
        return ("runs" if tab == "log" else tab) in tabs

    def compose(self) -> ComposeResult:
        if self.several:
            yield TabBar(id="tabs")
            yield CurvesPanel(id="curves")
            yield TradeoffPanel(id="privacy")
            yield DifferencesPanel(id="parameters")
            yield ComparisonPanel(id="runs")
        else:
            yield SummaryPanel(id="summary")
            yield InboxLine(self._ids[0])
            yield TabBar(id="tabs")
            with Horizontal(id="body"):
                with Vertical(id="main"):
                    yield CurvesPanel(id="curves")
                    yield LogPanel(id="log")
                    yield EventsPanel(id="events")
                with Vertical(id="side"):
                    yield PrivacyPanel(id="privacy")
                    yield RunDevicesPanel(id="devices")
                    yield ProvenancePanel(id="parameters")
                yield MediaPanel(id="media")
                yield FederationPanel(id="federation")
        yield KeyBar()

    # Reading

    def on_mount(self) -> None:
        if not self.query(CurvesPanel):  # the app was left before its parts were made
            return
        self._reader = RunReader(
            [self.app.home.runs / run_id for run_id in self._ids],
            interval=LOCAL_INTERVAL,
            ready=lambda: self._from_thread(self.PictureReady()),
            failed=lambda error: self._from_thread(self.ReadFailed(error)),
        )
        for panel in self.query(MediaPanel):
            panel.want = self._reader.want_image
        self._rearrange()
        self.curves.focus()
        self._reader.start()
        self.set_interval(1.0, self._tick)

    def on_unmount(self) -> None:
        if self._reader is not None:
            self._reader.stop()

    def _from_thread(self, message: Message) -> None:
        if self.is_attached and self.app._running:
            self.post_message(message)

    def on_screen_suspend(self) -> None:
        if self._reader is not None and not isinstance(self.app.screen, ModalScreen):
            self._reader.park(True)

    def on_screen_resume(self) -> None:
        if self._reader is not None:
            self._reader.park(False)

    @on(PictureReady)
    def _take_picture(self) -> None:
        picture = self._reader.take() if self._reader else None
        if picture is None:
            return
        before, self._picture = self._shape(), picture
        begun = time.thread_time()
        self._show()
        self._keep_pace(time.thread_time() - begun)
        if before[0] != self._picture.rare:
            self._rearrange()
        if before != self._shape():
            self.refresh_bindings()
        if self.several and self._tradeoff != enough(picture.runs):
            self._tradeoff = not self._tradeoff
            self._rearrange()

    def _keep_pace(self, seconds: float) -> None:
        """Ask for fewer pictures when showing one costs much: keys must never wait for curves.

        `seconds` are of this thread's own work: a busy machine is no reason to show less.
        """
        assert self._reader is not None
        self._cost += (seconds - self._cost) / 4
        least = SSH_INTERVAL if self.app.over_ssh else LOCAL_INTERVAL
        self._reader.interval = max(least, min(SHOW_SHARE * self._cost, MOST_INTERVAL))

    @on(ReadFailed)
    def _tell_failure(self, message: ReadFailed) -> None:
        self.app.tell_error("The run cannot be read", message.error)

    def _tick(self) -> None:
        if self.is_current:
            self._show()

    def _show(self) -> None:
        """Hand the picture to the panels that can be seen; the others wait until they can."""
        arrangement, picture = self._arrangement, self._picture
        if arrangement is None or not picture.runs:
            return
        visible = arrangement.visible
        with self.app.batch_update():
            self._show_curves(visible)
            if self.several:
                if "runs" in visible:
                    self.query_one(ComparisonPanel).show(picture.runs)
                if "privacy" in visible:
                    self.query_one(TradeoffPanel).show(picture.runs, labels(picture.runs))
                if "parameters" in visible:
                    show_differences(self, picture.runs)
            else:
                show_details(self, picture, visible)

    def _show_curves(self, visible: frozenset[str]) -> None:
        runs = self._picture.runs
        if not self._sourced and all(run.read_at for run in runs):
            self._sourced = True
            for run, label in zip(runs, labels(runs), strict=True):
                if self._reader is not None:
                    self.curves.add_source(label, self._reader.stores[run.id])
        self.curves.live = any(run.live for run in runs)
        if "curves" in visible:
            self.curves.refresh_data()

    # Arranging

    def on_resize(self, _: events.Resize) -> None:
        self._rearrange()

    def _rearrange(self) -> None:
        arrangement = arrange(
            *self.app.size,
            self._recent,
            several=self.several,
            tradeoff=self._tradeoff,
            rare=self._picture.rare,
        )
        self._mark_tabs(arrangement)
        before, self._arrangement = self._arrangement, arrangement
        if arrangement == before:
            return
        with self.app.batch_update():
            if before is None or before.name != arrangement.name:
                # Matching styles anew is most of what a resize costs: once, not twice.
                if before is not None:
                    self.remove_class(f"-{before.name}", update=False)
                self.add_class(f"-{arrangement.name}")
            for tab in WORDS:
                for panel in self.query(f"#{tab}"):
                    panel.display = tab in arrangement.visible
            for column in self.query("#main, #side"):
                column.display = any(child.display for child in column.children)
        focused = self.focused
        if focused is None or not all(node.display for node in focused.ancestors_with_self):
            self._focus_tab(next(tab for tab in self._recent if tab in arrangement.visible))
        self._stop_log_when_hidden()
        self._show()

    def _mark_tabs(self, arrangement: ScreenArrangement) -> None:
        bar = self.query_one(TabBar)
        bar.display = bool(arrangement.tabs)
        bar.show([self._tab_of(tab) for tab in arrangement.tabs], self._recent[0])

    def _tab_of(self, tab: str) -> Tab:
        keys = {binding.id: key for key, binding in self._bindings if binding.id}
        binding_id = f"run.tab_{'log' if tab == 'runs' else tab}"
        return Tab(tab, WORDS[tab], key_of(self.app, binding_id, keys.get(binding_id, "")))

    def _focus_tab(self, tab: str) -> None:
        for panel in self.query(f"#{tab}"):
            target = next(iter(panel.query(LogView)), panel)
            if not target.focusable:
                target = next((child for child in panel.query("*") if child.focusable), target)
            target.focus()

    def action_tab(self, tab: str) -> None:
        """Show a panel and put the focus on it; of a rare one that is not there, say why."""
        if tab in RARE - self._picture.rare:
            self.app.notify(why_absent(tab, several=self.several))
            return
        drawn = ("curves", "parameters", *(["privacy"] if self._tradeoff else []))
        if self.several and tab not in drawn:
            tab = "runs"
        self._recent = [tab, *(other for other in self._recent if other != tab)]
        self._rearrange()
        self._focus_tab(tab)

    def action_step_tab(self, step: int) -> None:
        tabs = self._arrangement.tabs if self._arrangement else ()
        if tabs:
            now = next((tab for tab in self._recent if tab in tabs), tabs[0])
            self.action_tab(tabs[(tabs.index(now) + step) % len(tabs)])

    def on_descendant_focus(self, _: events.DescendantFocus) -> None:
        arrangement, focused = self._arrangement, self.focused
        if arrangement is None or focused is None:
            return
        for node in focused.ancestors_with_self:
            if node.id in arrangement.tabs:
                tab = node.id
                self._recent = [tab, *(other for other in self._recent if other != tab)]
                self._mark_tabs(arrangement)

    @on(TabBar.Chosen)
    def _tab_clicked(self, event: TabBar.Chosen) -> None:
        self.action_tab(event.tab)

    # The log

    def _stop_log_when_hidden(self) -> None:
        """A log nobody sees need not be read line by line; it asks again when it is shown."""
        arrangement = self._arrangement
        if self._reader is not None and arrangement and "log" not in arrangement.visible:
            self._reader.want_log(0, 0, follow=True)

    def action_search(self) -> None:
        self.action_tab("log")
        self.query_one(LogPanel).start_search()

    @on(LogView.Wanted)
    def _log_wanted(self, event: LogView.Wanted) -> None:
        event.stop()
        if self._reader is not None:
            self._reader.want_log(event.first, event.count, follow=event.follow)

    @on(LogPanel.SearchChanged)
    def _search_changed(self, event: LogPanel.SearchChanged) -> None:
        if self._reader is not None:
            self._reader.search_log(event.needle)

    @on(LogPanel.CopyAsked)
    def _copy_log(self, event: LogPanel.CopyAsked) -> None:
        self.app.copy(event.text, event.what)

    @on(ProvenancePanel.CopyAsked)
    def _copy_parameters(self, event: ProvenancePanel.CopyAsked) -> None:
        self.app.copy(event.text, "parameters and provenance")

    # Acting

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("stop", "kill"):
            return any(doc["state"] in LIVE for doc in self.targets())
        if action == "delete":
            return any(doc["state"] not in LIVE for doc in self.targets())
        if action == "search":
            return not self.several
        if action == "tab" and not (parameters[0] in RARE and self._picture.runs):
            return self._has_tab(str(parameters[0]))
        if action in ("again", "rename", "tag", "note", "copy_id", "copy_command"):
            return bool(self.targets())
        return super().check_action(action, parameters)

    def targets(self) -> list[RunDoc]:
        """The run shown; of several the one under the table's cursor."""
        runs = self._picture.runs
        if self.several and runs:
            place = self.query_one(ComparisonPanel).cursor
            runs = runs[place : place + 1]
        return [run.doc for run in runs if run.doc is not None and not run.deleted]

    @on(ComparisonPanel.Moved)
    def _other_target(self) -> None:
        self.refresh_bindings()

    def _launched(self, doc: RunDoc, of: RunDoc) -> None:
        super()._launched(doc, of)
        if self.is_current:
            self.app.open_runs([doc["id"]])

    @on(ComparisonPanel.Opened)
    def _open_one(self, event: ComparisonPanel.Opened) -> None:
        self.app.open_runs([event.run_id])
