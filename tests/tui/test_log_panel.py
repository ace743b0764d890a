"""The log of a run, on the screen: followed, searched, copied, whatever it holds."""

from __future__ import annotations

import random
import time

import pytest

from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.run_screens import LOG, fill, finished, log_of, open_run, running
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.run.screen import RunScreen
from traindeck.tui.widgets.log_view import LogView

pytestmark = pytest.mark.slow


class TestLog:
    async def test_follows_until_someone_scrolls_up(self, app: TraindeckApp, home: Home) -> None:
        folder = running(home)
        fill(folder)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, folder.name)
            await pilot.press("5")
            await until_shown(pilot, "following")
            await until_shown(pilot, "epoch 59")
            await pilot.press("pageup")
            await until(pilot, lambda: not log_of(pilot).follow)
            await until(pilot, lambda: "epoch 59" not in shown(pilot))
            with (folder / "output.log").open("ab") as log:
                log.write(b"more\n" * 30)
            await until_shown(pilot, "90 lines")
            assert "more" not in shown(pilot)
            await pilot.press("f")
            await until_shown(pilot, "more")
            assert "following" in shown(pilot)

    async def test_search_finds_steps_and_ends(self, app: TraindeckApp, home: Home) -> None:
        run_id = finished(home)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("5", "home")
            await until_shown(pilot, "epoch 0 ")
            await pilot.press("slash", *"EPOCH 5")
            await until_shown(pilot, "match 1 of 11")
            assert log_of(pilot).current == 5
            await pilot.press("enter", "n")
            await until_shown(pilot, "match 2 of 11")
            assert log_of(pilot).current == 50
            await until_shown(pilot, "epoch 50")
            await pilot.press("N", "N")
            await until_shown(pilot, "match 11 of 11")
            await pilot.press("slash", *"zzz")
            await until_shown(pilot, "no match for 'zzz'")
            await pilot.press("escape")
            await until(pilot, lambda: "match" not in shown(pilot))
            assert isinstance(pilot.app.screen, RunScreen)
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(pilot.app.screen, RunScreen))

    async def test_a_match_far_to_the_right_is_brought_into_view(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home)
        long = b"x" * 5000 + b"needle" + b"y" * 5000
        (home.runs / run_id / "output.log").write_bytes(LOG + long + b"\n" + LOG)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("5", "slash", *"needle")
            await until_shown(pilot, "xneed")
            await pilot.press("enter", "semicolon")
            await until_shown(pilot, "xneedley")

    async def test_wide_lines_wrap_and_nothing_of_them_is_lost(
        self, app: TraindeckApp, home: Home
    ) -> None:
        folder = running(home)
        wide = [" ".join(f"{row}.{word}" for word in range(90)) for row in range(40)]
        wide[20] = "日本語" * 60 + "the-end-of-20"
        (folder / "output.log").write_text("\n".join(wide) + "\n")
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, folder.name)
            await pilot.press("5")
            await until_shown(pilot, "39.89")  # the end of the last line, followed
            assert log_of(pilot).follow
            await pilot.press("g")
            await until_shown(pilot, "0.0 0.1")
            read, view = "", log_of(pilot)
            for _ in range(200):
                await pilot.pause()
                read += shown(pilot).replace("\n", " ")
                if view.scroll_offset.y >= view.max_scroll_y:
                    break
                await pilot.press("pagedown")
            # What was broken between two rows is told by its halves: a word may be parted.
            joined = "".join(read.split())
            for row in (0, 19, 21, 39):
                assert all(f"{row}.{word}" in joined for word in (0, 30, 60, 88)), row
            assert "the-end-of-20" in joined

    async def test_a_key_stops_wrapping_and_starts_it_again(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home)
        (home.runs / run_id / "output.log").write_bytes(b"begin " + b"x" * 150 + b" far\n" + LOG)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("5", "g")
            await until_shown(pilot, " far")
            await pilot.press("semicolon")
            await until(pilot, lambda: " far" not in shown(pilot))
            assert "begin xxx" in shown(pilot)
            await pilot.press("ctrl+pagedown", "ctrl+pagedown")
            await until_shown(pilot, " far")
            await pilot.press("semicolon")
            await until_shown(pilot, "begin xxx")
            assert " far" in shown(pilot)

    async def test_what_is_read_stays_in_place_while_the_log_grows(
        self, app: TraindeckApp, home: Home
    ) -> None:
        folder = running(home)
        line = "line {} " + "w" * 200
        (folder / "output.log").write_text("".join(f"{line.format(n)}\n" for n in range(3000)))
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, folder.name)
            await pilot.press("5", "slash", *"line 1500", "enter")
            await until_shown(pilot, "line 1500 ")
            await pilot.pause(0.5)
            at = shown(pilot).splitlines()
            row = next(n for n, text in enumerate(at) if "line 1500 " in text)
            with (folder / "output.log").open("a") as log:
                log.writelines(f"{line.format(n)}\n" for n in range(3000, 3100))
            await until_shown(pilot, "3,100 lines")
            assert "line 1500 " in shown(pilot).splitlines()[row]
            assert not log_of(pilot).follow

    async def test_copies_the_current_line_or_the_visible_ones(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("5")
            await until_shown(pilot, "epoch 59")
            await pilot.press("y")
            await until(pilot, lambda: "visible lines copied" in notices(pilot))
            assert app.clipboard.splitlines()[-1].startswith("epoch 59")
            await pilot.click(LogView, offset=(3, 0))
            await pilot.press("y")
            await until(pilot, lambda: len(app.clipboard.splitlines()) == 1)

    async def test_the_mouse_selects_text(self, app: TraindeckApp, home: Home) -> None:
        run_id = finished(home)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("5", "g")
            await until_shown(pilot, "epoch 0 ")
            await pilot.mouse_down(LogView, offset=(2, 1))
            await pilot.hover(LogView, offset=(7, 3))
            await pilot.mouse_up(LogView, offset=(7, 3))
            await until(pilot, lambda: pilot.app.screen.get_selected_text(), "a selection")
            lines = (pilot.app.screen.get_selected_text() or "").splitlines()
            assert lines[0].startswith("och 1") and lines[-1].strip() == "epoch 3"

    async def test_hostile_output_cannot_break_the_screen(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = finished(home)
        hostile = [
            b"[bold red]markup[/] [/nonsense] [@click=app.quit]click[/]",
            b"\x1b[2J\x1b[1;1H\x1b]0;title\x07\x1b[?1049lescape sequences",
            b"nul\x00 bell\x07 back\x08space \x9b31m c1",
            b"\xff\xfe\xc3( invalid utf-8 \xed\xa0\x80",
            "wide 日本語 e\u0301 \u202ertl\u202c \U0001f469\u200d\U0001f4bb".encode(),
            random.Random(1).randbytes(20_000).replace(b"\n", b""),
            b"z" * 10_000_000,
            b"the end",
        ]
        (home.runs / run_id / "output.log").write_bytes(b"\n".join(hostile))
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("5")
            await until_shown(pilot, "the end")
            await pilot.press("home")
            await until_shown(pilot, "[bold red]markup[/]")
            await pilot.press("end", "semicolon")
            await until_shown(pilot, "[bold red]markup[/]")
            await pilot.press("home", *["right"] * 10, "down", "end", "pageup", "y")
            strips = pilot.app.screen._compositor.render_strips()
            text = "".join(segment.text for strip in strips for segment in strip)
            assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text)

    async def test_a_million_lines_open_at_once_and_follow(
        self, app: TraindeckApp, home: Home
    ) -> None:
        folder = running(home)
        log = folder / "output.log"
        log.write_bytes(b"".join(b"line %d of a million\n" % n for n in range(1_000_000)))
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, folder.name)
            begun = time.process_time()
            await pilot.press("5")
            await until_shown(pilot, "line 999999 of a million")
            assert time.process_time() - begun < 3.0  # 0.3 s on an idle machine
            with log.open("ab") as file:
                file.write(b"and one more\n")
            await until_shown(pilot, "and one more")
            await until_shown(pilot, "1,000,001 lines")
            await pilot.press("home")
            await until_shown(pilot, "line 0 of a million")
            await pilot.press("slash", *"765432")
            await until_shown(pilot, "match 1 of 1")
            await until_shown(pilot, "line 765432 of a million")

    async def test_a_log_that_starts_over_is_read_anew(self, app: TraindeckApp, home: Home) -> None:
        folder = running(home)
        fill(folder)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, folder.name)
            await pilot.press("5")
            await until_shown(pilot, "epoch 59")
            (folder / "output.log").write_bytes(b"from the start\n")
            await until_shown(pilot, "from the start")
            assert "epoch" not in shown(pilot)
