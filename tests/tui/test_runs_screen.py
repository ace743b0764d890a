"""The Runs screen shows every run, live, and finds the ones that are asked for."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.homes import NOW, make_run
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.run.points import PointWriter
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.runs import RunsScreen
from traindeck.tui.widgets.run_table import RunTable

SIZES = [(80, 24), (120, 30), (200, 50)]
DAY = 86_400.0


def some_runs(home: Home) -> None:
    """One of each kind, the newest last."""
    make_run(home, 1, state="failed", reason="exit code 1", name="broken")
    make_run(home, 2, state="stopped", metric=0.91, epochs=4, name="early")
    make_run(home, 3, state="killed", reason="ended by SIGKILL, not sent by traindeck")
    make_run(home, 4, state="out_of_memory", reason="the kernel killed it", recipe=None)
    make_run(home, 5, state="over_budget", epsilon=8.02, metric=0.88, name="private")
    make_run(home, 6, state="lost", reason="supervisor and run are both gone")
    make_run(home, 7, metric=0.9871, epochs=10, recipe="tf-mnist", name="baseline")
    make_run(home, 8, metric=float("nan"), epochs=10, name="diverged")
    make_run(home, 9, state="running", metric=0.9312, epochs=5, seconds=2 * DAY + 60, age=3 * DAY)
    make_run(
        home,
        10,
        state="queued",
        reason="cpu:0-1 is taken by 2a70",
        queue={"place": 2, "reason": "cpu:0-1 is taken by 2a70"},
        started=None,
        started_boottime=None,
    )


def table(pilot: Pilot[Any]) -> RunTable:
    return pilot.app.screen_stack[0].query_one(RunTable)


def names(pilot: Pilot[Any]) -> list[str]:
    return [doc["name"] for doc in table(pilot).items]


async def test_the_detail_ages_as_the_list_does(home: Home) -> None:
    now = [NOW]
    make_run(home, 1, name="young", age=26.0)
    app = TraindeckApp(home, clock=lambda: now[0])
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "26s ago")
        now[0] += 2
        screen = pilot.app.screen_stack[0]
        assert isinstance(screen, RunsScreen)
        screen._tick()
        await until_shown(pilot, "28s ago")


async def still(pilot: Pilot[Any]) -> None:
    """Waits until the detail has followed the cursor."""
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, RunsScreen)
    await until(pilot, lambda: screen._detail_timer is None)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_size_shows_what_fits(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    some_runs(home)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "baseline")
        await still(pilot)
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.parametrize("theme", ["light", "ansi"])
async def test_themes(
    app: TraindeckApp, home: Home, theme: str, snapshot: SnapshotAssertion
) -> None:
    some_runs(home)
    home.settings.write_text(f'theme = "{theme}"')
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "baseline")
        await pilot.press("down", "space")
        await still(pilot)
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_without_runs_it_says_what_to_do(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("1")
        await until_shown(pilot, "No runs yet")
        await still(pilot)
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_what_runs_say_is_only_text(
    app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
) -> None:
    make_run(home, 1, name="[b]bold[/b] [@click=app.quit]x[/]", reason="[red]no[/", state="failed")
    make_run(home, 2, name="\x1b[31mred\x1b[0m\a\r\nnext\0line", reason="\x1b]0;title\a")
    make_run(home, 3, name="日本語の実験 训练 тест 🧪🔬 é̀́ end", recipe="[reverse]")
    make_run(home, 4, name="א‮txt.exe‬", reason="[/]")
    make_run(home, 5, name="x" * 5000, command=["a b", "[i]", "\x1b[2J"], params={"[b]": "[/b]"})
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "[b]bold")
        for _ in range(5):
            await pilot.press("down")
        await until_shown(pilot, "[red]no[/")
        assert "\x1b" not in shown(pilot)
        await still(pilot)
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_a_run_is_seen_when_it_starts_moves_and_ends(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1, name="first")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "first")
        run_id = make_run(home, 2, state="running", name="second")
        await until_shown(pilot, "● running")
        writer = PointWriter(home.runs / run_id)
        writer.add(1, {"test/accuracy": 0.4321})
        writer.flush()
        await until_shown(pilot, "0.4321")
        writer.close()
        (home.runs / run_id / "exit.json").write_text(
            '{"state": "finished", "reason": "", "exit_code": 0, "seconds": 5, "ended": 1.0}'
        )
        Catalogue(home).sync(home.runs / run_id)
        await until(pilot, lambda: "● running" not in shown(pilot))
        await until_shown(pilot, "✓ finished  second")


async def test_the_cursor_stays_on_its_run(app: TraindeckApp, home: Home) -> None:
    for number in range(5):
        make_run(home, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "mnist-4")
        await pilot.press("down", "down")
        assert table(pilot).current is not None and table(pilot).current["name"] == "mnist-2"
        make_run(home, 9)
        await until_shown(pilot, "mnist-9")
        assert table(pilot).current["name"] == "mnist-2"


async def test_scrolling_with_the_wheel_is_left_alone_by_news(
    app: TraindeckApp, home: Home
) -> None:
    for number in range(60):
        make_run(home, number, index=False)
    Catalogue(home).reindex()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "mnist-59")
        table(pilot).scroll_to(y=30, animate=False)
        await until_shown(pilot, "mnist-25")
        make_run(home, 99)
        await until(pilot, lambda: len(table(pilot).items) == 61)
        await pilot.pause()
        assert table(pilot).scroll_offset.y == 30


async def test_sorting_by_key_and_by_a_click_on_the_header(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1, name="b", metric=0.5)
    make_run(home, 2, name="a", metric=0.9)
    make_run(home, 3, name="c")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: names(pilot) == ["c", "a", "b"])
        await pilot.press("o", "o")
        await until(pilot, lambda: names(pilot) == ["a", "b", "c"])
        assert "Name" in shown(pilot) and "▲" in shown(pilot)
        await pilot.press("O")
        await until(pilot, lambda: names(pilot) == ["c", "b", "a"])
        assert "▼" in shown(pilot)
        x = shown(pilot).splitlines()[1].index("Metric")
        await pilot.click(RunTable, offset=(x, 0))
        await until(pilot, lambda: names(pilot) == ["b", "a", "c"])
        await pilot.click(RunTable, offset=(x, 0))
        await until(pilot, lambda: names(pilot) == ["a", "b", "c"])


@pytest.mark.slow
async def test_the_filter_takes_words_and_questions(app: TraindeckApp, home: Home) -> None:
    some_runs(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "baseline")
        await pilot.press("slash", *"base")
        await until(pilot, lambda: names(pilot) == ["baseline"])
        assert "1 of 10" in shown(pilot)
        await pilot.press("enter", "escape")
        await until(pilot, lambda: len(names(pilot)) == 10)
        await pilot.press("slash", *"state:failed")
        await until(pilot, lambda: names(pilot) == ["broken"])
        await pilot.press("escape", "slash", *"accuracy>0.9 -bsl")
        await until(pilot, lambda: names(pilot) == ["mnist-9", "early"])


async def test_a_bad_filter_says_why_and_the_last_good_one_stays(
    app: TraindeckApp, home: Home
) -> None:
    some_runs(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "baseline")
        await pilot.press("slash", *"base")
        await until(pilot, lambda: names(pilot) == ["baseline"])
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        screen.query_one("#filter", Input).value = "stat:x"  # as pasted: in one go
        await until_shown(pilot, "there is no field 'stat'")
        assert names(pilot) == ["baseline"]
        screen.query_one("#filter", Input).value = "base"
        await until(pilot, lambda: "there is no field" not in shown(pilot))


async def test_marks_survive_sorting_and_escape_clears_them(app: TraindeckApp, home: Home) -> None:
    for number in range(4):
        make_run(home, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "mnist-3")
        await pilot.press("space", "space")
        assert shown(pilot).count("▌") == 2
        assert table(pilot).cursor == 2
        await pilot.press("o", "o", "O")
        assert len(table(pilot).marked) == 2
        await pilot.press("ctrl+a")
        assert len(table(pilot).marked) == 4
        await pilot.press("escape")
        assert not table(pilot).marked


async def test_clicks_move_the_cursor(app: TraindeckApp, home: Home) -> None:
    for number in range(4):
        make_run(home, number)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "mnist-3")
        await pilot.click(RunTable, offset=(20, 3))
        doc = table(pilot).current
        assert doc is not None and doc["name"] == "mnist-1"


@pytest.mark.slow
async def test_no_size_breaks_it(app: TraindeckApp, home: Home) -> None:
    some_runs(home)
    chance = random.Random(7)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "baseline")
        sizes = [(1, 1), (2, 2), (300, 3), (5, 100)]
        sizes += [(chance.randint(1, 250), chance.randint(1, 70)) for _ in range(40)]
        for width, height in sizes:
            await pilot.resize_terminal(width, height)
            if chance.random() < 0.3:
                await pilot.press(chance.choice(["down", "space", "o", "end", "home"]))
        await pilot.resize_terminal(120, 30)
        await until_shown(pilot, "State")
        await until_shown(pilot, "baseline")


async def test_ten_thousand_runs_cost_only_what_is_seen(app: TraindeckApp, home: Home) -> None:
    """Painted lines, not runs, decide the cost: the table renders no more than fits."""
    first = make_run(home, 0)
    doc = Catalogue(home).all()[0]
    docs = [{**doc, "id": f"{first}-{number}", "name": f"n{number}"} for number in range(10_000)]
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-0")
        app.feed.stop()
        table(pilot).show(docs)  # type: ignore[arg-type]
        await pilot.pause()
        await pilot.press("end")
        await until_shown(pilot, "n9999")
        assert len(table(pilot)._lines) < 200


async def test_damage_is_told_and_mended_files_are_read_again(
    app: TraindeckApp, home: Home
) -> None:
    make_run(home, 1, name="first")
    kept = home.catalogue.read_bytes()
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "first")
        home.catalogue.write_bytes(b"{ not json")
        await until(pilot, lambda: "cannot be read" in notices(pilot))
        assert "first" in shown(pilot)
        home.catalogue.write_bytes(kept)
        make_run(home, 2, name="second")
        await until_shown(pilot, "second")
    assert "Traceback" in Path(home.root / "traindeck.log").read_text()
