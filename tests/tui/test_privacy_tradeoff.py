"""Several private runs side by side: accuracy against epsilon, beside what was published."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.tui.homes import make_run
from tests.tui.pilots import shown, until, until_shown
from tests.tui.private_runs import AUDIT, make_ledger, private_run, reserve
from tests.tui.run_screens import open_run
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp
from traindeck.tui.panels.tradeoff import REFERENCES, TradeoffPanel, _notes

SIZES = [(80, 24), (120, 30), (200, 50)]


def some_runs(home: Home) -> list[str]:
    """Three that may be relied upon, and three that may not or have no epsilon at all."""
    given = [("strict", 0.5, 0.979), ("middle", 1.0, 0.982), ("loose", 2.93, 0.9872)]
    ids = [
        private_run(home, number, name=name, epsilon=epsilon, metric=accuracy, index=True)
        for number, (name, epsilon, accuracy) in enumerate(given, 1)
    ]
    ids.append(private_run(home, 4, name="seeded", seeded=True, metric=0.99, index=True))
    refuted = AUDIT | {"verdict": "violated", "lower": 4.2}
    ids.append(private_run(home, 5, name="refuted", audit=refuted, metric=0.99, index=True))
    ids.append(make_run(home, 6, name="plain", metric=0.995))
    return ids


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_sizes(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    ids = some_runs(home)
    async with app.run_test(size=size) as pilot:
        await open_run(pilot, *ids)
        await until_shown(pilot, "6 Privacy")
        await pilot.press("6")
        await until_shown(pilot, "3 runs are left out")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_only_what_may_be_relied_upon_is_a_point(app: TraindeckApp, home: Home) -> None:
    ids = some_runs(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_run(pilot, *ids)
        await until_shown(pilot, "6 Privacy")
        await pilot.press("6")
        await until_shown(pilot, "published, not run here")
        picture = shown(pilot).split("─runs")[0]
        for each in ("strict", "middle", "loose", "Tramèr & Boneh 2021", "Papernot et al. 2021"):
            assert each in picture, picture
        for each in ("seeded", "refuted", "plain"):
            assert each not in picture, picture
        await pilot.press("4")
        await until(pilot, lambda: not app.screen.query_one(TradeoffPanel).display)


async def test_without_two_epsilons_there_is_nothing_to_compare(
    app: TraindeckApp, home: Home
) -> None:
    ids = [private_run(home, 1, metric=0.9), make_run(home, 2, metric=0.9)]
    async with app.run_test(size=(120, 40)) as pilot:
        await open_run(pilot, *ids)
        await until_shown(pilot, "test/accuracy")
        await pilot.press("6")
        await pilot.pause(0.2)
        assert not app.screen.query_one(TradeoffPanel).display
        assert "6 Privacy" not in shown(pilot)


async def test_all_runs_of_a_data_set_are_one_key_away(app: TraindeckApp, home: Home) -> None:
    ledger = make_ledger(home)
    for run_id in some_runs(home)[:2]:
        reserve(ledger, run_id)
        ledger.settle(run_id, "finished", 585)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.snapshot and app.snapshot.whole)
        await pilot.press("p")
        await until_shown(pilot, "had this schedule been fixed")
        await pilot.press("V")
        await until_shown(pilot, "6 Privacy")


def test_epsilons_of_other_kinds_are_said_to_be() -> None:
    notes = str(_notes(0, (), {1e-5, 1e-6}, {"user", "example"}))
    assert "different units: example, user" in notes and "different deltas: 1e-06, 1e-05" in notes
    assert str(_notes(0, (), {1e-5}, {"user"})) == ""


def test_the_references_are_what_the_accountant_says() -> None:
    """From the papers' parameters: noise, batch, steps on 60,000 images at delta 1e-5."""
    from traindeck.core.privacy import accountant
    from traindeck.core.privacy.mechanism import Mechanism

    scatter = Mechanism(2.505, 4096 / 60000, 585)
    tempered = Mechanism(1.255, 1024 / 60000, 1757)
    for reference, mechanism in zip(REFERENCES, (scatter, tempered), strict=True):
        epsilon = accountant.epsilon([mechanism], reference.delta)
        assert epsilon == pytest.approx(reference.epsilon, abs=0.01)
