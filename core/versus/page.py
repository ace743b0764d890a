"""The comparison as one HTML page that needs nothing else: no network, no script, plots as SVG."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from html import escape

from traindeck.core.base.format import compact, timespan
from traindeck.core.versus.measured import Axis, Indicator, Sample
from traindeck.core.versus.report import Curve, Report
from traindeck.core.versus.text import PREFACE

COLORS = ("#b5540a", "#1f5fa8")
"""Of the two sides; both stand 5:1 against white."""

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
  color: #1d1d1f; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid #ddd; }
td.number { font-variant-numeric: tabular-nums; } .won { font-weight: 700; }
.missing { color: #666; font-style: italic; } .note { color: #555; font-size: .85em; }
.a { color: #b5540a; } .b { color: #1f5fa8; } code { font-size: .9em; }
.from { font-size: .85em; } svg { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } figcaption { font-size: .9em; color: #333; }
nav a { margin-right: 1rem; } .scroll { overflow-x: auto; }
"""


def html(report: Report) -> str:
    """The whole page. Every number links to the run that made it, at the page's end."""
    known = {run.id for run in report.runs}
    made = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(report.created))
    a, b = (escape(label) for label in report.labels)
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(report.title)}</h1>",
        f'<p><span class="a">■ {a}</span>: <code>{escape(report.recipes[0])}</code>, '
        f'<span class="b">■ {b}</span>: <code>{escape(report.recipes[1])}</code>; {escape(made)}. '
        f"{escape(PREFACE)} {report.count - report.missing} of {report.count} indicators were "
        "measured on both sides.</p>",
        "<nav>",
        *(f'<a href="#{axis.id}">{escape(axis.title)}</a>' for axis in report.axes),
        '<a href="#runs">runs</a></nav>',
    ]
    for axis in report.axes:
        parts.append(_axis(axis, report, known))
        if axis.id == "ease":
            parts += [_curves(report, series) for series in report.series()]
    parts += [_machine(report), _runs(report), "</body></html>"]
    return "\n".join(parts) + "\n"


def _axis(axis: Axis, report: Report, known: set[str]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in ("indicator", *report.labels, "", "from"))
    rows = "\n".join(_row(one, known) for one in axis.indicators)
    return (
        f'<section id="{axis.id}"><h2>{escape(axis.title.capitalize())}</h2>'
        f'<p class="verdict">{escape(axis.verdict(report.labels))}</p>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n'
        "</tbody></table></div></section>"
    )


def _row(one: Indicator, known: set[str]) -> str:
    notes = [each for each in (one.note, f"not compared: {one.held}" if one.held else "") if each]
    note = f'<div class="note">{escape("; ".join(notes))}</div>' if notes else ""
    cells = "".join(_cell(one, at) for at in (0, 1))
    links = {
        _link(source.run, source.command, known): None
        for side in one.sides
        for source in (side.sources if side else ())
    }
    return (
        f"<tr><td>{escape(one.name)}{note}</td>{cells}<td>{_strip(one)}</td>"
        f'<td class="from">{" ".join(links)}</td></tr>'
    )


def _cell(one: Indicator, at: int) -> str:
    side = one.sides[at]
    if side is None:
        return f'<td class="missing">{escape(one.missing())}</td>'
    won = " won" if one.winner == at else ""
    return f'<td class="number {"ab"[at]}{won}">{escape(side.shown(one.unit))}</td>'


def _link(run: str, command: str, known: set[str]) -> str:
    if not run:
        return f"<code>{escape(command)}</code>"
    name = escape(run)
    return f'<a href="#run-{name}">{name}</a>' if run in known else f"<code>{name}</code>"


def _strip(one: Indicator) -> str:
    """Both ranges on one line from 0, a dot a repeat; nothing where there is nothing to see."""
    sides = [side for side in one.sides if side is not None and side.values]
    if len(sides) < 2 or one.unit == "":
        return ""
    values = [value for side in sides for value in side.values]
    top = max(values)
    if not (math.isfinite(top) and top > 0 and min(values) >= 0):
        return ""
    marks = []
    for at, side in enumerate(sides):
        y = 8 + 12 * at
        low, high = (4 + 152 * end / top for end in (min(side.values), max(side.values)))
        marks.append(
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{COLORS[at]}" '
            'stroke-width="2"/>'
        )
        marks += [
            f'<circle cx="{4 + 152 * value / top:.1f}" cy="{y}" r="3.5" fill="{COLORS[at]}" '
            'fill-opacity=".7"/>'
            for value in side.values
        ]
    label = escape(f"{one.name}: {_said(sides[0], one)} and {_said(sides[1], one)}, from 0")
    return (
        f'<svg width="160" height="28" viewBox="0 0 160 28" role="img" aria-label="{label}">'
        f'<line x1="4" x2="4" y1="2" y2="26" stroke="#999"/>{"".join(marks)}</svg>'
    )


