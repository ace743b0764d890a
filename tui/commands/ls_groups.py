"""`traindeck ls --group`: runs alike in some parameters as one line, mean and deviation each."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from traindeck.tui.commands.cells import print_csv, said, say_none
from traindeck.tui.commands.output import ascii_number, duration, print_json, print_table

if TYPE_CHECKING:
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.catalogue.groups import Group, Spread
    from traindeck.core.catalogue.values import Pick


def print_groups(
    docs: list[RunDoc],
    by: str,
    columns: str | None,
    sort: str | None,
    limit: int | None,
    names: list[str],
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    from traindeck.core.catalogue.groups import (
        EXCEPT_SEED,
        SEEDS,
        grouped,
        in_common,
        keys_of,
        varied,
    )
    from traindeck.core.catalogue.values import PARAMS, picks

    if by.strip() == EXCEPT_SEED:
        by = ",".join(f"{PARAMS}{name}" for name in varied(docs) if name not in SEEDS) or "recipe"
    keys = keys_of(picks(by, names), docs)
    chosen = picks(columns or _speaking(docs), names)
    groups = grouped(docs, keys)
    if sort:
        groups = _sorted_groups(groups, sort, names)
    rows = [(group, [in_common(group, each) for each in chosen]) for group in groups[:limit]]
    if as_json:
        print_json(
            [
                {
                    "group": {each.text: end for each, end in zip(keys, group.key, strict=True)},
                    "runs": [doc["id"] for doc in group.docs],
                    "columns": {
                        each.text: _spread_json(value)
                        for each, value in zip(chosen, values, strict=True)
                    },
                }
                for group, values in rows
            ]
        )
        return
    heads = [each.text.removeprefix(PARAMS) for each in keys]
    if as_csv:
        spreads = [f"{each.text} {what}" for each in chosen for what in ("mean", "std", "n")]
        print_csv(
            [*heads, "runs", *spreads],
            (
                [
                    *("" if end is None else end for end in group.key),
                    len(group.docs),
                    *(cell for value in values for cell in _spread_cells(value)),
                ]
                for group, values in rows
            ),
        )
        return
    if not rows:
        say_none(True)
        return
    now = time.time()
    print_table(
        [*heads, "RUNS", *(each.text for each in chosen)],
        (
            [
                *(said(each.kind, end, now) for each, end in zip(keys, group.key, strict=True)),
                str(len(group.docs)),
                *(
                    _spread_word(each, value, len(group.docs), now)
                    for each, value in zip(chosen, values, strict=True)
                ),
            ]
            for group, values in rows
        ),
    )


def _speaking(docs: Iterable[RunDoc]) -> str:
    """The metric that most runs speak of themselves by, and what they took."""
    from collections import Counter

    from traindeck.core.privacy.telemetry import is_private

    heads = Counter(d["headline"] for d in docs if d["headline"] and not is_private(d["headline"]))
    return ",".join([*(f"{name},{name}:best" for name, _ in heads.most_common(1)), "took"])


def _sorted_groups(groups: list[Group[RunDoc]], by: str, names: list[str]) -> list[Group[RunDoc]]:
    from traindeck.core.catalogue.groups import Spread, in_common
    from traindeck.core.catalogue.values import order, pick

    column = pick(by.removeprefix("-"), names)

    def key(group: Group[RunDoc]) -> Any:
        value = in_common(group, column)
        return order(value.mean if isinstance(value, Spread) else value)

    keyed = [(key(group), group) for group in groups]
    known = sorted(
        (pair for pair in keyed if pair[0] is not None),
        key=lambda pair: pair[0],
        reverse=by.startswith("-"),
    )
    return [group for _, group in known] + [group for end, group in keyed if end is None]


def _spread_word(pick: Pick, value: Spread | Any | None, runs: int, now: float) -> str:
    from traindeck.core.catalogue.groups import Spread

    if not isinstance(value, Spread):
        return said(pick.kind, value, now)
    mean = duration(value.mean) if pick.kind == "span" else ascii_number(value.mean)
    part = f" ({value.count})" if value.count < runs else ""
    if value.std is None:
        return mean + part
    std = duration(value.std) if pick.kind == "span" else ascii_number(float(f"{value.std:.2g}"))
    return f"{mean} ± {std}{part}"


def _spread_json(value: Spread | Any | None) -> Any:
    from traindeck.core.catalogue.groups import Spread

    if isinstance(value, Spread):
        return {"mean": value.mean, "std": value.std, "count": value.count}
    return value


def _spread_cells(value: Spread | Any | None) -> tuple[Any, Any, Any]:
    from traindeck.core.catalogue.groups import Spread

    if isinstance(value, Spread):
        return value.mean, "" if value.std is None else value.std, value.count
    return "" if value is None else value, "", ""
