"""Columns of groups of runs: what they are alike in, mean and deviation of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from traindeck.core.base.format import timespan
from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.groups import Group, Spread, in_common
from traindeck.core.catalogue.values import PARAMS, Pick, order, pick
from traindeck.tui.widgets.columns import Key, Part
from traindeck.tui.widgets.picked_columns import TITLE_MOST, pointed
from traindeck.tui.widgets.run_columns import NONE, number


@dataclass(slots=True)
class GroupRow:
    """A group of runs as a line; what its columns show is worked out when first asked for."""

    group: Group[RunDoc]
    cells: dict[str, Any]

    @property
    def key(self) -> str:
        return repr(self.group.key)


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """A column of groups of runs; see `columns.Sized`."""

    id: str
    title: str
    width: int
    rank: int
    parts: Callable[[GroupRow, float, int], Sequence[Part]]
    key: Callable[[GroupRow], Key]
    grow: int = 0
    most: int = 40
    right: bool = False


def group_columns(by: Sequence[Pick], names: Sequence[str]) -> list[GroupColumn]:
    """What the groups have in common, how many runs they have, mean and deviation of the rest."""
    made = [_key_column(place, each) for place, each in enumerate(by)]
    made.append(
        GroupColumn(
            "runs",
            "Runs",
            5,
            0,
            lambda row, now, width: [(str(len(row.group.docs)), "")],
            lambda row: float(len(row.group.docs)),
            right=True,
        )
    )
    taken = {each.text for each in by}
    for name in names:
        if name not in taken:
            made.append(_spread_column(pick(name), rank=len(made)))
    return made


def _key_column(place: int, picked: Pick) -> GroupColumn:
    title = plain(picked.text.removeprefix(PARAMS))

    def parts(row: GroupRow, now: float, width: int) -> Sequence[Part]:
        value = row.group.key[place]
        if value is None or value == "":
            return [(NONE, "dim")]
        return [(plain(str(value)), "")]

    return GroupColumn(
        f"by {picked.text}",
        title,
        max(8, min(len(title), TITLE_MOST)),
        0,
        parts,
        lambda row: order(row.group.key[place]),
        grow=1,
    )


def _spread_column(picked: Pick, rank: int) -> GroupColumn:
    title = plain(picked.text.removeprefix(PARAMS))

    def common(row: GroupRow) -> Spread | Any:
        if picked.text not in row.cells:
            row.cells[picked.text] = in_common(row.group, picked)
        return row.cells[picked.text]

    def parts(row: GroupRow, now: float, width: int) -> Sequence[Part]:
        value = common(row)
        if value is None or value == "":
            return [(NONE, "dim")]
        if not isinstance(value, Spread):
            return [(plain(str(value)), "")]
        part = f" ({value.count})" if value.count < len(row.group.docs) else ""
        if picked.kind == "span":
            std = "" if value.std is None else f" ± {timespan(value.std)}"
            return [(timespan(value.mean), ""), (std + part, "dim")]
        std = "" if value.std is None else f" ± {number(float(f'{value.std:.2g}'))}"
        std += part
        return [(pointed(value.mean, width - len(std)), ""), (std, "dim")]

    def key(row: GroupRow) -> Key:
        value = common(row)
        return order(value.mean if isinstance(value, Spread) else value)

    return GroupColumn(picked.text, title, max(20, min(len(title), 24)), rank, parts, key)
