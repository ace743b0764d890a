"""The privacy screen: what is spent of every budget, by whom, and whether that can be believed."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from tests.conftest import until as eventually
from tests.tui.homes import NOW
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.private_runs import MECHANISM, RHO, make_ledger, private_run, reserve
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.privacy.ledger import entries, ledger, ledgers
from traindeck.core.privacy.ledger.account import Charge
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.tui.app import TraindeckApp
from traindeck.tui.panels.budget_lines import RUNS, rough_percent
from traindeck.tui.readers import budgets
from traindeck.tui.readers.budgets import BudgetWatch
from traindeck.tui.screens.privacy import PrivacyScreen
from traindeck.tui.screens.run.screen import RunScreen

SIZES = [(80, 24), (120, 30), (200, 50)]


@pytest.fixture(autouse=True)
def same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers are always written at one moment by one person here, and looked at often."""
    for module in (ledger, ledgers):
        monkeypatch.setattr(module, "decided", lambda why: {"by": "ada@desk"})
    monkeypatch.setattr(entries, "time", SimpleNamespace(time=lambda: NOW))
    monkeypatch.setattr(BudgetWatch.__init__, "__kwdefaults__", {"interval": 0.1})


def some_budgets(home: Home) -> tuple[str, str]:
    """One with a run that is settled and one that goes on, one without any, one that is damaged.

    Returns the ids of the two runs.
    """
    ledger = make_ledger(home)
    old = private_run(home, 1, ledger="mnist", index=True)
    new = private_run(
        home, 2, ledger="mnist", index=True, state="running", steps=117, epsilon=1.234
    )
    reserve(ledger, old)
    ledger.commit(old, 585)
    ledger.settle(old, "finished", 585)
    reserve(ledger, new)
    ledger.commit(new, 117)
    ledgers.derive(ledger, "mnist-small", "subset")
    make_ledger(home, "cancer", 8.0)
    make_ledger(home, "digits").path.write_text("nonsense\n")
    return old, new


async def go(pilot: Pilot[Any]) -> PrivacyScreen:
    await pilot.press("p")
    await until(pilot, lambda: isinstance(pilot.app.screen, PrivacyScreen))
    screen = pilot.app.screen
    assert isinstance(screen, PrivacyScreen)
    return screen


async def choose(pilot: Pilot[Any], name: str) -> PrivacyScreen:
    screen = await go(pilot)
    await until(pilot, lambda: screen.budgets.items)
    names = [budget.name for budget in screen.budgets.items]
    await pilot.press("home", *["down"] * names.index(name))
    await until(pilot, lambda: screen.current is not None and screen.current.name == name)
    return screen


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.slow
async def test_sizes(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    some_budgets(home)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.snapshot and app.snapshot.whole)
        screen = await choose(pilot, "mnist")
        await until(pilot, lambda: screen.history.items)
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_the_budgets_of_owners_can_be_told_apart(
    app: TraindeckApp, home: Home, size: tuple[int, int]
) -> None:
    names = [f"mnist-owners.owner-{number}" for number in (1, 2, 13)]
    for name in names:
        make_ledger(home, name)
    async with app.run_test(size=size) as pilot:
        screen = await go(pilot)
        await until(pilot, lambda: len(screen.budgets.items) == len(names))
        await until_shown(pilot, "owner-13")
        lines = shown(pilot).splitlines()
        for name in names:
            [line] = [line for line in lines if line.split()[:1] == [name]]
            assert "1e-05" in line and "example" in line and "100%" in line


