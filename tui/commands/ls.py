"""`traindeck ls`: the runs as a table of any columns, sorted, grouped, or as CSV."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.tui.commands.cells import print_csv, said, say_none
from traindeck.tui.commands.output import (
    AS_JSON,
    ascii_number,
    duration,
    print_json,
    print_table,
)
from traindeck.tui.commands.runs import PRIVATE, leave_out_private, library, progress, shown

if TYPE_CHECKING:
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.catalogue.values import Pick

CSV_FIELDS = "id,name,state,recipe,device,created,took,epsilon,tags"


def register(app: typer.Typer) -> None:
    app.command("ls")(ls)


def ls(
    query: Annotated[
        str | None,
        typer.Option(help="Such as 'state:running recipe:torch* accuracy>0.98 lr<=0.1 tag:dp'."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Fields, parameters and metrics: 'name,lr,test/accuracy:best,took'."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="By any of these; -NAME the other way round.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Mean and deviation over runs alike in these, or in 'all but seed'.",
            metavar="NAMES",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only so many, the first ones.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, AS_JSON] = False,
    private: Annotated[bool, PRIVATE] = False,
) -> None:
    """List the runs, newest first."""
    runs = library()
    docs = runs.runs()
    with contextlib.suppress(OSError):  # a home that cannot be written can still be read
        runs.tend()
    chosen = columns or sort or group or as_csv
    names = _names(docs) if query or chosen else []
    if query:
        from traindeck.core.catalogue.query import parse

        wanted = parse(query, names=names)
        docs = [doc for doc in docs if wanted.matches(doc)]
    if sort and not group:
        docs = _sorted(docs, sort, names)
    if group:
        from traindeck.tui.commands.ls_groups import print_groups

        print_groups(docs, group, columns, sort, limit, names, as_csv=as_csv, as_json=as_json)
        return
    docs = docs[:limit]
    if chosen and (columns or as_csv):
        _print_columns(docs, columns, names, as_csv=as_csv, as_json=as_json, private=private)
    elif as_json:
        leave_out_private(docs, private)
        print_json([shown(doc, private) for doc in docs])
    elif docs:
        print_table(
            ("ID", "NAME", "STATE", "DONE", "HEADLINE", "EPSILON", "DEVICE", "TOOK", "AGE"),
            _rows(docs, time.time(), private),
        )
    else:
        say_none(bool(query))


def _names(docs: Iterable[RunDoc]) -> list[str]:
    from traindeck.core.catalogue.values import names_of

    return names_of(docs)


def _sorted(docs: Sequence[RunDoc], by: str, names: list[str]) -> list[RunDoc]:
    """By a column; runs that have nothing in it are last either way round."""
    from traindeck.core.catalogue.values import order, pick

    reverse = by.startswith("-")
    column = pick(by.removeprefix("-"), names)
    # What is longer ago has the greater age.
    reverse ^= column.kind == "age"
    keyed = [(order(column.value(doc)), doc) for doc in docs]
    known = [pair for pair in keyed if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=reverse)  # type: ignore[arg-type, return-value]
    return [doc for _, doc in known] + [doc for key, doc in keyed if key is None]


def _print_columns(
    docs: Sequence[RunDoc],
    columns: str | None,
    names: list[str],
    *,
    as_csv: bool,
    as_json: bool,
    private: bool,
) -> None:
    from traindeck.core.catalogue.values import picks
    from traindeck.core.privacy.telemetry import is_private

    if columns is None:
        public = [name for name in names if private or not is_private(name)]
        columns = ",".join([CSV_FIELDS, *public])
    chosen = picks(columns, names)
    if as_json:
        print_json([{each.text: each.value(doc) for each in chosen} for doc in docs])
    elif as_csv:
        head = [
            title
            for each in chosen
            for title in (each.text, *([f"{each.text} step"] if _steps(each) else []))
        ]
        print_csv(head, (_bare(chosen, doc) for doc in docs))
    elif docs:
        now = time.time()
        print_table(
            [each.text for each in chosen],
            ([_word(each, doc, now) for each in chosen] for doc in docs),
        )
    else:
        say_none(True)


def _steps(pick: Pick) -> bool:
    return pick.text.endswith((":best", ":min", ":max"))


def _bare(chosen: Sequence[Pick], doc: RunDoc) -> Iterator[Any]:
    for each in chosen:
        value = each.value(doc)
        yield "" if value is None else value
        if _steps(each):
            step = each.step(doc)
            yield "" if step is None else step


def _word(pick: Pick, doc: RunDoc, now: float) -> str:
    value = pick.value(doc)
    step = pick.step(doc)
    return said(pick.kind, value, now) + ("" if step is None else f" @{step}")


def _rows(docs: Iterable[RunDoc], now: float, private: bool) -> Iterator[tuple[str, ...]]:
    from traindeck.core.base.sanitize import plain
    from traindeck.core.privacy.report import RunPrivacy, in_short
    from traindeck.core.privacy.telemetry import is_private

    for doc in docs:
        headline = doc["headline"]
        hidden = headline is None or (is_private(headline) and not private)
        summary = None if headline is None or hidden else doc["metrics"].get(headline)
        privacy = RunPrivacy.from_json(doc["privacy"])
        yield (
            doc["id"],
            plain(doc["name"])[:30],
            doc["state"],
            progress(doc),
            f"{headline} {ascii_number(summary['last'])}" if summary else "–",
            in_short(privacy) if privacy else "–",
            doc["device"],
            duration(doc["seconds"]),
            duration(max(0.0, now - doc["created"])),
        )
