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


SAME = (
    {"list.first", "scroll.top", "curves.cursor_home"},
    {"list.last", "scroll.end", "curves.cursor_end"},
    {"list.up", "scroll.up", "curves.up", "form.previous", "plot.metric-back"},
    {"list.down", "scroll.down", "curves.down", "form.next", "plot.metric"},
    {"list.page-up", "scroll.page-up", "form.page-up"},
    {"list.page-down", "scroll.page-down", "form.page-down"},
    {"scroll.left", "curves.left", "choice.previous", "columns.earlier", "plot.param-back"},
    {
        *("scroll.right", "curves.right", "choice.next", "recipes.open", "columns.later"),
        "plot.param",
    },
    {
        *("runs.open", "list.select", "curves.open", "inbox.read", "privacy.open", "recipes.open"),
        *("consent.toggle", "devices.open", "sweeps.open", "models.read", "versus.open"),
    },
    {"runs.mark", "curves.mark", "choice.next", "consent.toggle", "columns.toggle"},
    {
        *("app.back", "curves.grid", "help.back", "log.end_search", "recipes.back", "runs.back"),
        "dialog.leave",
    },
    {"runs.filter", "recipes.filter", "curves.filter", "run.search", "columns.filter"},
    {"devices.refresh", "inbox.anew", "models.refresh", "privacy.refresh", "recipes.refresh"},
    {
        "inbox.copy",
        "log.copy",
        "models.copy",
        "parameters.copy",
        "privacy.copy",
        "recipes.copy-command",
        "sweeps.copy",
        "versus.copy",
    },
    {"inbox.script", "models.state", "run.tab_curves"},  # the first tab, the second …
    {"inbox.difference", "models.card", "run.tab_log"},
    {"inbox.parameters", "models.bundle", "run.tab_privacy"},
    {"app.help", "help.back"},
    {"app.quit", "help.back"},
    {"app.how-to-quit", "screen.copy"},
    {"screen.next", "recipes.open"},
    {"recipes.reset-all", "columns.reset"},
    {"runs.again", "sweeps.best"},
    {"models.export", "run.export"},
    {"models.stop", "runs.stop", "sweeps.stop"},
    {"models.delete", "runs.delete", "sweeps.delete"},
    {"models.restore", "runs.restore"},
    {"models.label", "runs.tag"},
    {"curves.private", "media.private"},
    {"sweeps.picture", "versus.series"},
    {"log.next", "media.next"},  # the next of what is stepped through
    {"log.previous", "media.previous"},
)
"""Commands that are one and the same to people, each in its own place."""


def test_a_key_means_one_thing_on_every_screen() -> None:
    ids: dict[str, set[str]] = {}
    for cls in our_classes():
        if "Dialog" in cls.__name__ and cls.__name__ != "ColumnsDialog":
            continue  # they answer a question, and nothing else is heard meanwhile
        for binding in Binding.make_bindings(cls.__dict__.get("BINDINGS", ())):
            ids.setdefault(binding.key, set()).add(binding.id or "")
    several = {
        key: sorted(each)
        for key, each in ids.items()
        if len(each) > 1 and not any(each <= {*same} for same in SAME)
    }
    assert not several
