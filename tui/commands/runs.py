"""`traindeck show`, `metrics`, `logs`, `watch`: looking at runs."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.core.base.errors import INTERRUPTED, NotFoundError, TraindeckError
from traindeck.core.base.files import disk_use
from traindeck.core.base.format import percent, size
from traindeck.tui.commands.output import (
    AS_JSON,
    AS_JSON_LINES,
    ascii_number,
    duration,
    print_json,
    print_json_line,
    print_table,
    say,
)
from traindeck.tui.commands.statement import Out, of_run

if TYPE_CHECKING:
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.catalogue.library import Library
    from traindeck.core.run.folder import RunFolder

PRIVATE = typer.Option(
    "--private", help="Series of private training data too, which no epsilon covers."
)
Private = Annotated[bool, PRIVATE]
RUN = typer.Argument(help="An id or its unique start, a name, or @last.", metavar="ID")
Ref = Annotated[str, RUN]


def register(app: typer.Typer) -> None:
    for command in (show, metrics, logs, watch):
        app.command(command.__name__)(command)


def show(
    ref: Ref,
    as_json: Annotated[bool, AS_JSON] = False,
    private: Private = False,
    statement: Annotated[
        bool, typer.Option("--statement", help="A signed statement of its privacy, as JSON.")
    ] = False,
    out: Out = None,
) -> None:
    """Show all that is known of one run."""
    from traindeck.core.base.sanitize import WHOLE, plain
    from traindeck.core.catalogue.document import without_recipe
    from traindeck.core.privacy.report import RunPrivacy, exposes, words
    from traindeck.core.run.folder import RunFolder

    doc = library().find(ref)
    if statement or out:
        of_run(Path(doc["path"]), "owners" in doc["params"], out)
        return
    if as_json:
        print_json(shown(doc, private))
        return
    leave_out_private([doc], private)
    privacy = RunPrivacy.from_json(doc["privacy"])
    lines = words(privacy) if privacy else {"privacy": "no privacy accounting"}
    if not privacy and (ledger := RunFolder(Path(doc["path"])).ledger()):
        lines["privacy"] = f"none: {exposes(ledger)}"
    facts = {
        "state": doc["state"] + (f" ({doc['reason']})" if doc["reason"] else ""),
        "queue": f"place {doc['queue']['place']}: {doc['queue']['reason']}" if doc["queue"] else "",
        "recipe": doc["recipe"] or f"none ({without_recipe(doc)})",
        "framework": doc["framework"],
        "device": doc["device"],
        "command": " ".join(doc["command"]),
        "created": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(doc["created"])),
        "took": duration(doc["seconds"]),
        "progress": progress(doc),
        **lines,
        "federation": _federation_in_short(_federation(doc, private)),
        "sweep": _sweep_in_short(RunFolder(Path(doc["path"]))),
        "tags": ", ".join(doc["tags"]),
        "notes": doc["notes"],
        "folder": doc["path"],
        "on disk": size(disk_use(Path(doc["path"]))),
    }
    print(f"{doc['id']}  {plain(doc['name'])}")
    for key, value in facts.items():
        if value:
            print(f"  {key:<10} {plain(value, WHOLE)}")
    if doc["params"]:
        print()
        print_table(
            ("PARAMETER", "VALUE"),
            ((k, "not set" if v is None else plain(str(v))) for k, v in doc["params"].items()),
        )
    if doc["metrics"]:
        print()
        _print_summaries(doc)
    else:
        _say_hint(doc)


def shown(doc: RunDoc, private: bool) -> dict[str, Any]:
    """What `show --json` prints of a run, without what no epsilon covers unless asked for."""
    leave_out_private([doc], private)
    taken = disk_use(Path(doc["path"]))
    return {**doc, "bytes": taken, "federation": _federation(doc, private)}


def _federation(doc: RunDoc, private: bool) -> dict[str, Any] | None:
    """What a federated run's coordinator and owners say; None for other runs."""
    if not (Path(doc["path"]) / "federation").is_dir():
        return None
    from traindeck.core.federation.reader import read_federation
    from traindeck.core.run.state import ENDED

    status = read_federation(Path(doc["path"]))
    if status and doc["state"] in ENDED:
        status = status.over()
    return status.to_json(private=private) if status else None


def _sweep_in_short(run: RunFolder) -> str:
    """Of a trial: which, and what its own epsilon does not say of how it was chosen."""
    spec = run.spec()
    place = spec.get("sweep") if spec else None
    if not place:
        return ""
    from traindeck.core.base.home import Home
    from traindeck.core.sweeps.study import SweepFolder, sweeps_of
    from traindeck.tui.commands.sweep_words import tuning

    folder = SweepFolder(sweeps_of(Home(run.path.parent.parent)) / str(place.get("id")))
    said = f"trial {place.get('trial')} of {folder.id}"
    with contextlib.suppress(TraindeckError):  # the sweep may be deleted, or damaged
        said += tuning(folder.design().price, folder.design().select)
    return said


def _federation_in_short(status: dict[str, Any] | None) -> str:
    if status is None:
        return ""
    waiting = sum(bool(owner["waiting"]) for owner in status["owners"])
    total = status["rounds_total"]
    parts = [
        status["aggregation"],
        f"{len(status['owners'])} owners",
        f"round {status['round'] or 0} of {total}" if total else "",
        status["phase"],
        f"{waiting} with a script that waits for a hand" if waiting else "",
    ]
    return ", ".join(part for part in parts if part)


