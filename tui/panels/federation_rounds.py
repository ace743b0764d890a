"""Owners against rounds: who did what in which, as far as it is in sight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len
from textual.content import Content

from traindeck.core.base.format import compact
from traindeck.core.base.sanitize import plain
from traindeck.core.federation.status import (
    UNKNOWN,
    FederationStatus,
    OwnerStatus,
    RoundStatus,
)
from traindeck.tui.widgets.columns import fitted
from traindeck.tui.widgets.rows import sparkline

GLYPHS = {
    "warming": ("◔", "$text-warning"),
    "waiting": ("◌", "$foreground"),
    "approved": ("○", "$text-secondary"),
    "training": ("◐", "bold $text-primary"),
    "sent": ("●", "$text-success"),
    "refused": ("✗", "bold $text-error"),
    "lost": ("!", "bold reverse $text-error"),
    "ended": ("■", "dim"),
    UNKNOWN: ("?", "dim"),
}
"""Symbol and style of each state of an owner."""
LEGEND = tuple(state for state in GLYPHS if state != UNKNOWN)
NAME_MOST, _STATE_CELLS = 16, 10


@dataclass(frozen=True, slots=True)
class RoundsWindow:
    """Which rounds are in sight: `older` are to the left of them, `newer` to the right."""

    columns: tuple[RoundStatus | None, ...]
    pitch: int
    older: int
    newer: int


def window(federation: FederationStatus, width: int, back: int) -> RoundsWindow:
    """The rounds that fit, the newest unless one looks `back` by so many; None is the present."""
    every: list[RoundStatus | None] = list(federation.rounds)
    newest = federation.rounds[-1].number if federation.rounds else -1
    now = federation.round
    if now and now > newest and federation.phase == "training":
        every.append(None)
    room = max(2, width - _left(federation))
    pitch = 2 if 2 * len(every) <= room else 1
    fit = room // pitch
    back = max(0, min(back, len(every) - fit))
    end = len(every) - back
    start = max(0, end - fit)
    return RoundsWindow(tuple(every[start:end]), pitch, start, back)


def hidden(federation: FederationStatus, width: int, back: int) -> Content:
    """Which rounds are out of sight, and the keys that bring them."""
    seen = window(federation, width, back)
    ways = [f"← {seen.older} older"] if seen.older else []
    ways += [f"→ {seen.newer} newer"] if seen.newer else []
    return Content.styled(f"  {' · '.join(ways)}" if ways else "", "dim")


def matrix(federation: FederationStatus, width: int, back: int = 0) -> Content:
    """Owners against rounds; below them accuracy, the norm if it moves, and seconds of each."""
    seen = window(federation, width, back)
    left = _left(federation)
    names = _name_cells(federation)
    numbers = [federation.round if each is None else each.number for each in seen.columns]
    lines = [
        Content.styled(fitted("owner", names + 1) + fitted("now", _STATE_CELLS + 1), "dim")
        + Content.styled(_ruler(numbers, seen.pitch), "dim")
    ]
    for owner in federation.owners:
        glyph, style = GLYPHS[owner.state]
        states = [_state_in(owner, each, federation) for each in seen.columns]
        cells = [
            (GLYPHS[state][0].ljust(seen.pitch) * len(list(run)), GLYPHS[state][1])
            if state
            else (" " * seen.pitch * len(list(run)), "")
            for state, run in groupby(states)
        ]
        lines.append(
            Content.assemble(
                fitted(plain(owner.name), names + 1),
                (fitted(f"{glyph} {owner.state}", _STATE_CELLS + 1), style),
                *cells,
            )
        )
    finished = [each for each in seen.columns if each is not None]
    for label, unit, values in (
        ("accuracy", "", [each.accuracy for each in finished]),
        ("norm", "", [each.clipping_norm for each in finished]),
        ("seconds", " s", [each.seconds for each in finished]),
    ):
        if any(value is not None and math.isfinite(value) for value in values):
            last = next((value for value in reversed(values) if value is not None), math.nan)
            head = fitted(label, names + 1) + fitted(compact(last) + unit, left - names - 1)
            lines.append(
                Content.assemble((head, "dim"), (_course(values, seen.pitch), "$text-accent"))
            )
    return Content("\n").join(lines)


def legend(width: int) -> Content:
    """What the symbols mean."""
    words = [Content.styled(f"{GLYPHS[state][0]} {state}", GLYPHS[state][1]) for state in LEGEND]
    lines = [Content("")]
    for word in words:
        if lines[-1] and lines[-1].cell_length + 1 + word.cell_length > width:
            lines.append(Content(""))
        lines[-1] = lines[-1] + " " + word if lines[-1] else word
    return Content("\n").join(lines)


def _name_cells(federation: FederationStatus) -> int:
    longest = max((cell_len(plain(owner.name)) for owner in federation.owners), default=5)
    return min(NAME_MOST, max(8, longest))


def _left(federation: FederationStatus) -> int:
    return _name_cells(federation) + _STATE_CELLS + 2


def _state_in(owner: OwnerStatus, when: RoundStatus | None, federation: FederationStatus) -> str:
    """The state of an owner in a round; nothing when it had no part in it."""
    if when is not None:
        return "lost" if owner.name in when.lost else when.states.get(owner.name, "")
    behind = owner.round is not None and owner.round != federation.round
    return "waiting" if behind and owner.state in ("training", "sent") else owner.state


def _ruler(numbers: Sequence[int | None], pitch: int) -> str:
    """Numbers of rounds, each ending at its column: the last one, and every tenth that has room."""
    line = [" "] * (pitch * len(numbers))
    free = len(line) + 1
    for place in reversed(range(len(numbers))):
        number = numbers[place]
        if number is None or (number % 10 and place not in (0, len(numbers) - 1)):
            continue
        text = f"{number:,}"
        start = max(0, place * pitch + 1 - len(text))
        if start + len(text) < free:
            line[start : start + len(text)] = text
            free = start
    return "".join(line)


def _course(values: Sequence[float | None], pitch: int) -> str:
    """The values as blocks between the least and the greatest of them."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    least, span = min(finite), max(finite) - min(finite)
    above = [math.nan if value is None else value - least for value in values]
    if not math.isfinite(span):
        return ""
    return "".join(block.ljust(pitch) for block in sparkline(above, len(above), span))
