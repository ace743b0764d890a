"""The models: what was exported, what serves it and how that fares."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from traindeck.core.base.sanitize import clean, plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.run.state import LIVE
from traindeck.core.serving import RECIPE
from traindeck.tui.keys import command, key_of
from traindeck.tui.panels.model import ModelPanel
from traindeck.tui.panels.model_lines import COLUMNS, NO_MODELS
from traindeck.tui.readers.deploying import EXPORT
from traindeck.tui.readers.feed import RunsSnapshot
from traindeck.tui.readers.models import (
    Card,
    ModelWatch,
    Version,
    concerns,
    read_card,
)
from traindeck.tui.screens.models.actions import MODEL_BINDINGS, ModelActions
from traindeck.tui.screens.watching import WatchingScreen
from traindeck.tui.widgets.code_view import CodeView, plain_lines
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.row_table import RowTable
from traindeck.tui.widgets.run_columns import fraction
from traindeck.tui.widgets.tab_bar import Tab, TabBar
from traindeck.tui.widgets.top_bar import TopBar

VIEWS = (("state", "4", "State"), ("card", "5", "Card"), ("bundle", "6", "bundle.json"))
_NEED_VERSION = {"read", "view", "copy"}


class ModelsScreen(ModelActions):
    """Every version of every model; below it the one under the cursor.

    Folders and servers' records are read on a thread, and only while the screen is on show.
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#models-table"
    BINDING_GROUP_TITLE = "Models"
    BINDINGS: ClassVar[list[BindingType]] = [
        command("models.read", "enter", "read", "Read", "Go to what is told of it, and back"),
        *MODEL_BINDINGS,
        *(
            command(f"models.{view}", key, f"view('{view}')", word, f"Show {word}", show=False)
            for view, key, word in VIEWS
        ),
        command(
            "models.copy", "y", "copy", "Copy", "Copy the command that shows the same", show=False
        ),
        command("models.refresh", "f5", "refresh", "Look anew", "Read it all again", show=False),
    ]

    panel = getters.query_one(ModelPanel)
    code = getters.query_one(CodeView)

    class Looked(Message):
        """The models were read."""

        def __init__(self, versions: tuple[Version, ...]) -> None:
            super().__init__()
            self.versions = versions

    def __init__(self) -> None:
        super().__init__()
        self._view = "state"
        self._card: tuple[Path, Card] | None = None
        self._wanted = ""
        self._following: set[str] = set()
        self._concerned: list[RunDoc] = []
        self._composed = False

    def compose(self) -> ComposeResult:
        yield TopBar("models")
        yield Static("reading the models…", id="models-none", markup=False)
        yield Static(id="models-making", markup=False)
        with Vertical(id="models-body"):
            yield RowTable(COLUMNS, lambda version: version.key, id="models-table")
            yield TabBar()
            yield ModelPanel(id="model-panel")
            yield CodeView(id="model-card")
        yield KeyBar()

    @property
    def table(self) -> RowTable:
        return self.query_one("#models-table", RowTable)

    @property
    def current(self) -> Version | None:
        """The version under the cursor."""
        version: Version | None = self.table.current if self._composed else None
        return version

    # Looking, while on show

    def on_mount(self) -> None:
        self._composed = True
        self.query_one("#models-body").display = False
        self.query_one("#models-making").display = False
        self._watch = ModelWatch(
            self.app.home,
            ready=lambda versions: self.from_thread(self.Looked(versions)),
            failed=lambda error: self.from_thread(self.Failed(error)),
        )
        self.watch(self.app, "snapshot", self._take)
        self._watch.start()
        self._show_view()

    def action_refresh(self) -> None:
        self._card = None
        self.look()
        self._show_view()

    def look(self, key: str = "") -> None:
        self._wanted = key or self._wanted
        if self._watch is not None:
            self._watch.look_now()

    def _take(self, snapshot: RunsSnapshot | None) -> None:
        if snapshot is None:
            return
        before = {doc["id"]: doc["state"] for doc in self._concerned}
        self._concerned = [doc for doc in snapshot.runs if concerns(doc)]
        if self._watch is not None:
            self._watch.runs = [doc for doc in self._concerned if doc["recipe"] == RECIPE]
        if before != {doc["id"]: doc["state"] for doc in self._concerned}:
            self.look()
        self._show_making()
        for doc in self._concerned:
            if doc["id"] in self._following and doc["state"] not in LIVE:
                self._following.discard(doc["id"])
                self.tell_exported(doc)

    def _show_making(self) -> None:
        """The exports that go on: their bundles are not there yet."""
        lines = []
        for doc in self._concerned:
            if doc["recipe"] == EXPORT and doc["state"] in LIVE:
                done = fraction(doc)
                share = "" if done is None else f", {done:.0%}"
                lines.append(f"{plain(doc['name'])}: {doc['state']}{share} · run {doc['id']}")
        making = self.query_one("#models-making", Static)
        making.update("\n".join(lines))
        making.display = bool(lines)

    @on(Looked)
    def _show(self, message: Looked) -> None:
        versions = message.versions
        nothing = self.query_one("#models-none", Static)
        body = self.query_one("#models-body")
        with self.app.batch_update():
            if not versions:
                key = key_of(self.app, "models.export", "ctrl+e")
                nothing.update(NO_MODELS.format(key=key))
            nothing.display, body.display = not versions, bool(versions)
            self.table.styles.height = len(versions) + 1
            self.table.show(versions)
            if self._wanted and self.table.select(self._wanted):
                self._wanted = ""
            self._show_current()
        if versions and self.focused is None:
            self.table.focus()

    @on(WatchingScreen.Failed)
    def _tell(self, message: WatchingScreen.Failed) -> None:
        self.app.tell_error("The models cannot be read", message.error)

    @on(RowTable.Moved)
    def _show_current(self) -> None:
        version = self.current
        if version is not None:
            self.panel.show(version)
            if self._view != "state":
                self._show_papers(version)
        self.refresh_bindings()

    # What is told of one

    def action_view(self, view: str) -> None:
        self._view = view
        self._show_view()
        (self.panel if view == "state" else self.code).focus()

    @on(TabBar.Chosen)
    def _tab_clicked(self, event: TabBar.Chosen) -> None:
        self.action_view(event.tab)

    def _show_view(self) -> None:
        tabs = [Tab(id, word, key_of(self.app, f"models.{id}", key)) for id, key, word in VIEWS]
        self.query_one(TabBar).show(tabs, self._view)
        self.panel.display = self._view == "state"
        self.code.display = self._view != "state"
        if self.current is not None and self._view != "state":
            self._show_papers(self.current)

    def _show_papers(self, version: Version) -> None:
        if self._card is not None and self._card[0] == version.folder:
            card = self._card[1]
            text = card.readme if self._view == "card" else card.bundle
            self.code.show(plain_lines(clean(text).split("\n")), numbered=False)
            return

        def took(card: Card) -> None:
            if self.current is not None and self.current.folder == version.folder:
                self._card = version.folder, card
                self._show_papers(version)

        self.code.show(plain_lines(["reading…"]), numbered=False)
        self.app.in_background("The card cannot be shown", partial(read_card, version.folder), took)

    @on(RowTable.Opened)
    def action_read(self) -> None:
        if self.table.has_focus:
            (self.panel if self._view == "state" else self.code).focus()
        else:
            self.table.focus()

    def action_copy(self) -> None:
        if (version := self.current) is not None:
            self.app.copy(f"traindeck models show {version.name}/{version.number}", "The command")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in _NEED_VERSION:
            return self.current is not None
        return super().check_action(action, parameters)

    def follow(self, doc: RunDoc) -> None:
        self._following.add(doc["id"])

    def other_servers(self) -> bool:
        return any(doc["recipe"] == RECIPE and doc["state"] in LIVE for doc in self._concerned)
