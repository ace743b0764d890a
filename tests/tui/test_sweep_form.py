"""The form of a sweep: ranges instead of values, priced while one types, begun from the screen."""

from __future__ import annotations

from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import Input

from tests.core.sweeps.private_search import PRIVATE as SEARCHED
from tests.core.sweeps.private_search import with_budget
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.private_runs import make_ledger
from tests.tui.recipe_files import TINY, form_of, open_form, row, screen, type_text
from tests.tui.snapshot import Svg, screenshot
from tests.tui.test_privacy_launch import PRIVATE
from traindeck.core.base.home import Home
from traindeck.core.sweeps import begin, driver, study
from traindeck.tui.app import TraindeckApp
from traindeck.tui.readers.drafts import read_drafts
from traindeck.tui.screens.recipes.sweep import SweepFormScreen
from traindeck.tui.screens.sweeps import SweepsScreen
from traindeck.tui.widgets.choice_bar import ChoiceBar
from traindeck.tui.widgets.sweep_form import SweepForm, SweepRow

SIZES = [(80, 24), (120, 40)]


@pytest.fixture(autouse=True)
def recipes(home: Home) -> None:
    (home.recipes / "tiny.py").write_text(TINY)
    text = PRIVATE.replace("default = inf", "default = 1.0").replace("2.505", "0.0")
    (home.recipes / "private.py").write_text(text)
    (home.recipes / "searched.py").write_text(SEARCHED.replace('"private"', '"searched"'))


def drafts_of(home: Home, name: str) -> list[Any]:
    return [draft for recipe, draft in read_drafts(home).items() if recipe == name]


async def open_sweep(pilot: Pilot[Any], name: str) -> SweepForm:
    await pilot.press("2")
    await open_form(pilot, name)
    await pilot.press("ctrl+g")
    await until(pilot, lambda: isinstance(pilot.app.screen, SweepFormScreen), "the sweep's form")
    return pilot.app.screen.query_one(SweepForm)


def put(pilot: Pilot[Any], name: str, text: str) -> None:
    control = pilot.app.screen.query_one(f"#sweep-{name}", SweepRow).control
    assert isinstance(control, ChoiceBar | Input)
    control.value = text


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_what_is_typed_is_a_sweep_and_its_command(
    app: TraindeckApp, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    async with app.run_test(size=size) as pilot:
        form = await open_sweep(pilot, "tiny")
        await until_shown(pilot, "✗ nothing varies: give at least one parameter several values")
        await pilot.press("ctrl+u")
        await type_text(pilot, "2..8")
        put(pilot, "trials", "5")
        put(pilot, "at-once", "2")
        put(pilot, "sampler", "random")
        command = "traindeck sweep tiny -p steps=2..8 --trials 5 --sampler random --at-once 2"
        await until(pilot, lambda: form.command() == command)
        await until_shown(pilot, "no budget is charged")
        asked = form.request()
        assert asked is not None and (asked.series, asked.direction) == ("loss", "minimize")
        form.options["sampler"].control.focus()  # a field's cursor blinks
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_what_cannot_be_is_told_where_it_stands(app: TraindeckApp, home: Home) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await open_sweep(pilot, "tiny")
        put(pilot, "steps", "8..2")
        await until_shown(pilot, "8..2 ends before it begins")
        put(pilot, "trials", "many")
        await until_shown(pilot, "a whole number above 0")
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not begun: steps: 8..2 ends before it begins; trials:")
        put(pilot, "steps", "2,4")
        put(pilot, "trials", "2")
        put(pilot, "series", "")
        put(pilot, "sampler", "cmaes")
        await until_shown(pilot, "✗ --sampler cmaes needs a range")
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not begun: --sampler cmaes needs a range")
        assert study.sweeps(home) == []


async def test_what_is_wrong_stands_beside_the_command_at_once(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await open_sweep(pilot, "tiny")
        put(pilot, "steps", "8..2")
        await until_shown(pilot, "✗ steps: 8..2 ends before it begins")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_toast_leaves_command_and_buttons_in_sight(
    app: TraindeckApp, size: tuple[int, int]
) -> None:
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("2")
        await open_form(pilot, "tiny")
        app.notify("one thing\nand another\nand a third", title="a toast")
        app.notify("another\nand another\nand a third", title="a second")
        await until_shown(pilot, "a second")
        assert "Copy" in shown(pilot) and "Launch" in shown(pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, SweepFormScreen), "the sweep's form")
        await until_shown(pilot, "a second")
        await until_shown(pilot, "$ traindeck sweep tiny")
        assert "Copy" in shown(pilot) and "Launch" in shown(pilot)
        assert "traindeck" in shown(pilot).splitlines()[0]


async def test_one_field_or_all_go_back_by_the_keys_of_the_launch_form(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        form = await open_sweep(pilot, "tiny")
        put(pilot, "steps", "2..8")
        put(pilot, "trials", "5")
        put(pilot, "sampler", "random")
        whole = "traindeck sweep tiny -p steps=2..8 --trials 5 --sampler random"
        await until(pilot, lambda: form.command() == whole)
        form.options["trials"].control.focus()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: form.command() == whole.replace(" --trials 5", ""))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "No changed field under the cursor." in notices(pilot))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: form.command() == "traindeck sweep tiny")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "Every field is at its default." in notices(pilot))


