"""The Recipes screen lists every recipe, good or broken, and finds the one that is meant."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Switch

from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.recipe_files import (
    MNIST,
    form_of,
    open_form,
    recipe_shown,
    row,
    screen,
    simple,
    text_of,
    type_text,
    write_recipes,
)
from tests.tui.snapshot import Svg, screenshot
from traindeck.core.base.home import Home
from traindeck.core.devices.cpu import CpuInfo
from traindeck.core.devices.inventory import Inventory
from traindeck.core.devices.model import Accelerator
from traindeck.core.recipe import find
from traindeck.core.recipe.read import discover
from traindeck.tui.app import TraindeckApp
from traindeck.tui.readers.launching import Devices
from traindeck.tui.screens.recipes.screen import RecipesScreen
from traindeck.tui.widgets.recipe_list import fuzzy, match_recipe

SIZES = [(80, 24), (120, 30), (200, 50)]
MACHINE = Inventory(
    CpuInfo("Example CPU", "x86_64", 2, 4, (0, 1, 2, 3), (0, 1, 0, 1), None, 16 << 30),
    (
        Accelerator("gpu", "nvidia", 0, "GPU-aaaa", "Example GPU", 80 << 30),
        Accelerator("gpu", "nvidia", 1, "GPU-bbbb", "Example GPU", 80 << 30),
    ),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with recipes: the built-in ones change, these tests should not."""
    folder = write_recipes(tmp_path / "recipes")
    monkeypatch.setattr(find, "shelf", lambda home: discover([(folder, "./recipes", False)]))
    return folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine everywhere, with one GPU taken."""
    devices = Devices(MACHINE, {"gpu-GPU-bbbb": "2q4mv8qz", "cpu-0": "2q4mvb2f"})
    monkeypatch.setattr(Devices, "look", lambda home, known=None: devices)


async def settled(pilot: Pilot[Any], focused: str) -> None:
    """Waits for what follows a key: the focus, the command, the footer's keys."""
    control = row(pilot, focused).control
    await until(pilot, lambda: control.has_focus)
    assert isinstance(control, Input)
    control.cursor_blink = False
    await until_shown(pilot, "-p epochs=3-")
    await until_shown(pilot, "f5 Reread")


@pytest.mark.usefixtures("folder", "machine")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.slow
async def test_form_at_every_size(
    app: TraindeckApp, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    async with app.run_test(size=size) as pilot:
        await open_form(pilot, "torch-mnist")
        await until_shown(pilot, "not installed: no-such-package-7f3a>=1.6")
        await pilot.press("end", "minus", "down")
        await settled(pilot, "lr")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.usefixtures("folder", "machine")
async def test_nothing_is_lacking_in_an_environment_of_its_own(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 50)) as pilot:
        await open_form(pilot, "torch-mnist")
        await until_shown(pilot, "not installed: no-such-package-7f3a>=1.6")
        switch = screen(pilot).query_one("#run-isolated", Switch)
        switch.value = True
        await until(pilot, lambda: "not installed" not in shown(pilot))
        assert "--isolated" in shown(pilot)
        switch.value = False
        await until_shown(pilot, "not installed: no-such-package-7f3a>=1.6")


@pytest.mark.usefixtures("folder", "machine")
async def test_list_alone_when_narrow(app: TraindeckApp, snapshot: SnapshotAssertion) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "Broken")
        await until(pilot, lambda: screen(pilot).form and not screen(pilot).query(".-disabled"))
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.usefixtures("folder", "machine")
@pytest.mark.parametrize("theme", ["light", "ansi"])
@pytest.mark.slow
async def test_themes(home: Home, theme: str, snapshot: SnapshotAssertion) -> None:
    home.settings.write_text(f'theme = "{theme}"')
    async with TraindeckApp(home).run_test(size=(120, 30)) as pilot:
        await open_form(pilot, "torch-mnist")
        await until_shown(pilot, "not installed")
        await pilot.press("end", "minus")
        await settled(pilot, "epochs")
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


@pytest.mark.usefixtures("folder")
async def test_grouped_by_framework_with_tags(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "torch-mnist #cnn #baseline")
        lines = shown(pilot)
        places = [lines.index(text) for text in ("PyTorch", "torch-digits", "torch-mnist")]
        places += [lines.index(text) for text in ("TensorFlow", "tf-digits", "Other", "tiny")]
        assert places == sorted(places)


@pytest.mark.usefixtures("folder")
async def test_broken_recipes_say_where_and_why_and_hide_nothing(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "Broken  2")
        assert "torch-mnist" in shown(pilot)
        assert "✗ bad.py:8" in shown(pilot)
        await pilot.press("end", "up")
        await until_shown(pilot, "This recipe's header cannot be used")
        await until_shown(pilot, "line 8 of ")
        assert "0.1 is above the most allowed, 0.01" in shown(pilot)
        await pilot.press("ctrl+l", "ctrl+y", "ctrl+r")  # nothing to launch, copy or reset
        await until(pilot, lambda: "bad.py cannot be launched: line 8: " in notices(pilot))
        await pilot.press("down")
        await until_shown(pilot, "the header is not closed")


