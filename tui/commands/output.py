"""What commands print: JSON and tables on stdout, all else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

AS_JSON = typer.Option("--json", help="Print JSON.")


def print_json(value: Any) -> None:
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    sys.stdout.buffer.write(orjson.dumps(value, default=str, option=options) + b"\n")
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """Tell people something that is not the command's result."""
    typer.echo(text, err=True)


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their contents; what people and recipes wrote is made harmless."""
    lines = [tuple(head), *map(tuple, rows)]
    if not "".join(map("".join, lines)).isprintable():
        from traindeck.core.text import plain

        lines = [tuple(map(plain, line)) for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    template = "  ".join(f"{{:<{width}}}" for width in widths)
    sys.stdout.write("".join(f"{template.format(*line).rstrip()}\n" for line in lines))


def figure(value: float | None) -> str:
    """A number in at most about eight characters."""
    return "–" if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 42s, 3m05s, 2h07m, 5d03h."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
