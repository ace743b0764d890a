"""What a run's privacy comes to, as text: epsilon, its bounds on one axis, and what they mean."""

from __future__ import annotations

import math
from functools import partial

from rich.cells import cell_len
from textual.content import Content
from textual.renderables.digits import DIGITS, DIGITS3X3

from traindeck.core.base.sanitize import plain
from traindeck.core.privacy import bounds, report
from traindeck.core.privacy.audit.result import POWER
from traindeck.core.privacy.report import RunPrivacy
from traindeck.tui.widgets.rows import Row, rows

LARGE_WIDTH = 50
"""Cells that a panel must have for an epsilon in large digits."""
_AXIS_WIDEST = 72
_SAMPLERS = {
    "poisson": "Poisson: each record in each batch by itself",
    "truncated": "truncated Poisson: each record by itself, up to a largest batch",
    "shuffle": "shuffled passes: one release in each, not amplified",
    "none": "every record in every batch",
}


at_most = partial(bounds.at_most, infinite="∞")
at_least = partial(bounds.at_least, infinite="∞")


def head(privacy: RunPrivacy, live: bool, width: int) -> Content:
    """What stands above the curve: what most need to see, the most needed first."""
    parts = [
        _reliance(privacy, width),
        _epsilon(privacy, live, width),
        _risk(privacy, width),
        _steps(privacy, live, width),
        *([_interval(privacy, width)] if privacy.audit or width >= LARGE_WIDTH else []),
    ]
    return Content("\n").join([part for part in parts if part.plain])


def foot(privacy: RunPrivacy, width: int) -> Content:
    """What stands below it: the assumptions; where there is little room, that no audit was made."""
    above = privacy.audit or width >= LARGE_WIDTH
    parts = [Content("") if above else _interval(privacy, width), assumptions(privacy, width)]
    return Content("\n\n").join([part for part in parts if part.plain])


def assumptions(privacy: RunPrivacy, width: int) -> Content:
    """Everything that the epsilon was computed from, and so depends on."""
    ledger, bands = privacy.ledger, privacy.bands
    cycles = f" in one step of each {bands}, its part's turn" if bands > 1 else ""
    correlated = f" in {bands} bands" if bands > 1 else ""
    most = f", {_count(privacy.max_batch)} at most" if privacy.max_batch else ""
    units = "users" if privacy.unit == "user" else "records"
    sampler = _SAMPLERS.get(privacy.sampler, _known(privacy.sampler))
    pairs: list[Row] = [
        ("unit", f"one {_known(privacy.unit)}"),
        ("neighbours", _known(privacy.relation)),
        ("sampler", sampler.replace("record", units[:-1]) + cycles),
        ("rate q", _real(privacy.sampling_rate, 6)),
        (
            "noise σ",
            f"{_real(privacy.noise_multiplier, 5)} × clipping norm (Gaussian{correlated}, float)",
        ),
        ("clipping norm", _clipping(privacy)),
        ("batch size", f"{_count(privacy.batch_size)} in expectation{most}, public"),
        (units, f"{_count(privacy.records)} at most, public"),
        ("data set", _known(privacy.dataset)),
        *([("public weights", _outside(privacy))] if privacy.pretrained else []),
        ("accountant", _known(privacy.accountant)),
        ("budget", f"of {plain(ledger)}" if ledger else "none: nothing is charged"),
        *([("audits see", POWER)] if privacy.audit else []),
    ]
    return Content.styled("assumptions", "bold") + "\n" + rows(pairs, width)


def _outside(privacy: RunPrivacy) -> str:
    return f"private data: ε is not about what they saw: {plain(privacy.pretrained, 200)}"


def _clipping(privacy: RunPrivacy) -> str:
    norm, how = _real(privacy.clipping_norm), privacy.adaptive
    if how is None:
        return norm
    noise, whose = report.gradient_noise(privacy), "gradients"
    if privacy.unit == "owner":
        whose = "updates"
    return (
        f"{norm} at first, adaptive: quantile {_real(how.quantile)}, noise {_real(how.count_noise)}"
        f" on its count, {_real(noise, 5)} on {whose}"
    )


