"""What all screens share: places, help, palette, keys, themes, leaving, and errors told."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.command import CommandPalette
from textual.widgets import Input

from tests.conftest import PATIENCE
from tests.tui.homes import NOW, make_run
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.store import Catalogue
from traindeck.tui.app import TraindeckApp
from traindeck.tui.host import SSH_REFRESH
from traindeck.tui.screens.help import HelpScreen
from traindeck.tui.screens.runs import RunsScreen
from traindeck.tui.settings import read_state


def app_of(home: Home, settings: str = "") -> TraindeckApp:
    home.settings.write_text(settings)
    return TraindeckApp(home, clock=lambda: NOW)


async def test_it_begins_where_there_is_something_to_see(app: TraindeckApp, home: Home) -> None:
    async with app.run_test() as pilot:
        assert app.current_mode == "recipes"
        await pilot.press("1")
        assert app.current_mode == "runs"
    make_run(home, 1)
    again = TraindeckApp(home, clock=lambda: NOW)
    async with again.run_test():
        assert again.current_mode == "runs"


async def test_every_place_is_one_key_or_one_click_away(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1)
    async with app.run_test(size=(120, 30)) as pilot:
        for key, place in (("2", "recipes"), ("3", "devices"), ("1", "runs")):
            await pilot.press(key)
            await until(pilot, lambda place=place: app.current_mode == place, place)
        x = shown(pilot).splitlines()[0].index("Recipes")
        await pilot.click(offset=(x, 0))
        await until(pilot, lambda: app.current_mode == "recipes")


@pytest.mark.slow
async def test_escape_steps_out_one_layer_at_a_time(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_help_lists_every_key_with_its_id(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    make_run(home, 1)
    async with app.run_test(size=(120, 90)) as pilot:
        await until_shown(pilot, "mnist-1")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.pause()
        page = shown(pilot)
        for node in (RunsScreen, TraindeckApp):
            for binding in node.BINDINGS:
                if getattr(binding, "id", None):
                    assert binding.id in page, binding.id  # type: ignore[union-attr]


async def test_the_palette_has_every_command(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1, name="here")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "here")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"copy id")
        await until_shown(pilot, "Copy the id")
        await pilot.press("enter")
        await until(pilot, lambda: app.clipboard != "")


async def test_remapped_keys_work_and_are_shown(home: Home) -> None:
    make_run(home, 1, name="here")
    app = app_of(home, '[keys]\n"runs.mark" = "f6"\nruns.filter = "ctrl+f,f7"\n')
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "here")
        assert "f6 Mark" in shown(pilot)
        assert "^f Filter" in shown(pilot)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await pilot.press("space")
        assert not screen.table.marked
        await pilot.press("f6")
        assert screen.table.marked
        await pilot.press("f7")
        assert isinstance(app.focused, Input)
        await pilot.press("question_mark", "escape", "escape", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert "f6" in shown(pilot)


async def test_wrong_settings_are_told_and_stop_nothing(home: Home) -> None:
    make_run(home, 1, name="here")
    app = app_of(
        home,
        "theme = 'dork'\nrefresh = 0\ncolour = 1\n"
        "[keys]\n'runs.stpo' = 'x'\n'runs.stop' = 'cntrl+s'\n'runs.kill' = 5\n",
    )
    async with app.run_test(size=(120, 60)) as pilot:
        await until_shown(pilot, "here")
        for problem in (
            "there is no theme 'dork'",
            "refresh must lie from 0.1 to 60 seconds, not 0",
            "there is no setting 'colour'",
            "runs.stop: 'cntrl+s' is not a key I know",
            "runs.kill must be a key in quotes, not 5",
            "there is no 'runs.stpo'",
        ):
            await until(pilot, lambda problem=problem: problem in notices(pilot), problem)


@pytest.mark.parametrize("text", ["theme = ", "\x00", "keys = 3", "[keys.runs]\nstop = ['a']"])
async def test_no_settings_file_can_keep_the_app_from_starting(home: Home, text: str) -> None:
    make_run(home, 1, name="here")
    app = app_of(home, text)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "here")
        await until(pilot, lambda: "settings.toml" in notices(pilot))


async def test_two_commands_on_one_key_are_told(home: Home) -> None:
    make_run(home, 1, name="here")
    app = app_of(home, '[keys]\n"runs.mark" = "s"\n')
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "here")
        await until(
            pilot, lambda: "s now does runs.mark, and no longer runs.stop" in notices(pilot)
        )


async def test_the_theme_is_switched_and_remembered(home: Home) -> None:
    make_run(home, 1)
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test() as pilot:
        assert app.theme == "textual-dark"
        await pilot.press("ctrl+t")
        assert app.theme == "textual-light"
        state = home.root / "state.json"
        await until(pilot, lambda: read_state(state).get("theme") == "textual-light")
    again = TraindeckApp(home, clock=lambda: NOW)
    async with again.run_test() as pilot:
        assert again.theme == "textual-light"
        await pilot.press("ctrl+t")
        assert again.theme == "ansi-dark"
        await pilot.press("ctrl+t")
        assert again.theme == "textual-dark"


async def test_a_switched_theme_repaints_everything(home: Home) -> None:
    """Switching to a theme shows the same as starting with it."""
    make_run(home, 1, state="failed", metric=0.5, epochs=3)
    app = app_of(home, 'theme = "light"')
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "failed")
        await pilot.pause(0.5)
        light = await screenshot(pilot)
    app = app_of(home)

    def switched() -> bool:
        app.clear_notifications()
        return app.export_screenshot(title="traindeck", simplify=True) == light

    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "failed")
        await pilot.press("ctrl+t")
        await until(pilot, switched, "the light theme everywhere")


async def test_the_theme_in_the_settings_wins(home: Home) -> None:
    make_run(home, 1)
    app = app_of(home, 'theme = "ansi"')
    async with app.run_test() as pilot:
        assert app.theme == "ansi-dark"
        await pilot.press("ctrl+t")
        assert app.theme == "textual-dark"
        await until(pilot, lambda: "the next start has it again" in notices(pilot))


async def test_leaving_says_that_runs_go_on(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1, state="running")
    make_run(home, 2, state="queued")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await pilot.pause()
        said = "".join(str(getattr(each, "plain", each)) for each in app._exit_renderables)
        assert "2 runs go on; come back with `traindeck`" in said


async def test_leaving_names_the_command_as_it_was_typed_where_it_is_not_on_path(
    app: TraindeckApp, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [".venv/bin/traindeck"])
    monkeypatch.setenv("PATH", "")
    make_run(home, 1, state="running")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "● running")
        await pilot.press("q")
        await pilot.pause()
        said = "".join(str(getattr(each, "plain", each)) for each in app._exit_renderables)
        assert "1 run goes on; come back with `.venv/bin/traindeck`" in said


async def test_leaving_works_from_a_text_field(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1, name="here")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "here")
        await pilot.press("slash", "q", "1", "question_mark")
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        assert screen.query_one("#filter", Input).value == "q1?"
        await pilot.press("ctrl+q")
        await until(pilot, lambda: app._exit)


async def test_over_ssh_it_redraws_less(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    app = TraindeckApp(home)
    assert app.feed.interval == SSH_REFRESH
    assert app.animation_level == "none"
    assert app_of(home, "refresh = 0.5").feed.interval == 0.5


@pytest.mark.slow
async def test_a_file_that_never_answers_freezes_nothing(home: Home) -> None:
    """Keys work and the app closes while the reader hangs."""

    never = threading.Event()

    class Stuck:
        def version(self) -> object:
            return 1

        def runs(self) -> list[RunDoc]:
            never.wait()
            return []

        def tend(self) -> None: ...

    make_run(home, 1)
    app = TraindeckApp(home, Stuck(), clock=lambda: NOW)
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "Reading the runs")
            await pilot.press("question_mark")
            assert isinstance(app.screen, HelpScreen)
            left = time.monotonic()
        assert time.monotonic() - left < PATIENCE
    finally:
        never.set()


@pytest.mark.parametrize("name", ["state.json", "traindeck.log"])
@pytest.mark.slow
async def test_a_home_that_hangs_holds_up_neither_keys_nor_leaving(home: Home, name: str) -> None:
    """A pipe that nobody holds the other end of: opening it waits for ever."""
    make_run(home, 1, name="here")
    pipe = home.root / name
    os.mkfifo(pipe)
    app = TraindeckApp(home, clock=lambda: NOW)
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "here")
            app.tell_error("Something failed", OSError("the mount hangs"))
            app.tell_problem("something to mend")
            await until(pilot, lambda: "the mount hangs" in notices(pilot))
            await pilot.press("question_mark")
            await until(pilot, lambda: isinstance(app.screen, HelpScreen))
            left = time.monotonic()
        assert time.monotonic() - left < PATIENCE
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))


async def test_an_unexpected_error_while_reading_is_told_and_logged(home: Home) -> None:
    class Broken:
        def version(self) -> object:
            raise ZeroDivisionError("[b]surprise[/b]")

        def runs(self) -> list[RunDoc]:
            return []

        def tend(self) -> None: ...

    make_run(home, 1)
    app = TraindeckApp(home, Broken(), clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "[b]surprise[/b]" in notices(pilot))
        await pilot.pause(0.6)
        assert notices(pilot).count("surprise") == 1
    assert "ZeroDivisionError" in Path(home.root / "traindeck.log").read_text()


async def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    app = TraindeckApp(Home(file / "home"), clock=lambda: NOW)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: "The home cannot be written" in notices(pilot))
        await until(pilot, lambda: "The runs cannot be read" in notices(pilot))
        await pilot.press("1", "ctrl+t")
        await until(pilot, lambda: "The theme cannot be remembered" in notices(pilot))
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)


async def test_enter_opens_the_run_and_escape_comes_back(app: TraindeckApp, home: Home) -> None:
    from traindeck.tui.screens.run.screen import RunScreen

    make_run(home, 1, metric=0.9, epochs=10)
    make_run(home, 2, metric=0.8, epochs=10)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("space", "space", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_a_damaged_catalogue_says_so_until_it_is_mended(
    app: TraindeckApp, home: Home
) -> None:
    make_run(home, 1)
    home.catalogue.write_text("{")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "The runs cannot be read.")
        assert "traindeck reindex" in " ".join(shown(pilot).split())
        Catalogue(home).reindex()
        await until_shown(pilot, "mnist-1")
        assert "cannot be read" not in shown(pilot).split("mnist-1")[0]


async def test_an_action_asked_for_is_done_though_the_app_is_left_at_once(
    app: TraindeckApp, home: Home, tmp_path: Path
) -> None:
    make_run(home, 1)
    done = tmp_path / "done"

    def slowly() -> None:
        time.sleep(0.5)
        done.touch()

    async with app.run_test(size=(80, 24)):
        app.in_background("Not done", slowly)
    assert done.exists()


async def test_dialogs_look_like_this(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    make_run(home, 1, state="running", name="[b]here[/b]", seconds=200_000)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "here")
        await pilot.press("K")
        await until_shown(pilot, "Kill [b]here[/b]?")
        await until_shown(pilot, "lr=0.25")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)
