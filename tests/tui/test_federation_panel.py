"""A federated run's panel: owners against rounds, what left whom, who is waited for."""

from __future__ import annotations

from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from tests.tui.federated_runs import (
    PRIVACY,
    ask,
    federated_run,
    large_run,
    write_coordinator,
    write_status,
)
from tests.tui.homes import NOW, make_run
from tests.tui.pilots import shown, until, until_shown
from tests.tui.run_screens import open_run
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.federation.status import FederationStatus, OwnerStatus, RoundStatus
from traindeck.tui.app import TraindeckApp
from traindeck.tui.panels.federation import FederationPanel
from traindeck.tui.panels.federation_lines import figures, phase, protection, words
from traindeck.tui.panels.federation_rounds import GLYPHS, LEGEND, hidden, legend, matrix, window

SIZES = [(80, 24), (120, 30)]


def row_of(pilot: Pilot[Any], owner: str) -> str:
    return next(line for line in shown(pilot).splitlines() if line.strip().startswith(f"{owner} "))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_16_owners_and_200_rounds(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    folder = large_run(home)
    async with app.run_test(size=size) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "round 201 of 240")
        text = shown(pilot)
        assert "owner-14" in text and "201" in text.splitlines()[8]
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_3_owners_mid_round(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    folder = federated_run(home, rounds=12)
    write_status(folder, 2, round=13, state="sent")
    write_status(folder, 3, round=13, bytes_out={"raw": 4096}, approval="hand")
    async with app.run_test(size=size) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "masked with keys")
        assert row_of(pilot, "owner-2").count("●") == 14
        text = shown(pilot)
        assert "left owners: masked 611 kB · metadata 10.4 kB · mock 50 kB · raw 4.1 kB" in text
        assert "only the sum over at least 2 owners" in text
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_a_run_without_rounds_tells_of_none(app: TraindeckApp, home: Home) -> None:
    folder = federated_run(home, rounds=0, total=0)
    for number in (1, 2, 3):
        write_status(folder, number, round=0, approval="")
    async with app.run_test(size=(80, 50)) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "training: owners run the script")
        text = shown(pilot)
        assert "of 0" not in text and "this round" not in text and "approval" not in text
        assert row_of(pilot, "owner-2").split() == ["owner-2", "◐", "training"]


def test_where_none_can_be_missed_that_is_said() -> None:
    owners = tuple(OwnerStatus(f"owner-{number}") for number in (1, 2, 3))
    lines = [words(FederationStatus(threshold=most, owners=owners), 80).plain for most in (2, 3)]
    assert "2 of 3 owners are enough to go on" in lines[0]
    assert "all 3 are needed" in lines[1] and "enough" not in lines[1]


async def test_everything_is_told_and_where_it_comes_from(app: TraindeckApp, home: Home) -> None:
    folder = federated_run(home, rounds=8)
    write_status(folder, 2, round=9, facts={"rows": 256, "bytes_sent": 20_301_996})
    async with app.run_test(size=(120, 50)) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "round 9 of 60")
        text = shown(pilot)
        for each in ("3,481", "0.11", "204 kB", "5.21 kB", "25 kB", "312 MB", "0.23 s", "0.6917"):
            assert each in text, text
        for each in ("masked with keys", "only the sum over at least 2", "2 of 3 owners", "secagg"):
            assert each in text, text
        assert "Landlock: reads its data set alone" in text
        assert "automatically, by SHA-256" in text and "rows 256  bytes_sent 20.3 MB" in text
        assert "own status, which the aggregator does not" in text


def test_what_a_job_is_not_shut_in_from_has_a_line_of_its_own() -> None:
    said = (
        f"Landlock 7: files of the job alone{', and so on' * 20}; not shut in: net (not permitted)"
    )
    shut = OwnerStatus("owner-1", heard=True, sandbox=said)
    text = words(FederationStatus(heard=True, owners=(shut,)), 120).plain
    assert any(
        " ".join(line.split()) == "not shut in net (not permitted)" for line in text.split("\n")
    )