async def test_what_a_budget_comes_to(app: TraindeckApp, home: Home) -> None:
    _, new = some_budgets(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await choose(pilot, "mnist")
        await until_shown(pilot, "had this schedule been fixed in advance")
        text = shown(pilot)
        for each in ("ε 6 at δ 1e-05 for one example", "add-or-remove-one", "the chain is whole"):
            assert each in text, text
        assert "no more run like the last one (torch-mnist-scatter-dp, ε 2.93) fits" in text
        assert "an attacker allowed 1 false accusation in 100 finds at most" in text
        assert "mnist-small (subset of mnist)" in text
        line = next(line for line in text.splitlines() if line.strip().startswith(new))
        assert line.split()[2:] == ["running", "585", "117", "–", "1.24"]  # rounded up
        assert notices(pilot) == ""


@pytest.mark.slow
async def test_a_run_is_one_key_away_and_its_history_too(app: TraindeckApp, home: Home) -> None:
    old, _ = some_budgets(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.snapshot and app.snapshot.whole)
        screen = await choose(pilot, "mnist")
        await pilot.press("enter", "down")
        assert screen.runs.has_focus and screen.runs.current.id == old  # the newest is first
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("escape", "h")
        await until_shown(pilot, "reserve")
        assert screen.history.has_focus and screen.history.current["type"] == "derive"
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("escape", "h")
        await until(pilot, lambda: screen.runs.has_focus)
        await pilot.press("y")
        await until(pilot, lambda: app.clipboard == "traindeck budget show mnist")


async def test_a_damaged_ledger_says_what_is_wrong_with_it(app: TraindeckApp, home: Home) -> None:
    some_budgets(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await choose(pilot, "digits")
        await until_shown(pilot, "the ledger of digits is damaged")
        assert "line 1" in shown(pilot) and "from one" in shown(pilot)  # backup
        await pilot.press("enter", "h", "down", "enter")
        await pilot.press("escape")
        assert notices(pilot) == ""


async def test_a_torn_end_is_told_and_nothing_is_lost_by_it(app: TraindeckApp, home: Home) -> None:
    ledger = make_ledger(home)
    with ledger.path.open("a") as file:
        file.write('{"v":1,')
    async with app.run_test(size=(120, 30)) as pilot:
        await choose(pilot, "mnist")
        await until_shown(pilot, "mended by the next entry")
        assert "ε 6 at δ" in shown(pilot)


async def test_a_run_without_privacy_is_told_in_red_for_good(app: TraindeckApp, home: Home) -> None:
    make_ledger(home).expose("hand-1", "torch-mnist", "no privacy")
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await choose(pilot, "mnist")
        await until_shown(pilot, "by hand-1 (torch-mnist): no privacy; ε is infinite")
        assert "a run was exposed" in shown(pilot)
        assert "mnist is exposed: nothing is left to protect by hand-1" in shown(pilot)
        assert "% left" not in shown(pilot) and "100%" not in shown(pilot)
        await pilot.press("enter")
        assert screen.runs.current.state == "exposed"
        await pilot.press("enter")
        await until(pilot, lambda: "hand-1 has no folder" in notices(pilot))


@pytest.mark.slow
async def test_without_budgets_it_says_what_to_do(app: TraindeckApp, home: Home) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await go(pilot)
        await until_shown(pilot, "traindeck budget create")
        await pilot.press("enter", "h", "y", "f5")
        make_ledger(home)  # as from another terminal
        await until_shown(pilot, "mnist")
        await until(pilot, lambda: screen.budgets.has_focus)
        for size in ((20, 5), (1, 1), (200, 50), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await until_shown(pilot, "no run yet")


@pytest.mark.slow
async def test_it_follows_runs_as_they_commit_and_end(app: TraindeckApp, home: Home) -> None:
    ledger = make_ledger(home)
    reserve(ledger, "hand-1")
    async with app.run_test(size=(120, 30)) as pilot:
        screen = await choose(pilot, "mnist")
        await until(pilot, lambda: screen.runs.current.state == "lost")  # nobody stands for it
        run_id = private_run(home, 3, state="running", ledger="mnist", steps=0, index=True)
        reserve(ledger, run_id)
        await until(pilot, lambda: screen.runs.items[0].id == run_id)
        ledger.commit(run_id, 77)
        await until(pilot, lambda: screen.runs.items[0].committed == 77)
        assert screen.runs.current.id == "hand-1"  # the cursor stays where it was
        ledger.settle(run_id, "finished", 77)
        await until(pilot, lambda: screen.runs.items[0].settled == 77)
        await until(pilot, lambda: screen.history.items[0]["type"] == "settle")


@pytest.mark.slow
async def test_a_ledger_that_never_answers_freezes_nothing(
    app: TraindeckApp, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ledger(home)
    never = threading.Event()

    def account(self: Ledger, ended: object = None) -> None:
        never.wait(60)
        raise OSError("gone")

    monkeypatch.setattr(Ledger, "account", account)
    monkeypatch.setattr("traindeck.tui.screens.privacy.SLOW_SECONDS", 0.2)
    begun = time.monotonic()
    try:
        async with app.run_test(size=(120, 30)) as pilot:
            await go(pilot)
            await until_shown(pilot, "no answer from")
            await pilot.press("1", "p", "question_mark")
            await until_shown(pilot, "privacy.history")
            await pilot.press("escape", "3")
            await until_shown(pilot, "core 0")
            assert threads() == 1  # no second one beside that which hangs
        assert time.monotonic() - begun < 30
    finally:
        never.set()


@pytest.mark.slow
async def test_nothing_is_read_while_nobody_looks(
    app: TraindeckApp, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    really = budgets.ledgers
    monkeypatch.setattr(budgets, "ledgers", lambda folder: looks.append(1) or really(folder))
    make_ledger(home)
    async with app.run_test(size=(120, 30)) as pilot:
        assert threads() == 0
        await choose(pilot, "mnist")
        await pilot.press("1")
        await pilot.pause(0.5)
        before = len(looks)
        await pilot.pause(0.5)
        assert len(looks) == before
        await pilot.press("p")
        await until(pilot, lambda: len(looks) > before)
    eventually(lambda: threads() == 0)


def threads() -> int:
    return sum(each.name == "budget watch" for each in threading.enumerate())


def test_an_unchanged_ledger_is_not_read_again(home: Home) -> None:
    seen: list[Any] = []
    watch = BudgetWatch(home, ready=seen.append, failed=seen.append)
    ledger = make_ledger(home)
    [first] = watch._look()
    assert watch._look()[0] == first and watch._look()[0].state is first.state
    watch.want_history("mnist")
    [second] = watch._look()
    assert [entry["type"] for entry in second.history] == ["create"]
    assert second.state is first.state
    reserve(ledger, "hand-1")
    [third] = watch._look()
    assert third.state is not first.state and len(third.history) == 2
    [run] = third.state.account.runs
    assert (run.state, run.settled) == ("lost", 0)  # though nobody has written that down


async def test_of_a_thousand_runs_only_those_in_sight_cost_anything(
    app: TraindeckApp, home: Home
) -> None:
    make_ledger(home)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await choose(pilot, "mnist")
        runs = tuple(
            Charge(f"r{number}", "x", "mnist", MECHANISM, RHO, 1.0, None, 0.0, 9, 9, "finished")
            for number in range(1000)
        )
        budget = screen.budgets.items[0]
        seen = []
        columns = [
            replace(each, parts=lambda run, width: seen.append(run.id) or [("x", "")])
            for each in RUNS
        ]
        screen.runs.take_columns(columns)
        assert screen._watch is not None
        screen._watch.stop()
        account = replace(budget.state.account, runs=runs)
        many = replace(budget, state=replace(budget.state, account=account))
        screen.post_message(screen.Looked((many,)))
        await until(pilot, lambda: len(screen.runs.items) == 1000)
        await pilot.press("enter", "end")
        await until(pilot, lambda: "r0" in seen)
        await pilot.press("pageup")
        await pilot.pause()
        assert len(set(seen)) < 120


def test_shares_are_never_rounded_to_nothing_or_all() -> None:
    assert [rough_percent(share) for share in (0.0, 0.001, 0.5, 0.9999, 1.0, -0.2)] == [
        "0%",
        "<1%",
        "50%",
        "99%",
        "100%",
        "-20%",
    ]


def row_shown(pilot: Pilot[Any], begins: str, holds: str) -> bool:
    """Whether a dialog's row, upon whatever the screen shows beside it, has both."""
    rows = [line.split("│")[1].strip() for line in shown(pilot).splitlines() if "│" in line]
    return any(row.startswith(begins) and holds in row for row in rows)


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_new_budget_is_asked_for_by_fields_with_names(
    app: TraindeckApp, size: tuple[int, int]
) -> None:
    async with app.run_test(size=size) as pilot:
        await go(pilot)
        await pilot.press("B")
        await until_shown(pilot, "A privacy budget for a data set")
        await until_shown(pilot, "ctrl+s creates it")
        for label, text in {
            "data set": "such as mnist",
            "epsilon": "all that may ever be spent",
            "delta": "1e-5",
            "unit": "example",
            "reason": "why, for the record",
        }.items():
            await until(pilot, lambda begins=label, holds=text: row_shown(pilot, begins, holds))
        await pilot.press("ctrl+s")
        await until_shown(pilot, "data set: its name is missing")
