"""The models' screen: what was exported, what serves it, and what can be done to it."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from tests.conftest import wait_for_state
from tests.tui.homes import make_run
from tests.tui.models_home import form, make_bundle, make_server, private, served
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.models.client import Client
from traindeck.core.models.shelf import Shelf
from traindeck.core.recipe.find import find_recipe
from traindeck.core.run.events import append
from traindeck.core.run.folder import RunFolder
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.dialogs import ChoiceDialog, ConfirmDialog
from traindeck.tui.screens.models.form import DeployDialog
from traindeck.tui.screens.models.screen import ModelsScreen
from traindeck.tui.screens.run.screen import RunScreen

SIZES = [(80, 24), (120, 30), (200, 50)]
RATES = (0.0, 40.0, 180.0, 220.0, 240.0, 210.0, 235.0)


def some_models(home: Home) -> str:
    """Three of digits, of which one serves, one is loaded and one failed; one private, one damaged.

    Returns the id of the server.
    """
    digits = [make_bundle(home, "digits", number) for number in (1, 2)]
    torn = {
        "saved_model": form("", 61_000, 0.0),
        "litert-int8": form("lite/int8.tflite", 9_000, 0.4, 0.66, forced=True),
    }
    digits.append(
        make_bundle(home, "digits", 3, torn, refused={"litert": "differs by 0.2 from the model"})
    )
    make_bundle(home, "patients", 1, privacy=private(2.93))
    (make_bundle(home, "torn", 1) / "bundle.json").write_text("{")
    shelf = Shelf(home)
    shelf.label("digits", "stable", 1)
    shelf.label("digits", "stable", 2)
    shelf.label("digits", "canary", 3)
    wrong = "model.onnx is not what was exported (its SHA-256 is another)"
    return make_server(
        home,
        7,
        served("digits", digits[1]),
        served("digits", digits[0], "loading"),
        served("digits", digits[2], "failed", wrong),
        rates=RATES,
    )


async def go(pilot: Pilot[Any]) -> ModelsScreen:
    await until(pilot, lambda: pilot.app.snapshot and pilot.app.snapshot.whole)  # type: ignore[attr-defined]
    await pilot.press("T")
    await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))
    screen = pilot.app.screen
    assert isinstance(screen, ModelsScreen)
    return screen


async def choose(pilot: Pilot[Any], key: str) -> ModelsScreen:
    """Go to the models, and put the cursor on a version that its server has told of."""
    screen = await go(pilot)
    await until(pilot, lambda: any(version.key == key for version in screen.table.items))
    screen.table.select(key)
    await until(pilot, lambda: screen.current is not None and screen.current.key == key)
    return screen


NESTED = ("version", "pt2", "path", "accuracy")
"""Names of a bundle's record, each within the one before it or beside it."""


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_sizes(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    some_models(home)
    async with app.run_test(size=size) as pilot:
        screen = await choose(pilot, "digits/2")
        await until(pilot, lambda: screen.current and screen.current.state == "serving")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_without_models_it_says_what_to_do(
    app: TraindeckApp, snapshot: SnapshotAssertion
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await go(pilot)
        await until_shown(pilot, "traindeck export @last")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_what_failed_and_what_was_forced_says_so(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    some_models(home)
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await choose(pilot, "digits/3")
        await until(pilot, lambda: screen.current and screen.current.state == "failed")
        await until_shown(pilot, "is not what was exported")
        text = shown(pilot)
        assert "litert-int8 FORCED" in text and "left out: litert, which differs by 0.2" in text
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_the_card_is_read_in_a_panel(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    some_models(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await choose(pilot, "patients/1")
        await pilot.press("5")
        await until_shown(pilot, "A card to read.")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)
        await pilot.press("6")
        await until_shown(pilot, '"version": 1')
        indents = [shown(pilot).split(f'"{name}"')[0].rpartition("\n")[2] for name in NESTED]
        assert sorted(set(indents), key=len) == indents
        await pilot.press("4")
        await until_shown(pilot, "epsilon 2.93 at delta 1e-05 for each example")


async def test_states_are_those_that_the_server_tells(app: TraindeckApp, home: Home) -> None:
    run = some_models(home)
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await choose(pilot, "digits/2")

        def states() -> dict[str, str]:
            return {version.key: version.state for version in screen.table.items}

        told = {"digits/1": "loading", "digits/2": "serving", "digits/3": "failed"}
        rest = {"patients/1": "", "torn/1": ""}
        await until(pilot, lambda: states() == told | rest)
        await until_shown(pilot, "235 a second")
        assert "1 errors" not in shown(pilot) and "1 error in the last minute" in shown(pilot)

        record = home.runs / run / "serving.json"
        said = json.loads(record.read_text())
        said["versions"] = [served("digits", home.models / "digits/1")]
        record.write_text(json.dumps(said))
        await until(pilot, lambda: states()["digits/1"] == "serving")
        assert states()["digits/2"] == states()["digits/3"] == ""


async def test_a_server_that_does_not_listen_yet_is_loading_and_one_that_failed_says_why(
    app: TraindeckApp, home: Home
) -> None:
    folder = make_bundle(home, "digits", 1)
    other = make_bundle(home, "other", 1)
    make_server(home, 1, state="failed", listens=False, params=make_params(folder.parent))
    make_server(home, 2, listens=False, params=make_params(folder.parent))
    failed = make_server(home, 3, state="failed", listens=False, params=make_params(other.parent))
    (home.runs / failed / "output.log").write_text("error: 127.0.0.1:8501: Address in use\n")
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await choose(pilot, "other/1")
        await until_shown(pilot, "the server has failed: 127.0.0.1:8501: Address in use")
        states = {version.key: version.state for version in screen.table.items}
        assert states == {"digits/1": "loading", "other/1": "failed"}


async def test_a_server_that_failed_says_nothing_of_a_version_made_since(
    app: TraindeckApp, home: Home
) -> None:
    folders = [make_bundle(home, "digits", number) for number in (1, 2)]
    failed = make_server(
        home, 1, state="failed", listens=False, params=make_params(folders[0].parent)
    )
    began = Library(home).find(failed)["created"]
    for folder, seconds in zip(folders, (-10, 10), strict=True):
        os.utime(folder / "bundle.json", (began + seconds, began + seconds))
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await choose(pilot, "digits/1")
        await until_shown(pilot, "the server has failed")
        states = {version.key: version.state for version in screen.table.items}
        assert states == {"digits/1": "failed", "digits/2": ""}


def make_params(folder: Path) -> dict[str, Any]:
    return {"models": f"{folder.name}={folder}"}


async def test_what_is_served_from_elsewhere_is_listed_and_is_not_ours_to_delete(
    app: TraindeckApp, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "foreign/4").mkdir(parents=True)
    make_server(home, 1, served("cats", tmp_path / "foreign/4"))
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await choose(pilot, str(tmp_path / "foreign/4"))
        await until_shown(pilot, "cats, version 4")
        assert screen.check_action("open", ()) and not screen.check_action("delete", ())


async def test_promote_roll_back_and_label(app: TraindeckApp, home: Home) -> None:
    for number in (1, 2):
        make_bundle(home, "digits", number)
    shelf = Shelf(home)
    async with app.run_test(size=(100, 30)) as pilot:
        await choose(pilot, "digits/1")
        await pilot.press("Y")
        await until(pilot, lambda: shelf.labels("digits") == {"stable": 1})
        screen = await choose(pilot, "digits/2")
        await pilot.press("Y")
        await until(pilot, lambda: shelf.labels("digits") == {"stable": 2})
        await pilot.press("Z")
        await until(pilot, lambda: shelf.labels("digits") == {"stable": 1})
        await until(pilot, lambda: screen.current and screen.current.key == "digits/1", "the jump")
        screen = await choose(pilot, "digits/2")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(pilot, lambda: shelf.labels("digits") == {"stable": 1, "canary": 2})
        await until(pilot, lambda: screen.current and screen.current.labels == ("canary",))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await until_shown(pilot, "take canary away")
        await pilot.press("down", "enter")
        await until(pilot, lambda: shelf.labels("digits") == {"stable": 1})


async def test_a_version_is_deleted_after_a_question_and_comes_back(
    app: TraindeckApp, home: Home
) -> None:
    for number in (1, 2):
        make_bundle(home, "digits", number)
    shelf = Shelf(home)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await choose(pilot, "digits/2")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: shelf.versions("digits") == [1])
        await pilot.press("u")
        await until(pilot, lambda: shelf.versions("digits") == [1, 2])
        await until(pilot, lambda: screen.current and screen.current.key == "digits/2")
        shelf.label("digits", "stable", 2)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: "is labelled stable" in notices(pilot))
        assert shelf.versions("digits") == [1, 2]


async def test_the_form_of_serving_says_the_command(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    make_bundle(home, "digits", 1)
    async with app.run_test(size=(80, 24)) as pilot:
        await choose(pilot, "digits/1")
        await pilot.press("H")
        await until(pilot, lambda: isinstance(app.screen, DeployDialog))
        await until_shown(pilot, "$ traindeck serve digits")
        await pilot.press("down", *["delete"] * 4, *"9000")
        await until_shown(pilot, "$ traindeck serve digits --port 9000")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen))


async def test_what_cannot_be_served_is_said_in_the_form(app: TraindeckApp, home: Home) -> None:
    make_bundle(home, "digits", 1)
    async with app.run_test(size=(100, 30)) as pilot:
        await choose(pilot, "digits/1")
        await pilot.press("H")
        await until(pilot, lambda: isinstance(app.screen, DeployDialog))
        await pilot.press("end", *"x", "ctrl+l")
        await until_shown(pilot, "not launched: 'digitsx' is no model, no run and no folder")


async def test_runs_that_left_a_servable_are_offered_for_export(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    make_run(home, 1, name="nothing")
    left = make_run(home, 2, name="mnist lr=0.1")
    (home.runs / left / "artifacts/servable").mkdir(parents=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await go(pilot)
        await pilot.press("ctrl+e")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        assert "nothing" not in shown(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DeployDialog))
        await until_shown(pilot, f"$ traindeck export {left} --as mnist-lr-0.1")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_without_a_servable_it_says_what_leaves_one(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1)
    async with app.run_test(size=(80, 24)) as pilot:
        await go(pilot)
        await pilot.press("ctrl+e")
        await until(pilot, lambda: "No run has left a servable yet" in notices(pilot))


async def test_an_export_that_goes_on_is_told(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1, state="running", name="export digits", recipe="export", epochs=5)
    async with app.run_test(size=(80, 24)) as pilot:
        await go(pilot)
        await until_shown(pilot, "export digits: running, 50%")


async def test_from_a_model_to_the_run_that_serves_it(app: TraindeckApp, home: Home) -> None:
    run = some_models(home)
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await choose(pilot, "digits/2")
        await until(pilot, lambda: screen.current and screen.current.server)
        assert screen.current and screen.current.server and screen.current.server.run == run
        await pilot.press("J")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))


