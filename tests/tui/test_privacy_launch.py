"""The launch form tells what a run costs in privacy before it is launched, and what it leaves."""

from __future__ import annotations

import re
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.private_runs import MECHANISM, make_ledger, reserve
from tests.tui.recipe_files import form_of, open_form, row, screen, write_recipes
from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.privacy import forecast
from traindeck.core.privacy.origin import Origin, seal
from traindeck.core.recipe.read import discover
from traindeck.core.run.state import ENDED
from traindeck.tui.app import TraindeckApp
from traindeck.tui.readers import pricing
from traindeck.tui.readers.pricing import LaunchPrice, Pricing
from traindeck.tui.screens.run.screen import RunScreen

pytestmark = pytest.mark.slow

PRIVATE = """\
# /// script
# [tool.traindeck]
# name = "private"
# dataset = "mnist"
# privacy = "dp-sgd"
# [tool.traindeck.accounting]
# records = 60000
# [tool.traindeck.params.epsilon]
# type = "float"
# default = inf
# [tool.traindeck.params.noise_multiplier]
# type = "float"
# default = 2.505
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 4096
# [tool.traindeck.params.steps]
# type = "int"
# default = 585
# [tool.traindeck.params.noise_seed]
# type = "int"
# default = -1
# ///
from traindeck.core import track

with track.start() as run:
    run.spend()
"""
PLAIN = """\
# /// script
# [tool.traindeck]
# name = "plain"
# dataset = "mnist"
# ///
from traindeck.core import track

with track.start() as run:
    run.log(0, {"loss": 1.0})
"""
CHOICE = """\
# /// script
# [tool.traindeck]
# name = "choice"
# dataset = "mnist"
# [tool.traindeck.params]
# dp = {type = "choice", default = "none", choices = ["none", "central"]}
# owners = {type = "int", default = 3}
# rounds = {type = "int", default = 60}
# epsilon = {type = "float", default = inf}
# [tool.traindeck.when.dp.central]
# dataset = "mnist-owners"
# privacy = "dp-sgd"
# accounting = {records = 16, unit = "owner", sampler = "none"}
# defaults = {owners = 16, rounds = 20, epsilon = 20}
# ///
"""


@pytest.fixture(autouse=True)
def folder(home: Home) -> Path:
    folder = write_recipes(home.recipes)
    (folder / "private.py").write_text(PRIVATE)
    (folder / "choice.py").write_text(CHOICE)
    (folder / "plain.py").write_text(PLAIN)
    return folder


async def test_the_price_is_live(app: TraindeckApp, home: Home) -> None:
    make_ledger(home)
    async with app.run_test(size=(120, 40)) as pilot:
        form = await open_form(pilot, "private")
        await until_shown(pilot, "ε 2.93 at δ 1e-05 per example · noise 2.505 · 585 steps")
        assert "takes 39.4 % of the budget of mnist, leaves 60.6 % (1 more such run)" in " ".join(
            text_of_price(pilot).split()
        )
        row(pilot, "noise_multiplier").set_text("1.2")
        await until_shown(pilot, "does not fit: ")
        assert re.search(
            r"does not fit: [\d.]+ % needed, 100 % left; epsilon ≤ [\d.]+ fits",
            " ".join(text_of_price(pilot).split()),
        )
        assert "`traindeck budget set" not in text_of_price(pilot)
        await pilot.press("f2")
        assert "`traindeck budget set mnist --epsilon" in " ".join(text_of_price(pilot).split())
        await pilot.press("f2")
        row(pilot, "noise_multiplier").set_text("x")
        await until(pilot, lambda: not form.bar.query_one("#price").display)
        row(pilot, "noise_multiplier").set_text("2.505")
        row(pilot, "batch_size").set_text("99999")
        await until_shown(pilot, "batch_size: 99999 is not from 1 to the 60000 records")


def text_of_price(pilot: object) -> str:
    return str(form_of(pilot).bar.query_one("#price").render())  # type: ignore[arg-type]