def _reliance(privacy: RunPrivacy, width: int) -> Content:
    """Why this epsilon must not be relied upon."""
    lines = []
    if label := plain(privacy.label):
        lines.append(Content.styled(f"✗ {label}", "bold $text-error"))
    if exposed := plain(privacy.exposed, 300):
        lines += _wrapped(Content.styled(f"✗ {exposed}", "bold $text-error"), width)
    if privacy.audit and privacy.violated:
        verdict = (
            f"✗ audit violated: ε is at least {at_least(privacy.audit.lower)},"
            f" {at_most(privacy.audit.claimed)} is claimed: quarantined"
        )
        lines += _wrapped(Content.styled(verdict, "bold $text-error"), width)
    return Content("\n").join(lines)


def _epsilon(privacy: RunPrivacy, live: bool, width: int) -> Content:
    good = privacy.reliable and math.isfinite(privacy.epsilon)
    style = "bold $text-success" if good else "bold $text-error"
    figure = at_most(privacy.epsilon)
    unit = _known(privacy.unit)
    at_delta = f" at δ {_real(privacy.delta)}"
    beside = [
        Content.assemble(("ε at most ", "dim"), (figure, style), at_delta),
        Content(f"for one {unit}, {'spent so far' if live else 'spent'}"),
    ]
    if live or privacy.planned.steps != privacy.steps:
        end = at_most(privacy.planned.epsilon)
        beside.append(Content.assemble(("planned end: ε ", "dim"), end))
    if width < LARGE_WIDTH or figure == "∞":
        words = Content.assemble(("ε ", "dim"), (figure, style), f"{at_delta} for one {unit}")
        return Content("\n").join(_wrapped(words, width))
    large = digits(figure)
    indent = max(map(cell_len, large)) + 3
    lines = []
    for place, row in enumerate(large):
        aside = beside[place] if place < len(beside) else Content("")
        lines.append(Content.styled(row.ljust(indent), style) + aside)
    return Content("\n").join(lines)


def digits(figure: str) -> list[str]:
    """A number in three rows of large digits."""
    lines = ["", "", ""]
    for char in figure:
        glyph = ("", "", ".") if char == "." else None
        if glyph is None:
            at = 3 * DIGITS.index(char) if char in DIGITS else 0
            glyph = tuple(DIGITS3X3[at : at + 3])  # type: ignore[assignment]
        size = 1 if char == "." else 3
        for row, part in enumerate(glyph or ()):
            lines[row] += part.ljust(size)
    return lines


def _risk(privacy: RunPrivacy, width: int) -> Content:
    sentence = plain(report.risk_in_words(privacy))
    if not sentence or not privacy.reliable:
        return Content("")
    return Content("\n").join(_wrapped(Content.styled(sentence, "italic"), width))


def _steps(privacy: RunPrivacy, live: bool, width: int) -> Content:
    total, done = privacy.planned.steps, privacy.steps
    if total < 1:
        return Content("")
    if width < LARGE_WIDTH:
        words = f"{done:,}/{total:,}"
        words += f" → ε {at_most(privacy.planned.epsilon)}" if live else ""
    else:
        words = f"{done:,} of {total:,} steps spent"
        words += f", {total - done:,} left" if live else ""
    shown = labelled("steps", gauge([(done / total, "$text-primary")], _bar(width)), words, width)
    if not privacy.inherited:
        return shown
    lines = _wrapped(Content(report.inherits(privacy)), max(8, width - 9))
    return Content("\n").join([shown, *(Content(" " * 9) + line for line in lines)])


