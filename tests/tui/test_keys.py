"""Every key can be given to another command: each binding of ours has an id."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from textual.binding import Binding
from textual.dom import DOMNode

import traindeck.tui
from tests.tui.homes import NOW, make_run
from tests.tui.pilots import shown, until, until_shown
from tests.tui.run_screens import finished, open_run
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp
from traindeck.tui.keys import LIST_KEYS, SCROLL_KEYS
from traindeck.tui.panels.provenance import ProvenancePanel
from traindeck.tui.screens.help import HelpScreen


def our_classes() -> Iterator[type[DOMNode]]:
    for module in pkgutil.walk_packages(traindeck.tui.__path__, "traindeck.tui."):
        importlib.import_module(module.name)
    classes: list[type[DOMNode]] = [DOMNode]
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        if cls.__module__.startswith("traindeck."):
            yield cls


def test_every_binding_has_an_id() -> None:
    nameless = {
        f"{cls.__name__}: {key}"
        for cls in our_classes()
        for key, binding in cls._merge_bindings()
        if not binding.id
    }
    assert not nameless


def test_a_motion_has_the_same_id_wherever_it_is() -> None:
    ids: dict[str, set[str | None]] = {}
    for binding in Binding.make_bindings([*LIST_KEYS, *SCROLL_KEYS]):
        ids.setdefault(binding.action, set()).add(binding.id)
    for cls in our_classes():
        for key, binding in cls._merge_bindings():
            assert binding.id in ids.get(binding.action, {binding.id}), f"{cls.__name__}: {key}"


@pytest.mark.parametrize("key", ["f6", "down"])
async def test_keys_that_scroll_can_be_others(home: Home, key: str) -> None:
    run_id = finished(home, params={f"p{number}": number for number in range(40)})
    if key != "down":
        home.settings.write_text(f'[keys]\n"scroll.down" = "{key}"\n')
    app = TraindeckApp(home, clock=lambda: NOW)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_run(pilot, run_id)
        await pilot.press("8")
        await until_shown(pilot, "p3")
        panel = app.screen.query_one(ProvenancePanel)
        await pilot.press("f6" if key == "down" else "down")
        await pilot.pause(0.3)
        assert panel.scroll_y == 0
        await pilot.press(key)
        await until(pilot, lambda: panel.scroll_y > 0)


async def test_help_tells_keys_that_parts_share_once(app: TraindeckApp, home: Home) -> None:
    run_id = make_run(home, 1)
    async with app.run_test(size=(120, 110)) as pilot:
        await open_run(pilot, run_id)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await until_shown(pilot, "Moving about")
        assert shown(pilot).count("scroll.page-down") == 1