async def test_without_a_budget_nothing_is_charged(app: TraindeckApp, home: Home) -> None:
    async with app.run_test(size=(160, 40)) as pilot:
        await open_form(pilot, "private")
        await until_shown(pilot, "mnist has no budget: nothing is charged")
        await pilot.press("escape")
        form = await open_form(pilot, "plain")
        await pilot.pause(0.5)
        assert not form.bar.query_one("#price").display


async def test_a_choice_brings_its_defaults_its_price_and_its_data_set(
    app: TraindeckApp, home: Home
) -> None:
    async with app.run_test(size=(160, 40)) as pilot:
        form = await open_form(pilot, "choice")
        row(pilot, "rounds").set_text("7")
        row(pilot, "dp").set_text("central")
        await until_shown(pilot, "ε 20 at δ 1e-05")
        await until_shown(pilot, "mnist-owners has no budget: nothing is charged")
        assert "data mnist-owners  privacy dp-sgd" in shown(pilot)
        assert form.command() == "traindeck run choice -p dp=central -p rounds=7"
        assert [row(pilot, name).text for name in ("owners", "rounds")] == ["16", "7"]
        row(pilot, "dp").set_text("none")
        await until(pilot, lambda: form.command() == "traindeck run choice -p rounds=7")
        assert row(pilot, "owners").text == "3"
        row(pilot, "owners").set_text("16")
        await until(pilot, lambda: "-p owners=16" in form.command())
        row(pilot, "dp").set_text("central")
        await until(pilot, lambda: "owners" not in form.command())
        row(pilot, "dp").set_text("none")
        await until(pilot, lambda: "-p owners=16" in form.command())  # it was typed
        row(pilot, "owners").set_text("3")
        await until(pilot, lambda: not form.bar.query_one("#price").display)
        row(pilot, "dp").set_text("central")
        await until(pilot, lambda: row(pilot, "owners").text == "16")
    async with TraindeckApp(home).run_test(size=(160, 40)) as pilot:
        form = await open_form(pilot, "choice")
        assert form.command() == "traindeck run choice -p dp=central -p rounds=7"
        assert row(pilot, "owners").text == "16"


async def test_no_privacy_must_be_accepted_each_time(home: Home) -> None:
    ledger = make_ledger(home)
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        form = await open_form(pilot, "plain")
        await until_shown(pilot, "mnist has a privacy budget: this run has no privacy")
        assert "--accept-no-privacy" not in form.command()
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not launched: mnist has a privacy budget")
        assert not ledger.account().exposed
        assert "[ ] accept: the budget's epsilon is then infinite, for ever" in shown(pilot)
        screen(pilot).set_focus(form.bar.query_one("#accept-switch"))
        await pilot.press("space")
        await until_shown(pilot, "[x] accept")
        await until_shown(pilot, "--accept-no-privacy")
        assert "not launched" not in shown(pilot)
        await pilot.press("ctrl+l")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert ledger.account().exposures[0].recipe == "plain"
        await pilot.press("escape")
        await until(pilot, lambda: "--accept" not in form.command())
        await until(pilot, lambda: Library(home).find("@last")["state"] in ENDED)


