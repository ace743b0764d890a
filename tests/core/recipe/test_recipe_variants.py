"""What a choice makes of a recipe: other defaults, another accounting, another data set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from traindeck.core.again import again
from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.home import Home
from traindeck.core.launch import LaunchRequest, launch, typed_command
from traindeck.core.privacy import budget
from traindeck.core.privacy.origin import resumed
from traindeck.core.privacy.plan import make
from traindeck.core.recipe.header import HeaderError
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe

HEADER = """\
# /// script
# [tool.traindeck]
# name = "toy"
# dataset = "mnist"
# privacy = "secure-aggregation"
# [tool.traindeck.params]
# dataset = {type = "choice", default = "mnist", choices = ["mnist", "digits"]}
# dp = {type = "choice", default = "none", choices = ["none", "central", "local"]}
# owners = {type = "int", default = 3}
# rounds = {type = "int", default = 60}
# epsilon = {type = "float", default = inf}
# [tool.traindeck.when.dp.central]
# dataset = "{dataset}-owners"
# privacy = "dp-sgd"
# accounting = {records = 16, unit = "owner", sampler = "none"}
# defaults = {owners = 16, rounds = 20, epsilon = 20}
# [tool.traindeck.when.dp.local]
# privacy = "dp-sgd"
# accounting = {records = 60000}
# ///
import json

from traindeck.core import track

with track.start() as run:
    print(json.dumps(vars(run.params)))
"""


def toy(folder: Path, *change: str) -> Recipe:
    path = folder / "toy.py"
    path.write_text(HEADER.replace(*change) if change else HEADER)
    recipe = read_recipe(path)
    assert recipe is not None
    return recipe


def test_a_choice_changes_what_it_names_and_no_more(tmp_path: Path) -> None:
    recipe = toy(tmp_path)
    plain = recipe.chosen({})
    assert (plain.privacy, plain.accounting, plain.dataset) == ("secure-aggregation", None, "mnist")
    central = recipe.chosen({"dp": "central", "dataset": "digits"})
    assert (central.privacy, central.dataset) == ("dp-sgd", "digits-owners")
    assert central.accounting is not None and central.accounting.unit == "owner"
    assert central.chosen({"dp": "central", "dataset": "digits"}) == central
    local = recipe.chosen({"dp": "local"})
    assert local.accounting is not None and local.accounting.records == 60000
    assert (local.dataset, local.defaults()["owners"]) == ("mnist", 3)


def test_defaults_are_those_of_what_is_chosen_and_what_is_given_stays(tmp_path: Path) -> None:
    recipe = toy(tmp_path)
    values = recipe.validate({"dp": "central", "rounds": "7"})
    assert (values["owners"], values["rounds"], values["epsilon"]) == (16, 7, 20.0)
    assert recipe.validate({})["owners"] == 3
    request = LaunchRequest(recipe=recipe, params=values)
    command = "traindeck run toy -p dp=central -p rounds=7"
    assert typed_command(request, values) == command.split()


@pytest.mark.slow
def test_by_hand_it_is_the_same(home: Home, tmp_path: Path) -> None:
    path = toy(tmp_path).path

    def run(*flags: str) -> str:
        words = [sys.executable, str(path), *flags]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    params = json.loads(run("--owners=5"))
    assert (params["owners"], params["rounds"]) == (5, 60)
    params = json.loads(run("--dp=central", "--rounds=7"))
    assert (params["owners"], params["rounds"], params["epsilon"]) == (16, 7, 20.0)
    assert "(default: 3, 16 with dp=central)" in run("--help")


@pytest.mark.slow
def test_the_plan_and_the_run_are_of_what_is_chosen(home: Home, tmp_path: Path) -> None:
    recipe = toy(tmp_path)
    assert make(recipe, recipe.validate({})) is None
    plan = make(recipe, recipe.validate({"dp": "central", "dataset": "digits"}))
    assert plan is not None
    assert (plan.dataset, plan.unit, plan.mechanism.steps) == ("digits-owners", "owner", 20)
    assert plan.epsilon == pytest.approx(20, rel=0.01)
    doc = launch(home, LaunchRequest(recipe=recipe, params={"dp": "central"}))
    spec = json.loads((home.runs / doc["id"] / "run.json").read_text())
    assert (spec["privacy"], spec["dataset"]) == ("dp-sgd", "mnist-owners")


@pytest.mark.slow
def test_repeated_with_another_choice_it_has_that_ones_defaults(home: Home, tmp_path: Path) -> None:
    recipe = toy(tmp_path)
    first = launch(home, LaunchRequest(recipe=recipe, params={"rounds": 7}))
    asked = again(home, first["id"], {"dp": "central"})
    assert recipe.validate(asked.params) == recipe.validate({"dp": "central", "rounds": 7})
    second = launch(home, asked)
    back = again(home, second["id"], {"dp": "none"})
    assert recipe.validate(back.params) == recipe.validate({"rounds": 7})
    assert again(home, second["id"], {"rounds": 8}).params["owners"] == 16


def test_a_refusal_names_the_choices_that_are_private(home: Home, tmp_path: Path) -> None:
    budget.create(home, "mnist", 4.0, 1e-5, "example", None)
    with pytest.raises(BudgetRefused, match="no privacy: -p dp=central or -p dp=local, or --acc"):
        launch(home, LaunchRequest(recipe=toy(tmp_path)))


def test_without_privacy_there_is_no_accounting(tmp_path: Path) -> None:
    path = tmp_path / "private.py"
    path.write_text(
        """\
