"""What commands print: JSON and tables on stdout, all else on stderr."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer

from traindeck.core.base.errors import FAILED, TraindeckError
from traindeck.core.base.format import compact, timespan

AS_JSON = typer.Option("--json", help="Print JSON.")
PATIENCE_SECONDS = 2.0
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
    """Tell people something that is not the command's result."""
    typer.echo(text, err=True)


def say_error(error: TraindeckError | OSError) -> int:
    """Tell in one line what people can mend; returns the exit code it stands for."""
    if isinstance(error, TraindeckError):
        say(f"error: {error}")
        return error.exit_code
    where = f"{error.filename}: " if error.filename else ""
    say(f"error: {where}{error.strerror or error}")
    return FAILED


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their contents; what people and recipes wrote is made harmless."""
    lines = [tuple(head), *map(tuple, rows)]
    if not "".join(map("".join, lines)).isprintable():
        from traindeck.core.base.sanitize import plain

        lines = [tuple(map(plain, line)) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    template = "  ".join(f"{{:<{width}}}" for width in widths)
    sys.stdout.write("".join(f"{template.format(*line).rstrip()}\n" for line in lines))


def ascii_number(value: float | None) -> str:
    """A number in at most nine characters, in ASCII: a terminal may have no more."""
    return "–" if value is None else compact(value).replace("∞", "inf")


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 42s, 3m05s, 2h07m, 5d03h."""
    return "–" if seconds is None else timespan(seconds)
