"""`traindeck parse`: what would be read from a log, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traindeck.core.base.errors import NotFoundError
from traindeck.core.base.format import counted
from traindeck.tui.commands.output import AS_JSON, print_json, say

if TYPE_CHECKING:
    from traindeck.core.exchange.printed.plan import Seen

UNDERSTOOD = (
    "understood are JSON and printed dicts, progress bars (tqdm, rich, Keras, Lightning), tables"
    " with a header, key=value, key: value and `loss 0.3`; also CSV and TensorBoard files below the"
    " folder. For anything else: --parse 'step (?P<step>\\d+) L=(?P<loss>\\S+)', or [parse] in"
    " settings.toml"
)
MOST_LINES = 2000  # shown
MOST_SILENT = 20  # shown where nothing was read


def register(app: typer.Typer) -> None:
    app.command("parse")(parse)


def parse(
    file: Annotated[str, typer.Argument(help="A log file, or a run's id or name.")],
    pattern: Annotated[
        list[str] | None,
        typer.Option("--parse", metavar="REGEX", help="Read by these named groups, too."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Lines that say nothing, too.")] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Show which metrics are read from a log, and why."""
    from traindeck.core.exchange.printed.patterns import Pattern
    from traindeck.core.exchange.printed.plan import Seen
    from traindeck.core.exchange.printed.reader import StdoutMetrics

    reader = StdoutMetrics(tuple(Pattern(text) for text in pattern or ()))
    seen: list[Seen] = []
    reader.seen = seen
    series: dict[str, int] = {}
    silent: list[Seen] = []  # the first lines that said nothing
    lines = shown = 0
    try:
        with _log(file).open("rb") as log:
            more = True
            while more:
                more = bool(data := log.read(1 << 20))
                metrics = reader.feed(data) if more else reader.finish()
                lines += len(seen)
                for _, name, _ in metrics:
                    series[name] = series.get(name, 0) + 1
                if rest := metrics[sum(len(line.metrics) for line in seen) :]:
                    seen.append(Seen("", "box", "what ended there", rest))
                for line in seen:
                    if (line.metrics or every) and not as_json and shown < MOST_LINES:
                        shown += 1
                        _print(line)
                silent += [line for line in seen if not line.metrics][: MOST_SILENT - len(silent)]
                seen.clear()
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror or error}") from None
    if as_json:
        progress = reader.progress
        print_json({"series": series, "progress": progress, "lines_with_numbers": lines})
        return
    sys.stdout.flush()
    if series:
        points = counted(sum(series.values()), "point")
        say(f"{points} of {len(series)} series: {', '.join(series)}")
        return
    for line in () if every else silent:
        _print(line)
    sys.stdout.flush()
    say(f"no metrics in {counted(lines, 'line')} with numbers; {UNDERSTOOD}")


def _print(line: Seen) -> None:
    from traindeck.core.base.sanitize import plain

    if not line.metrics:
        print(f"-  {plain(line.line.strip())}\n     {plain(line.why)}")
        return
    step = line.metrics[0][0]
    values = "  ".join(f"{plain(name)} {value:g}" for _, name, value in line.metrics)
    print(f"+  {plain(line.line.strip())}\n     {plain(line.why)}: step {step}  {values}")


def _log(file: str) -> Path:
    path = Path(file).expanduser()
    if path.exists():
        return path
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library, RunNotFound

    try:
        return Path(Library(Home.default()).find(file, metrics=False)["path"]) / "output.log"
    except RunNotFound as error:
        raise NotFoundError(f"there is no file {file!r}, and {error}") from None
