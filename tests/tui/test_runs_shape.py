"""The list of runs has any columns, in any order, and tells runs together over their seeds."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.homes import NOW, make_run
from tests.tui.pilots import shown, until, until_shown
from tests.tui.snapshot import Svg, screenshot
from tests.tui.test_runs_screen import still, table
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.run.folder import RunFolder
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.columns_dialog import ColumnsDialog
from traindeck.tui.screens.dialogs import ChoiceDialog
from traindeck.tui.screens.plot import PlotScreen, cloud, metrics, numeric_params
from traindeck.tui.screens.runs import RunsScreen
from traindeck.tui.widgets.group_table import GroupTable
from traindeck.tui.widgets.picked_columns import columns_of, pointed


def seeds(home: Home) -> list[str]:
    """Two rates, three seeds each."""
    return [
        make_run(
            home,
            number,
            metric=(0.9, 0.5)[number % 2] + 0.01 * (number // 2),
            epochs=10,
            params={"lr": (0.1, 0.001)[number % 2], "seed": number, "mode": "graph"},
        )
        for number in range(6)
    ]


def remembered(home: Home) -> dict[str, Any]:
    state = json.loads((home.root / "state.json").read_text())
    assert isinstance(state["runs"], dict)
    return state["runs"]


async def until_screen(pilot: Pilot[Any], kind: type) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, kind), kind.__name__)
    await pilot.pause()


async def group_by(pilot: Pilot[Any], place: int) -> None:
    await pilot.press("b")
    await until_screen(pilot, ChoiceDialog)
    await pilot.press(*["down"] * place, "enter")
    await until_screen(pilot, RunsScreen)


class TestColumns:
    async def test_are_chosen_ordered_and_kept(self, home: Home) -> None:
        seeds(home)
        app = TraindeckApp(home, clock=lambda: NOW)
        async with app.run_test(size=(120, 30)) as pilot:
            await until_shown(pilot, "mnist-5")
            await pilot.press("e")
            await until_screen(pilot, ColumnsDialog)
            await pilot.press("slash", *"lr", "enter")
            await pilot.press("slash", *"accuracy:best", "enter")
            await until_shown(pilot, "test/accuracy:best")
            await pilot.press("left", "enter")
            await until_screen(pilot, RunsScreen)
            await until(pilot, lambda: (home.root / "state.json").exists())
        chosen = remembered(home)["columns"]
        assert chosen[-2:] == ["test/accuracy:best", "lr"]
        again = TraindeckApp(home, clock=lambda: NOW)
        async with again.run_test(size=(200, 30)) as pilot:
            await until_shown(pilot, "mnist-5")
            assert [column.id for column, _ in table(pilot).columns][:3] == chosen[:3]
            await until_shown(pilot, "0.52 @2")

    async def test_a_picked_one_takes_the_place_of_the_least_of_the_tables_own(
        self, home: Home
    ) -> None:
        seeds(home)
        app = TraindeckApp(home, clock=lambda: NOW)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "mnist-5")
            before = {column.id for column, _ in table(pilot).columns}
            await pilot.press("e")
            await until_screen(pilot, ColumnsDialog)
            await pilot.press("slash", *"lr", "enter", "enter")
            await until_screen(pilot, RunsScreen)
            await until(pilot, lambda: "lr" in {column.id for column, _ in table(pilot).columns})
            now = {column.id for column, _ in table(pilot).columns}
            assert {"state", "name", "metric", "age", "lr"} <= now
            assert len(before - now) < len(now)

    async def test_columns_of_dashes_are_not_shown(self, home: Home) -> None:
        seeds(home)
        make_run(home, 9, name="other", params={"depth": 3})
        home.settings.write_text('columns = "name, depth, lr, nothing"')
        app = TraindeckApp(home, clock=lambda: NOW)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "other")
            columns = [column.id for column, _ in table(pilot).columns]
            assert columns == ["name", "depth", "lr"]
            await pilot.press("slash", *"mnist-", "enter")
            await until(
                pilot, lambda: [each.id for each, _ in table(pilot).columns] == ["name", "lr"]
            )

    async def test_settings_name_them_and_any_can_be_sorted_by(self, home: Home) -> None:
        seeds(home)
        home.settings.write_text('columns = "name, lr, test/accuracy:best, nothing"')
        app = TraindeckApp(home, clock=lambda: NOW)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "test/accuracy:best")
            await pilot.press("o", "o", "o", "O")
            names = [doc["name"] for doc in table(pilot).items]
            assert names[:3] == ["mnist-4", "mnist-2", "mnist-0"]
            await until(pilot, lambda: (home.root / "state.json").exists())
            await until(pilot, lambda: remembered(home)["sort"] == ["test/accuracy:best", True])
        again = TraindeckApp(home, clock=lambda: NOW)
        async with again.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "mnist-4")
            assert [doc["name"] for doc in table(pilot).items][:1] == ["mnist-4"]

    async def test_what_was_remembered_wrongly_stops_nothing(self, home: Home) -> None:
        seeds(home)
        state = {"runs": {"columns": [1, "", ":best"], "sort": "x", "group": 3}}
        (home.root / "state.json").write_text(json.dumps(state))
        async with TraindeckApp(home, clock=lambda: NOW).run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: len(table(pilot).items) == 6)

    def test_points_are_below_each_other(self) -> None:
        values = [0.9871, 12.5, 174.3, 5, -0.5, 1e-5, math.nan, "graph", True]
        told = [pointed(value, 10) for value in values]
        assert {text.index(".") for text in told if "." in text} == {3}
        assert told[-2:] == ["graph", "True"]

    def test_no_cell_is_wider_than_its_column(self, home: Home) -> None:
        doc = document(RunFolder(home.runs / seeds(home)[0]))
        assert doc is not None
        for column in columns_of(["lr", "accuracy:best", "created", "tags", "took", "mode"]):
            text = "".join(part for part, _ in column.parts(doc, NOW, column.width))
            assert len(text) <= column.width


class TestGroups:
    async def test_have_mean_and_deviation_and_open_into_their_runs(
        self, app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
    ) -> None:
        seeds(home)
        async with app.run_test(size=(120, 30)) as pilot:
            await until_shown(pilot, "mnist-5")
            await group_by(pilot, 1)
            await until_shown(pilot, "0.51 ± 0.01")
            groups = app.screen.query_one(GroupTable)
            assert [row.group.key for row in groups.items] == [(0.001,), (0.1,)]
            await still(pilot)
            assert await screenshot(pilot) == snapshot.use_extension(Svg)
            await pilot.press("down", "enter")
            await until(pilot, lambda: table(pilot).display and len(table(pilot).items) == 3)
            assert {doc["params"]["lr"] for doc in table(pilot).items} == {0.1}
            await pilot.press("escape")
            await until(pilot, lambda: groups.display)
            assert not table(pilot).display
        again = TraindeckApp(home, clock=lambda: NOW)
        async with again.run_test(size=(120, 30)) as pilot:
            await until_shown(pilot, "± 0.01")
            await group_by(pilot, 0)
            await until(pilot, lambda: table(pilot).display and len(table(pilot).items) == 6)

    async def test_a_filter_and_an_order_hold_for_groups_too(
        self, app: TraindeckApp, home: Home
    ) -> None:
        seeds(home)
        async with app.run_test(size=(120, 30)) as pilot:
            await until_shown(pilot, "mnist-5")
            await group_by(pilot, 2)
            await until_shown(pilot, "± 0.01")
            groups = app.screen.query_one(GroupTable)
            await pilot.press("o", "o", "o", "O")
            assert groups.items[0].group.key == (0.1,)
            await pilot.press("space")
            assert len(table(pilot).marked) == 3
            assert app.screen.query_one(GroupTable).cursor == 1
            await pilot.press("space")
            assert not table(pilot).marked
            await pilot.press("slash", *"seed<3", "enter")
            await until(pilot, lambda: [len(row.group.docs) for row in groups.items] == [2, 1])

    async def test_of_unlike_runs_there_is_more_than_dashes(self, home: Home) -> None:
        seeds(home)
        for number in range(5):
            params = {"mode": "x", f"only{number}": number}
            make_run(home, 20 + number, name=f"other-{number}", metric=0.5, params=params)
        app = TraindeckApp(home, clock=lambda: NOW)
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "other-4")
            await group_by(pilot, 1)
            await until(pilot, lambda: app.screen.query(GroupTable))
            groups = app.screen.query_one(GroupTable)
            await until(pilot, lambda: groups.columns)
            shown_ids = [column.id for column, _ in groups.columns]
            assert {"runs", "test/accuracy"} <= set(shown_ids)
            assert groups._empty.isdisjoint(shown_ids)


class TestPlot:
    async def test_a_metric_against_a_parameter(
        self, app: TraindeckApp, home: Home, snapshot: SnapshotAssertion
    ) -> None:
        seeds(home)
        async with app.run_test(size=(100, 24)) as pilot:
            await until_shown(pilot, "mnist-5")
            await pilot.press("P")
            await until_screen(pilot, PlotScreen)
            await until_shown(pilot, "test/accuracy:best against lr, 6 of 6 runs")
            assert await screenshot(pilot) == snapshot.use_extension(Svg)
            await pilot.press("down", "right")
            await until_shown(pilot, "test/accuracy against seed")
            await pilot.press("escape")
            await until_screen(pilot, RunsScreen)

    async def test_without_numbers_it_says_so(self, app: TraindeckApp, home: Home) -> None:
        make_run(home, 1, metric=0.5, params={"mode": "graph"})
        async with app.run_test(size=(100, 24)) as pilot:
            await until_shown(pilot, "mnist-1")
            await pilot.press("P")
            await until_shown(pilot, "This run has no parameter that takes several numbers")

    def test_places_and_means(self, home: Home) -> None:
        docs = [document(RunFolder(home.runs / each)) for each in seeds(home)]
        known = [doc for doc in docs if doc is not None]
        assert numeric_params(known) == ["lr", "seed"]
        found = cloud(known, "lr", "test/accuracy")
        assert found.log and [x for x, _ in found.means] == pytest.approx([-3, -1])
        assert [y for _, y in found.means] == pytest.approx([0.51, 0.91])
        assert metrics(known, ["lr", "train/loss"])[0] == "train/loss"


async def test_a_slip_in_the_filter_is_told_with_the_nearest_names(
    app: TraindeckApp, home: Home
) -> None:
    seeds(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-5")
        await pilot.press("slash", *"sed<3")
        await until_shown(pilot, "did you mean seed")
        app.screen.query_one("#filter", Input).value = "seed<3 mode:graph"
        await until(pilot, lambda: len(table(pilot).items) == 3)
        assert "did you mean" not in shown(pilot)
