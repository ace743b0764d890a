"""The comparison as Markdown."""

from __future__ import annotations

import time

from traindeck.core.base.format import compact, timespan
from traindeck.core.versus.measured import Indicator, Sample
from traindeck.core.versus.report import Report


def markdown(report: Report) -> str:
    """The whole report; runs are named by their ids, listed with what was typed at its end."""
    a, b = report.labels
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.created))
    lines = [
        f"# {report.title}",
        "",
        f"`{report.recipes[0]}` and `{report.recipes[1]}`, {made}. {PREFACE}",
        "",
    ]
    for axis in report.axes:
        lines += [f"## {axis.title.capitalize()}", "", f"**{axis.verdict(report.labels)}**", ""]
        lines += [f"| indicator | {a} | {b} | from |", "| --- | --- | --- | --- |"]
        for one in axis.indicators:
            cells = [_cell(one, side) for side in one.sides]
            lines.append(f"| {_safe(titled(one))} | {cells[0]} | {cells[1]} | {_sources(one)} |")
        lines.append("")
    lines += ["## Machine", "", "| what | is |", "| --- | --- |"]
    facts = {**report.machine, **{f"{n} version": v for n, v in report.versions.items()}}
    lines += [f"| {_safe(name)} | {_safe(value)} |" for name, value in facts.items()]
    lines += ["", "## Runs", "", "| run | typed | seed | took | load |", "| --- " * 5 + "|"]
    for run in report.runs:
        took = "–" if run.seconds is None else timespan(run.seconds)
        load = "–" if run.load is None else compact(run.load)
        typed = _safe(run.command)
        lines.append(f"| {run.id} | `{typed}` | {run.seed or '–'} | {took} | {load} |")
    return "\n".join(lines) + "\n"


PREFACE = (
    "Medians with the least and greatest of all repeats; a side is called ahead only where the"
    " ranges of three repeats or more do not touch, or where what differs was counted, not timed."
    " Every figure is of this machine."
)


def titled(one: Indicator) -> str:
    """Its name with the unit, and what must be known to read it."""
    unit = f" [{one.unit}]" if one.unit else ""
    notes = [each for each in (one.note, f"not compared: {one.held}" if one.held else "") if each]
    return f"{one.name}{unit}" + (f" ({'; '.join(notes)})" if notes else "")


def _cell(one: Indicator, side: Sample | None) -> str:
    if side is None:
        return _safe(one.missing())
    shown = _safe(side.shown())
    won = one.winner is not None and one.sides[one.winner] is side
    return f"**{shown}**" if won else shown


def _sources(one: Indicator) -> str:
    """The runs, or the commands in code."""
    found: dict[str, None] = {}
    for side in one.sides:
        for source in side.sources if side else ():
            found[source.run or f"`{source.command}`"] = None
    return " ".join(found) or "–"


def _safe(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
