"""The inbox: a data owner reads exactly what would run, and approves or refuses it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from tests.tui.federated_runs import PRICE, SCRIPT, ask, decision, federated_run
from tests.tui.homes import NOW
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.dialogs import ConfirmDialog, PromptDialog
from traindeck.tui.screens.inbox import InboxScreen
from traindeck.tui.widgets.code_view import CodeView, plain_lines, python_lines

SIZES = [(80, 24), (120, 30)]
CHANGED = SCRIPT.replace("0.05  # agreed", "0.5")


async def open_inbox(pilot: Pilot[Any]) -> InboxScreen:
    """As people do: the line says which key."""
    await until_shown(pilot, "i opens the inbox: ")
    await pilot.press("i")
    await until(pilot, lambda: isinstance(pilot.app.screen, InboxScreen))
    screen = pilot.app.screen
    assert isinstance(screen, InboxScreen)
    await until_shown(pilot, "SHA-256")
    return screen


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_script_is_read_whole_with_all_that_is_known(
    home: Home,
    size: tuple[int, int],
    snapshot: SnapshotAssertion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(home.root.parent)
    Path("agreed.py").write_text(SCRIPT)
    ask(federated_run(home), script=CHANGED, agreed=Path("agreed.py"))
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await open_inbox(pilot)
        await until_shown(pilot, "RATE = 0.5")
        text = shown(pilot)
        assert hashlib.sha256(CHANGED.encode()).hexdigest() in text
        assert "scientist@traindeck.invalid, 1m ago" in text and '"rounds": 60' in text
        assert "differs by +1 −1 lines from agreed.py" in text
        assert await screenshot(pilot) == snapshot.use_extension(Svg)
        await pilot.press("5")
        await until_shown(pilot, "-RATE = 0.05  # agreed")
        assert "+RATE = 0.5" in shown(pilot)
        await pilot.press("6")
        await until_shown(pilot, '  "batch_size": 32')


async def test_what_it_costs_is_told_before_it_is_approved(app: TraindeckApp, home: Home) -> None:
    ask(federated_run(home), privacy=PRICE)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_inbox(pilot)
        await until_shown(pilot, "RATE")
        text = shown(pilot)
        assert "ε 2.93 at δ 1e-05, per example, for all 600 steps" in text
        assert "mnist.owner-2: reserved once approved" in text
        await pilot.press("A")
        await until_shown(pilot, "That costs ε 2.93 at δ 1e-05")


@pytest.mark.slow
async def test_the_line_and_the_key_show_only_while_something_waits(
    app: TraindeckApp, home: Home
) -> None:
    folder = federated_run(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "fedavg")
        assert "Inbox" not in shown(pilot)
        request = ask(folder)
        await until_shown(pilot, "fedavg_torch.py at owner-2 waits for a hand")
        await until(pilot, lambda: "i Inbox" in shown(pilot).splitlines()[-1])
        ask(folder, 3)
        await until_shown(pilot, "2 scripts wait for a hand, the first at owner-2")
        for each in (request, request.parents[2] / "owner-3" / "inbox" / "fedavg-1"):
            (each / "decision.json").write_text('{"decision": "approve"}')
        await until(pilot, lambda: "opens the inbox" not in shown(pilot))


async def test_an_empty_inbox_says_so_and_the_palette_finds_it(
    app: TraindeckApp, home: Home
) -> None:
    federated_run(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "fedavg")
        await pilot.press("ctrl+p", *"inbox")
        await until_shown(pilot, "Scripts that wait for a data owner")
        await pilot.press("enter")
        await until_shown(pilot, "No script waits for a hand.")
        await pilot.press("A", "R", "5", "enter", "f5")
        assert isinstance(app.screen, InboxScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, InboxScreen))


async def test_another_key(home: Home) -> None:
    home.settings.write_text('[keys]\n"app.inbox" = "f8"\n"inbox.approve" = "f9"\n')
    ask(federated_run(home))
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "f8 opens the inbox: fedavg")
        await pilot.press("f8")
        await until_shown(pilot, "RATE")
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))


class TestDeciding:
    async def test_approving_asks_first_and_keeps_the_hash(
        self, app: TraindeckApp, home: Home
    ) -> None:
        request = ask(federated_run(home))
        async with app.run_test(size=(80, 24)) as pilot:
            await open_inbox(pilot)
            await until_shown(pilot, "RATE")
            await pilot.press("A")
            await until_shown(pilot, "Approve fedavg_torch.py for owner-2?")
            await pilot.press("escape", "A")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            assert not (request / "decision.json").exists()
            await pilot.press("y")
            await until(pilot, lambda: "approved for owner-2" in notices(pilot))
            await until_shown(pilot, "No script waits for a hand.")
        answer = decision(request)
        assert answer["decision"] == "approve"
        assert answer["sha256"] == hashlib.sha256(SCRIPT.encode()).hexdigest()

    async def test_lines_never_on_the_screen_are_told(self, app: TraindeckApp, home: Home) -> None:
        ask(federated_run(home), script=SCRIPT + "x = 1\n" * 100)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_inbox(pilot)
            await until_shown(pilot, "RATE")
            await pilot.press("A")
            await until_shown(pilot, "lines have not been on the screen yet")
            await pilot.press("escape", "enter", "end")
            await until_shown(pilot, "111 x = 1")
            await pilot.press("5", "4", "A")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await until_shown(pilot, "Approve fedavg_torch.py")
            assert "have not been on the screen" not in shown(pilot)

    async def test_refusing_needs_a_reason(self, app: TraindeckApp, home: Home) -> None:
        request = ask(federated_run(home), script=CHANGED)
        async with app.run_test(size=(80, 24)) as pilot:
            await open_inbox(pilot)
            await until_shown(pilot, "RATE")
            await pilot.press("R")
            await until(pilot, lambda: isinstance(app.screen, PromptDialog))
            await pilot.press("space", "enter")
            await until_shown(pilot, "a refusal needs its reason")
            await pilot.press(*"rate", "enter")
            await until_shown(pilot, "No script waits for a hand.")
        answer = decision(request)
        assert answer["decision"] == "refuse" and answer["reason"] == "rate"
        assert answer["sha256"] == hashlib.sha256(CHANGED.encode()).hexdigest()

    async def test_what_changed_since_it_was_shown_is_not_approved(
        self, app: TraindeckApp, home: Home
    ) -> None:
        request = ask(federated_run(home))
        async with app.run_test(size=(120, 30)) as pilot:
            await open_inbox(pilot)
            await until_shown(pilot, "RATE = 0.05")
            (request / "main.py").write_text(CHANGED)
            await until_shown(pilot, "it changed since it was shown: r reads it anew")
            assert "RATE = 0.05" in shown(pilot)
            await pilot.press("A")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await pilot.press("y")
            reasons = ("Not approved", "changed since it was shown")
            await until(pilot, lambda: all(each in notices(pilot) for each in reasons))
            assert not (request / "decision.json").exists()
            await pilot.press("f5")
            await until_shown(pilot, "RATE = 0.5")
            await until_shown(pilot, "this is not the script that was asked for")

    async def test_a_script_that_cannot_be_read_can_only_be_refused(
        self, app: TraindeckApp, home: Home
    ) -> None:
        request = ask(federated_run(home))
        (request / "main.py").unlink()
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "opens the inbox")
            await pilot.press("i")
            await until_shown(pilot, "it cannot be read: No such file")
            assert "Approve" not in shown(pilot)
            await pilot.press("A", "R")
            await until(pilot, lambda: isinstance(app.screen, PromptDialog))
            await pilot.press(*"gone", "enter")
            await until(pilot, lambda: (request / "decision.json").exists())


async def test_scripts_of_several_owners(app: TraindeckApp, home: Home) -> None:
    folder = federated_run(home)
    ask(folder, 1, script="first = 1\n")
    ask(folder, 3, script="third = 3\n", at=float("nan"), submitted_by=7)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_inbox(pilot)
        await until_shown(pilot, "first = 1")
        await pilot.press("down")
        await until_shown(pilot, "third = 3")
        await until_shown(pilot, "nobody told who")
        assert "first = 1" not in shown(pilot)


async def test_a_hostile_script_only_shows_itself(app: TraindeckApp, home: Home) -> None:
    evil = "[/x] [red]\x1b[2J"
    script = f"# {evil}\nok = 1\rimport os\n# \u202e\u200b\nlong = '{'a' * 200}'\n"
    request = ask(federated_run(home), script=script, submitted_by=evil, agreed=Path("/dev/zero"))
    (request / "params.json").write_text(f'{{"{evil}": 1, broken')
    for size in ((80, 24), (30, 30), (200, 50)):
        async with TraindeckApp(home, clock=lambda: NOW).run_test(size=size) as pilot:
            await open_inbox(pilot)
            await until_shown(pilot, "import os")
            if size[0] > 30:
                assert "‹U+001B›[2J" in shown(pilot) and "‹U+202E›" in shown(pilot)
            assert "\x1b" not in shown(pilot)
            code = pilot.app.screen.query_one(CodeView)
            assert code.count == 5
            await pilot.press("5")
            await until_shown(pilot, "no regular")
            await pilot.press("6")
            await pilot.resize_terminal(1, 1)
            await pilot.pause()


def test_colors_change_no_character() -> None:
    for text in (SCRIPT, "", "\n", "'''open\n", "def f(:\n  \n\n", "a = 1", "x = '\\\n'"):
        lines = python_lines(text)
        joined = "\n".join("".join(piece for piece, _ in line) for line in lines)
        assert joined == text.removesuffix("\n")
    inks = {ink for line in python_lines(SCRIPT) for _, ink in line}
    assert {"keyword", "string", "number", "comment"} <= inks
    assert plain_lines(["a‹U+202E›b"]) == [(("a", ""), ("‹U+202E›", "odd"), ("b", ""))]
