"""What differs between runs is told on a tab of its own."""

from __future__ import annotations

import json

from syrupy.assertion import SnapshotAssertion

from tests.tui.pilots import shown, until_shown
from tests.tui.run_screens import finished, open_run
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp


async def test_in_what_they_differ_is_told_on_a_tab(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    ids = [finished(home, n, params={"lr": n / 10, "mode": "eager"}) for n in (1, 2)]
    for run_id, version in zip(ids, ("2.1", "2.2"), strict=True):
        source = home.runs / run_id / "source"
        source.mkdir(exist_ok=True)
        (source / "train.py").write_text(f"rate = {version}\nsteps = 10\n")
        known = {"packages": {"torch": version, "numpy": "2.0"}, "host": "here"}
        (source / "provenance.json").write_text(json.dumps(known))
    async with app.run_test(size=(120, 30)) as pilot:
        await open_run(pilot, *ids)
        await until_shown(pilot, "8 Parameters")
        await pilot.press("8")
        await until_shown(pilot, "+rate = 2.2")
        assert "numpy" not in shown(pilot)
        assert await screenshot(pilot) == snapshot.use_extension(Svg)
