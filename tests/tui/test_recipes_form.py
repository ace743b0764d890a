"""The launch form checks as one types, forgets nothing, and shows the command it stands for."""

from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList, Switch

from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.recipe_files import form_of, open_form, row, text_of, type_text, write_recipes
from traindeck.core.base.home import Home
from traindeck.core.recipe import find
from traindeck.core.recipe.read import discover
from traindeck.tui.app import TraindeckApp
from traindeck.tui.readers.drafts import Draft, last_file, read_drafts, remember
from traindeck.tui.screens.run.screen import RunScreen
from traindeck.tui.widgets.choice_bar import ChoiceBar
from traindeck.tui.widgets.launch_bar import command_line
from traindeck.tui.widgets.param_form import describe_path
from traindeck.tui.widgets.recipe_form import split_tags

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with recipes: the built-in ones change, these tests should not."""
    folder = write_recipes(tmp_path / "recipes")
    monkeypatch.setattr(find, "shelf", lambda home: discover([(folder, "./recipes", False)]))
    return folder


def remembered(home: Home) -> object:
    return read_drafts(home).get("torch-mnist", Draft()).params


async def test_every_keystroke_is_checked(app: TraindeckApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await open_form(pilot, "torch-mnist")
        for typed, complaint in (
            ("-", "'3-' is not a whole number"),
            ("0000", "30000 is above the most allowed, 1000"),
        ):
            row(pilot, "epochs").set_text("3")
            await pilot.press("end")
            await type_text(pilot, typed)
            await until_shown(pilot, complaint)
            assert row(pilot, "epochs").control.has_class("-invalid")
        row(pilot, "epochs").set_text("4")
        await until(pilot, lambda: "most allowed" not in shown(pilot))
        assert not row(pilot, "epochs").control.has_class("-invalid")
        row(pilot, "lr").set_text("nan")
        await until_shown(pilot, "not-a-number is not a value")
        row(pilot, "lr").set_text("")
        await until_shown(pilot, "a number is needed")


@pytest.mark.slow
async def test_keys_walk_the_fields_and_set_each_kind(app: TraindeckApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await open_form(pilot, "torch-mnist")
        await pilot.press("5", "enter", "1", "down", "right", "down", "space", "down")
        await pilot.press("ctrl+u")
        await type_text(pilot, "a b")
        await pilot.press("tab", *"/x")
        command = (
            "traindeck run torch-mnist -p epochs=5 -p lr=1 -p mode=graph -p augment=true "
            "-p 'note=a b' -p data_dir=/x"
        )
        await until(pilot, lambda: form_of(pilot).command() == command)
        assert isinstance(row(pilot, "augment").control, Switch)
        await pilot.press(*["up"] * 3, "left", "down", "enter")
        await until(pilot, lambda: "mode" not in form_of(pilot).command())
        assert "augment" not in form_of(pilot).command()


async def test_a_number_takes_only_what_can_be_in_one(app: TraindeckApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await open_form(pilot, "torch-mnist")
        await pilot.press("g", "x")
        assert text_of(pilot, "epochs") == "3"
        await pilot.press("7", "down")
        await type_text(pilot, "1e-3q")
        await until(pilot, lambda: text_of(pilot, "lr") == "1e-3")
        assert text_of(pilot, "epochs") == "7"


async def test_arrow_keys_leave_the_device_list_at_its_ends(app: TraindeckApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        form = await open_form(pilot, "torch-digits")
        await until_shown(pilot, "shared with other runs")
        await pilot.press("down")
        await until(pilot, lambda: form.device.input.has_focus)
        assert form.device.input.selected_text == "cpu"
        offers = form.query_one("#device-offers", OptionList)
        await pilot.press(*["down"] * (1 + offers.option_count))
        await until(pilot, lambda: offers.has_focus)
        await pilot.press("down")
        await until(pilot, lambda: form.query_one("#run-name").has_focus)
        await pilot.press(*["up"] * (1 + offers.option_count))
        await until(pilot, lambda: form.device.input.has_focus)


async def test_limits_defaults_and_help_are_told(app: TraindeckApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await open_form(pilot, "torch-mnist")
        assert "graph: torch.compile, where there" in shown(pilot)
        lr = row(pilot, "lr").control
        assert isinstance(lr, Input) and lr.placeholder == "0 to 10"
        await pilot.press("7")
        await until_shown(pilot, "default 3 · 1 to 1000")
        row(pilot, "note").set_text("")
        await until_shown(pilot, "default none")
        assert form_of(pilot).command().endswith("-p note=")


async def test_reset_one_and_reset_all(app: TraindeckApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await open_form(pilot, "torch-mnist")
        await pilot.press("end", "minus", "down", "9", "down", "right")
        await pilot.press("up", "ctrl+r")
        await until(pilot, lambda: text_of(pilot, "lr") == "0.05")
        assert (text_of(pilot, "epochs"), text_of(pilot, "mode")) == ("3-", "graph")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "No changed parameter under the cursor" in notices(pilot))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: form_of(pilot).command() == "traindeck run torch-mnist")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "Every parameter is at its default" in notices(pilot))


async def test_paths_are_looked_at_but_not_demanded(app: TraindeckApp, tmp_path: Path) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await open_form(pilot, "torch-mnist")
        row(pilot, "data_dir").set_text(str(tmp_path))
        await until_shown(pilot, "✓ a folder · folder of IDX files")
        row(pilot, "data_dir").set_text(str(tmp_path / "no"))
        await until_shown(pilot, "✗ not there (yet)")
        assert not row(pilot, "data_dir").error
    (tmp_path / "file").touch()
    assert describe_path(str(tmp_path / "file")) == "✓ a file"
    assert describe_path("a" * 5000) == "✗ File name too long"


async def test_devices_are_offered_explained_and_refused(app: TraindeckApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        form = await open_form(pilot, "torch-digits")
        await until_shown(pilot, "shared with other runs")
        form.device.input.focus()
        await pilot.press("tab", "down", "down", "enter")
        await until_shown(pilot, "free now: cpu:0")
        await until_shown(pilot, "traindeck run torch-digits --on 'cpu*1'")
        for typed, answer in (
            ("cpu:0-999", "this process may use"),
            ("gpu", "this recipe runs on cpu, not on gpu"),
            ("toaster", "is not a device: use cpu, cpu:0-1"),
        ):
            form.device.input.value = typed
            await until_shown(pilot, answer)
            await pilot.press("ctrl+l")
            await until_shown(pilot, "not launched: ")
            assert form.device.input.has_focus
        form.device.input.value = ""
        await until_shown(pilot, "shared with other runs")
        assert form.command() == "traindeck run torch-digits"
        assert "not launched" not in shown(pilot)


async def test_launch_goes_to_the_first_wrong_field(app: TraindeckApp, home: Home) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        form = await open_form(pilot, "torch-mnist")
        row(pilot, "lr").set_text("fast")
        row(pilot, "note").control.focus()
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not launched: lr: 'fast' is not a number")
        assert row(pilot, "lr").control.has_focus
        assert not form.busy and not list(home.runs.iterdir())
        assert not isinstance(app.screen, RunScreen)


@pytest.mark.slow
async def test_what_was_typed_is_there_on_the_way_back_and_tomorrow(home: Home) -> None:
    async with TraindeckApp(home).run_test(size=SIZE) as pilot:
        await open_form(pilot, "torch-mnist")
        await pilot.press("end", "minus")
        row(pilot, "mode").set_text("graph")
        form_of(pilot).device.input.value = "cpu*1"
        await open_form(pilot, "tf-digits")
        await pilot.press("9")
        await open_form(pilot, "torch-mnist")
        assert text_of(pilot, "epochs") == "3-"
        await until(pilot, lambda: len(read_drafts(home)) == 2)
    assert stat.S_IMODE(last_file(home).stat().st_mode) == 0o600
    async with TraindeckApp(home).run_test(size=SIZE) as pilot:
        form = await open_form(pilot, "torch-mnist")
        assert form.draft() == Draft(params={"epochs": "3-", "mode": "graph"}, on="cpu*1")
        await pilot.press("ctrl+o")
        form.device.input.value = ""
        await until(pilot, lambda: list(read_drafts(home)) == ["tf-digits"])


async def test_what_was_typed_is_kept_though_the_app_is_left_at_once(
    app: TraindeckApp, home: Home
) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await open_form(pilot, "torch-mnist")
        await pilot.press("7")
        await until(pilot, lambda: text_of(pilot, "epochs") == "7")
    assert remembered(home) == {"epochs": "7"}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"torch-mnist": 3}', '{"torch-mnist": {"params": {"epochs": 3}, "on": 1}}']
)
@pytest.mark.slow
async def test_damaged_memory_stops_nothing(home: Home, text: str) -> None:
    last_file(home).write_text(text)
    async with TraindeckApp(home).run_test(size=SIZE) as pilot:
        form = await open_form(pilot, "torch-mnist")
        assert form.draft() == Draft()
        await pilot.press("7")
        await until(pilot, lambda: remembered(home) == {"epochs": "7"})
        assert notices(pilot) == ""


def test_two_programs_do_not_undo_each_other(home: Home) -> None:
    remember(home, {"a": Draft(params={"lr": "1"})}, ["a"])
    remember(home, {"b": Draft(tags="x")}, ["b"])
    remember(home, {"a": Draft()}, ["a"])
    assert list(json.loads(last_file(home).read_text())) == ["b"]


def test_the_command_is_quoted_for_a_shell() -> None:
    line = command_line(
        "tiny", {"note": "it's $HOME"}, on="cpu*2", name="my run", tags=["a", "b c"]
    )
    assert shlex.split(line) == [
        *("traindeck", "run", "tiny", "-p", "note=it's $HOME", "--on", "cpu*2"),
        *("--name", "my run", "--tag", "a", "--tag", "b c"),
    ]


def test_tags_are_split_at_commas_and_spaces() -> None:
    assert split_tags(" a, b  a,,c ") == ["a", "b", "c"]


async def test_many_choices_take_turns_in_one_place(app: TraindeckApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        choices = [f"a-long-choice-{number}" for number in range(9)]
        bar = ChoiceBar(choices, "unknown", id="many")
        await app.screen.mount(bar)
        bar.styles.width = 30
        bar.focus()
        await until_shown(pilot, "◂ unknown ▸ ?/9")
        await pilot.press("left")
        await until_shown(pilot, "a-long-choice-0 ▸ 1/9")
        await pilot.press("left", "left")
        await until_shown(pilot, "a-long-choice-7 ▸ 8/9")
        await pilot.click("#many", offset=(8, 0))
        await until_shown(pilot, "a-long-choice-8 ▸ 9/9")