@pytest.mark.parametrize("size", [(80, 50), (120, 50), (160, 50)], ids=lambda size: str(size[0]))
async def test_each_owner_has_its_own_epsilon(
    app: TraindeckApp, home: Home, size: tuple[int, int]
) -> None:
    folder = federated_run(home, rounds=2)
    write_status(folder, 1, privacy=PRIVACY)
    write_status(folder, 2, privacy={**PRIVACY, "epsilon": 0.9, "ledger": "mnist.owner-2"})
    async with app.run_test(size=size) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "≤ 1.31 of 2.93")
        text = shown(pilot)
        assert "≤ 0.9 of 2.93" in text and "accounts for itself, at δ 1e-05, per example" in text
        assert "paid from the budgets mnist.owner-2" in text
        assert "≤: an upper bound" in text
        for each in ("3,481", "5.21 kB", "25 kB", "312 MB"):
            assert each in text, text


async def test_warming_is_shown_as_warming(app: TraindeckApp, home: Home) -> None:
    folder = federated_run(home, rounds=0)
    names = [f"owner-{each}" for each in (1, 2, 3)]
    write_coordinator(
        folder,
        rounds=0,
        phase="warming",
        round=0,
        states=dict.fromkeys(names, "warming"),
        waiting_for=names[1:],
    )
    for each in (1, 2, 3):
        write_status(folder, each, state="approved" if each == 1 else "warming", round=0)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "warming: owners load PyTorch · waits for owner-2, owner-3")
        assert "◔ warming" in row_of(pilot, "owner-2")
        assert "○ approved" in row_of(pilot, "owner-1")


async def test_it_follows_the_run_and_its_end(app: TraindeckApp, home: Home) -> None:
    folder = federated_run(home, rounds=1)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "round 2 of 60")
        write_coordinator(folder, rounds=7, waiting_for=["owner-3"])
        await until_shown(pilot, "round 8 of 60 · waits for owner-3")
        assert "!" in row_of(pilot, "owner-3")
        write_coordinator(folder, rounds=7, phase="failed", reason="owner-3 is gone for good")
        await until_shown(pilot, "failed: owner-3 is gone for good")


async def test_a_federation_that_begins_while_one_looks(app: TraindeckApp, home: Home) -> None:
    run_id = make_run(home, 1, state="running", index=False)
    folder = home.runs / run_id
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_run(pilot, run_id)
        assert "Federation" not in shown(pilot) and "run.tab_federation" in screen.absent
        await pilot.press("F")
        assert screen.focused is screen.curves
        (folder / "federation").mkdir()
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "the coordinator has said nothing yet")
        write_coordinator(folder)
        await until_shown(pilot, "round 3 of 60")


async def test_older_rounds_are_a_key_away(app: TraindeckApp, home: Home) -> None:
    folder = large_run(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "← 144 older")
        await pilot.press("left", "left")
        await until_shown(pilot, "← 124 older · → 20 newer")
        write_coordinator(folder, owners=16, rounds=203, total=240)
        await until_shown(pilot, "round 204 of 240  ← 124 older · → 23 newer")
        await pilot.press("ctrl+pageup", "ctrl+pageup", "ctrl+pageup")
        await until_shown(pilot, "→ 147 newer")
        assert "older" not in shown(pilot)
        await pilot.press("ctrl+pagedown", "ctrl+pagedown", "ctrl+pagedown")
        await until_shown(pilot, "← 147 older")
        assert "newer" not in shown(pilot)