async def test_a_run_that_does_not_fit_is_refused_in_the_form(
    app: TraindeckApp, home: Home
) -> None:
    make_ledger(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_form(pilot, "private")
        row(pilot, "noise_multiplier").set_text("1.2")
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not launched: ")
        await until_shown(pilot, "% needed, 100 % left; epsilon ≤ ")
        assert not list(home.runs.iterdir())
        await pilot.press("escape", "escape")
        await until(pilot, lambda: screen(pilot).recipe_list.options.has_focus)
        await pilot.press("p")
        await until_shown(pilot, "had this schedule been fixed in advance")


async def test_seeded_noise_has_no_privacy_either(app: TraindeckApp, home: Home) -> None:
    make_ledger(home)
    async with app.run_test(size=(140, 40)) as pilot:
        await open_form(pilot, "private")
        row(pilot, "noise_seed").set_text("1")
        await until_shown(pilot, "this run has seeded noise: not private")
        await until_shown(pilot, "accept: the budget's epsilon")
        row(pilot, "noise_seed").set_text("-1")
        await until_shown(pilot, "ε 2.93 at")
        await until(pilot, lambda: "accept: the budget's" not in shown(pilot))


async def test_an_exposed_budget_and_a_resumed_run_are_told_so(
    app: TraindeckApp, home: Home, folder: Path
) -> None:
    ledger = make_ledger(home)
    resumes = PRIVATE.replace(
        "# ///\nfrom", '# [tool.traindeck.params.resume]\n# type = "path"\n# ///\nfrom'
    )
    (folder / "private.py").write_text(resumes)
    known, unknown = home.root / "checkpoint-00000500.pt", home.root / "checkpoint-00000400.pt"
    for checkpoint in (known, unknown):
        checkpoint.touch()
    reserve(ledger, "earlier")
    ledger.commit("earlier", 500)
    ledger.settle("earlier", "stopped")
    taken = Origin("earlier", "x", "mnist", "", MECHANISM.with_steps(500), (("earlier", 500),))
    seal(known, taken, home.root)
    async with app.run_test(size=(180, 40)) as pilot:
        await open_form(pilot, "private")
        row(pilot, "resume").set_text(str(known))
        await until_shown(pilot, "(85 left to pay)")
        row(pilot, "resume").set_text(str(unknown))
        await until_shown(pilot, "(400 of them in the checkpoint, never paid for here)")
        ledger.expose("one", "plain", "no privacy")
        row(pilot, "resume").set_text("")
        await until_shown(pilot, "mnist is exposed: nothing is left to protect by one")
        assert "leaves" not in text_of_price(pilot)


async def test_a_budget_that_is_damaged_or_never_answers_stops_nothing(
    app: TraindeckApp, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ledger(home).path.write_text("nonsense\n")
    never = threading.Event()
    try:
        async with app.run_test(size=(140, 40)) as pilot:
            await open_form(pilot, "private")
            await until_shown(pilot, "the budget cannot be read")
            monkeypatch.setattr(
                pricing, "price", lambda *question: never.wait(60) and LaunchPrice()
            )
            row(pilot, "steps").set_text("10")
            await until_shown(pilot, "ε …")
            await pilot.press("escape", "1")
            assert notices(pilot) == ""
    finally:
        never.set()


def test_only_the_newest_question_is_answered(
    home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes, _ = discover([(folder, "./recipes", False)])
    private = next(recipe for recipe in recipes if recipe.name == "private")
    asked: list[object] = []

    def ask(home: Home, recipe: object, values: dict[str, object], runs: int) -> None:
        asked.append(values["steps"])

    monkeypatch.setattr(forecast, "forecast", ask)
    answers: list[int] = []
    done = threading.Event()
    made = Pricing[LaunchPrice](lambda number, price: (answers.append(number), done.set()))
    for steps in range(1, 50):
        number = made.ask(partial(pricing.price, home, private, {"steps": steps}))
    assert done.wait(20)
    made.stop()
    assert asked == [49] and answers == [number] == [49]


async def test_at_80_cells_a_refusal_leaves_room_for_the_form(
    app: TraindeckApp, home: Home
) -> None:
    make_ledger(home)
    async with app.run_test(size=(80, 24)) as pilot:
        form = await open_form(pilot, "private")
        row(pilot, "noise_multiplier").set_text("1.2")
        await until_shown(pilot, "does not fit: ")
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not launched: ")
        assert form.query_one("#form-scroll").size.height >= 12
        await pilot.press("f2")
        await until_shown(pilot, "would take")


async def test_why_a_launch_was_refused_is_said_once(app: TraindeckApp, home: Home) -> None:
    make_ledger(home)
    async with app.run_test(size=(120, 40)) as pilot:
        form = await open_form(pilot, "private")
        row(pilot, "noise_multiplier").set_text("1.2")
        await until_shown(pilot, "does not fit: ")
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not launched: ")
        assert shown(pilot).count("epsilon ≤ ") == 2
        await pilot.press("f2")
        await until_shown(pilot, "would take")
        assert shown(pilot).count("would take") == 1
        await pilot.press("f2")
        await until(pilot, lambda: shown(pilot).count("epsilon ≤ ") == 2)
        await pilot.press("f2")
        row(pilot, "noise_multiplier").set_text("1.1")
        await until(pilot, lambda: "not launched" not in shown(pilot))
        await until_shown(pilot, "would take")
        assert form.bar.whole
