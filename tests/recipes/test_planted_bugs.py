"""The self-test takes the recipe's own step: what is wrong in a copy is seen, each time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import traindeck.recipes
from tests.recipes.planted import BUGS

RECIPES = Path(traindeck.recipes.__file__).parent
ROOT = Path(__file__).parent.parent.parent
SEEDS = int(os.environ.get("TRAINDECK_PLANTED_SEEDS", "3"))
RIGHT = 20 * SEEDS
PATIENCE = 1500.0
QUICK = ("--steps=1", "--noise-multiplier=1.5")  # no noise is solved for

pytestmark = [pytest.mark.framework, pytest.mark.slow]
Results = list[tuple[int, str]]


@pytest.fixture(scope="module", params=["torch", "tensorflow"])
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Results]:
    """Exit codes and errors of torch-cancer-dp or tf-cancer-dp, and of its copies with bugs."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"no {request.param}")
    source = (RECIPES / request.param / "cancer_dp.py").read_text()
    copies = {name: plant(source) for name, plant in BUGS.items()}
    assert all(copy != source for copy in copies.values())
    seeds = [[*QUICK, "--audit", f"--seed={seed}"] for seed in range(SEEDS)]
    jobs = [{"source": copy, "argvs": seeds} for copy in copies.values()]
    times = RIGHT if request.param == "torch" else RIGHT // 10
    jobs.append({"source": source, "argvs": [[*QUICK, f"--seed={n}"] for n in range(times)]})
    home = tmp_path_factory.mktemp("planted")
    outside = {k: v for k, v in os.environ.items() if not k.startswith("TRAINDECK_HOME")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.recipes.planted"],
        input=json.dumps(jobs),
        env=outside | {"TRAINDECK_HOME": str(home), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip([*copies, "right"], map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen_with_every_seed(results: dict[str, Results], bug: str) -> None:
    assert len(results[bug]) == SEEDS
    for code, error in results[bug]:
        assert code == 1, bug
        assert error.startswith("error: self-test: "), error


def test_a_right_recipe_passes_each_time(results: dict[str, Results]) -> None:
    assert [error for code, error in results["right"] if code] == []
