"""The comparison of the usual twins, in its smallest form; and that the measuring recipes agree."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.versus.axes import unequal
from traindeck.core.versus.evidence import gather
from traindeck.core.versus.pairs import suite

pytestmark = pytest.mark.framework

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_the_twins_in_one_epoch(home: Home, traindeck: Command) -> None:
    traindeck("versus", "run", "-p", "epochs=1", "--only", "twin")
    runs = Library(home).runs()[::-1]
    assert [run["recipe"] for run in runs] == ["torch-digits", "tf-digits"] * 3
    said = json.loads(traindeck("versus", "show", "--json").stdout)
    [first] = [one for one in said["axes"][0]["indicators"] if one["name"] == "first metric"]
    for side in first["sides"]:
        assert len(side["values"]) == 3 and side["min"] > 0.1
    assert {curve["side"] for curve in said["curves"]} == {0, 1}


@pytest.mark.parametrize("role", ["dp", "plain"])
def test_no_budget_is_spent_beyond_what_it_admits(
    home: Home, traindeck: Command, role: str
) -> None:
    traindeck("budget", "create", "cancer", "--epsilon", "1", "--delta", "1e-5")
    done = traindeck("versus", "run", "--full", "--only", role, code=5)
    last = done.stderr.splitlines()[-1]
    assert "cancer" in last and "in a home without the budget" in last
    assert f"tf-cancer-dp ({role} seed 0)" in done.stderr, "the rest is tried"
    assert "HARDWARE" in done.stdout, "and shown"
    assert not Library(home).runs()


def test_the_first_losses_are_equal_whatever_framework_computes_them(
    home: Home, traindeck: Command
) -> None:
    for recipe in ("torch-steps", "tf-steps"):
        for role, precision in (("eager", "float32"), ("eager:bfloat16", "bfloat16")):
            tags = ("--tag", "versus", "--tag", f"versus:steps:{role}")
            given = ("-p", "seconds=0.1", "-p", f"precision={precision}")
            traindeck("run", recipe, *given, *tags, "--wait")
    evidence = gather(home, suite(home, None, {}))
    assert all(evidence.of("steps:eager", side) for side in (0, 1))
    assert unequal(evidence, "steps:eager") == ""
    for side in (0, 1):
        whole, mixed = (
            [value for _, _, value in run.points("loss")]
            for role in ("steps:eager", "steps:eager:bfloat16")
            for run in evidence.of(role, side)
        )
        assert len(mixed) == len(whole) == 5
        for a, b in zip(whole, mixed, strict=True):
            assert 0 < abs(a - b) < 0.01 * a, "bfloat16 keeps 8 bits of 24"


@pytest.mark.parametrize("recipe", ["torch-mistakes", "tf-mistakes"])
def test_every_mistake_is_told_when_asked_for(home: Home, traindeck: Command, recipe: str) -> None:
    done = traindeck("run", recipe, "--wait", "--json")
    metrics = json.loads(done.stdout)["metrics"]
    for name in ("shape", "dtype", "nan, asked for"):
        assert metrics[f"mistake/{name}/words"]["last"] > 3, name
    assert 0 < metrics["tracing/refused"]["last"] < 4
