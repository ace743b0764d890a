"""What commands print: JSON and tables on stdout, all else on stderr."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import typer

from traindeck.core.base.errors import FAILED, TraindeckError
from traindeck.core.base.format import compact, harmless, on_one_line, timespan

AS_JSON = typer.Option("--json", help="Print JSON.")
INTERPRETER = typer.Option(help="Run the recipe with another interpreter.")
ACCEPT_NO_PRIVACY = typer.Option(
    "--accept-no-privacy",
    help="Train without privacy even on a data set that has a privacy budget.",
)
REASON = typer.Option(help="Why no privacy is accepted, for the budget's ledger.")
PATIENCE_SECONDS = 2.0
LINE = 120
"""Letters that a line of prose has at most on a terminal."""
GAP = 2
"""Cells between two columns of a table."""
_NARROW = re.compile("[ -\u02ff\u0370-\u04ff\u2010-\u2027\u2190-\u22ff]*")
"""Letters of one cell each."""
_NUMERAL = re.compile(r"([-+]?\d+)((?:\.\d+)?(?:e[-+]?\d+)?)(?: .*)?")
AS_JSON_LINES = typer.Option("--json", help="Print JSON, one object a line.")


@contextlib.contextmanager
def patience(words: str) -> Iterator[None]:
    """Say what is being worked out, once it takes longer than two seconds."""
    saying = threading.Timer(PATIENCE_SECONDS, say, [words])
    saying.daemon = True
    saying.start()
    try:
        yield
    finally:
        saying.cancel()


def print_json(value: Any) -> None:
    _write(_encoded(value, indent=True))


def print_json_line(value: dict[str, Any]) -> None:
    """One object on a line of its own, at once: whoever reads it may be waiting for it."""
    _write(_encoded(value, indent=False))


def _write(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data + b"\n")
    sys.stdout.buffer.flush()


def _encoded(value: Any, *, indent: bool) -> bytes:
    import orjson

    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        return orjson.dumps(value, default=str, option=options)
    except TypeError:  # a file name that is not UTF-8
        import json

        text = json.dumps(_sound(value), indent=2 if indent else None, ensure_ascii=False)
        return text.encode()


def _sound(value: Any) -> Any:
    """The same in what JSON has; what of a string is not Unicode becomes U+FFFD."""
    if isinstance(value, dict):
        return {_sound(str(key)): _sound(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sound(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def say(text: str) -> None:
    """Tell people something that is not the command's result; on a terminal broken at words."""
    text = harmless(text)
    if len(text) > LINE and sys.stderr.isatty():
        import shutil

        text = at_words(text, min(LINE, shutil.get_terminal_size().columns))
    typer.echo(text, err=True)


def tell(text: str) -> None:
    """Print the command's result for people, whatever names and reasons are in it."""
    print(harmless(text))


def at_words(text: str, width: int) -> str:
    """The text in lines of at most so many letters, broken at spaces alone."""
    import textwrap

    return "\n".join(
        "\n".join(
            textwrap.wrap(line, max(20, width), break_long_words=False, break_on_hyphens=False)
        )
        for line in text.split("\n")
    )


def say_error(error: TraindeckError | OSError) -> int:
    """Tell in one line what people can mend; returns the exit code it stands for."""
    if isinstance(error, TraindeckError):
        what, code = str(error), error.exit_code
    else:
        where = f"{os.fsdecode(error.filename)}: " if _is_path(error.filename) else ""
        what, code = f"{where}{error.strerror or error}", FAILED
    say(f"error: {on_one_line(what)}")
    return code


def _is_path(name: object) -> TypeGuard[str | bytes | os.PathLike[str]]:
    return bool(name) and isinstance(name, (str, bytes, os.PathLike))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their contents, and no wider in all than the terminal, if there is one.

    What people and recipes wrote is made harmless. A column of numbers has their points below each
    other. Into a pipe everything goes whole.
    """
    lines = [tuple(head), *map(tuple, rows)]
    everything = "".join(map("".join, lines))
    if not everything.isprintable():
        from traindeck.core.base.sanitize import plain

        lines = [tuple(map(plain, line)) for line in lines]
    columns: list[Sequence[str]] = list(zip(*lines, strict=True))
    columns[1:] = [[column[0], *aligned(column[1:])] for column in columns[1:]]
    narrow = _NARROW.fullmatch(everything) is not None
    size = len if narrow else cell_width
    widths = [max(map(size, column)) for column in columns]
    most = terminal_width()
    if most is not None and sum(widths) + GAP * (len(widths) - 1) > most:
        widths = narrowed(widths, most)
        columns = [
            [cut(cell, width) for cell in column]
            for column, width in zip(columns, widths, strict=True)
        ]
    gap = " " * GAP
    template = gap.join(f"{{:<{width}}}" for width in widths)
    for line in zip(*columns, strict=True):
        if narrow:
            text = template.format(*line).rstrip()
        else:
            cells = (
                f"{cell}{' ' * (w - size(cell))}" for cell, w in zip(line, widths, strict=True)
            )
            text = gap.join(cells).rstrip()
        sys.stdout.write(f"{text if most is None else cut(text, most)}\n")


def terminal_width() -> int | None:
    """Cells of the terminal that stdout is; None where it is none."""
    if not sys.stdout.isatty():
        return None
    import shutil

    return max(1, shutil.get_terminal_size().columns)


def aligned(cells: Sequence[str]) -> Sequence[str]:
    """Numbers with their points below each other; cells of which any is a word as they are."""
    wholes = []
    for cell in cells:
        numeral = _NUMERAL.fullmatch(cell)
        if numeral is None and cell.strip("–"):
            return cells
        wholes.append(len(numeral[1]) if numeral else -1)
    most = max(wholes, default=0)
    return [
        cell if whole < 0 else " " * (most - whole) + cell
        for cell, whole in zip(cells, wholes, strict=True)
    ]


def narrowed(widths: Sequence[int], most: int) -> list[int]:
    """Widths that together with their gaps need no more than `most`: the widest give first."""
    room = max(len(widths), most - GAP * (len(widths) - 1))
    kept = list(widths)
    while (over := sum(kept) - room) > 0:
        widest = max(kept)
        if widest <= 1:
            break
        at = [place for place, width in enumerate(kept) if width == widest]
        below = max((width for width in kept if width < widest), default=1)
        step = max(1, min(widest - below, over // len(at)))
        for place in at[: max(1, over // step)]:
            kept[place] -= step
    return kept


def cut(text: str, width: int) -> str:
    """The text in at most so many cells: what is missing is missing in its middle."""
    if text.isascii() and len(text) <= width:
        return text
    if cell_width(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    head, tail = text, text
    while cell_width(head) > width // 2:
        head = head[:-1]
    while cell_width(tail) > width - 1 - width // 2:
        tail = tail[1:]
    return f"{head}…{tail}"


def cell_width(text: str) -> int:
    """Cells that a terminal gives a text: two for wide letters, none for what joins another."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )


def ascii_number(value: float | None) -> str:
    """A number in at most nine characters, in ASCII: a terminal may have no more."""
    return "–" if value is None else compact(value).replace("∞", "inf")


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 42s, 3m05s, 2h07m, 5d03h."""
    return "–" if seconds is None else timespan(seconds)
