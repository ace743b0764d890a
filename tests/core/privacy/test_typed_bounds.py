"""Whatever is typed has a bound: no traceback, no long wait, no gigabytes before it is refused."""

from __future__ import annotations

import os
import random
import resource
import signal
import traceback
from collections.abc import Callable, Mapping
from functools import cache, partial

import psutil
import pytest

from traindeck.core import control
from traindeck.core.base.errors import TraindeckError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.catalogue.query import QueryError, parse
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.privacy import budget, forecast
from traindeck.core.recipe.find import shelf
from traindeck.core.recipe.params import LONGEST_TEXT, Param, ParamError, Value
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run.folder import LONGEST_NAME, LONGEST_NOTES

SECONDS, MEGABYTES = 2.0, 300
SLACK = 3.0  # of processor time, for a machine that does other things on the same cores
CASES = 12  # a recipe family
NUMBERS = (
    *("0", "-0", "1", "2", "-1", "7", "1e-320", "1e-15", "1e-9", "0.001", "0.5", "0.999999", "1.5"),
    *("10", "64", "1000", "60000", "59999", "1e5", "1e6", "1e8", "1e15", "1e200", "1e308", "inf"),
    *("-inf", "nan", "9" * 400, "9" * 5000, str(2**63 - 1), str(2**63), str(-(2**63)), "1_000"),
    *(" 5 ", "0x10", "٣", "", "1e999999999"),
)
TEXTS = (
    *("", "x", "@last", "/dev/zero", "/dev/tty", "/nowhere", "../..", "\x1b[31m", "-", "--help"),
    *("a" * 100_000, "\ud800", "é" * 5000, "/" * 5000, "~root/x", "~nosuch/x", "a\nb", "NUL\0"),
)


@cache
def recipes() -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in shelf(Home.default())[0]}


def typed(recipe: Recipe, chance: random.Random) -> dict[str, Value]:
    """Values for one to three of its parameters, as people or their scripts may type them."""
    given: dict[str, Value] = {}
    for name in chance.sample(sorted(recipe.params), min(len(recipe.params), chance.randint(1, 3))):
        given[name] = _value(recipe.params[name], chance)
    if "dp" in recipe.params:
        given.setdefault("dp", chance.choice(recipe.params["dp"].choices))
    return given


def _value(param: Param, chance: random.Random) -> str:
    if param.type in ("int", "float"):
        return chance.choice(NUMBERS)
    if param.type == "bool":
        return chance.choice(("true", "false", "2", "", "x" * 5000))
    if param.type == "choice":
        return chance.choice((*param.choices, *param.choices, "none\x1b"))
    return chance.choice(TEXTS)


def told(act: Callable[[], object]) -> tuple[str, float, float]:
    """What goes wrong in a process of its own, its processor seconds, and the megabytes it adds.

    What the tests before this one have loaded is in that process too, and is not its doing.
    """
    reading, writing = os.pipe()
    before = psutil.Process().memory_info()
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        most = before.vms + (8 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        said = ""
        try:
            act()
        except TraindeckError as error:
            said = "" if len(str(error)) < 2 * LONGEST_TEXT else f"{len(str(error))} characters"
        except BaseException:
            said = traceback.format_exc()[-2000:]
        os.write(writing, said.encode("utf-8", "replace"))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read().decode()
    _, status, usage = os.wait4(child, 0)
    if status:
        said += f"ended by {status}"
    return said, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024 - before.rss / 2**20


def check(what: object, act: Callable[[], object]) -> None:
    said, seconds, megabytes = told(act)
    assert not said, (what, said)
    assert seconds < SECONDS * SLACK, (what, seconds)
    assert megabytes < MEGABYTES, (what, megabytes)


@pytest.fixture(autouse=True)
def _loaded(home: Home) -> None:
    """With what a forecast imports, which is not the work that is measured, and a budget."""
    import dp_accounting.pld
    import dp_accounting.rdp  # noqa: F401

    if not home.ledger.exists():
        budget.create(home, "mnist", 3.0, 1e-6, "example", None)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["torch-", "tf-", "syft-", "mpc-", "psi-", "flower-"])
def test_parameters_of_every_recipe(home: Home, family: str) -> None:
    chance = random.Random(family)
    those = [recipe for name, recipe in recipes().items() if name.startswith(family)]
    assert those
    for case in range(CASES):
        recipe = those[case % len(those)]
        given, runs = typed(recipe, chance), chance.choice((1, 1, 3, 100_000))
        shown = {key: str(value)[:40] for key, value in given.items()}
        check((recipe.name, shown, runs), partial(_price, home, recipe, given, runs))


def _price(home: Home, recipe: Recipe, given: Mapping[str, Value], runs: int) -> None:
    parsed = {key: recipe.params[key].parse(str(value)) for key, value in given.items()}
    forecast.forecast(home, recipe, given, runs)
    forecast.forecast(home, recipe, parsed, runs)


@pytest.mark.slow
def test_numbers_of_a_budget(home: Home) -> None:
    chance = random.Random(5)
    for case in range(40):
        epsilon, delta = (float(chance.choice(NUMBERS[:25])) for _ in range(2))
        unit = chance.choice(("example", "user", "owner", "x" * 5000))
        what = (epsilon, delta, unit[:20])
        check(
            what,
            lambda e=epsilon, d=delta, u=unit, n=case: budget.create(  # type: ignore[misc]
                home, f"set{n}", e, d, u, None
            ),
        )


class TestTexts:
    def test_a_parameter_has_a_bound(self) -> None:
        text = Param("note", "str", "")
        assert text.parse("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
        for param in (text, Param("data", "path"), Param("kind", "choice", "a", choices=("a",))):
            with pytest.raises(ParamError, match="10,000 at most"):
                param.parse("x" * (LONGEST_TEXT + 1))
            with pytest.raises(ParamError, match="10,000 at most"):
                param.check("x" * (LONGEST_TEXT + 1))
        for kind in ("int", "float"):
            with pytest.raises(ParamError, match="5,000 characters are no number"):
                Param("n", kind, 1).parse("9" * 5000)

    def test_a_name_tags_and_notes_have_a_bound(self, home: Home) -> None:
        long = "x" * (LONGEST_NAME + 1)
        for request in (
            LaunchRequest(command=["true"], name=long),
            LaunchRequest(command=["true"], tags=[long]),
            LaunchRequest(command=["true"], tags=[str(n) for n in range(101)]),
        ):
            with pytest.raises(UsageError, match="are more than"):
                launch(home, request)
        assert list(home.runs.iterdir()) == []
        with pytest.raises(UsageError, match="name: 1,001 characters are more than the 1,000"):
            control.rename(home, "0abc", long)
        with pytest.raises(UsageError):
            control.tag(home, "0abc", [long])
        with pytest.raises(UsageError):
            control.note(home, "0abc", "x" * (LONGEST_NOTES + 1))

    def test_a_query_has_a_bound(self) -> None:
        with pytest.raises(QueryError, match="a query of 20,000 characters"):
            parse("(" * 20_000)
