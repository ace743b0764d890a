"""A run of another tool is shown as what it is: its curves, and no device that it never had."""

from __future__ import annotations

from pathlib import Path

from tests.core.exchange.outside import mlflow_run, take
from tests.tui.pilots import shown, until_shown
from tests.tui.run_screens import open_run
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp


async def test_every_panel_has_something_true_to_say(
    app: TraindeckApp, home: Home, tmp_path: Path
) -> None:
    mlflow_run(tmp_path / "mlruns")
    [made] = take(home, tmp_path / "mlruns")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "fit")
        await open_run(pilot, made.id)
        await until_shown(pilot, "3 points")
        assert "a command" not in shown(pilot)
        for key in "5679":
            await pilot.press(key)
            await pilot.pause()
        await pilot.press("8")
        await until_shown(pilot, "imported")
        said = shown(pilot)
        assert "MLflow" in said
        assert "mlruns" in said
        assert "work tree was clean" not in said
        assert "device" not in said
