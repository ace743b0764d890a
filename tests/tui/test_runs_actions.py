"""What keys do to runs, on real run folders and real processes."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static, TextArea

from tests.tui.homes import make_run, state_of
from tests.tui.pilots import notices, shown, until, until_shown
from traindeck.core import control
from traindeck.core.base.files import read_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.library import Library, trashed
from traindeck.core.launch import LaunchRequest, launch
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.dialogs import (
    ChoiceDialog,
    ConfirmDialog,
    PromptDialog,
    TextDialog,
)
from traindeck.tui.screens.run.actions import TOGETHER_SECONDS
from traindeck.tui.screens.runs import RunsScreen

SLEEPER = [sys.executable, "-c", "import time\nfor _ in range(600): time.sleep(0.1)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\nfor _ in range(600): time.sleep(0.1)",
]


def user(home: Home, run_id: str) -> dict[str, Any]:
    return read_json(home.runs / run_id / "user.json") or {}


async def until_dialog(pilot: Pilot[Any], kind: type) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, kind), kind.__name__)
    await pilot.pause()


async def until_state(pilot: Pilot[Any], home: Home, run_id: str, *states: str) -> None:
    await until(pilot, lambda: state_of(home, run_id) in states, f"{run_id} {states}")


def sleeping(home: Home, command: list[str] = SLEEPER, name: str = "sleeper") -> RunDoc:
    return launch(home, LaunchRequest(command=command, name=name))


async def test_stop_asks_first(app: TraindeckApp, home: Home) -> None:
    run = sleeping(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("s")
        await until_dialog(pilot, ConfirmDialog)
        await pilot.press("escape")
        await until_dialog(pilot, RunsScreen)
        assert state_of(home, run["id"]) == "running"
        await pilot.press("s")
        await until_dialog(pilot, ConfirmDialog)
        await pilot.press("y")
        await until(pilot, lambda: "stop sent to sleeper" in notices(pilot))
        await until_state(pilot, home, run["id"], "stopped")
        await until_shown(pilot, "■ stopped")


async def test_kill_asks_first(app: TraindeckApp, home: Home) -> None:
    run = sleeping(home, STUBBORN)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("K")
        await until_dialog(pilot, ConfirmDialog)
        await pilot.press("escape")
        await until_dialog(pilot, RunsScreen)
        assert state_of(home, run["id"]) == "running"
        await pilot.press("K")
        await until_dialog(pilot, ConfirmDialog)
        await pilot.press("y")
        await until_state(pilot, home, run["id"], "killed")
        await until_shown(pilot, "✗ killed")


async def test_what_is_over_cannot_be_stopped(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1, name="old")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "old")
        await pilot.press("s")
        await until(pilot, lambda: "Nothing to stop: old is finished" in notices(pilot))


async def test_again_repeats_a_run_and_goes_to_it(app: TraindeckApp, home: Home) -> None:
    quick = [sys.executable, "-c", "print('here I am')"]
    first = sleeping(home, quick, "quick")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "finished")
        await pilot.press("a")
        await until(pilot, lambda: len(Library(home).runs()) == 2)
        second = next(run for run in Library(home).runs() if run["id"] != first["id"])
        again = f"quick ({first['id']}) launched again as {second['id']}"
        await until(pilot, lambda: again in notices(pilot))
        ran, repeated = first["command"], second["command"]
        assert "--grace" not in repeated
        assert repeated[repeated.index("--") :] == ran[ran.index("--") :]
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await until(
            pilot,
            lambda: screen.table.current is not None and screen.table.current["id"] == second["id"],
        )


@pytest.mark.slow
async def test_rename_tag_and_note(app: TraindeckApp, home: Home) -> None:
    run_id = make_run(home, 1, name="before")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "before")
        await pilot.press("r")
        await until_dialog(pilot, PromptDialog)
        await pilot.press(*"after", "enter")
        await until(pilot, lambda: user(home, run_id).get("name") == "after")
        await until_shown(pilot, "after")

        await pilot.press("t")
        await until_dialog(pilot, PromptDialog)
        await pilot.press(*"cnn, best", "enter")
        await until(pilot, lambda: user(home, run_id).get("tags") == ["best", "cnn"])
        await until_shown(pilot, "#best #cnn")

        await pilot.press("t")
        await until_dialog(pilot, PromptDialog)
        assert "Tags of after (these replace the old ones)" in shown(pilot)
        await pilot.press(*" more", "enter")
        await until(pilot, lambda: user(home, run_id).get("tags") == ["best", "cnn", "more"])

        await pilot.press("m")
        await until_dialog(pilot, TextDialog)
        app.screen.query_one(TextArea).text = "two\nlines"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: user(home, run_id).get("notes") == "two\nlines")
        await until_shown(pilot, "two")


async def test_a_dialog_that_is_left_changes_nothing(app: TraindeckApp, home: Home) -> None:
    run_id = make_run(home, 1, name="before")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "before")
        for key, kind in (("r", PromptDialog), ("t", PromptDialog), ("m", TextDialog)):
            await pilot.press(key)
            await until_dialog(pilot, kind)
            await pilot.press("x", "escape")
            await until_dialog(pilot, RunsScreen)
        await pilot.pause(0.1)
        assert user(home, run_id) == {}


async def test_notes_that_were_left_are_there_when_they_are_opened_again(home: Home) -> None:
    run_id = make_run(home, 1, name="noted")
    other = make_run(home, 2, name="other")
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "noted")
        await pilot.press("down", "m")
        await until_dialog(pilot, TextDialog)
        await pilot.press(*"abc", "escape")
        await until(pilot, lambda: "m opens them as you left them" in notices(pilot))
        await until(pilot, lambda: "abc" in (home.root / "state.json").read_text())
        assert user(home, run_id) == {}
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "noted")
        await pilot.press("m")
        await until_dialog(pilot, TextDialog)
        assert app.screen.query_one(TextArea).text == ""
        await pilot.press("escape", "down", "m")
        await until_dialog(pilot, TextDialog)
        assert app.screen.query_one(TextArea).text == "abc"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: user(home, run_id).get("notes") == "abc")
        await until(pilot, lambda: "abc" not in (home.root / "state.json").read_text())
        assert user(home, other) == {}


async def test_marked_runs_are_tagged_together(app: TraindeckApp, home: Home) -> None:
    ids = [make_run(home, number) for number in range(3)]
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-2")
        await pilot.press("space", "space", "t")
        await until_dialog(pilot, PromptDialog)
        await pilot.press(*"pair", "enter")
        for run_id in ids[1:]:
            await until(pilot, lambda each=run_id: user(home, each).get("tags") == ["pair"])
        assert user(home, ids[0]) == {}


async def test_nothing_is_done_to_marked_runs_that_the_filter_hides(
    app: TraindeckApp, home: Home
) -> None:
    make_run(home, 1, name="hidden")
    make_run(home, 2, name="seen")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "hidden")
        await pilot.press("ctrl+a", "slash", *"seen", "enter")
        await until(pilot, lambda: "1 of 2" in shown(pilot))
        await pilot.press("d")
        await until_dialog(pilot, ConfirmDialog)
        assert "Delete seen?" in shown(pilot)


async def test_delete_and_undelete(app: TraindeckApp, home: Home) -> None:
    ids = [make_run(home, number) for number in range(3)]
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-2")
        await pilot.press("down", "d")
        await until_dialog(pilot, ConfirmDialog)
        assert "Delete mnist-1?" in shown(pilot)
        await pilot.press("enter")  # a stray one leaves it
        await until_dialog(pilot, RunsScreen)
        assert not trashed(home)
        await pilot.press("d")
        await until_dialog(pilot, ConfirmDialog)
        await pilot.press("y")
        await until(pilot, lambda: trashed(home) == [ids[1]])
        await until(pilot, lambda: "mnist-1 " not in shown(pilot).splitlines()[2:6])
        await until(pilot, lambda: "2 runs" in shown(pilot))

        await pilot.press("u")
        await until(pilot, lambda: not trashed(home))
        await until(pilot, lambda: f"mnist-1 ({ids[1]}) is back" in notices(pilot))
        await until(pilot, lambda: "3 runs" in shown(pilot))


@pytest.mark.slow
async def test_runs_deleted_together_come_back_together(app: TraindeckApp, home: Home) -> None:
    ids = [make_run(home, number) for number in range(4)]
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-3")
        await pilot.press("end", "d")
        await until_dialog(pilot, ConfirmDialog)
        said = " ".join(str(each.content) for each in app.screen.query(Static))
        assert "u on the list of runs brings it back" in said
        await pilot.press("y")
        await until(pilot, lambda: trashed(home) == ids[:1])
        await asyncio.sleep(1.1 * TOGETHER_SECONDS)
        await pilot.press("ctrl+a", "d")
        await until_dialog(pilot, ConfirmDialog)
        await pilot.press("y")
        await until(pilot, lambda: trashed(home) == ids)

        await pilot.press("u")
        await until_dialog(pilot, ChoiceDialog)
        texts = [str(option.prompt) for option in app.screen.query_one(OptionList).options]
        assert texts[0] == "3 runs deleted together: mnist-3, mnist-2 and mnist-1"
        assert "mnist-0" in texts[1]
        await pilot.press("enter")
        await until(pilot, lambda: trashed(home) == ids[:1])
        await until(pilot, lambda: "mnist-3, mnist-2 and mnist-1 are back" in notices(pilot))


async def test_a_dialog_shows_its_own_keys_only(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        for key, kind in (("d", ConfirmDialog), ("t", PromptDialog), ("m", TextDialog)):
            await pilot.press(key)
            await until_dialog(pilot, kind)
            footer = shown(pilot).splitlines()[-1]
            assert "esc Leave it" in footer
            assert "Mark" not in footer
            await pilot.press("escape")
            await until_dialog(pilot, RunsScreen)


async def test_a_live_run_is_not_deleted(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1, state="running")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("d")
        await until(pilot, lambda: "stop it first" in notices(pilot))
        assert isinstance(app.screen, RunsScreen)


async def test_an_empty_trash_says_so(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        await pilot.press("u")
        await until(pilot, lambda: "The trash is empty" in notices(pilot))


async def test_what_cannot_be_written_is_told(app: TraindeckApp, home: Home) -> None:
    """The run's folder is gone behind our back: the error names it, nothing breaks."""
    run_id = make_run(home, 1, name="ghost")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "ghost")
        app.feed.stop()
        for path in (home.runs / run_id).iterdir():
            path.unlink()
        (home.runs / run_id).rmdir()
        await pilot.press("r")
        await until_dialog(pilot, PromptDialog)
        await pilot.press("x", "enter")
        await until(pilot, lambda: "Not renamed" in notices(pilot))
        assert run_id in notices(pilot)


async def test_a_disk_that_fails_for_one_run_keeps_none_of_the_others(
    app: TraindeckApp, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [make_run(home, number) for number in range(3)]
    trash = control.trash

    def failing(home: Home, run_id: str) -> None:
        if run_id == ids[1]:
            raise OSError("Input/output error")
        trash(home, run_id)

    monkeypatch.setattr(control, "trash", failing)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-2")
        await pilot.press("ctrl+a", "d")
        await until_dialog(pilot, ConfirmDialog)
        await pilot.press("y")
        await until(pilot, lambda: "Not deleted Input/output error" in notices(pilot))
        await until(pilot, lambda: "moved to the trash: mnist-2 and mnist-0" in notices(pilot))
        assert trashed(home) == [ids[0], ids[2]]


async def test_copying_offers_a_file(app: TraindeckApp, home: Home) -> None:
    ids = [make_run(home, number) for number in range(2)]
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        await pilot.press("c")
        file = home.root / "clipboard.txt"
        await until(pilot, lambda: file.exists() and file.read_text() == ids[1])
        assert app.clipboard == ids[1]
        await until(pilot, lambda: str(file) in notices(pilot))
        await pilot.press("C")
        await until(pilot, lambda: file.read_text().startswith("traindeck run torch-mnist"))
