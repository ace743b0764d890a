"""Driving the app as a user does: wait for what must be seen, then press the next key."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot

from tests.conftest import PATIENCE


async def until(pilot: Pilot[Any], seen: Callable[[], object], what: str = "it") -> None:
    """Waits until something is so; generous, for machines are slow and loaded."""
    deadline = time.monotonic() + PATIENCE
    while not seen():
        late = time.monotonic() > deadline
        assert not late, f"{what} was not seen within {PATIENCE:.0f} s on\n{shown(pilot)}"
        await pilot.pause(0.02)


def shown(pilot: Pilot[Any]) -> str:
    """What is on the screen, as text."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line) for line in strips)


async def until_shown(pilot: Pilot[Any], text: str) -> None:
    await until(pilot, lambda: text in shown(pilot), repr(text))


def notices(pilot: Pilot[Any]) -> str:
    """All notifications that are up."""
    return "\n".join(f"{each.title} {each.message}" for each in pilot.app._notifications)
