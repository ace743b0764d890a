"""Federations that cannot be: told in one line, before syft is imported or data is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import traindeck.recipes
from traindeck.core import track
from traindeck.core.privacy.mechanism import RELATION
from traindeck.core.privacy.plan import make
from traindeck.core.recipe.read import read_recipe
from traindeck.recipes.shared.federated.errors import Unfit
from traindeck.recipes.shared.federated.job import mlp
from traindeck.recipes.shared.federated.scientist.options import Options, threshold

RECIPE = Path(traindeck.recipes.__file__).parent / "syft" / "fedavg.py"
LOADED = (
    "import runpy, sys; sys.argv = sys.argv[1:]\n"
    "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    "finally: print(sorted({'torch', 'syft'} & set(sys.modules)))"
)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--owners=2"], "owners: secagg needs 3, not 2: in a sum of fewer"),
        (["--owners=4", "--threshold=2"], "threshold: 2 of 4 owners; more than half"),
        (["--owners=4", "--threshold=5"], "threshold: 5 of 4 owners"),
        (["--approval=hand"], "approval: a script is read in a run's folder"),
        (
            ["--dataset=digits", "--owners=16", "--alpha=0.001"],
            "some of 16 owners would have fewer than 10 of 1438 examples",
        ),
    ],
)
def test_what_cannot_be_is_the_first_that_is_told(
    flags: list[str], why: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(RECIPE), *flags],
        env={"TRAINDECK_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {why}") and done.stderr.count("\n") == 1
    lines = done.stdout.splitlines()
    assert "torch" not in lines[-1] and "'syft'" not in lines[-1]
    assert lines[:-1] == (["reading the data ..."] if "alpha" in flags[-1] else [])


def refused(root: Path, *flags: str) -> str:
    """Why the recipe does not start, with syft out of its reach: one line."""
    words = "import runpy, sys; sys.modules['syft'] = None; sys.argv = sys.argv[1:]\n"
    words += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", words, str(RECIPE), "--dataset=digits", *flags],
        env={"TRAINDECK_HOME": str(root / "home"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("error: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--epsilon=3"], "epsilon, noise_multiplier: with dp=none nothing is private"),
        (["--noise-multiplier=1"], "epsilon, noise_multiplier: with dp=none nothing is private"),
        (["--dp=central", "--aggregation=transport"], "aggregation: transport would show updates"),
        (["--dp=central", "--aggregation=ckks"], "aggregation: ckks would show updates"),
        (["--dp=local"], "dataset: the accounting of syft-fedavg is for mnist, not digits"),
        (["--clipping=adaptive"], "clipping: adaptive would tell by its count"),
        (
            ["--dp=local", "--dataset=mnist", "--clipping=adaptive"],
            "clipping: in a federation whose unit is the example the norm of gradients stays",
        ),
        (
            ["--dp=central", "--clipping=adaptive", "--noise-multiplier=2", "--count-noise=1.9"],
            "count_noise: a count with noise 1.9 tells as much as both together may at noise"
            " multiplier 2: take more than 2",
        ),
        (["--local-steps=2"], "local_steps: they are those of dp=local"),
        (["--dp=central", "--local-steps=2"], "local_steps: they are those of dp=local"),
    ],
)
def test_a_privacy_that_would_not_be_kept_is_refused(
    flags: list[str], why: str, tmp_path: Path
) -> None:
    assert refused(tmp_path, *flags).startswith(why)


@pytest.mark.parametrize(
    "flags",
    [
        ["--dp=central", "--owners=3", "--rounds=3", "--noise-multiplier=9"],
        ["--rounds=3"],
    ],
    ids=["private", "open"],
)
def test_rounds_of_another_kind_are_not_gone_on_from(flags: list[str], tmp_path: Path) -> None:
    """Their privacy and that of the rounds to come are no one's epsilon."""
    weights = mlp.first(64, 0)
    checkpoint = tmp_path / "other.npz"
    was = "with dp=central, 4 owners"
    np.savez(checkpoint, weights=weights, velocity=np.zeros(len(weights)), round=1, kind=was)
    why = refused(tmp_path, *flags, f"--resume={checkpoint}")
    assert f"was trained {was}, not with" in why
    assert "have no common epsilon" in why


@pytest.mark.slow
def test_owners_are_a_public_list_from_which_none_is_removed() -> None:
    """What an owner holds is hidden, not that it takes part: its update is zero in a neighbour."""
    recipe = read_recipe(RECIPE)
    assert recipe is not None
    for dp, relation in (("central", "zero-out over public owners"), ("local", RELATION)):
        params = recipe.validate({"dp": dp, "epsilon": 8.0})
        planned = make(recipe.chosen(params), params)
        assert planned is not None and planned.relation == relation


def test_how_many_must_answer() -> None:
    run = track.Run()
    assert [threshold(Options(), owners, run) for owners in (3, 4, 5)] == [2, 3, 3]
    assert threshold(Options(noise=1.0), 16, run) == 11
    assert threshold(Options(threshold=5), 5, run) == 5
    assert threshold(Options(aggregation="transport"), 1, run) == 1
    assert threshold(Options(), 2, run, sums=False) == 2
    with pytest.raises(Unfit, match="ckks needs 3, not 2"):
        threshold(Options(aggregation="ckks"), 2, run)
