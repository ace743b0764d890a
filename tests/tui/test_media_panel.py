"""The tab of what a run shows besides numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from tests.tui.homes import make_run
from tests.tui.pilots import shown, until_shown
from tests.tui.run_screens import finished, open_run
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.run import media
from traindeck.core.track import Run
from traindeck.tui.app import TraindeckApp
from traindeck.tui.panels.media import MediaPanel
from traindeck.tui.readers.media import MOST_KEPT, MediaLook
from traindeck.tui.widgets.half_blocks import HalfBlocks

SIZES = [(80, 24), (120, 30), (200, 50)]


def show_things(folder: Path, steps: int = 12) -> None:
    """Two names of pictures and one of each other kind, at every tenth step."""
    run, draw = Run(folder=folder, managed=True), np.random.default_rng(1)
    circle = np.hypot(*np.mgrid[-14:14, -14:14])
    for step in range(0, 10 * steps, 10):
        run.image(step, "digits", np.clip(1.5 - abs(circle - 4 - step / 20) / 3, 0, 1))
        run.histogram(step, "weights/first", draw.normal(step / 40, 1 + step / 100, 1000))
        run.text(step, "sample", f"after {step} steps:\nonce upon a time")
    run.image(0, "red", np.dstack([np.full((8, 8), 200), np.zeros((8, 8)), np.zeros((8, 8))]) / 255)
    run.table(step, "confusion", [["cat", 41, 3], ["dog", 5, 51]], ["is \\ said", "cat", "dog"])
    run.close()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_picture(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    run_id = finished(home)
    show_things(home.runs / run_id)
    async with app.run_test(size=size) as pilot:
        await open_run(pilot, run_id)
        await until_shown(pilot, "M Media")
        await pilot.press("M")
        await until_shown(pilot, "28 x 28 pixels")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_histograms_over_time(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    run_id = finished(home)
    show_things(home.runs / run_id)
    async with app.run_test(size=size) as pilot:
        await open_run(pilot, run_id)
        await until_shown(pilot, "M Media")
        await pilot.press("M", "n", "n")
        await until_shown(pilot, "at step 110: 1,000 values")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_keys_step_through_steps_and_names(app: TraindeckApp, home: Home) -> None:
    run_id = finished(home)
    show_things(home.runs / run_id)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, run_id)
        await until_shown(pilot, "M Media")
        await pilot.press("M")
        await until_shown(pilot, "step 110  12 of 12")
        await pilot.press("left", "left")
        await until_shown(pilot, "step 90  10 of 12")
        await pilot.press("n")
        await until_shown(pilot, "red  image 2 of 5  step 0  1 of 1")
        await pilot.press("n", "n")
        await until_shown(pilot, "after 90 steps:")  # where one was
        assert "once upon a time" in shown(pilot)
        await pilot.press("n")
        await until_shown(pilot, "dog          5   51")
        await pilot.press("n")
        await until_shown(pilot, "digits  image 1 of 5")
        await pilot.press("N", "N", "ctrl+pageup")
        await until_shown(pilot, "after 0 steps:")


async def test_it_follows_the_newest_step_until_one_goes_back(
    app: TraindeckApp, home: Home
) -> None:
    run_id = make_run(home, 1, state="running", index=False)
    folder = home.runs / run_id
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_run(pilot, run_id)
        assert "run.tab_media" in screen.absent
        media.append(folder, "text", "a", 1, text="first")
        await until_shown(pilot, "M Media")
        await pilot.press("M")
        await until_shown(pilot, "first")
        media.append(folder, "text", "a", 2, text="second")
        await until_shown(pilot, "second")
        await pilot.press("left")
        media.append(folder, "text", "a", 3, text="third")
        await until_shown(pilot, "1 of 3")
        assert "first" in shown(pilot)
        await pilot.press("right", "right")
        await until_shown(pilot, "third")


async def test_what_may_be_of_private_data_is_marked_and_hidden_by_a_key(
    app: TraindeckApp, home: Home
) -> None:
    run_id = finished(home)
    run = Run(folder=home.runs / run_id, managed=True)
    run._private = True
    run.text(1, "batch", "a patient")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, run_id)
        await until_shown(pilot, "M Media")
        await pilot.press("M")
        await until_shown(pilot, "private/batch  not in ε")
        await pilot.press("v")
        await until_shown(pilot, "1 private hidden")
        assert "a patient" not in shown(pilot)


async def test_hostile_and_missing_things_are_told(app: TraindeckApp, home: Home) -> None:
    run_id = finished(home)
    folder = home.runs / run_id
    media.append(folder, "image", "a[red]\x1b[2J", 1, path="media/none.png")
    media.append(folder, "text", "b", 1, text="\x1b]0;title\x07[bold]words")
    with (folder / "media.jsonl").open("ab") as file:
        file.write(b"\xff\x00{\n[[[[\n")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_run(pilot, run_id)
        await until_shown(pilot, "M Media")
        await pilot.press("M")
        await until_shown(pilot, "No such file or directory")
        assert "a[red]" in shown(pilot)
        await pilot.press("n")
        await until_shown(pilot, "[bold]words")
        assert screen.query_one(MediaPanel).query_one(HalfBlocks).size.height == 0


def test_a_long_series_keeps_its_ends(tmp_path: Path) -> None:
    for step in range(3 * MOST_KEPT):
        media.append(tmp_path, "text", "a", step, text="x")
    look = MediaLook(tmp_path)
    while look.read()[1]:
        pass
    steps = [one.step for one in look.state.series[0].shown]
    assert len(steps) <= MOST_KEPT and (steps[0], steps[-1]) == (0, 3 * MOST_KEPT - 1)
    media.append(tmp_path, "text", "a", 7, text="resumed")
    look.read()
    assert look.state.series[0].shown[-1].content["text"] == "resumed"