def _bar(width: int) -> int:
    return min(40, max(8, width // 4))


def labelled(name: str, bar: Content, words: str, width: int) -> Content:
    """A bar between its name and what it says, which goes below it where there is no room."""
    first = Content.styled(f"{name:<9}", "dim") + bar
    if first.cell_length + 2 + cell_len(words) <= width:
        return first + f"  {words}"
    below = [Content(" " * 9) + line for line in _wrapped(Content(words), max(8, width - 9))]
    return Content("\n").join([first, *below])


def gauge(shares: list[tuple[float, str]], width: int) -> Content:
    """Shares of a whole beside each other, each in its style; the rest is faint.

    Every share that is not nothing has at least half a cell, and only what is full looks full.
    """
    parts: list[Content] = []
    used, total = 0, 0.0
    for share, style in shares:
        total += max(0.0, share)
        end = min(2 * width, math.ceil(2 * width * total - 1e-9))
        if total < 1:
            end = min(end, 2 * width - 1)
        size = end - used
        if used % 2 and size:  # the half cell that the share before has left
            size -= 1
            used += 1
        glyphs = "━" * (size // 2) + ("╸" if size % 2 else "")
        if glyphs:
            parts.append(Content.styled(glyphs, style))
        used += size
    rest = width - (used + 1) // 2
    parts.append(Content.styled("─" * rest, "dim"))
    return Content("").join(parts)


def _interval(privacy: RunPrivacy, width: int) -> Content:
    """[audited, claimed] on one axis of epsilon, with what the audit says."""
    audit = privacy.audit
    if audit is None:
        if not math.isfinite(privacy.epsilon):
            return Content("")
        words = (
            f"at most {at_most(privacy.epsilon)}, by the proof; no audit yet:"
            " -p audit=true measures how much it is at least"
        )
        return Content.styled("bounds   ", "dim") + Content("\n" + " " * 9).join(
            _wrapped(Content(words), max(8, width - 9))
        )
    bad = audit.violated
    verdict = f"[{at_least(audit.lower)}, {at_most(audit.claimed)}] {audit.verdict}"
    if width >= LARGE_WIDTH:
        verdict += "" if bad else ", which is no proof"
        verdict += f" ({audit.confidence:.0%} confidence)" if audit.confidence > 0 else ""
    style = "bold $text-error" if bad else ""
    lines = [Content.styled("bounds   ", "dim") + Content.styled(verdict, style)]
    if cell_len(verdict) + 9 > width:
        broken = _wrapped(Content.styled(verdict, style), max(8, width - 9))
        lines = [Content.styled("bounds   ", "dim") + broken[0]]
        lines += [Content(" " * 9) + line for line in broken[1:]]
    if width >= LARGE_WIDTH:
        lines += axis(audit.lower, audit.claimed, min(width, _AXIS_WIDEST), bad)
    return Content("\n").join(lines)


def axis(lower: float, claimed: float, width: int, bad: bool) -> list[Content]:
    """Both bounds on an axis from 0, with their names below it: two lines of so many cells.

    In between is what neither the proof nor the measurement excludes; when the measurement is
    above the claim, what contradicts itself.
    """
    ends = [value for value in (lower, claimed) if math.isfinite(value)]
    end = max([*ends, 1e-3]) * 1.08
    room = max(8, width - 4)

    def place(value: float) -> int:
        return round(min(value, end) / end * (room - 1)) if math.isfinite(value) else room - 1

    left, right = sorted((place(lower), place(claimed)))
    tail = "├" if math.isfinite(claimed) else "▷"
    style = "$text-error" if bad else "$text-primary"
    line = Content.assemble(
        ("0 ", "dim"),
        ("─" * left, "dim"),
        ("●" + "━" * max(0, right - left - 1) + ("●" if right > left else ""), style),
        ("─" * (room - 1 - right) + tail.replace("├", "┤"), "dim"),
    )
    names = sorted([(place(lower), "measured"), (place(claimed), "claimed")])
    below = " " * (width + 12)
    used = -1
    for at, name in names:
        start = max(used + 1, min(at + 2 - len(name) // 2, width - len(name)))
        start = max(0, start)
        below = below[:start] + name + below[start + len(name) :]
        used = start + len(name)
    return [line, Content.styled(below.rstrip()[:width], "dim")]


def _wrapped(content: Content, width: int) -> list[Content]:
    return list(content.wrap(max(8, width)))


def _known(text: str) -> str:
    """A text, if the document that was read has it."""
    return plain(text) or "?"


def _real(value: float, digits: int = 4) -> str:
    return "?" if math.isnan(value) else f"{value:.{digits}g}"


def _count(value: int) -> str:
    return f"{value:,}" if value else "?"