@pytest.mark.usefixtures("folder")
async def test_the_list_ends_at_its_ends(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "Broken  2")
        options = screen(pilot).recipe_list.options
        await pilot.press("end")
        last = options.highlighted
        await pilot.press("down")
        assert options.highlighted == last == options.option_count - 1
        await pilot.press("home")
        first = options.highlighted
        await pilot.press("up")
        assert options.highlighted == first == 1


@pytest.mark.usefixtures("folder")
async def test_nothing_is_launched_from_values_that_cannot_be_seen(
    app: TraindeckApp, home: Home
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "torch-mnist")
        await until_shown(pilot, "^l Launch")
        assert "⏎ To the form" in shown(pilot).splitlines()[-1]
        await pilot.press("ctrl+l")
        await until_shown(pilot, "Parameters")
        assert "^l once more launches it" in notices(pilot)
        assert not list(home.runs.iterdir())
        await pilot.press("ctrl+l")
        await until(pilot, lambda: list(home.runs.iterdir()))


@pytest.mark.usefixtures("folder")
async def test_help_has_words_for_every_part(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 80)) as pilot:
        await until_shown(pilot, "Parameters")
        await pilot.press("question_mark")
        await until_shown(pilot, "List of recipes")
        assert "RecipeOptions" not in shown(pilot)
        assert "FormScroll" not in shown(pilot)
        assert shown(pilot).count("Launch form") == 1


@pytest.mark.usefixtures("folder")
async def test_filter_narrows_and_escape_widens_again(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "torch-mnist")
        await pilot.press("slash")
        await type_text(pilot, "tfdi")
        await until_shown(pilot, "tf-digits")
        assert "torch-mnist" not in shown(pilot) and "Broken" not in shown(pilot)
        await until_shown(pilot, "Digits by tensorflow  tf-digits")  # the form follows
        await type_text(pilot, "zz")
        await until_shown(pilot, "Nothing fits 'tfdizz'")
        await pilot.press("escape")
        await until_shown(pilot, "torch-mnist")
        await type_text(pilot, "baseline")
        await until_shown(pilot, "MNIST CNN")
        await until(pilot, lambda: "tf-digits" not in shown(pilot))


async def test_no_recipes_at_all_says_what_to_do(
    app: TraindeckApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "shelf", lambda home: ([], []))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No recipes found")


async def test_changed_files_are_read_again_and_nothing_typed_is_lost(
    app: TraindeckApp, folder: Path
) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await open_form(pilot, "torch-mnist")
        await pilot.press("end", "7")
        (folder / "more.py").write_text(simple("later", "other"))
        await pilot.press("f5", "escape", "escape")  # to the list, and out of the filter
        await until_shown(pilot, "later")
        assert text_of(pilot, "epochs") == "37"
        await pilot.press("enter")
        (folder / "mnist.py").write_text(MNIST.replace("MNIST CNN", "Another title"))
        (folder / "more.py").write_text("# /// script\n")
        await pilot.press("f5")
        await until_shown(pilot, "Another title")
        await until(pilot, lambda: text_of(pilot, "epochs") == "37")
        await until(pilot, lambda: row(pilot, "epochs").control.has_focus)


async def test_the_terminal_getting_the_focus_reads_again(app: TraindeckApp, folder: Path) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "torch-mnist")
        app.app_focus = False
        (folder / "more.py").write_text(simple("later", "other"))
        app.app_focus = True
        await until_shown(pilot, "later")


async def test_header_text_is_never_obeyed(app: TraindeckApp, folder: Path) -> None:
    hostile = r"\u001b[31mred\u001b]52;c;eA==\u0007 [bold]loud[/] [@click=app.quit]x[/] \u202e"
    (folder / "evil.py").write_text(
        simple("evil", "other", title=hostile, description=hostile, task=hostile).replace(
            'type = "float"\n# default = 0.1', f'type = "str"\n# default = "{hostile}"'
        )
    )
    async with app.run_test(size=(120, 30)) as pilot:
        await open_form(pilot, "evil")
        await until_shown(pilot, "[bold]loud[/]")
        text = shown(pilot)
        assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
        assert "[@click=app.quit]x[/]" in text


@pytest.mark.usefixtures("folder")
async def test_narrow_goes_to_the_form_and_back(app: TraindeckApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "torch-mnist")
        assert "Parameters" not in shown(pilot)
        await open_form(pilot, "torch-mnist")
        assert "Parameters" in shown(pilot) and "tf-digits" not in shown(pilot)
        await pilot.press("escape")
        assert "Parameters" not in shown(pilot) and "torch-mnist" in shown(pilot)
        await pilot.resize_terminal(120, 30)
        await until_shown(pilot, "Parameters")
        await pilot.resize_terminal(40, 10)
        await pilot.resize_terminal(80, 24)


