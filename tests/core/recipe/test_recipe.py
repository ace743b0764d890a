"""Headers: what they promise, and what is said of those that break the promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindeck.core.recipe.header import HeaderError
from traindeck.core.recipe.params import Param, ParamError
from traindeck.core.recipe.read import discover, read_recipe
from traindeck.core.recipe.recipe import BrokenRecipe, Recipe

GOOD = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8"]
# [tool.traindeck]
# name = "toy"
# title = "A toy"
# framework = "torch"
# devices = ["cpu", "gpu"]
# headline = "test/accuracy"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.25
# min = 0.0
# max = 10.0
# help = "learning rate"
# [tool.traindeck.params.mode]
# type = "choice"
# default = "eager"
# choices = ["eager", "graph"]
# [tool.traindeck.params.augment]
# type = "bool"
# default = true
# [tool.traindeck.params.data_dir]
# type = "path"
# ///
raise SystemExit("listing a recipe must not run it")
"""


def write(folder: Path, text: str, name: str = "toy.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_good_header(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, GOOD))
    assert recipe is not None
    assert (recipe.name, recipe.framework, recipe.headline) == ("toy", "torch", "test/accuracy")
    assert recipe.defaults() == {"lr": 0.25, "mode": "eager", "augment": True, "data_dir": None}
    values = recipe.validate({"lr": "1e-3", "augment": "no", "data_dir": "-x"})
    assert recipe.argv(values) == ["--lr=0.001", "--mode=eager", "--no-augment", "--data-dir=-x"]


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (('title = "A toy"', 'titel = "A toy"'), 6, "unknown key 'titel'"),
        (('title = "A toy"', "title = 3"), 6, "title must be text, not 3"),
        (('framework = "torch"', 'framework = "jax"'), 7, "framework 'jax' is not one of"),
        (('"gpu"]', '"abacus"]'), 8, "device 'abacus' is not one of"),
        (("default = 0.25", "default = 11.0"), 12, "11.0 is above the most allowed, 10"),
        (("default = 0.25", 'default = "fast"'), 12, "'fast' is not a number"),
        (("min = 0.0", 'min = "none"'), 13, "min must be a number"),
        (("max = 10.0", "max = -1.0"), 13, "min is above max"),
        (('help = "learning', 'hepl = "learning'), 15, "unknown key 'hepl'"),
        (('"float"', '"complex"'), 11, "type 'complex' is not one of"),
        (('default = "eager"', 'default = "lazy"'), 18, "'lazy' is not one of eager, graph"),
        (("params.lr]", "params.device]"), 10, "'device' is reserved"),
        (("default = true", 'default = "yes"'), 22, "neither true nor false"),
        (("# max = 10.0", "# max = 10.0.0"), 14, "not valid TOML"),
        (("# ///\nraise", "# //\nraise"), 1, "not closed"),
        (('title = "A toy"', ".".join(["a"] * 30_000) + " = 1"), 6, "more than 64 dotted parts"),
    ],
)
def test_a_bad_header_is_told_with_line_and_reason(
    tmp_path: Path, change: tuple[str, str], line: int, reason: str
) -> None:
    assert change[0] in GOOD
    path = write(tmp_path, GOOD.replace(*change, 1))
    with pytest.raises(HeaderError) as error:
        read_recipe(path)
    assert reason in error.value.reason
    assert (error.value.path, error.value.line) == (path, line)


INLINE = """\
# /// script
# [tool.traindeck]
# pair = "toy"
# accounting = {records = 0}
# privacy = "dp-sgd"
# dataset = "toys"
# [tool.traindeck.params]
# lr = {type = "float", default = 0.25, help = \"\"\"\\
#   learning rate\"\"\"}
# size = {type = "int", default = 3, min = 4}
# ///
"""


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (("min = 4", "min = 3"), 4, "records must be a whole number from 1 on"),
        (("records = 0", "records = 1"), 10, "default of size: 3 is below the least allowed, 4"),
        (('"float"', '"real"'), 8, "parameter 'lr': type 'real' is not one of"),
        (('pair = "toy"', 'pair = "a toy"'), 3, "pair 'a toy' may hold only letters, digits"),
        (('pair = "toy"', "pair = 3"), 3, "pair must be text, not 3"),
    ],
)
def test_a_fault_in_an_inline_table_is_told_with_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, reason: str
) -> None:
    with pytest.raises(HeaderError, match=re.escape(reason)) as error:
        read_recipe(write(tmp_path, INLINE.replace(*change)))
    assert error.value.line == line


def test_a_pair_is_what_twins_share_and_most_have_none(tmp_path: Path) -> None:
    good = INLINE.replace("records = 0", "records = 9").replace("min = 4", "min = 3")
    twin, alone = read_recipe(write(tmp_path, good)), read_recipe(write(tmp_path, GOOD))
    assert twin is not None and alone is not None
    assert (twin.pair, alone.pair) == ("toy", None)
    assert twin.params["lr"].help == "learning rate"


def test_bad_recipes_never_hide_good_ones(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    write(tmp_path, GOOD, "twin.py")
    write(tmp_path, GOOD.replace('"torch"', '"jax"').replace('"toy"', '"other"'), "wrong.py")
    write(tmp_path, "print('no header')\n", "bare.py")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    recipes, broken = discover([(tmp_path, "here", True)])
    assert [recipe.name for recipe in recipes] == ["bare", "toy"]
    assert recipes[0].devices == ("cpu", "gpu", "tpu"), "nobody knows which it can use"
    assert {item.path.name for item in broken} == {"twin.py", "wrong.py"}
    twin = next(item for item in broken if item.path.name == "twin.py")
    assert twin == BrokenRecipe(
        tmp_path / "twin.py", 5, f"the name 'toy' is taken by {tmp_path / 'toy.py'}"
    )


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    assert discover([(tmp_path / "none", "nowhere", True)]) == ([], [])


@given(st.text())
def test_any_text_is_a_recipe_or_a_told_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("header") / "any.py"
    path.write_text("# /// script\n# " + text + "\n# ///\n", "utf-8", errors="replace")
    try:
        read_recipe(path)
    except HeaderError as error:
        assert error.line >= 1


PARAMS = st.sampled_from(
    [
        Param("n", "int", 3, min=-5, max=1000),
        Param("x", "float", 0.5, min=0.0),
        Param("on", "bool", False),
        Param("mode", "choice", "a", choices=("a", "b")),
        Param("text", "str", ""),
    ]
)


@given(PARAMS, st.text())
def test_what_is_typed_is_parsed_or_refused(param: Param, text: str) -> None:
    recipe = Recipe("r", Path("r.py"), "r", params={param.name: param})
    try:
        value = param.parse(text)
    except ParamError:
        return
    assert param.check(value) == value
    assert param.parse(str(value).lower() if param.type == "bool" else str(value)) == value
    assert len(recipe.argv({param.name: value})) == 1
