"""What a private run will release is settled before it starts, from public figures alone."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindeck.core.base.files import write_json
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.plan import Plan, PlanError, make
from traindeck.core.recipe.header import HeaderError
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe

HEADER = """# /// script
# [tool.traindeck]
# name = "private"
# dataset = "mnist"
# privacy = "dp-sgd"
# [tool.traindeck.accounting]
# records = {records}
# [tool.traindeck.params.epsilon]
# type = "float"
# default = 2.93
# [tool.traindeck.params.noise_multiplier]
# type = "float"
# default = 0.0
# [tool.traindeck.params.delta]
# type = "float"
# default = 1e-5
# [tool.traindeck.params.clipping_norm]
# type = "float"
# default = 0.1
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 4096
# [tool.traindeck.params.epochs]
# type = "float"
# default = 40.0
# [tool.traindeck.params.noise_seed]
# type = "int"
# default = -1
# ///
"""


def recipe(folder: Path, records: int = 60000, header: str = HEADER) -> Recipe:
    path = folder / "private.py"
    path.write_text(header.format(records=records))
    recipe = read_recipe(path)
    assert recipe is not None
    return recipe


def plan(folder: Path, records: int = 60000, **params: float) -> Plan:
    one = recipe(folder, records)
    plan = make(one, one.validate(params))
    assert plan is not None
    return plan


def test_noise_is_solved_for_from_epsilon(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert made.mechanism == Mechanism(2.505, 4096 / 60000, 585)
    assert made.epsilon <= 2.93 and made.curve[-1] == (585, made.epsilon)
    assert (made.unit, made.relation, made.delta) == ("example", "add-or-remove-one", 1e-5)
    assert made.private and made.accountant.startswith("dp-accounting 0.")


def test_a_given_noise_decides_the_epsilon(tmp_path: Path) -> None:
    made = plan(tmp_path, noise_multiplier=5.0)
    assert made.mechanism.noise_multiplier == 5.0
    assert made.epsilon == pytest.approx(1.27, abs=0.03)


def test_a_given_noise_may_do_more_than_what_is_asked_for(tmp_path: Path) -> None:
    assert plan(tmp_path, noise_multiplier=5.0, epsilon=1.5).epsilon < 1.5


@pytest.mark.slow
def test_the_rate_is_that_of_the_declared_records(tmp_path: Path) -> None:
    """Rates that follow the private number of records change when one is added or removed."""
    for batch_size in (1023, 1024, 1025):
        made = plan(tmp_path, batch_size=batch_size, noise_multiplier=3.0)
        assert made.mechanism.sampling_rate == batch_size / 60000
        assert made.batch_size == batch_size


def test_the_twin_without_privacy_says_so(tmp_path: Path) -> None:
    made = plan(tmp_path, epsilon=math.inf)
    assert made.mechanism.noise_multiplier == 0.0
    assert math.isinf(made.epsilon) and not made.private


def test_seeded_noise_is_not_private(tmp_path: Path) -> None:
    made = plan(tmp_path, noise_seed=7, noise_multiplier=3.0)
    assert made.seeded and not made.private


def test_a_supervisor_starts_without_it() -> None:
    code = "import sys, traindeck.core.supervisor.supervisor; print(*sys.modules)"  # one a run
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    known = {
        "traindeck.core.privacy.plan",
        "traindeck.core.recipe.recipe",
        "traindeck.core.privacy.audit.measure",
    }
    assert "traindeck.core.supervisor.clerk" in loaded and not known & set(loaded.split())


@pytest.mark.parametrize(
    "params, why",
    [
        ({"delta": 0.0}, "between 0 and 1"),
        ({"delta": 1 / 60000}, "is not below 1/60000"),
        ({"batch_size": 60001}, "from 1 to the 60000 records"),
        ({"epochs": 0.01}, "not one whole step"),
        ({"epsilon": 0.0}, "above 0"),
        ({"epochs": math.inf}, "too many"),
        ({"epochs": 1e9}, "too many"),
        ({"clipping_norm": 0.0}, "clipping_norm: 0 is not above 0"),
        ({"clipping_norm": -1.0}, "above 0"),
        ({"clipping_norm": math.inf}, "finite"),
        ({"noise_multiplier": 1e-3}, "noise_multiplier: 0.001 is not from 0.05"),
        ({"noise_multiplier": -1.0}, "noise_multiplier: -1 is not from"),
        ({"noise_multiplier": math.inf}, "noise_multiplier: inf is not from"),
        ({"noise_multiplier": 5.0, "epsilon": 1.0}, "costs an epsilon of 1.291, more than the 1"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, params: dict[str, float], why: str) -> None:
    with pytest.raises(PlanError, match=why):
        plan(tmp_path, **params)


def test_delta_has_a_default_only_for_small_data_sets(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is not below 1/100000"):
        plan(tmp_path, records=100_000)
    assert plan(tmp_path, records=200_000, delta=1e-6, noise_multiplier=3.0).delta == 1e-6


@pytest.mark.slow
def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    for params in ({}, {"epsilon": math.inf}):
        made = plan(tmp_path, **params)
        write_json(tmp_path / "privacy.json", made.to_json())
        assert Plan.read(tmp_path) == made
        assert "pretrained" not in made.to_json()
    begun = HEADER.replace("# records = {records}", '# records = 60000\n# pretrained = "ImageNet"')
    one = recipe(tmp_path, header=begun)
    known = make(one, one.validate({}))
    assert known is not None and known.pretrained == "ImageNet"
    write_json(tmp_path / "privacy.json", known.to_json())
    assert Plan.read(tmp_path) == known
    (tmp_path / "privacy.json").write_text('{"dataset": 1}')
    assert Plan.read(tmp_path) is None


def test_epsilon_between_the_curves_places_is_the_next_places(tmp_path: Path) -> None:
    made = plan(tmp_path)
    (first, low), (second, high) = made.curve[:2]
    assert made.epsilon_at(0) == 0.0 and made.epsilon_at(first) == low
    assert made.epsilon_at(first + 1) == made.epsilon_at(second) == high
    assert made.epsilon_at(586) == math.inf  # beyond the plan nothing is known


@pytest.mark.parametrize(
    "line, why",
    [
        ('# unit = "example"', "records must be a whole number"),
        ("# records = 0", "records must be a whole number"),
        ("# records = true", "records must be a whole number"),
        ("# records = 5\n# who = 1", "unknown key 'who'"),
        ('# records = 5\n# unit = "house"', "unit 'house' is not one of"),
        ('# records = 5\n# sampler = "fair"', "sampler 'fair' is not one of"),
        ("# records = 5\n# pretrained = 1", "pretrained must be a text"),
    ],
)
def test_a_wrong_declaration_breaks_the_recipe(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(HeaderError, match=why):
        recipe(tmp_path, header=HEADER.replace("# records = {records}", line))


def test_a_private_recipe_declares_its_accounting_and_its_data_set(tmp_path: Path) -> None:
    without = HEADER.replace("# [tool.traindeck.accounting]\n# records = {records}\n", "")
    with pytest.raises(HeaderError, match="needs a table"):
        recipe(tmp_path, header=without)
    with pytest.raises(HeaderError, match="names its dataset"):
        recipe(tmp_path, header=HEADER.replace('# dataset = "mnist"\n', ""))
    with pytest.raises(HeaderError, match="privacy 'dp-sgd' or 'dp-fedavg'"):
        recipe(tmp_path, header=HEADER.replace('# privacy = "dp-sgd"\n', ""))


MECHANISMS = (
    st.builds(
        Mechanism,
        noise_multiplier=st.floats(0, 1e6),
        sampling_rate=st.floats(1e-9, 1.0),
        steps=st.integers(0, 10**9),
        sampler=st.sampled_from(["poisson", "shuffle", "none"]),
    )
    | st.builds(
        Mechanism,
        noise_multiplier=st.floats(0, 1e6),
        sampling_rate=st.floats(1e-9, 0.01),
        steps=st.integers(0, 10**9),
        bands=st.integers(1, 100),
    )
    | st.builds(
        Mechanism,
        noise_multiplier=st.floats(0, 1e6),
        sampling_rate=st.floats(1e-9, 1.0),
        steps=st.integers(0, 10**9),
        sampler=st.just("truncated"),
        max_batch=st.integers(1, 1000),
        records=st.integers(1000, 10**9),
    )
)


@given(MECHANISMS)
def test_mechanisms_are_read_as_they_were_written(mechanism: Mechanism) -> None:
    assert Mechanism.from_json(mechanism.to_json()) == mechanism


@pytest.mark.parametrize(
    "change",
    [
        {"noise_multiplier": -1.0},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": True},
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.5},
        {"steps": 1.5},
        {"steps": -1},
        {"steps": True},
        {"sampler": "lucky"},
        {"mechanism": "os.system"},
        {"extra": 1},
    ],
)
def test_what_is_no_mechanism_is_not_read_as_one(change: dict[str, object]) -> None:
    good = Mechanism(1.0, 0.5, 10).to_json()
    with pytest.raises(ValueError):
        Mechanism.from_json({**good, **change})