def metrics(
    ref: Ref,
    series: Annotated[
        list[str] | None, typer.Option(help="Only this series; may be repeated.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print every point as CSV.")] = False,
    as_json: Annotated[bool, AS_JSON] = False,
    private: Private = False,
) -> None:
    """Show a run's metrics in short, or every point with --csv or --json."""
    doc = library().find(ref)
    unknown = set(series or ()) - set(doc["metrics"])
    if unknown:
        known = ", ".join(doc["metrics"]) or "none"
        raise NotFoundError(f"run {doc['id']} has no series {unknown.pop()!r}; it has {known}")
    if series:
        doc["metrics"] = {name: doc["metrics"][name] for name in series}
    leave_out_private([doc], private or bool(series))  # by its name it was asked for
    wanted = list(doc["metrics"])
    if csv or as_json:
        from traindeck.core.run.points import read_points

        points = read_points(Path(doc["path"]), wanted)
        if as_json:
            print_json({name: {**doc["metrics"][name], "points": points[name]} for name in wanted})
            return
        _print_csv(points)
        return
    if wanted:
        _print_summaries(doc)
    else:
        say(f"run {doc['id']} has no metrics")
        _say_hint(doc)


def logs(
    ref: Ref,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    as_json: Annotated[bool, AS_JSON_LINES] = False,
) -> None:
    """Print what a run printed: its bytes to a pipe, made harmless to a terminal.

    With --json each line is an object: {"line": "what it printed"}.
    """
    from traindeck.core.base.sanitize import clean
    from traindeck.core.run.folder import RunFolder
    from traindeck.core.run.follow import Tail
    from traindeck.core.run.state import ENDED

    doc = library().find(ref, metrics=False)
    folder = Path(doc["path"])
    tail = Tail(folder / "output.log")
    by_line = as_json or sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns
    rest, again = b"", ""
    while True:
        over = RunFolder(folder).state()[0] in ENDED
        while data := tail.read(1 << 20)[0]:
            if by_line:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if as_json:
                        print_json_line(_log_line(line))
                    else:
                        print(again + clean(line))
                        again = ""
            else:
                sys.stdout.buffer.write(data)
            sys.stdout.flush()
        if over or not follow:
            break
        if b"\r" in rest and not as_json:  # a progress bar: it is drawn over itself
            print(again + clean(rest.rstrip(b"\r"))[: columns - 1], end="", flush=True)
            again = "\r\x1b[K"
        time.sleep(0.1)
    if rest and as_json:
        print_json_line(_log_line(rest))
    elif rest:
        print(again + clean(rest))


def _log_line(line: bytes) -> dict[str, str]:
    return {"line": line.decode("utf-8", "replace")}


def watch(
    ref: Ref, as_json: Annotated[bool, AS_JSON_LINES] = False, private: Private = False
) -> None:
    """Follow a run as plain lines until it ends.

    Exits 0 when it finished, 5 when a privacy budget ended it, else 1; or as a recipe that ended
    itself for wrong usage (2) or since something is not there (3, 4). With --json each line is an
    object whose type is state, metrics or that of an event.
    """
    from traindeck.tui.commands.live import follow

    doc = library().find(ref, metrics=False)
    try:
        code = follow(Path(doc["path"]), as_json=as_json, private=private)
    except KeyboardInterrupt:
        say(f"\nrun {doc['id']} goes on")
        raise typer.Exit(INTERRUPTED) from None
    if code:
        raise typer.Exit(code)


def leave_out_private(docs: Iterable[RunDoc], private: bool) -> None:
    """Take series of private training data out, unless they were asked for, and say so."""
    from traindeck.core.privacy.telemetry import public

    if private:
        return
    left_out = 0
    for doc in docs:
        kept = public(doc["metrics"])
        left_out += len(doc["metrics"]) - len(kept)
        if len(kept) < len(doc["metrics"]):
            doc["metrics"] = {name: doc["metrics"][name] for name in kept}
    if left_out:
        say(
            f"{left_out} private series left out: they were computed from private data and no"
            " epsilon covers them; --private gives them too"
        )


def _say_hint(doc: RunDoc) -> None:
    """How what a run prints becomes metrics, of one that printed and of which none was read."""
    from traindeck.tui.commands.parse import UNDERSTOOD

    try:
        printed = (Path(doc["path"]) / "output.log").stat().st_size
    except OSError:
        return
    if printed and doc["privacy"] is None:
        say(f"{UNDERSTOOD}; `traindeck parse {doc['id']}` shows what is read of each line")


def library() -> Library:
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library

    return Library(Home.default())


def progress(doc: RunDoc) -> str:
    progress = doc["progress"]
    if not progress or not progress["total"] > 0:
        return "–"
    done = f"{percent(progress['done'], progress['total'])}%"
    eta = progress["eta_seconds"]
    return f"{done}, {duration(eta)} left" if eta else done


def _print_summaries(doc: RunDoc) -> None:
    from traindeck.core.base.sanitize import plain

    print_table(
        ("SERIES", "LAST", "MIN", "MAX", "STEP", "POINTS"),
        (
            (
                plain(name),
                ascii_number(s["last"]),
                ascii_number(s["min"]),
                ascii_number(s["max"]),
                str(s["step"]),
                str(s["count"]),
            )
            for name, s in doc["metrics"].items()
        ),
    )


def _print_csv(points: dict[str, list[tuple[float, int, float]]]) -> None:
    import csv

    writer = csv.writer(sys.stdout)
    writer.writerow(("series", "step", "time", "value"))
    for name, series in points.items():
        for when, step, value in series:
            writer.writerow((name, step, f"{when:.6f}", repr(value)))