@pytest.mark.slow
async def test_a_real_sweep_from_form_to_its_trials(home: Home) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_sweep(pilot, "tiny")
        put(pilot, "steps", "2,4")
        put(pilot, "sampler", "grid")
        await until_shown(pilot, "no budget is charged")
        await pilot.press("ctrl+l", "ctrl+l")  # once is enough
        await until(pilot, lambda: isinstance(app.screen, SweepsScreen), "the sweeps")
        assert "has begun" in notices(pilot)
        await until_shown(pilot, "2/2")
        await until_shown(pilot, "trial 1: steps=4")
        [folder] = study.sweeps(home)
        assert folder.design().typed == {"steps": "2,4"}
        await pilot.press("escape")
        await until(pilot, lambda: form_of(pilot).recipe.name == "tiny")


async def test_values_come_along_and_ranges_are_still_there_tomorrow(home: Home) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await open_form(pilot, "private")
        row(pilot, "batch_size").set_text("2048")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, SweepFormScreen), "the sweep's form")
        form = app.screen.query_one(SweepForm)
        assert "-p batch_size=2048" in form.command()
        put(pilot, "epsilon", "0.3,1")
        await until(pilot, lambda: "-p epsilon=0.3,1" in form.command())
        await pilot.press("escape")
        await until(pilot, lambda: screen(pilot).is_current)
        assert "epsilon" not in form_of(pilot).command()
        kept = {"epsilon": "0.3,1", "batch_size": "2048"}
        await until(pilot, lambda: [each.sweep for each in drafts_of(home, "private")] == [kept])
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        form = await open_sweep(pilot, "private")
        assert "-p epsilon=0.3,1" in form.command()


@pytest.mark.slow
async def test_the_price_is_told_before_and_a_budget_refuses(home: Home) -> None:
    make_ledger(home)
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_sweep(pilot, "private")
        put(pilot, "steps", "100,200")
        put(pilot, "series", "test/accuracy")
        put(pilot, "trials", "40")
        await until_shown(pilot, "40 runs, each of at most epsilon")
        await until_shown(pilot, "all seen, composed: epsilon")
        await until_shown(pilot, "✗ the budget of mnist admits")
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not begun: the budget of mnist admits")
        assert study.sweeps(home) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_private_selection_is_asked_for_and_priced_beside_the_other_way(
    app: TraindeckApp, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    async with app.run_test(size=size) as pilot:
        form = await open_sweep(pilot, "searched")
        put(pilot, "lr", "0.0..1.0")
        put(pilot, "trials", "40")
        await until_shown(pilot, "this is what is charged")
        put(pilot, "sampler", "random")
        put(pilot, "private-select", "yes")
        command = "-p lr=0.0..1.0 --trials 40 --sampler random --private-select"
        await until(pilot, lambda: form.command() == f"traindeck sweep searched {command}")
        asked = form.request()
        assert asked is not None and asked.select
        await until_shown(pilot, "charged as")
        form.options["private select"].control.focus()
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("sampler", "tpe", "its trials are drawn at random: --sampler random"),
        ("pruner", "median", "all of its trials run to their end: leave --pruner out"),
        ("epsilon", "0.1,0.2", "every trial has the same private plan"),
        ("trials", "2", "all 2 seen as 2: leave it out"),
    ],
)
async def test_the_conditions_of_private_selection_hold_here_too(
    home: Home, name: str, text: str, why: str
) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_sweep(pilot, "searched")
        put(pilot, "lr", "0.0..1.0")
        put(pilot, "sampler", "random")
        put(pilot, "private-select", "yes")
        put(pilot, name, text)
        await until_shown(pilot, why)
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not begun: --private-select")
        assert study.sweeps(home) == []


@pytest.mark.slow
async def test_a_private_selection_is_begun_as_the_command_begins_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "start", lambda folder: True)  # its number of trials is chance
    ledger = with_budget(home, 5.0)
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        form = await open_sweep(pilot, "searched")
        put(pilot, "lr", "0.0..1.0")
        put(pilot, "trials", "40")
        put(pilot, "sampler", "random")
        put(pilot, "private-select", "yes")
        await until_shown(pilot, "the budget of toy:")
        await until_shown(pilot, "charged as")
        request = form.request()
        assert request is not None
        costs = begin.priced(home, request)
        await pilot.press("ctrl+l")
        await until(pilot, lambda: isinstance(app.screen, SweepsScreen), "the sweeps")
    [folder] = study.sweeps(home)
    design = folder.design()
    assert costs is not None
    assert design.select and design.price == costs.to_json()
    [charge] = ledger.account().runs
    assert charge.id == folder.id
    assert charge.reserved == 20 * costs.charged < 20 * 40


async def test_what_accounts_for_no_privacy_is_not_asked_for_private_selection(
    app: TraindeckApp,
) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        form = await open_sweep(pilot, "tiny")
        assert "private select" not in form.options