# /// script
# [tool.traindeck]
# dataset = "mnist"
# privacy = "dp-sgd"
# accounting = {records = 9}
# [tool.traindeck.params]
# noise = {type = "choice", default = "some", choices = ["some", "more", "none"]}
# [tool.traindeck.when.noise.none]
# privacy = "none"
# [tool.traindeck.when.noise.more]
# accounting = {records = 8}
# ///
"""
    )
    recipe = read_recipe(path)
    assert recipe is not None
    without, more = recipe.chosen({"noise": "none"}), recipe.chosen({"noise": "more"})
    assert (without.privacy, without.accounting) == ("none", None)
    assert more.privacy == "dp-sgd"
    assert more.accounting is not None and more.accounting.records == 8


def test_rounds_that_a_checkpoint_holds_are_steps_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-00000110.npz").touch()
    given = {"resume": str(tmp_path), "local_steps": 5}
    assert resumed({**given, "rounds": 120})[1] == 550
    assert resumed(given)[1] == 110


@pytest.mark.slow
def test_a_budget_of_the_data_by_its_other_name_is_asked(home: Home, tmp_path: Path) -> None:
    recipe = toy(tmp_path)
    budget.create(home, "digits-owners", 30.0, 1e-5, "owner", None)
    with pytest.raises(BudgetRefused, match="digits-owners has a privacy budget and toy would"):
        launch(home, LaunchRequest(recipe=recipe, params={"dataset": "digits"}))
    launch(home, LaunchRequest(recipe=recipe, params={"dp": "central"}))
    budget.create(home, "mnist", 4.0, 1e-5, "example", None)
    with pytest.raises(BudgetRefused, match="for the privacy of one example, this run's is of one"):
        launch(home, LaunchRequest(recipe=recipe, params={"dp": "central"}))
    launch(home, LaunchRequest(recipe=recipe, params={"dataset": "digits", "dp": "central"}))


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (("when.dp.central]", "when.owners.central]"), 12, "'owners' is no parameter of type 'ch"),
        (("when.dp.local]", "when.dp.lokal]"), 17, "dp = 'lokal' is not one of none, central"),
        (("defaults = {owners", "defaults = {workers"), 16, "'workers' is no parameter"),
        (
            ("defaults = {owners = 16", 'defaults = {dataset = "digits"'),
            16,
            "'dataset' is no param",
        ),
        (("owners = 16,", 'owners = "x",'), 16, "default of owners: 'x' is not a number"),
        (('sampler = "none"', 'sampler = "all"'), 15, "sampler 'all' is not one of"),
        (('# dataset = "{dataset}-', '# data_set = "{dataset}-'), 13, "unknown key 'data_set'"),
        (("# accounting = {records = 60000}\n", ""), 18, "[tool.traindeck.when.dp.local.accoun"),
    ],
)
def test_what_it_cannot_be_is_told_with_line_and_reason(
    tmp_path: Path, change: tuple[str, str], line: int, reason: str
) -> None:
    with pytest.raises(HeaderError) as error:
        toy(tmp_path, *change)
    assert reason in error.value.reason
    assert error.value.line == line
