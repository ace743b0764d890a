"""Every list answers the same motions, and settings.toml knows each motion by one id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from textual.binding import Binding
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.tui.federated_runs import ask, federated_run
from tests.tui.homes import NOW, make_run
from tests.tui.pilots import notices, until, until_shown
from tests.tui.private_runs import make_ledger
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp
from traindeck.tui.keys import LIST_KEYS
from traindeck.tui.panels.comparison import RunLines
from traindeck.tui.screens.inbox import InboxScreen
from traindeck.tui.screens.privacy import PrivacyScreen
from traindeck.tui.widgets.columns import ordered
from traindeck.tui.widgets.device_select import OfferList
from traindeck.tui.widgets.line_list import LineList
from traindeck.tui.widgets.line_table import LineTable
from traindeck.tui.widgets.recipe_list import RecipeOptions
from traindeck.tui.widgets.row_table import RowColumn, RowTable
from traindeck.tui.widgets.run_table import RunTable

LISTS = [RunTable, RowTable, LineList, RecipeOptions, OfferList, RunLines]
COUNT = 6
LAST = COUNT - 1


@pytest.mark.parametrize("list_type", LISTS)
def test_every_list_knows_each_motion_by_the_same_id_and_keys(list_type: type[DOMNode]) -> None:
    bound = {key: (binding.id, binding.action) for key, binding in list_type._merge_bindings()}
    for each in Binding.make_bindings(LIST_KEYS):
        assert bound[each.key] == (each.id, each.action)
    motions = {each.action: each.id for each in Binding.make_bindings(LIST_KEYS)}
    for binding_id, action in bound.values():
        assert motions.get(action, binding_id) == binding_id


def some_runs(home: Home, state: str = "finished") -> None:
    for number in range(COUNT):
        make_run(home, number, state=state, name=f"run-{number}")


def some_budgets(home: Home) -> None:
    for number in range(COUNT):
        make_ledger(home, f"data-{number}")


def some_requests(home: Home) -> None:
    folder = federated_run(home, owners=COUNT)
    for number in range(1, COUNT + 1):
        ask(folder, number)


Cursor = Callable[[], int | None]


async def runs(pilot: Pilot[Any]) -> Cursor:
    await until_shown(pilot, "run-0")
    return cursor_of(pilot.app.screen.query_one(RunTable))


async def budgets(pilot: Pilot[Any]) -> Cursor:
    await pilot.press("p")
    await until_shown(pilot, f"data-{LAST}")
    screen = pilot.app.screen
    assert isinstance(screen, PrivacyScreen)
    return cursor_of(screen.budgets)


async def inbox(pilot: Pilot[Any]) -> Cursor:
    return cursor_of((await inbox_screen(pilot)).table)


async def inbox_screen(pilot: Pilot[Any]) -> InboxScreen:
    await until_shown(pilot, f"{COUNT} scripts wait")
    await pilot.press("i")
    await until_shown(pilot, f"owner-{COUNT}")
    screen = pilot.app.screen
    assert isinstance(screen, InboxScreen)
    return screen


async def devices(pilot: Pilot[Any]) -> Cursor:
    await pilot.press("3")
    await until_shown(pilot, "run-0")
    await pilot.press("tab")
    lines = pilot.app.screen.query_one("#devices-runs", OptionList)
    await until(pilot, lambda: lines.has_focus)
    return lambda: lines.highlighted


def cursor_of(table: LineTable[Any, Any]) -> Cursor:
    return lambda: table.cursor


@pytest.mark.parametrize(
    ("make", "opened"),
    [
        (some_runs, runs),
        (some_budgets, budgets),
        (some_requests, inbox),
        (partial(some_runs, state="running"), devices),
    ],
    ids=["runs", "budgets", "inbox", "devices"],
)
@pytest.mark.slow
async def test_every_list_moves_alike(
    app: TraindeckApp,
    home: Home,
    make: Callable[[Home], None],
    opened: Callable[[Pilot[Any]], Awaitable[Cursor]],
) -> None:
    make(home)
    async with app.run_test(size=(120, 50)) as pilot:
        cursor = await opened(pilot)
        await until(pilot, lambda: cursor() == 0)
        for key, line in (
            *(("up", 0), ("k", 0), ("down", 1), ("j", 2), ("k", 1), ("up", 0)),
            *(("end", LAST), ("down", LAST), ("home", 0), ("G", LAST), ("j", LAST), ("g", 0)),
            *(("pagedown", LAST), ("pageup", 0)),
        ):
            await pilot.press(key)
            assert cursor() == line, key


def test_rows_are_in_the_order_that_their_texts_are_read_in() -> None:
    column = RowColumn("x", "X", 5, 0, lambda text, width: [(text, "")])
    texts = ["B", "–", "12%", "1,234", "a", "∞", "2.5", "nan"]
    upward = ["2.5", "12%", "1,234", "∞", "a", "B", "nan", "–"]
    assert ordered(texts, column) == upward
    assert ordered(texts, column, reverse=True) == [*upward[-2::-1], "–"]


async def test_lists_of_rows_are_sorted_like_runs(app: TraindeckApp, home: Home) -> None:
    some_requests(home)
    async with app.run_test(size=(120, 50)) as pilot:
        screen = await inbox_screen(pilot)

        def owners() -> list[str]:
            return [each.owner for each in screen.table.items]

        given = owners()
        await pilot.press("o")
        await until_shown(pilot, "Owner▲")
        upward = [f"owner-{number}" for number in range(1, COUNT + 1)]
        assert owners() == upward
        await pilot.press("O")
        await until_shown(pilot, "Owner▼")
        assert owners() == upward[::-1]
        await pilot.click(RowTable, offset=(2, 0))
        await until_shown(pilot, "Owner▲")
        await pilot.press(*["o"] * len(screen.table.columns))
        assert owners() == given


async def test_ids_of_old_still_give_keys(home: Home) -> None:
    some_runs(home)
    home.settings.write_text(
        '[keys]\n"table.down" = "f6"\nlist.down = "f7"\n"runs.reverse" = "f8"\n'
    )
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=(120, 30)) as pilot:
        cursor = await runs(pilot)
        await pilot.press("f6", "f7", "down")
        assert cursor() == 2
        await pilot.press("f8")
        await until_shown(pilot, "▼")
        assert "table.down is called list.down now, on every screen" in notices(pilot)
