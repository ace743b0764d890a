"""Screenshots of a Textual app as golden files.

    async def test_screen(snapshot):
        async with App().run_test(size=(80, 24)) as pilot:
            assert await screenshot(pilot) == snapshot.use_extension(Svg)

The SVG is kept beside the test in `__snapshots__/<test module>/<test>.svg`; open it in a browser to
see what the test sees. `pytest --snapshot-update` accepts a change.
"""

from __future__ import annotations

from typing import Any

from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.pilot import Pilot


class Svg(SingleFileSnapshotExtension):
    """One golden SVG a snapshot."""

    file_extension = "svg"
    _write_mode = WriteMode.TEXT


async def screenshot(pilot: Pilot[Any], title: str = "traindeck") -> str:
    """What the app shows once it has come to rest, as SVG; the same text on every machine."""
    shown = ""
    for _ in range(40):
        before = shown
        await pilot.pause()
        shown = pilot.app.export_screenshot(title=title, simplify=True)
        if shown == before:
            break
    return shown