async def test_a_runs_screen_offers_export_where_the_run_left_a_servable(
    app: TraindeckApp, home: Home
) -> None:
    left, nothing = make_run(home, 1, name="digits"), make_run(home, 2)
    folder = home.runs / left
    (folder / "artifacts/servable").mkdir(parents=True)
    append(
        folder / "events.jsonl",
        "artifact",
        path=str(folder / "artifacts/servable"),
        kind="servable",
    )
    async with app.run_test(size=(100, 30)) as pilot:
        for run, offered in ((nothing, False), (left, True)):
            app.open_runs([run])
            await until(pilot, lambda: isinstance(app.screen, RunScreen))
            await until_shown(pilot, run)
            await until(pilot, lambda: app.screen.check_action("export", ()) is offered)  # noqa: B023
            if not offered:
                await pilot.press("escape")
        await until_shown(pilot, "^e Export")
        await pilot.press("ctrl+e")
        await until(pilot, lambda: isinstance(app.screen, DeployDialog))
        await until_shown(pilot, f"$ traindeck export {left} --as digits")


@pytest.mark.framework
@pytest.mark.slow
async def test_a_real_run_is_exported_and_served_by_the_forms(
    app: TraindeckApp, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    recipe = find_recipe(home, "torch-digits")
    trained = launch(home, LaunchRequest(recipe=recipe, params={"epochs": 1}, name="digits"))
    wait_for_state(RunFolder(home.runs / trained["id"]), "finished")
    async with app.run_test(size=(120, 34)) as pilot:
        screen = await go(pilot)
        await until(pilot, lambda: app.snapshot and app.snapshot.runs)
        await pilot.press("ctrl+e")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DeployDialog))
        await pilot.press("ctrl+l")
        await until_shown(pilot, "export digits: ")
        for _ in range(3):  # the export tries each format in a process of its own
            with contextlib.suppress(AssertionError):
                await until(pilot, lambda: screen.current)
        assert screen.current and screen.current.key == "digits/1"
        assert screen.current.bundle and set(screen.current.bundle["formats"]) == {"pt2", "onnx"}

        await pilot.press("H")
        await until(pilot, lambda: isinstance(app.screen, DeployDialog))
        await pilot.press("down", *["delete"] * 4, "0", "down", *["delete"] * 4, "0")
        await until_shown(pilot, "$ traindeck serve digits --port 0 --grpc-port 0")
        await pilot.press("ctrl+l")
        await until(pilot, lambda: screen.current and screen.current.state == "serving")
        assert screen.current.server
        image = np.zeros((4, 8, 8), np.uint8)
        answer = Client(screen.current.server.http).infer("digits", {"image": image})
        assert answer["probabilities"].shape == (4, 10)

        def was_asked() -> bool:
            server = screen.current.server if screen.current else None
            return server is not None and server.figures.p50 is not None

        await until(pilot, was_asked)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: screen.current and not screen.current.state)
