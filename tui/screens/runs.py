"""The runs: every one of them live, sorted, filtered, marked and acted upon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, getters, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Static

from traindeck.core.base.sanitize import clean
from traindeck.core.catalogue.document import RunDoc
from traindeck.tui.keys import command, sort_keys
from traindeck.tui.readers.feed import RunsSnapshot
from traindeck.tui.screens.run.actions import RUN_BINDINGS
from traindeck.tui.screens.runs_shape import SHAPE_KEYS, ShapedRuns
from traindeck.tui.widgets.inbox_line import InboxLine
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.line_table import LineTable
from traindeck.tui.widgets.run_detail import RunDetail
from traindeck.tui.widgets.run_table import RunTable
from traindeck.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from traindeck.core.catalogue.query import Query
    from traindeck.tui.widgets.filter_bar import FilterBar

FILTER_SLICE = 0.008
"""Seconds of filtering between two looks at the keyboard."""
DETAIL_REST = 0.05
"""Seconds the cursor rests before the detail follows it."""

_NEED_RUNS = {
    *(
        "open",
        "mark",
        "mark_all",
        "filter",
        "sort_next",
        "sort_reverse",
        "columns",
        "group",
        "plot",
    ),
    *("stop", "kill", "again", "rename", "tag", "note", "delete", "copy_id", "copy_command"),
}


class RunsScreen(ShapedRuns):
    """The list of runs, the filter above it and the run under the cursor beside or below it."""

    CSS_PATH = "runs.tcss"
    AUTO_FOCUS = "RunTable"
    BINDING_GROUP_TITLE = "Runs"
    # The panel takes 36 cells; beside it the table keeps all it shows on 80.
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (116, "wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        command("runs.open", "enter", "open", "Open", "Watch the run; marked ones over each other"),
        command("runs.mark", "space", "mark", "Mark", "Mark or unmark the run, and go to the next"),
        command(
            "runs.filter",
            "slash",
            "filter",
            "Filter",
            "Filter by words, or by state:running recipe:torch* accuracy>0.98",
        ),
        *RUN_BINDINGS,
        *SHAPE_KEYS,
        command(
            "runs.mark-all",
            "ctrl+a",
            "mark_all",
            "Mark all",
            "Mark all that are shown, or unmark all",
            show=False,
        ),
        *sort_keys(show=True),
        command(
            "runs.back",
            "escape",
            "step_out",
            "Back",
            "Leave the group, clear the filter, then the marks",
            show=False,
        ),
    ]

    detail = getters.query_one(RunDetail)

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: RunsSnapshot | None = None
        self._known_names: tuple[RunsSnapshot | None, list[str]] = (None, [])
        self._behind = False
        self._query: Query | None = None
        self._docs: Sequence[RunDoc] = ()
        self._verdicts: dict[str, tuple[RunDoc, bool]] = {}
        self._wanted: str | None = None
        self._count = (-1, -1)
        self._filter_bar: FilterBar | None = None
        self._detail_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield TopBar("runs")
        yield InboxLine()
        yield Static("", id="empty")
        with Horizontal(id="body"):
            yield RunTable(self.app.clock)
            yield RunDetail(self.app.clock)
        yield KeyBar()

    async def on_mount(self) -> None:
        self._take_shape()
        await self._mount_groups()
        self._show_emptiness()
        self.watch(self.app, "snapshot", self._take)
        self.watch(self.app, "feed_problem", self._show_emptiness, init=False)
        self.set_interval(1.0, self._tick)

    # What is shown

    def _take(self, snapshot: RunsSnapshot | None) -> None:
        if snapshot is None:
            return
        self._snapshot = snapshot
        if self._seen_by_anyone():
            self._refresh_rows()
        else:
            self._behind = True

    def on_screen_resume(self) -> None:
        if self._behind:
            self._refresh_rows()

    def _seen_by_anyone(self) -> bool:
        """Whether nothing but dialogs lies over this screen."""
        if self.app.current_mode != "runs":
            return False
        stack = self.app.screen_stack
        above = stack[stack.index(self) + 1 :] if self in stack else []
        return all(isinstance(screen, ModalScreen) for screen in above)

    def _tick(self) -> None:
        if self._seen_by_anyone():
            self.table.tick()
            self.detail.tick()

    def _refresh_rows(self) -> None:
        """Filters the newest snapshot into the table."""
        snapshot = self._snapshot
        self._behind = False
        if snapshot is None:
            return
        gone = self.table.marked - snapshot.by_id.keys()
        if gone:
            self.table.mark(self.table.marked - gone)
        if self._query is None and not self.grouped:
            self.workers.cancel_group(self, "filter")
            self._show(snapshot.runs)
        else:
            self._choose_rows(snapshot, self._query)

    @work(exclusive=True, group="filter")
    async def _choose_rows(self, snapshot: RunsSnapshot, query: Query | None) -> None:
        """Asks the query about each run that changed, and puts those that fit into groups, in
        slices: keys never wait for it."""
        docs: Sequence[RunDoc] = snapshot.runs
        if query is not None:
            known, verdicts, fitting = self._verdicts, {}, []
            async for doc in _in_slices(snapshot.runs):
                run_id = doc["id"]
                verdict = known.get(run_id)
                if verdict is None or verdict[0] is not doc:
                    verdict = (doc, query.matches(doc))
                verdicts[run_id] = verdict
                if verdict[1]:
                    fitting.append(doc)
            self._verdicts, docs = verdicts, fitting
        self._docs = docs
        if self.grouped:
            grouper = self._grouper(docs)
            async for doc in _in_slices(docs):
                grouper.add(doc)
            docs = self._take_groups(grouper)
        self._show(docs)

    def _shown_docs(self) -> Sequence[RunDoc]:
        return self._docs

    def _show(self, docs: Sequence[RunDoc]) -> None:
        if not self.grouped:
            self._docs = docs
        with self.app.batch_update():
            self.table.show(docs)
            self._show_groups()
            if self._wanted is not None and self.table.select(self._wanted):
                self._wanted = None
            self._show_emptiness()
            self._show_count()

    def _show_count(self) -> None:
        if self._filter_bar is not None and self._snapshot is not None:
            count = (len(self._docs), len(self._snapshot.runs))
            if count != self._count:
                self._count = count
                self._filter_bar.count(*count)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there are no runs, there are no keys for them either."""
        return action not in _NEED_RUNS or bool(self._snapshot and self._snapshot.runs)

    def _show_emptiness(self) -> None:
        snapshot, problem = self._snapshot, self.app.feed_problem
        unread = bool(problem) and (snapshot is None or not snapshot.whole)
        empty = snapshot is None or not snapshot.runs or unread
        body = self.query_one("#body")
        if body.display == empty:
            self.refresh_bindings()
        body.display = not empty
        text = self.query_one("#empty", Static)
        text.display = empty
        if unread:
            text.update(
                Content.assemble(
                    ("The runs cannot be read.\n\n", "bold"),
                    clean(problem),
                    "\n\nThey are shown here as soon as that is mended.",
                )
            )
        elif snapshot is None:
            text.update(Content("Reading the runs…"))
        elif empty:
            keys = {
                binding.id: self.app.get_key_display(binding)
                for _, binding, _, _ in self.active_bindings.values()
            }
            text.update(
                Content.assemble(
                    ("No runs yet.\n\n", "bold"),
                    "Press ",
                    (keys.get("app.recipes", "2"), "bold $primary"),
                    " to see the recipes, choose one and launch it.\n",
                    "Or in a shell: ",
                    ("traindeck run torch-digits", "bold"),
                )
            )

    @on(LineTable.Moved)
    @on(events.Resize)
    def _detail_is_behind(self) -> None:
        """The cursor answers a key at once; what is beside it comes when the cursor rests."""
        if self._detail_timer is not None:
            self._detail_timer.stop()
        self._detail_timer = self.set_timer(DETAIL_REST, self._show_detail)

    def _show_detail(self) -> None:
        self._detail_timer = None
        docs = self._group_docs()[:1] if self.groups_shown else []
        self.detail.show(docs[0] if docs else self.table.current, strip=not self.has_class("wide"))

    # Choosing runs

    def targets(self) -> list[RunDoc]:
        """Of the marked runs those that the filter shows: nothing is done to what is not seen."""
        if self.groups_shown:
            return self._group_docs()
        marked = [doc for doc in self.table.items if doc["id"] in self.table.marked]
        if marked or self.table.current is None:
            return marked
        return [self.table.current]

    def follow(self, run_id: str) -> None:
        self._wanted = run_id

    @on(LineTable.Opened)
    def action_open(self) -> None:
        if self.groups_shown:
            self._look_into_group()
            return
        docs = self.targets()
        if docs:
            self.app.open_runs([doc["id"] for doc in docs])

    def action_mark(self) -> None:
        """Marks or unmarks the run, or all runs of the group, and goes to the next."""
        doc = self.table.current
        if self.groups_shown:
            ids = frozenset(each["id"] for each in self._group_docs())
            self.table.mark(
                self.table.marked - ids if self.table.marked >= ids else self.table.marked | ids
            )
        elif doc is not None:
            self.table.mark(self.table.marked ^ {doc["id"]})
        self._front.action_cursor_down()

    def action_mark_all(self) -> None:
        docs = self._docs if self.groups_shown else self.table.items
        shown = frozenset(doc["id"] for doc in docs)
        self.table.mark(frozenset() if self.table.marked >= shown else self.table.marked | shown)

    @property
    def _front(self) -> LineTable[Any, Any]:
        """The table that is seen."""
        shown = self._group_table if self.groups_shown else None
        return shown or self.table

    # Sorting

    def action_sort_next(self) -> None:
        self._front.action_sort_next()

    def action_sort_reverse(self) -> None:
        self._front.action_sort_reverse()

    # Filtering

    async def action_filter(self) -> None:
        from traindeck.tui.widgets.filter_bar import FilterBar

        if self._filter_bar is None:  # made when first asked for: start-up need not wait for it
            self._filter_bar = FilterBar(self.app.clock, self._names)
            await self.mount(self._filter_bar, after=self.query_one(TopBar))
        self._filter_bar.display = True
        self._filter_bar.input.focus()

    def _names(self) -> Collection[str]:
        """Parameters and metrics of all runs; none while not all were read."""
        snapshot = self._snapshot
        if snapshot is None or not snapshot.whole:
            return ()
        if self._known_names[0] is not snapshot:
            from traindeck.core.catalogue.values import names_of

            self._known_names = (snapshot, names_of(snapshot.runs))
        return self._known_names[1]

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        self._query = event.query
        self._verdicts = {}
        self._refresh_rows()

    def on_filter_bar_done(self, event: FilterBar.Done) -> None:
        if event.empty and self._filter_bar is not None:
            self._filter_bar.display = False
        self._front.focus()

    def action_step_out(self) -> None:
        if self._leave_group():
            return
        if self._filter_bar is not None and self._filter_bar.display:
            self._filter_bar.input.value = ""
            self._filter_bar.display = False
            self._front.focus()
        elif self.table.marked:
            self.table.mark(frozenset())


async def _in_slices(docs: Sequence[RunDoc]) -> AsyncIterator[RunDoc]:
    """Each of them, with a pause for the keyboard whenever a slice of time is used up."""
    pause_at = time.perf_counter() + FILTER_SLICE
    for count, doc in enumerate(docs):
        yield doc
        if count % 32 == 0 and time.perf_counter() > pause_at:
            await asyncio.sleep(0)
            pause_at = time.perf_counter() + FILTER_SLICE
