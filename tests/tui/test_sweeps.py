"""The sweeps' screen: what each found, its trials, pictures of them; stopped, extended, deleted."""

from __future__ import annotations

from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from tests.core.sweeps.searched import a_design
from tests.tui.homes import NOW, make_run
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder
from traindeck.core.sweeps import study
from traindeck.core.sweeps.study import SweepFolder
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.dialogs import ConfirmDialog, PromptDialog
from traindeck.tui.screens.sweeps import SweepsScreen

SIZES = [(80, 24), (120, 40)]
FOUND = [
    (0.001, 64, 0.71), (0.003, 128, 0.82), (0.01, 256, 0.93), (0.02, 64, 0.95), (0.05, 128, 0.9),
    (0.09, 256, 0.62), (0.015, 64, None), (0.018, 128, 0.948),
]  # fmt: skip
PRICE = {
    "recipe": "mnist", "dataset": "mnist", "unit": "example", "delta": 1e-5, "runs": 8,
    "epsilon_run": 1.0, "epsilon_naive": 8.0, "epsilon_all": 3.17, "epsilon_poisson": 2.3,
    "epsilon_geometric": 2.2, "budget": "mnist", "share": 0.9, "fits": 8,
}  # fmt: skip


def made_sweep(home: Home, number: int = 1, **more: Any) -> SweepFolder:
    """A sweep whose eight trials are over; one of them failed."""
    sweep_id = f"0000000{number}"
    folder = study.sweeps_of(home) / sweep_id
    folder.mkdir(parents=True)
    design = a_design(
        id=sweep_id,
        name="mnist",
        command=("train", "{lr}", "{batch_size}"),
        typed={"lr": "log:1e-4..1e-1", "batch_size": "64,128,256"},
        trials=8,
        series="test/accuracy",
        direction="maximize",
        **more,
    )
    write_json(folder / "sweep.json", design.to_json())
    write_json(
        folder / "driver.json", {"state": "finished", "importance": {"lr": 0.9, "batch_size": 0.1}}
    )
    for trial, (lr, batch, value) in enumerate(FOUND):
        values = {"lr": lr, "batch_size": str(batch)}
        place = {"id": sweep_id, "trial": trial, "part": 0, "values": values}
        state = {} if value is not None else {"state": "failed", "reason": "exit code 1"}
        make_run(home, 10 * number + trial, metric=value, sweep=place, **state)
    return SweepFolder(folder)


async def open_sweeps(pilot: Pilot[Any]) -> SweepsScreen:
    await until_shown(pilot, "Runs")
    await pilot.press("S")
    await until(pilot, lambda: isinstance(pilot.app.screen, SweepsScreen), "the sweeps")
    screen = pilot.app.screen
    assert isinstance(screen, SweepsScreen)
    return screen


async def test_without_a_sweep_it_says_how_to_begin_one(app: TraindeckApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await open_sweeps(pilot)
        await until_shown(pilot, "traindeck sweep torch-digits -p lr=log:1e-3..1")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_best_is_told_with_what_decides_it(
    home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    made_sweep(home, price=PRICE)
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await open_sweeps(pilot)
        await until_shown(pilot, "0.95, trial 3: lr=0.02 batch_size=64")
        text = shown(pilot)
        assert "lr 90%, batch_size 10%" in text
        assert "tuning is charged to the budget of mnist" in text
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_pictures_of_the_trials(app: TraindeckApp, home: Home) -> None:
    made_sweep(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_sweeps(pilot)
        await until_shown(pilot, "best so far · x: trial")
        await until_shown(pilot, "3: 0.95")
        await pilot.press("X")
        await until_shown(pilot, "x: lr, log")
        assert "0.01" in shown(pilot) and "-2" not in shown(pilot)
        await pilot.press("X")
        await until_shown(pilot, "x: batch_size")
        assert "128" in shown(pilot).rpartition("x: batch_size")[2]
        await pilot.press("D")
        await until_shown(pilot, "7 trials side by side")
        for word in ("lr", "batch_size", "256", "0.95", "0.62"):
            assert word in shown(pilot)
        await pilot.press("D")
        await until_shown(pilot, "best so far")


async def test_from_a_sweep_to_a_trial_to_its_run(app: TraindeckApp, home: Home) -> None:
    made_sweep(home)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_sweeps(pilot)
        await until_shown(pilot, "trial 3")
        await pilot.press("enter")
        await until(pilot, lambda: screen.trials.has_focus)
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen is not screen)
        await until_shown(pilot, "mnist-17")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)


async def test_stopped_after_a_question(app: TraindeckApp, home: Home) -> None:
    folder = made_sweep(home)
    (folder.path / "driver.json").unlink()  # as if its driver had gone
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_sweeps(pilot)
        await until_shown(pilot, "interrupted")
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await until_shown(pilot, "Stop the sweep mnist?")
        await pilot.press("n")
        await until(pilot, lambda: pilot.app.screen is screen)
    assert folder.design().wanted == study.RUNNING


async def test_deleted_after_a_question(app: TraindeckApp, home: Home) -> None:
    made_sweep(home, 1)
    made_sweep(home, 2)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_sweeps(pilot)
        await until_shown(pilot, "00000001")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await until_shown(pilot, "Its 8 runs go to the trash.")
        await pilot.press("y")
        await until(pilot, lambda: [one.id for one in study.sweeps(home)] == ["00000001"])
        await until(pilot, lambda: "00000002" not in shown(pilot))
        assert len(list(home.trash.iterdir())) == 8


async def test_the_best_is_launched_again_with_other_values(app: TraindeckApp, home: Home) -> None:
    made_sweep(home)
    before = {path.name for path in home.runs.iterdir()}
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_sweeps(pilot)
        await until_shown(pilot, "trial 3")
        assert not screen.check_action("stop", ())
        await pilot.press("a")
        await until(pilot, lambda: isinstance(pilot.app.screen, PromptDialog))
        await pilot.press(*"epochs")
        await until_shown(pilot, "epochs is not name=value")
        await pilot.press(*"=20", "enter")
        await until(pilot, lambda: "mnist best was launched as run" in notices(pilot))
    [new] = {path.name for path in home.runs.iterdir()} - before
    spec = RunFolder(home.runs / new).spec()
    assert spec is not None and spec["argv"] == ["true", "--epochs", "20"]
    assert not spec.get("sweep")
