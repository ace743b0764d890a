"""How the list of runs is shown, and remembered: its columns, order, and what it is grouped by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import getters, on
from textual.binding import BindingType
from textual.containers import Horizontal

from traindeck.core.base.errors import UsageError
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.privacy.telemetry import is_private
from traindeck.tui.keys import command
from traindeck.tui.screens.run.actions import RunActions
from traindeck.tui.widgets.line_table import LineTable
from traindeck.tui.widgets.run_columns import COLUMNS
from traindeck.tui.widgets.run_table import RunTable

if TYPE_CHECKING:
    from traindeck.core.catalogue.groups import Group, Grouper
    from traindeck.core.catalogue.values import Pick
    from traindeck.tui.widgets.group_table import GroupTable
    from traindeck.tui.widgets.run_columns import Column

SHAPE_KEYS: list[BindingType] = [
    command(
        "runs.columns", "e", "columns", "Columns", "Choose the columns: any parameter or metric"
    ),
    command(
        "runs.group",
        "b",
        "group",
        "Group by",
        "Tell runs alike in a parameter or tag as one: mean and deviation over seeds",
    ),
    command(
        "runs.plot",
        "P",
        "plot",
        "Plot",
        "A metric against a parameter, of the runs that are shown or marked",
        show=False,
    ),
]

GROUPABLE = ("recipe", "tags", "state", "device", "framework")


@dataclass(frozen=True, slots=True)
class Shape:
    """columns, none for the table's own; what it is sorted by and whether the other way round; what
    it is grouped by, empty for nothing."""

    columns: tuple[str, ...] = ()
    sort: tuple[str, bool] | None = None
    group: str = ""
    group_sort: tuple[str, bool] | None = None

    @classmethod
    def of(cls, state: object, columns: tuple[str, ...]) -> Shape:
        """What was remembered; `columns` are those of the settings. Never raises."""
        known: Mapping[str, Any] = state if isinstance(state, dict) else {}
        chosen = known.get("columns")
        group = known.get("group")
        return cls(
            tuple(map(str, chosen)) if isinstance(chosen, list) else columns,
            _sort(known.get("sort")),
            group if isinstance(group, str) else "",
            _sort(known.get("group_sort")),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "sort": self.sort and list(self.sort),
            "group": self.group,
            "group_sort": self.group_sort and list(self.group_sort),
        }


def _sort(value: object) -> tuple[str, bool] | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        return value[0], bool(value[1])
    return None


class ShapedRuns(RunActions):
    """The part of the list of runs that knows its shape."""

    BINDINGS: ClassVar[list[BindingType]] = []

    table = getters.query_one(RunTable)

    def __init__(self) -> None:
        super().__init__()
        self.shape = Shape.of(self.app.remembered.get("runs"), self.app.settings.columns)
        self._by: tuple[Pick, ...] = ()
        self._keys: dict[str, Any] = {}
        self._groups: list[Group[RunDoc]] = []
        self._inside: str | None = None
        self._group_table: GroupTable | None = None

    def _shown_docs(self) -> Sequence[RunDoc]:
        """The runs that the filter shows."""
        raise NotImplementedError

    def _refresh_rows(self) -> None:
        raise NotImplementedError

    def _take_shape(self) -> None:
        """Puts the shape that was remembered on the table."""
        shape = self.shape
        if shape.columns:
            self.table.choose(_columns(shape.columns))
        if shape.sort is not None:
            (column,) = _columns([shape.sort[0]]) or (None,)
            if column is not None:
                self.table.sort_by(column, shape.sort[1])
        self._by = self._picks(shape.group)

    def _keep_shape(self, **changes: Any) -> None:
        before, self.shape = self.shape, replace(self.shape, **changes)
        if self.shape != before:
            what = "The columns cannot be remembered"
            self.app.remember(what, runs=self.shape.to_json())

    @on(LineTable.Sorted)
    def _sorted(self, event: LineTable.Sorted) -> None:
        by = event.table.sorted_by
        name = "sort" if event.table is self.table else "group_sort"
        self._keep_shape(**{name: by and (by[0].id, by[1])})

    # Columns

    def action_columns(self) -> None:
        from traindeck.core.catalogue.groups import varied
        from traindeck.core.catalogue.values import FIELDS, names_of
        from traindeck.tui.screens.columns_dialog import ColumnsDialog
        from traindeck.tui.widgets.picked_columns import OWN

        docs = self._shown_docs()
        names = names_of(docs)
        differing = [name for name in varied(docs) if name in names]
        series = [name for name in names if any(name in doc["metrics"] for doc in docs)]
        params = [name for name in names if name not in series]
        offered = [
            *OWN,
            *(name for name in FIELDS if name not in OWN),
            *differing,
            *(name for name in params if name not in differing),
            *(each for name in series for each in (name, f"{name}:best")),
        ]

        def answered(chosen: list[str] | None) -> None:
            if chosen is not None:
                own = chosen == [column.id for column in COLUMNS]
                self._keep_shape(columns=() if own else tuple(chosen))
                self.table.choose(_columns(self.shape.columns))
                self._show_groups()

        now = self.shape.columns or tuple(column.id for column in COLUMNS)
        example = self.table.current or (docs[0] if docs else None)
        self.app.push_screen(ColumnsDialog(now, list(dict.fromkeys(offered)), example), answered)

    # Groups

    @property
    def grouped(self) -> bool:
        return bool(self.shape.group)

    @property
    def groups_shown(self) -> bool:
        """Whether groups are on the screen, rather than runs."""
        return self.grouped and self._inside is None and self._group_table is not None

    def _picks(self, text: str) -> tuple[Pick, ...]:
        """What is grouped by; nothing yet for what depends on the runs."""
        from traindeck.core.catalogue.groups import EXCEPT_SEED
        from traindeck.core.catalogue.values import pick

        if text == EXCEPT_SEED:
            return ()
        try:
            return tuple(pick(each) for each in text.split(",") if each.strip())
        except UsageError:
            return ()

    def action_group(self) -> None:
        from traindeck.core.catalogue.groups import EXCEPT_SEED, SEEDS, varied
        from traindeck.core.catalogue.values import PARAMS
        from traindeck.tui.screens.dialogs import ChoiceDialog

        docs = self._shown_docs()
        names = [name for name in varied(docs) if name not in SEEDS]
        choices = [("", "nothing: one line a run")]
        if names:
            choices.append(
                (EXCEPT_SEED, f"all parameters that differ, the seed aside ({len(names)})")
            )
        choices += [(f"{PARAMS}{name}", name) for name in names]
        choices += [(name, "tag" if name == "tags" else name) for name in GROUPABLE]

        async def answered(choice: str | None) -> None:
            if choice is not None:
                await self._group_by(choice)

        self.app.push_screen(ChoiceDialog("What are runs to be alike in?", choices), answered)

    async def _group_by(self, group: str) -> None:
        self._inside = None
        self._keep_shape(group=group)
        self._by = self._picks(group)
        self._keys = {}
        await self._mount_groups()
        self._refresh_rows()

    async def _mount_groups(self) -> None:
        """Makes the table of groups when it is first asked for: start-up need not wait for it."""
        if self.grouped and self._group_table is None:
            from traindeck.tui.widgets.group_table import GroupTable

            table = GroupTable(self.app.clock, id="groups")
            await self.query_one("#body", Horizontal).mount(table, before=self.table)
            self._group_table = table

    def _grouper(self, docs: Sequence[RunDoc]) -> Grouper[RunDoc]:
        """What puts runs into the groups asked for."""
        from traindeck.core.catalogue.groups import EXCEPT_SEED, SEEDS, Grouper, varied
        from traindeck.core.catalogue.values import PARAMS, pick

        if self.shape.group == EXCEPT_SEED:
            names = [name for name in varied(docs) if name not in SEEDS]
            by = tuple(pick(f"{PARAMS}{name}") for name in names) or self._picks("recipe")
            if [each.text for each in by] != [each.text for each in self._by]:
                self._by, self._keys = by, {}
        return Grouper(self._by, self._keys)

    def _take_groups(self, grouper: Grouper[RunDoc]) -> Sequence[RunDoc]:
        """Keeps the groups; returns the runs of the one that is looked into, else none."""
        self._keys, self._groups = grouper.known, grouper.groups()
        return next((each.docs for each in self._groups if repr(each.key) == self._inside), ())

    def _show_groups(self) -> None:
        """Shows the groups, or the runs of one."""
        table = self._group_table
        self.table.display = not self.groups_shown
        if table is None:
            return
        table.display = self.groups_shown
        if not self.groups_shown:
            return
        names = [name for name in self.shape.columns if _counts(name)]
        table.take(self._by, names or _speaking(self._groups))
        if self.shape.group_sort is not None and table.sorted_by is None:
            by, reverse = self.shape.group_sort
            table.sorted_by = next(((c, reverse) for c in table.offered if c.id == by), None)
        table.show_groups(self._groups)
        if self.focused is None or self.focused is self.table:
            table.focus()

    def _look_into_group(self) -> None:
        row = self._group_table.current if self._group_table else None
        if row is not None:
            self._inside = row.key
            self._refresh_rows()
            self.table.focus()

    def _leave_group(self) -> bool:
        """Back to the groups; whether it was in one."""
        if self._inside is None:
            return False
        self._inside = None
        self._refresh_rows()
        if self._group_table is not None:
            self._group_table.focus()
        return True

    def _group_docs(self) -> list[RunDoc]:
        row = self._group_table.current if self._group_table else None
        return list(row.group.docs) if row is not None else []

    # A metric against a parameter

    def action_plot(self) -> None:
        docs = self.targets() if self.table.marked and not self.groups_shown else self._shown_docs()
        names = tuple(self.shape.columns)

        def show(screen_type: Any) -> None:
            self.app.push_screen(screen_type(list(docs), names))

        self.app.in_background("The plot cannot be shown", _plot_type, show)


def _plot_type() -> Any:
    """With it comes all that draws, which takes a moment."""
    from traindeck.tui.screens.plot import PlotScreen

    return PlotScreen


def _columns(names: Sequence[str]) -> list[Column]:
    """The columns of these names; what makes them is loaded where some were chosen."""
    from traindeck.tui.widgets.picked_columns import columns_of

    return columns_of(names)


def _counts(name: str) -> bool:
    """Whether a column is one of numbers, which have a mean."""
    from traindeck.core.catalogue.values import pick

    try:
        return pick(name).kind in ("number", "span") and name not in (
            "progress",
            "eta",
            "exit_code",
        )
    except UsageError:
        return False


def _speaking(groups: Sequence[Group[RunDoc]]) -> list[str]:
    """The metric that most runs speak of themselves by, its best, and what they took."""
    heads = Counter(
        doc["headline"]
        for group in groups
        for doc in group.docs
        if doc["headline"] and not is_private(doc["headline"])
    )
    return [*(each for name, _ in heads.most_common(1) for each in (name, f"{name}:best")), "took"]
