"""The run screen shows one run live, whatever it prints and however slow its files are."""

from __future__ import annotations

import math
import os
import random
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.widgets import DataTable

from tests.conftest import PATIENCE
from tests.tui.homes import NOW, make_run
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.run_screens import fill, finished, open_run, running, screen_of, write_points
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import PointWriter
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.run.layout import arrange
from traindeck.tui.screens.run.screen import RunScreen
from traindeck.tui.screens.runs import RunsScreen

SIZES = [(80, 24), (120, 30), (200, 50)]


@pytest.fixture
def home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose path reads the same on every machine."""
    monkeypatch.chdir(home.root.parent)
    return Home(Path(home.root.name))


class TestArrangement:
    @pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
    async def test_every_size_shows_what_fits(
        self, app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
    ) -> None:
        run_id = finished(home)
        async with app.run_test(size=size) as pilot:
            await open_run(pilot, run_id)
            await until_shown(pilot, "400 points" if size[0] < 100 else "CPU")
            assert await screenshot(pilot) == snapshot.use_extension(Svg)

    @pytest.mark.parametrize(
        ("key", "seen"),
        [
            ("5", "epoch 59"),
            ("6", "No privacy accounting"),
            ("7", "memory PSS"),
            ("8", "batch_size"),
            ("9", "starting"),
        ],
    )
    async def test_small_screens_show_one_thing_at_a_time(
        self, app: TraindeckApp, home: Home, key: str, seen: str, snapshot: SnapshotAssertion
    ) -> None:
        run_id = finished(home, params={"batch_size": 64, "lr": 0.25, "data_dir": None})
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press(key)
            await until_shown(pilot, seen)
            assert await screenshot(pilot) == snapshot.use_extension(Svg)

    async def test_tabs_can_be_clicked_and_stepped_through(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.click("TabBar", offset=(14, 0))
            await until_shown(pilot, "epoch 59")
            await pilot.press("right_square_bracket")
            await until_shown(pilot, "No privacy accounting")
            await pilot.press("left_square_bracket", "left_square_bracket")
            await until_shown(pilot, "train/loss")

    @pytest.mark.slow
    async def test_a_storm_of_resizes_ends_well(self, app: TraindeckApp, home: Home) -> None:
        run_id = finished(home)
        rng = random.Random(4)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            for _ in range(12):
                await pilot.resize_terminal(rng.randrange(1, 180), rng.randrange(1, 50))
                if rng.random() < 0.3:
                    await pilot.press(rng.choice("456789"))
            await pilot.resize_terminal(200, 50)
            await pilot.press("5")
            await until_shown(pilot, "epoch 59")
            for text in ("train/loss", "No privacy accounting", "memory PSS", "lr"):
                assert text in shown(pilot)

    def test_what_was_last_asked_for_stays_when_little_fits(self) -> None:
        recent = ["events", "privacy", "curves"]
        assert arrange(80, 24, recent, several=False).visible == {"events"}
        medium = arrange(120, 30, recent, several=False).visible
        assert medium == {"events", "privacy", "devices", "parameters"}
        for size in ((120, 30), (200, 50)):
            assert arrange(*size, ["privacy", *recent], several=False).visible == {"privacy"}
        wide = arrange(200, 50, recent, several=False).visible
        assert wide == {"curves", "events", "privacy", "devices", "parameters"}


class TestLive:
    async def test_what_the_run_writes_shows_at_once(self, app: TraindeckApp, home: Home) -> None:
        folder = running(home)
        writer = PointWriter(folder)
        async with app.run_test(size=(200, 50)) as pilot:
            await open_run(pilot, folder.name)
            await until_shown(pilot, "nothing printed yet")
            for step in range(3):
                writer.add(step, {"test/accuracy": 0.5 + step / 100})
                writer.flush()
                with (folder / "output.log").open("ab") as log:
                    log.write(b"said at step %d\n" % step)
                await until_shown(pilot, f"0.5{step}" if step else "0.5")
                await until_shown(pilot, f"said at step {step}")
        writer.close()

    async def test_its_end_shows(self, app: TraindeckApp, home: Home) -> None:
        folder = running(home)
        async with app.run_test(size=(120, 30)) as pilot:
            await open_run(pilot, folder.name)
            await until_shown(pilot, "● running")
            await until_shown(pilot, "s Stop")
            assert "Delete" not in shown(pilot)
            shutil.rmtree(folder)
            make_run(home, 1, state="failed", reason="exit code 3", name="live one", index=False)
            await until_shown(pilot, "✗ failed")
            await until_shown(pilot, "exit code 3")
            await until_shown(pilot, "d Delete")
            assert "s Stop" not in shown(pilot)

    async def test_a_queued_run_says_what_it_waits_for(self, app: TraindeckApp, home: Home) -> None:
        queue = {"place": 2, "reason": "gpu:0 is taken by 8xk2"}
        run_id = make_run(home, 1, state="queued", queue=queue, index=False)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await until_shown(pilot, "place 2: gpu:0 is taken by 8xk2")

    @pytest.mark.parametrize("size", [(80, 24), (120, 36)])
    async def test_a_long_reason_is_shown_whole(
        self, app: TraindeckApp, home: Home, size: tuple[int, int]
    ) -> None:
        reason = "13 of its 25 steps fit the budget of mnist-owners; " * 7 + "raise its epsilon"
        run_id = make_run(home, 1, state="over_budget", reason=reason, index=False)
        async with app.run_test(size=size) as pilot:
            await open_run(pilot, run_id)
            await until_shown(pilot, "raise its epsilon")
            await pilot.press("8")
            await until(pilot, lambda: shown(pilot).count("raise its epsilon") == 2)

    @pytest.mark.slow
    async def test_a_run_deleted_while_open_keeps_what_was_read(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("5")
            await until_shown(pilot, "epoch 59")
            shutil.rmtree(home.runs / run_id)
            await until_shown(pilot, "deleted")
            await pilot.press("home")
            await until_shown(pilot, "epoch 0 ")

    @pytest.mark.slow
    async def test_a_run_that_is_not_there_says_so(self, app: TraindeckApp, home: Home) -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, "nosuchrn")
            await until_shown(pilot, "deleted")
            await pilot.press("5", "8", "escape")

    async def test_a_damaged_run_json_takes_nothing_else_away(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home)
        (home.runs / run_id / "run.json").write_text('{"state": "[bold]running"}')
        os.utime(home.runs / run_id, (0, 0))
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await until_shown(pilot, "run.json is missing or damaged")
            await until_shown(pilot, "train/loss")
            await pilot.press("5")
            await until_shown(pilot, "epoch 59")

    async def test_the_reader_ends_with_the_screen(self, app: TraindeckApp, home: Home) -> None:
        run_id = finished(home)
        async with app.run_test(size=(80, 24)) as pilot:
            reader = (await open_run(pilot, run_id))._reader
            assert reader is not None and reader.alive
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(pilot.app.screen, RunScreen))
            await until(pilot, lambda: not reader.alive, "the end of the reader")

    async def test_a_real_run_is_watched_stopped_repeated_and_killed(
        self, app: TraindeckApp, home: Home
    ) -> None:
        script = (
            "import time,signal,sys\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
            "for n in range(10_000): print('tick', n, flush=True); time.sleep(0.05)\n"
        )
        home = Home(home.root.absolute())
        app.home = home
        doc = launch(home, LaunchRequest(command=[sys.executable, "-c", script]))
        async with app.run_test(size=(120, 30)) as pilot:
            await open_run(pilot, doc["id"])
            await pilot.press("5")
            await until(pilot, lambda: re.search(r"tick \d\d", shown(pilot)), "its ticks")
            await pilot.press("s", "y")
            await until_shown(pilot, "■ stopped")
            await until_shown(pilot, "ended on request")
            assert RunFolder(home.runs / doc["id"]).state()[0] == "stopped"
            await pilot.press("a")
            await until(pilot, lambda: len(pilot.app.screen_stack) == 3, "the new run's screen")
            (again,) = screen_of(pilot)._ids
            await until_shown(pilot, "● running")
            await pilot.press("K", "y")
            await until_shown(pilot, "✗ killed")
            assert RunFolder(home.runs / again).state()[0] == "killed"


@pytest.mark.slow
class TestSlowFiles:
    @pytest.mark.parametrize("name", ["output.log", "points.bin", "run.json"])
    async def test_a_file_that_never_answers_holds_up_nothing_but_itself(
        self, app: TraindeckApp, home: Home, name: str
    ) -> None:
        """A pipe nobody writes to: opening it waits for ever, as a hung network mount does."""
        run_id = finished(home)
        pipe = home.runs / run_id / name
        pipe.unlink()
        os.mkfifo(pipe)
        try:
            async with app.run_test(size=(80, 24)) as pilot:
                app.open_runs([run_id])
                await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
                await pilot.pause(0.3)
                for key in ("5", "pageup", "7", "4", "question_mark"):
                    pressed = time.monotonic()
                    await pilot.press(key)
                    assert time.monotonic() - pressed < PATIENCE
                await until_shown(pilot, "runs.kill")
                await pilot.press("escape", "escape")
                await until(pilot, lambda: not isinstance(pilot.app.screen, RunScreen))
                left = time.monotonic()
            assert time.monotonic() - left < PATIENCE  # nor does leaving the program wait
        finally:
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
            pipe.unlink()


class TestPanels:
    async def test_parameters_can_be_copied(self, app: TraindeckApp, home: Home) -> None:
        run_id = finished(home)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("8")
            await until_shown(pilot, "lr")
            await pilot.press("y")
            await until(pilot, lambda: "copied" in notices(pilot))
            for text in ("lr: 0.25", "commit: 7f8bd7e0c1", "torch: 2.13.0", run_id, "2.35 kB"):
                assert text in app.clipboard

    async def test_an_infinite_parameter_is_shown_as_it_is_typed(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home, params={"epsilon": math.inf})
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("8")
            await until_shown(pilot, "epsilon  inf ")

    @pytest.mark.slow
    async def test_names_from_a_run_are_never_markup(self, app: TraindeckApp, home: Home) -> None:
        evil = "[/x] [red]\x1b[2J"
        run_id = make_run(
            home,
            1,
            name=evil,
            recipe=evil,
            device=evil,
            state="failed",
            reason=evil,
            params={evil: evil},
            headline=evil,
            index=False,
        )
        folder = home.runs / run_id
        for stem in ("points", "device"):
            write_points(folder, stem, ["[/x] [red]"], 3, lambda step: (float(step),))
        events.append(folder / "events.jsonl", "[/x]", text=evil, **{evil: evil})
        for size in (SIZES[0], SIZES[2]):
            fresh = TraindeckApp(home, clock=lambda: NOW)
            async with fresh.run_test(size=size) as pilot:
                await open_run(pilot, run_id)
                await until_shown(pilot, "[/x]")
                await pilot.press("5", "6", "7", "9")
                await until_shown(pilot, "[/x]")


class TestSeveral:
    def some(self, home: Home) -> list[str]:
        return [
            finished(home, number, params={"lr": lr, "epochs": 10, "mode": mode})
            for number, (lr, mode) in enumerate([(0.1, "eager"), (0.2, "eager"), (0.2, "graph")], 1)
        ]

    async def test_are_laid_over_each_other_and_compared(
        self, app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
    ) -> None:
        ids = self.some(home)
        async with app.run_test(size=(120, 30)) as pilot:
            await open_run(pilot, *ids)
            await until_shown(pilot, "1,200 points")
            table = pilot.app.screen.query_one(DataTable)
            header = [str(column.label) for column in table.columns.values()]
            assert header == ["", "run", "state", "lr", "mode", "test/accuracy", "train/loss"]
            assert await screenshot(pilot) == snapshot.use_extension(Svg)

    async def test_keys_of_panels_that_are_not_there_do_nothing(
        self, app: TraindeckApp, home: Home
    ) -> None:
        ids = [finished(home, 1), finished(home, 2)]
        async with app.run_test(size=(120, 30)) as pilot:
            screen = await open_run(pilot, *ids)
            await pilot.press("5", "6", "7", "9")
            assert screen.focused is screen.curves
            assert {"run.tab_log", "run.tab_events", "run.search"} <= screen.absent
            await pilot.press("question_mark")
            await until_shown(pilot, "Show the curves")
            assert "Show the events" not in shown(pilot)
        async with TraindeckApp(home).run_test(size=(80, 24)) as pilot:
            screen = await open_run(pilot, *ids)
            await pilot.press("5")
            assert screen.focused is screen.query_one(DataTable)

    async def test_one_of_them_is_opened_from_the_table(
        self, app: TraindeckApp, home: Home
    ) -> None:
        ids = self.some(home)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, *ids)
            await pilot.press("5")
            await until_shown(pilot, ids[2])
            await pilot.press("down", "enter")
            await until(pilot, lambda: len(pilot.app.screen_stack) == 3)
            assert screen_of(pilot)._ids == (ids[1],)
            await pilot.press("escape")
            await until(pilot, lambda: len(pilot.app.screen_stack) == 2)


class TestParking:
    async def test_a_log_nobody_sees_is_not_read_line_by_line(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home)
        async with app.run_test(size=(80, 24)) as pilot:
            screen = await open_run(pilot, run_id)
            await pilot.press("5")
            await until(pilot, lambda: screen._picture.log.window)
            await pilot.press("4")
            await until(pilot, lambda: not screen._picture.log.window)

    async def test_nothing_is_read_while_another_place_is_shown(
        self, app: TraindeckApp, home: Home
    ) -> None:
        folder = running(home)
        fill(folder)
        async with app.run_test(size=(80, 24)) as pilot:
            screen = await open_run(pilot, folder.name)
            await pilot.press("5")
            await until_shown(pilot, "60 lines")
            await pilot.press("2")
            await until(pilot, lambda: pilot.app.current_mode == "recipes")
            await until(pilot, lambda: screen._reader is not None and screen._reader.parked)
            await pilot.press("1")
            await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
            await until(pilot, lambda: screen._reader is None or not screen._reader.alive)