@pytest.mark.usefixtures("folder")
async def test_every_binding_is_in_the_footer_or_the_help_with_its_id(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "^l Launch")
        footer = shown(pilot).splitlines()[-1]
        for hint in ("^l Launch", "/ Filter", "^y Copy", "^r Reset", "^o Reset all", "f5 Reread"):
            assert hint in footer
        await pilot.press("question_mark")
        await until_shown(pilot, "recipes.launch")
        for binding in ("filter", "copy-command", "reset", "reset-all", "refresh", "back"):
            assert f"recipes.{binding}" in shown(pilot)


@pytest.mark.usefixtures("folder")
async def test_mouse(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "tf-digits")
        at = next(y for y, line in enumerate(shown(pilot).splitlines()) if "tf-digits" in line)
        await pilot.click(offset=(4, at))
        await until(pilot, lambda: recipe_shown(pilot) == "tf-digits")
        await pilot.click("#param-lr Input")
        await pilot.press("end", "5")
        await until_shown(pilot, "traindeck run tf-digits -p lr=0.15")
        await pilot.click("#param-lr", offset=(row(pilot, "lr").control.region.right - 38, 0))
        await until(pilot, lambda: text_of(pilot, "lr") == "0.1")
        await pilot.click("#copy")
        await until(pilot, lambda: app.clipboard == "traindeck run tf-digits")


@pytest.mark.usefixtures("folder")
async def test_holding_an_arrow_key_builds_one_form(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "Parameters")
        await pilot.press(*["down"] * 3)
        await until(pilot, lambda: recipe_shown(pilot) == "tiny")
        assert len(screen(pilot).query("RecipeForm")) == 1


def burst(app: TraindeckApp, *keys: str) -> None:
    """All at once, as a terminal delivers what was typed while the program was busy."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "keys", [("i", "tab"), ("i", "enter"), ("slash", "tab")], ids=["inbox, tab", "inbox", "filter"]
)
async def test_the_list_hears_keys_though_a_key_to_the_form_went_elsewhere(
    app: TraindeckApp, keys: tuple[str, ...]
) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "torch-mnist")
        await until(pilot, lambda: screen(pilot).recipe_list.options.has_focus)
        burst(app, *keys)
        await pilot.pause()
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))
        await pilot.press("1")
        await until(pilot, lambda: app.current_mode == "runs")
        await pilot.press("2")
        await until(pilot, lambda: app.current_mode == "recipes")
        await pilot.press("slash")
        await until(pilot, lambda: screen(pilot).recipe_list.filter.has_focus)


@pytest.mark.usefixtures("folder")
async def test_what_is_typed_into_the_filter_at_once_is_not_lost(app: TraindeckApp) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "torch-mnist")
        await until(pilot, lambda: screen(pilot).recipe_list.options.has_focus)
        burst(app, "slash", *"mnist", "enter")
        await until(pilot, lambda: screen(pilot).recipe_list.filter.value == "mnist")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("enter", ["enter", "tab", "right"])
@pytest.mark.slow
async def test_keys_typed_ahead_go_to_the_recipe_they_were_meant_for(
    app: TraindeckApp, size: tuple[int, int], enter: str
) -> None:
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: recipe_shown(pilot) == "torch-digits")
        burst(app, "down", "down", "down", enter, "ctrl+u", "7", "down", "ctrl+u", "1")
        await until(pilot, lambda: recipe_shown(pilot) == "tiny")
        await until(pilot, lambda: text_of(pilot, "steps") == "7")
        await until(pilot, lambda: form_of(pilot).device.value == "1")
        burst(app, "escape", "up", "up", enter)
        await until(pilot, lambda: recipe_shown(pilot) == "torch-mnist")
        assert text_of(pilot, "epochs") == "3"
        burst(app, "escape")
        await until(pilot, lambda: screen(pilot).recipe_list.options.has_focus)
        burst(app, "down", "down", enter)
        await until(pilot, lambda: text_of(pilot, "steps") == "7")


class TestFuzzy:
    def test_one_piece_beats_scattered_and_a_word_beats_a_middle(self) -> None:
        def score(query: str, text: str) -> float:
            match = fuzzy(query, text)
            assert match is not None
            return match.score

        assert score("mni", "torch-mnist") > score("nis", "torch-mnist") > score("tmi", "t-xm-i")
        assert fuzzy("xyz", "torch-mnist") is None
        match = fuzzy("TM", "torch-mnist")
        assert match is not None and match.at == (0, 6)

    def test_every_word_must_fit_somewhere(self, folder: Path) -> None:
        recipes, _ = discover([(folder, "", False)])
        mnist = next(recipe for recipe in recipes if recipe.name == "torch-mnist")
        assert match_recipe("torch cnn", mnist)
        assert match_recipe("image", mnist)
        assert match_recipe("torch xyzzy", mnist) is None

    def test_hostile_text_costs_no_time(self) -> None:
        begun = time.process_time()
        assert fuzzy("ab" * 40 + "c", "ab" * 50_000) is None
        assert time.process_time() - begun < 0.5
