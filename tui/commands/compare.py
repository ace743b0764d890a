"""`traindeck compare`: runs side by side, and in what they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.core.base.errors import UsageError
from traindeck.tui.commands.cells import said
from traindeck.tui.commands.output import (
    AS_JSON,
    ascii_number,
    duration,
    print_json,
    print_table,
    say,
)
from traindeck.tui.commands.runs import PRIVATE, leave_out_private, library, progress

if TYPE_CHECKING:
    from traindeck.core.catalogue.differences import Differences
    from traindeck.core.catalogue.document import RunDoc


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    refs: Annotated[
        list[str], typer.Argument(help="Two to eight runs: ids, names or @last.", metavar="ID…")
    ],
    diff: Annotated[bool, typer.Option("--diff", help="How the code differs.")] = False,
    as_json: Annotated[bool, AS_JSON] = False,
    private: Annotated[bool, PRIVATE] = False,
) -> None:
    """Compare runs: what they came to, and in what they differ.

    Parameters, interpreter, packages, commit and device are told where they differ; of the code how
    many lines do, and with --diff each of them, from the first run to every other.
    """
    from traindeck.core.catalogue.differences import MOST_RUNS, differences

    if not 2 <= len(refs) <= MOST_RUNS:
        raise UsageError(f"{len(refs)} runs cannot be compared: name two to {MOST_RUNS}")
    runs = library()
    docs = [runs.find(ref) for ref in refs]
    leave_out_private(docs, private)
    found = differences(docs)
    if as_json:
        print_json(
            {
                "runs": [doc["id"] for doc in docs],
                "metrics": _metrics(docs),
                "params": found.params,
                "facts": found.facts,
                "packages": found.packages,
                "untold": found.untold,
                "diffs": ["\n".join(lines) for lines in found.diffs],
            }
        )
        return
    _print(docs, found, diff)
    if diff:
        _print_diffs(found)


def _metrics(docs: Sequence[RunDoc]) -> dict[str, list[dict[str, Any] | None]]:
    names = dict.fromkeys(name for doc in docs for name in doc["metrics"])
    return {
        name: [None if name not in doc["metrics"] else {**doc["metrics"][name]} for doc in docs]
        for name in names
    }


def _print(docs: Sequence[RunDoc], found: Differences, diff: bool) -> None:
    from traindeck.core.base.sanitize import plain
    from traindeck.core.catalogue.values import falls

    metrics = _metrics(docs)
    about: dict[str, list[str]] = {
        "state": [doc["state"] for doc in docs],
        "done": [progress(doc) for doc in docs],
        "took": [duration(doc["seconds"]) for doc in docs],
    }
    came_to: dict[str, list[str]] = {}
    for name, each in metrics.items():
        came_to[name] = ["–" if one is None else ascii_number(one["last"]) for one in each]
        end = "min" if falls(name) else "max"
        came_to[f"{name} best"] = [_best(one, end) for one in each]
    sections = (
        ("", about),
        ("METRIC", came_to),
        ("PARAMETER", {name: _words(each) for name, each in found.params.items()}),
        ("MADE OF", {name: _words(each) for name, each in found.facts.items()}),
        ("PACKAGE", {name: _words(each) for name, each in found.packages.items()}),
    )
    head = [plain(f"{doc['name']} {doc['id']}") for doc in docs]
    rows: list[tuple[str, ...]] = []
    for title, lines in sections:
        if lines and title:
            rows += [("",) * (len(docs) + 1), (title, *("" for _ in docs))]
        rows += [(plain(name), *map(plain, cells)) for name, cells in lines.items()]
    print_table(("", *head), rows)
    if alike := _alike(found, diff):
        print(f"\n{alike}")
    for name, untold in zip(head, found.untold, strict=True):
        if untold:
            say(f"{name}: {untold}")


def _best(summary: Mapping[str, Any] | None, end: str) -> str:
    if summary is None:
        return "–"
    step = summary.get(f"{end}_step")
    return ascii_number(summary[end]) + ("" if step is None else f" @{step}")


def _words(values: Sequence[Any]) -> list[str]:
    return ["not set" if value is None else said("text", value, 0.0) for value in values]


def _alike(found: Differences, diff: bool) -> str:
    """What does not differ, and how much of the code does."""
    changed = [sum(_is_change(line) for line in lines) for lines in found.diffs]
    words = []
    if any(changed):
        counts = ", ".join(map(str, changed))
        shown = "" if diff else "; --diff shows them"
        words.append(f"code: {counts} lines differ from the first run's{shown}")
    if same := found.alike:
        words.append(f"the same: {', '.join(same)}")
    return "; ".join(words)


def _is_change(line: str) -> bool:
    return line[:1] in ("+", "-") and not line.startswith(("+++ ", "--- "))


def _print_diffs(found: Differences) -> None:
    from traindeck.core.base.sanitize import clean

    if not any(found.diffs):
        say("no code differs")
    for lines in found.diffs:
        for line in lines:
            print(clean(line))