async def test_a_waiting_script_is_told_on_the_screen(app: TraindeckApp, home: Home) -> None:
    folder = federated_run(home, index=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        ask(folder)
        await until_shown(pilot, "i opens the inbox: fedavg_torch.py at owner-2 waits for a hand")


async def test_names_are_never_markup_and_any_size_will_do(home: Home) -> None:
    evil = "[/x] [red]\x1b[2J"
    folder = federated_run(home, rounds=3)
    (folder / "federation" / "owners" / evil.replace("/", "_")).mkdir()
    write_coordinator(
        folder,
        phase=evil,
        reason=evil,
        encryption=evil,
        visible=evil,
        waiting_for=[evil],
        owner_list=[{"name": evil, "state": "lost", "reason": evil}],
    )
    write_status(folder, 1, facts={evil: evil}, job={"script": evil, "sha256": evil})
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_run(pilot, folder.name)
        await until_shown(pilot, "F Federation")
        await pilot.press("F")
        await until_shown(pilot, "[/x] [red]")
        for size in ((20, 5), (1, 1), (200, 50)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await until(pilot, lambda: screen.query_one(FederationPanel).display)
        await until_shown(pilot, "[/x] [red]")


class TestLines:
    def test_every_state_has_its_own_symbol_and_style(self) -> None:
        assert len(set(GLYPHS.values())) == len({glyph for glyph, _ in GLYPHS.values()})
        glyphs = [GLYPHS[state] for state in LEGEND]
        assert len({style for _, style in glyphs}) == len(glyphs)
        assert all(state in legend(74).plain for state in LEGEND)
        assert len(legend(74).plain.split("\n")) == 1

    def test_raw_bytes_are_red(self) -> None:
        quiet = OwnerStatus("a", heard=True, bytes_out={"masked": 10})
        loud = OwnerStatus("b", heard=True, bytes_out={"raw": 10, "odd": 7})
        for width in (75, 120):
            table = figures(FederationStatus(owners=(quiet, loud)), width)
            red = [
                table.plain[s.start : s.end] for s in table.spans if "text-error" in str(s.style)
            ]
            assert [each.strip() for each in red] == ["10 B", "bytes of other classes: odd 7 B"]

    def test_what_left_is_summed_and_nothing_raw_is_said(self) -> None:
        def first_line(*owners: OwnerStatus) -> str:
            return protection(FederationStatus(owners=owners)).plain.split("\n")[0]

        one, two = (OwnerStatus(name, heard=True, bytes_out={"masked": 600}) for name in "ab")
        assert first_line(one, two) == "left owners: masked 1.2 kB · raw 0 B"
        assert first_line(OwnerStatus("a")) == "left owners: not told yet"
        odd = OwnerStatus("c", heard=True, bytes_out={"odd": 7})
        assert first_line(one, odd) == "left owners: masked 600 B · raw 0 B · odd 7 B"

    def test_the_newest_rounds_are_in_sight(self) -> None:
        rounds = tuple(RoundStatus(n, states={"a": "sent"}) for n in range(1, 201))
        status = FederationStatus(
            True, phase="training", round=201, owners=(OwnerStatus("a"),), rounds=rounds
        )
        seen = window(status, 75, 0)
        assert seen.columns[-1] is None and seen.older == 201 - len(seen.columns)
        assert matrix(status, 75).plain.split("\n")[0].endswith("201")
        assert all(len(line) <= 75 for line in matrix(status, 75).plain.split("\n"))
        assert hidden(status, 400, 0).plain == ""

    def test_a_norm_that_moves_is_a_row_below_the_accuracy(self) -> None:
        def rows(*norms: float | None) -> list[str]:
            rounds = tuple(
                RoundStatus(n, 0.1, 0.5, states={"a": "sent"}, clipping_norm=norm)
                for n, norm in enumerate(norms, 1)
            )
            status = FederationStatus(True, owners=(OwnerStatus("a"),), rounds=rounds)
            lines = matrix(status, 75).plain.split("\n")
            return [" ".join(line.split()[:2]) for line in lines[2:]]

        assert rows(0.5, 0.4, 0.25) == ["accuracy 0.5", "norm 0.25", "seconds 0.1"]
        assert rows(None, None) == ["accuracy 0.5", "seconds 0.1"]

    def test_a_run_that_was_broken_off_says_so(self) -> None:
        status = FederationStatus(
            True, phase="warming", waiting_for=("a",), owners=(OwnerStatus("a"),)
        )
        assert "broken off" in phase(status, "torch", False).plain
        assert "waits for" not in phase(status, "torch", False).plain
        assert "PyTorch" in phase(status, "torch", True).plain
        assert (
            "all that was asked for is done"
            in phase(FederationStatus(True, phase="done"), "", False).plain
        )
