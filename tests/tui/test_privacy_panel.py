"""A run's privacy: epsilon and its bounds, what they depend on, when not to rely on them."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from syrupy.assertion import SnapshotAssertion
from typer.testing import CliRunner

from tests.tui.homes import NOW, make_run
from tests.tui.pilots import shown, until, until_shown
from tests.tui.private_runs import AUDIT, MECHANISM, SENTENCE, make_ledger, private_run
from tests.tui.run_screens import open_run
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.report import RunPrivacy
from traindeck.core.privacy.report import words as in_words
from traindeck.core.run.events import append
from traindeck.core.run.points import PointWriter
from traindeck.tui.app import TraindeckApp
from traindeck.tui.commands import ls, runs
from traindeck.tui.panels.privacy import PrivacyPanel
from traindeck.tui.panels.privacy_lines import at_least, at_most, axis, digits, foot, gauge, head

SIZES = [(80, 24), (120, 30), (200, 50)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_sizes(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    make_ledger(home, epsilon=3.0)
    run_id = private_run(home, ledger="mnist", audit=AUDIT, steps=400, epsilon=2.4123)
    async with app.run_test(size=size) as pilot:
        await open_run(pilot, run_id)
        await pilot.press("6")
        await until_shown(pilot, "budget 3")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_beside_the_curves(
    home: Home, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.root.parent)
    home = Home(Path(home.root.name))  # its path reads the same on every machine
    app = TraindeckApp(home, clock=lambda: NOW)
    run_id = private_run(home, audit=AUDIT)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_run(pilot, run_id)
        await until_shown(pilot, "[1.92, 2.93] consistent")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_the_plot_beside_the_curves_is_one_to_look_at(app: TraindeckApp, home: Home) -> None:
    make_ledger(home, epsilon=3.0)
    run_id = private_run(home, ledger="mnist", audit=AUDIT, steps=400, epsilon=2.4123)
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await open_run(pilot, run_id)
        await until_shown(pilot, "━ spent plan 2.93 ━ budget 3")
        panel, plot = screen.query_one(PrivacyPanel), screen.query_one("#privacy-curve")
        assert plot.region.bottom <= panel.region.bottom and plot.region.height >= 6


async def test_all_that_an_epsilon_depends_on_stands_beside_it(
    app: TraindeckApp, home: Home
) -> None:
    run_id = private_run(home)
    async with app.run_test(size=(100, 50)) as pilot:
        await open_run(pilot, run_id)
        await pilot.press("6")
        await until_shown(pilot, "ε against step")
        text = shown(pilot)
        for each in ("2.93 at δ 1e-05", "one example", SENTENCE, "585 of 585 steps", "Poisson"):
            assert each in text, text
        for each in ("0.0682667", "2.505", "0.1", "4,096", "60,000", "dp-accounting 0.6"):
            assert each in text, text
        assert "add-or-remove-one" in text and "no audit yet" in text and "none: nothing" in text


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({"seeded": True}, "seeded noise: not private"),
        ({"planned": None, "epsilon": math.inf}, "no noise: epsilon is infinite"),
    ],
)
async def test_what_must_not_be_relied_upon_says_so_first(
    app: TraindeckApp, home: Home, given: dict[str, Any], label: str
) -> None:
    run_id = private_run(home, **given)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, run_id)
        await pilot.press("6")
        await until_shown(pilot, label)
        assert SENTENCE not in shown(pilot)
        assert ("∞" in shown(pilot)) == ("infinite" in label)


async def test_a_violated_audit_is_told_above_all(app: TraindeckApp, home: Home) -> None:
    audit = AUDIT | {"lower": 4.2, "verdict": "violated"}
    run_id = private_run(home, audit=audit)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, run_id)
        await pilot.press("6")
        await until_shown(pilot, "audit violated: ε is at least 4.2, 2.93 is claimed")
        assert "quarantined" in shown(pilot) and SENTENCE not in shown(pilot)


async def test_it_follows_a_run_that_goes_on(app: TraindeckApp, home: Home) -> None:
    run_id = private_run(home, state="running", steps=100, epsilon=1.2)
    async with app.run_test(size=(100, 40)) as pilot:
        await open_run(pilot, run_id)
        await pilot.press("6")
        await until_shown(pilot, "100 of 585 steps spent, 485 left")
        assert "planned end: ε 2.93" in shown(pilot)
        event = MECHANISM.with_steps(300).to_json()
        append(home.runs / run_id / "events.jsonl", "spend", event=event, epsilon=2.0, delta=1e-5)
        await until_shown(pilot, "300 of 585 steps spent, 285 left")


async def test_a_ledger_that_cannot_be_read_costs_only_the_line_in_the_chart(
    app: TraindeckApp, home: Home
) -> None:
    ledger = make_ledger(home)
    ledger.path.write_text("nonsense\n")
    run_id = private_run(home, ledger=ledger.name)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, run_id)
        await pilot.press("6")
        await until_shown(pilot, "plan ε 2.93")
        assert "budget 3" not in shown(pilot)


async def test_a_ledger_that_never_answers_holds_up_nothing(
    app: TraindeckApp, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()

    def account(self: Ledger) -> None:
        never.wait(60)
        raise OSError("gone")

    monkeypatch.setattr(Ledger, "account", account)
    run_id = private_run(home, ledger="mnist")
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("6")
            await until_shown(pilot, "plan ε 2.93")
    finally:
        never.set()


async def test_a_run_that_exposed_a_budget_says_so(app: TraindeckApp, home: Home) -> None:
    make_ledger(home)
    plain = make_run(home, 1, ledger="mnist", name="plain")
    seeded = private_run(home, 2, ledger="mnist", seeded=True)
    for run_id in (plain, seeded):
        async with TraindeckApp(home).run_test(size=(100, 40)) as pilot:
            await open_run(pilot, run_id)
            await pilot.press("6")
            await until_shown(pilot, "✗ this run exposed the budget of mnist")


def test_a_resumed_run_says_what_it_inherited() -> None:
    privacy = privacy_of(steps=100, inherited=90, planned={"steps": 100}, epsilon=1.0)
    assert "90 of the 100 steps were inherited" in head(privacy, False, 120).plain
    assert "inherited" not in head(replace(privacy, inherited=0), False, 120).plain


def test_the_risk_is_that_of_the_whole_plan_and_says_so() -> None:
    privacy = privacy_of(steps=0, planned={"steps": 100}, epsilon=0.0, risk={"sentence": "87"})
    assert "its whole plan: 87" in head(privacy, False, 120).plain
    assert "whole plan" not in head(replace(privacy, steps=100), False, 120).plain


def test_public_weights_are_no_part_of_what_epsilon_covers_and_it_says_so() -> None:
    privacy = privacy_of(steps=3, epsilon=1.0, pretrained="ImageNet-1k")
    told = "private data: ε is not about what they saw: ImageNet-1k"
    assert told in " ".join(foot(privacy, 200).plain.split())
    assert "not covered: ImageNet-1k" in in_words(privacy)["public weights"]
    assert "public weights" not in foot(replace(privacy, pretrained=""), 200).plain


def test_what_a_document_of_an_earlier_version_lacks_is_a_question_mark() -> None:
    privacy = privacy_of(steps=3, epsilon=1.0)
    assert "at δ ?" in head(privacy, False, 120).plain
    assert "one ?" in foot(privacy, 120).plain and "? at most, public" in foot(privacy, 120).plain
    assert RunPrivacy.from_json({}) is RunPrivacy.from_json(None) is None


def privacy_of(**known: Any) -> RunPrivacy:
    privacy = RunPrivacy.from_json(known)
    assert privacy is not None
    return privacy


async def test_a_run_without_accounting_says_that_nothing_is_known(
    app: TraindeckApp, home: Home
) -> None:
    run_id = make_run(home, 1, index=False)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_run(pilot, run_id)
        await pilot.press("6")
        await until_shown(pilot, "No privacy accounting")
        for size in ((20, 5), (1, 1), (200, 50)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await until(pilot, lambda: screen.is_current)


class TestFigures:
    def test_upper_bounds_are_rounded_up_and_lower_ones_down(self) -> None:
        assert (at_most(2.931), at_least(2.939)) == ("2.94", "2.93")
        assert (at_most(2.93), at_least(2.93)) == ("2.93", "2.93")
        assert (at_most(12.01), at_most(0.0), at_most(None), at_most(math.inf)) == (
            "12.1",
            "0",
            "∞",
            "∞",
        )

    def test_bounds_on_one_axis(self) -> None:
        line, names = axis(1.0, 2.0, 44, bad=False)
        assert line.plain.count("●") == 2 and line.cell_length == 43
        assert names.plain.index("measured") < names.plain.index("claimed")
        line, names = axis(4.2, 2.93, 44, bad=True)
        assert names.plain.index("claimed") < names.plain.index("measured")
        assert "▷" in axis(1.0, math.inf, 44, bad=False)[0].plain

    def test_a_gauge_is_full_only_when_everything_is_spent(self) -> None:
        assert gauge([(0.999, "")], 10).plain == "━" * 9 + "╸"
        assert gauge([(1.0, "")], 10).plain == "━" * 10
        assert gauge([(0.001, "")], 10).plain == "╸" + "─" * 9
        assert gauge([(0.5, ""), (0.001, ""), (0.0, "")], 10).cell_length == 10
        assert gauge([(0.9, ""), (0.9, "")], 7).cell_length == 7

    def test_large_digits(self) -> None:
        lines = digits("2.93")
        assert len(lines) == 3 and lines[2][3] == "."


class TestPrivateTelemetry:
    """Series of private training data, which no epsilon covers."""

    @staticmethod
    def run_with_telemetry(home: Home, number: int = 1) -> str:
        run_id = private_run(home, number)
        writer = PointWriter(home.runs / run_id)
        for step in range(5):
            writer.add(step, {"test/accuracy": 0.9, "private/loss": 1.0, "private/norm": 2.0})
        writer.close()
        Catalogue(home).sync(home.runs / run_id)
        return run_id

    async def test_it_is_marked_and_one_key_hides_it_everywhere(
        self, app: TraindeckApp, home: Home
    ) -> None:
        run_id = self.run_with_telemetry(home)
        async with app.run_test(size=(120, 30)) as pilot:
            await open_run(pilot, run_id)
            await until_shown(pilot, "loss (not in ε)")
            await pilot.press("v")
            await until_shown(pilot, "2 private hidden")
            assert "not in ε" not in shown(pilot)
            await pilot.press("escape")
            await open_run(pilot, run_id)
            await until_shown(pilot, "2 private hidden")
            await pilot.press("slash", *"private", "enter", "v")
            await until_shown(pilot, "private/norm (not in ε)")
            await pilot.press("enter")
            await pilot.press("v")
            await until_shown(pilot, "2 private hidden")

    def test_it_is_not_passed_on_unless_it_is_asked_for(self, home: Home) -> None:
        run_id, _ = (self.run_with_telemetry(home, number) for number in (1, 2))
        deck, cli = typer.Typer(), CliRunner()
        runs.register(deck)
        ls.register(deck)
        named = cli.invoke(deck, ["metrics", run_id, "--series", "private/loss"])
        assert "private/loss" in named.stdout and not named.stderr  # its name asks for it
        for words in (
            ["metrics", run_id],
            ["metrics", run_id, "--csv"],
            ["metrics", run_id, "--json"],
            ["show", run_id],
            ["show", run_id, "--json"],
            ["ls", "--json"],
        ):
            done = cli.invoke(deck, words)
            assert done.exit_code == 0, done.output
            assert "private/" not in done.stdout, words
            assert done.stderr.count("private series left out") == 1
            done = cli.invoke(deck, [*words, "--private"])
            assert "private/loss" in done.stdout and "left out" not in done.stderr