def _said(side: Sample, one: Indicator) -> str:
    return side.shown(one.unit)


def _curves(report: Report, series: str) -> str:
    """The twins' runs over each other: steps along, values up."""
    curves = [curve for curve in report.curves if curve.series == series]
    points = [p for curve in curves for p in curve.points if math.isfinite(p[1])]
    if not points:
        return ""
    right = max(max(step for step, _ in points), 1.0)
    low, high = min(value for _, value in points), max(value for _, value in points)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - room, high + room
    width, height, left, bottom = 720, 260, 62, 28

    def place(step: float, value: float) -> str:
        x = left + (width - left - 10) * step / right
        y = 8 + (height - bottom - 8) * (high - value) / (high - low)
        return f"{x:.1f},{y:.1f}"

    lines = [_line(curve, place) for curve in curves]
    grid = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = low + share * (high - low)
        y = place(0, value).partition(",")[2]
        grid.append(
            f'<line x1="{left}" x2="{width - 10}" y1="{y}" y2="{y}" stroke="#e3e3e3"/>'
            f'<text x="{left - 6}" y="{y}" text-anchor="end" dy="4">{_short(value)}</text>'
        )
        x = place(share * right, low).partition(",")[0]
        grid.append(
            f'<text x="{x}" y="{height - 8}" text-anchor="{"end" if share == 1 else "middle"}">'
            f"{_short(share * right)}</text>"
        )
    ids = ", ".join(dict.fromkeys(curve.run for curve in curves))
    caption = (
        f"{escape(series)} by step: "
        + " and ".join(
            f'<span class="{"ab"[at]}">{escape(label)}</span>'
            for at, label in enumerate(report.labels)
        )
        + f", a line a seed (runs {escape(ids)})"
    )
    return (
        f'<figure><svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(series)} of both sides by step" '
        f'font-size="11" fill="#444" font-family="system-ui, sans-serif">{"".join(grid)}'
        f"{''.join(lines)}</svg><figcaption>{caption}</figcaption></figure>"
    )


def _short(value: float) -> str:
    return compact(float(f"{value:.3g}"))


def _line(curve: Curve, place: object) -> str:
    assert callable(place)
    pieces: list[list[str]] = [[]]
    for step, value in curve.points:
        if math.isfinite(value):
            pieces[-1].append(place(step, value))
        elif pieces[-1]:
            pieces.append([])
    dash = ' stroke-dasharray="6 3"' if curve.side else ""
    return "".join(
        f'<polyline points="{" ".join(piece)}" fill="none" stroke="{COLORS[curve.side]}" '
        f'stroke-width="1.6" stroke-opacity=".85"{dash}/>'
        for piece in pieces
        if piece
    )


def _machine(report: Report) -> str:
    facts = {**report.machine, **{f"{n} version": v for n, v in report.versions.items()}}
    return (
        '<section id="machine"><h2>Machine</h2>' + _table(("what", "is"), list(facts.items()))
    ) + "</section>"


def _runs(report: Report) -> str:
    rows = []
    for run in report.runs:
        took = "–" if run.seconds is None else timespan(run.seconds)
        load = "–" if run.load is None else compact(run.load)
        rows.append(
            f'<tr id="run-{escape(run.id)}"><td>{escape(run.id)}</td><td>{escape(run.name)}</td>'
            f"<td><code>{escape(run.command)}</code></td><td>{escape(run.seed) or '–'}</td>"
            f"<td>{took}</td><td>{load}</td></tr>"
        )
    head = "".join(f"<th>{t}</th>" for t in ("run", "name", "typed", "seed", "took", "load"))
    return (
        '<section id="runs"><h2>Runs</h2><p class="note">traindeck show RUN tells all of one.</p>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div></section>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
