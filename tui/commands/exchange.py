"""`traindeck import`: runs of other tools. `export --to csv …`: ours for other tools."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.core.base.errors import TraindeckError, UsageError
from traindeck.core.base.format import counted
from traindeck.tui.commands.output import AS_JSON, patience, print_json, say, say_error, tell

if TYPE_CHECKING:
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.exchange.find import Found
    from traindeck.core.exchange.making import Maker
    from traindeck.core.exchange.runs import OutsideRun

RECORDS = ("tensorboard", "csv", "parquet", "mlflow", "jsonl", "media")
"""What a run's curves, parameters and tags, and what it showed, can be written as, beside the
formats of its model."""


def register(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    places: Annotated[
        list[Path], typer.Argument(help="Folders, looked through, or files.", metavar="PATH…")
    ],
    name: Annotated[
        str | None, typer.Option(help="The run's name, where there is one run.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tags of the runs besides theirs.")] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Make ended runs of what other tools left: curves, parameters, tags and times.

    Folders of TensorBoard, Keras, Lightning, MLflow (mlruns) and W&B (offline runs), CSV files,
    JSON lines, logs. Nothing of them is executed; what was imported before is not once more.
    Exits 1 when something could not be read, 3 when it is not there.
    """
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.store import Catalogue
    from traindeck.core.exchange.find import find
    from traindeck.core.exchange.making import Maker
    from traindeck.core.run.folder import check_words

    check_words(name=name, tags=tag or ())
    home, codes, told = Home.default(), [0], []
    with patience("reading …"), Maker(home) as maker:
        for place in dict.fromkeys(places):
            try:
                found = find(place)
                if name and len(found) > 1:
                    say(f"{place} holds {len(found):,} runs: they keep their own names")
            except (TraindeckError, OSError) as error:
                codes.append(say_error(error))
                continue
            for each in found:
                try:
                    told.append(
                        _take(maker, each, name if len(found) == 1 else None, tag or [], as_json)
                    )
                except (TraindeckError, OSError) as error:
                    codes.append(say_error(error))
    made = [home.runs / one["id"] for one in told if one["new"]]
    if made:
        Catalogue(home).sync(*made)
    if as_json:
        print_json(told)
    elif len(told) > 1:
        count = Counter(one["new"] for one in told)
        before = f"{count[False]:,} {'was' if count[False] == 1 else 'were'} there already"
        say(f"{counted(count[True], 'run')} imported, {before}")
    if max(codes):
        raise typer.Exit(max(codes))


def _take(
    maker: Maker, found: Found, name: str | None, tags: list[str], as_json: bool
) -> dict[str, Any]:
    """Make one run and tell of it. Raises what reading and making do."""
    from traindeck.core.base.sanitize import plain

    run = found.read()
    made = maker.make(run, name=name or "", tags=tags)
    shown = plain(run.name, 60)
    line = tell if not as_json else say
    if not made.new:
        line(f"{made.id}  {shown}: was imported before")
    else:
        line(f"{made.id}  {shown}: {_in_short(run)}, from {run.tool}")
    if made.since and made.new:
        say(f"  {made.since} was imported from the same place before that changed")
    if made.new:
        for remark in run.remarks:
            say(f"  {remark}")
    return {
        "id": made.id,
        "name": run.name,
        "new": made.new,
        "before": made.since,
        "tool": run.tool,
        "place": str(run.place),
        "points": run.points.count,
        "series": len(run.points.series),
        "params": run.params,
        "remarks": run.remarks,
    }


def _in_short(run: OutsideRun) -> str:
    parts = [
        f"{counted(run.points.count, 'point')} of {len(run.points.series):,} series",
        counted(len(run.params), "parameter") if run.params else "",
    ]
    return ", ".join(part for part in parts if part)


def records_among(to: str) -> list[str]:
    """The formats of records that `--to` names; none where it names those of models.

    Raises UsageError where it names both: these are two different things to do.
    """
    words = [word.strip() for word in to.split(",") if word.strip()]
    records = [word for word in words if word in RECORDS]
    if records and len(records) < len(words):
        model = next(word for word in words if word not in RECORDS)
        raise UsageError(
            f"--to {to}: {records[0]} is of a run's records and {model} of its model;"
            " export them one after the other"
        )
    return list(dict.fromkeys(records))


def give_records(
    refs: list[str], formats: list[str], into: Path | None, private: bool, as_json: bool
) -> None:
    """Write runs for other tools. Raises UsageError, what finding a run does, and OSError."""
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library
    from traindeck.core.exchange.giving import give
    from traindeck.tui.commands.runs import leave_out_private

    library = Library(Home.default())
    if into is None:
        *refs, last = refs
        into = Path(last)
        if not refs or (not into.is_dir() and _is_run(library, last)):
            raise UsageError("say where to: traindeck export RUN… --to csv DIR")
    docs = {doc["id"]: doc for doc in (library.find(ref) for ref in refs)}
    leave_out_private(docs.values(), private)
    told = []
    for doc in docs.values():
        run = _own(doc)
        with patience(f"writing {run.points.count:,} points …"):
            places = give(run, formats, into.expanduser(), private)
        if "media" in formats:
            _say_shown(run, private)
        told.append({"id": doc["id"], "paths": [str(place) for place in places]})
        if not as_json:
            for place in places:
                what = "what it showed" if place.name == "media" else f"{run.points.count:,} points"
                tell(f"{doc['id']}  {what}: {place}")
    if as_json:
        print_json(told)


def _say_shown(run: OutsideRun, private: bool) -> None:
    from traindeck.core.exchange.pictures import found

    shown, left_out = found(run.place, private)
    if left_out:
        say(f"{run.part}: {left_out:,} of what it showed left out as private; --private gives it")
    elif not shown:
        say(f"{run.part}: it showed no pictures, histograms, texts or tables")


def _is_run(library: Any, word: str) -> bool:
    try:
        library.find(word, metrics=False)
    except TraindeckError:
        return False
    return True


def _own(doc: RunDoc) -> OutsideRun:
    """A run of ours as others are to have it: the series that its document has."""
    from traindeck.core.exchange.own import TOOL, points_of
    from traindeck.core.exchange.runs import OutsideRun

    place = Path(doc["path"])
    return OutsideRun(
        TOOL,
        place,
        doc["name"],
        points_of(place, doc["metrics"]),
        part=doc["id"],
        params=doc["params"],
        tags=doc["tags"],
        notes=doc["notes"],
        state=doc["state"],
        reason=doc["reason"],
        exit_code=doc["exit_code"],
        started=doc["started"] or doc["created"],
        ended=doc["ended"],
    )
