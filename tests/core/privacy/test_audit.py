"""A run that gives away more than it claims is caught; one that does not is left alone."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from traindeck.core.base.errors import NotFoundError
from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.privacy.audit.measure import (
    CONFIDENCE,
    GUESS_SHARES,
    SIGNIFICANCE,
    AuditError,
    AuditResult,
    Scores,
    _guess,
    audit,
)
from traindeck.core.privacy.audit.one_run import dp_lower_bound, dp_p_value, f_dp_rejected
from traindeck.core.privacy.audit.roc import Roc
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.run import events
from traindeck.recipes.shared.training.dp.canaries import COUNT, Canaries
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.tui.commands import audit as command

pytestmark = pytest.mark.slow

SCATTERING = Mechanism(2.505, 4096 / 60000, 585)
CLAIMED, DELTA, CLIP = 2.93, 1e-5, 0.1


def sums(seed: int, noise: float = 1.0, count: int = COUNT) -> Scores:
    """Scores of a run whose noise is `noise` times the promised: sums of its releases."""
    rng = np.random.default_rng(seed)
    mechanism = SCATTERING
    inside = rng.random(count) < 0.5
    drawn = rng.binomial(mechanism.steps, mechanism.sampling_rate, count)
    spread = noise * mechanism.noise_multiplier * math.sqrt(mechanism.steps)
    values = drawn * inside + rng.normal(0, spread, count)
    return Scores(values[inside], values[~inside], mechanism.steps)


def trained(
    seed: int,
    clip: Callable[..., Any] = lambda norms: np.minimum(1, CLIP / norms),
    rate: float = SCATTERING.sampling_rate,
    noise: float = 1.0,
) -> Scores:
    """Scores of canaries that went through each step of a run, with the optimiser's momentum."""
    canaries, randomness = Canaries(0, CLIP, momentum=0.9), Randomness(seed)
    scale = noise * SCATTERING.noise_multiplier * CLIP
    for _ in range(SCATTERING.steps):
        canaries.among(randomness.poisson_batch(canaries.records, rate))
        total = canaries.sum(clip)
        canaries.step((total + randomness.normal(total.shape, scale)) / 4096)
    return Scores(*canaries.scores(), SCATTERING.steps)


def audited(scores: Scores, claimed: float = CLAIMED) -> AuditResult:
    return audit(scores, SCATTERING, DELTA, claimed)


# The tests themselves, against jax-privacy 2.0.0's auditing.py


@pytest.mark.parametrize(
    "given, p_value",
    [
        ((5000, 500, 485, 2.93, 1e-5), 0.022514409368081852),
        ((5000, 1000, 995, 4.0, 1e-5), 0.005344550735296002),
        ((1000, 100, 75, 1.0, 1e-6), 0.382900193727115),
        ((5000, 250, 213, 1.0, 1e-3), 0.23220517877004476),
    ],
)
def test_p_values_of_the_one_run_test(
    given: tuple[int, int, int, float, float], p_value: float
) -> None:
    assert dp_p_value(*given) == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize(
    "guesses, correct, dp, f_dp",
    [(500, 485, 2.896, 3.989), (1000, 995, 4.316, 6.461), (250, 213, 1.352, 1.733)],
)
def test_lower_bounds(guesses: int, correct: int, dp: float, f_dp: float) -> None:
    import dp_accounting

    bound = dp_lower_bound(5000, guesses, correct, DELTA, 0.05 / 3)
    assert dp - 0.002 <= bound <= dp + 0.001

    def rejected(epsilon: float) -> bool:  # the Gaussian mechanism of this epsilon, as there
        noise = dp_accounting.get_sigma_gaussian(epsilon, DELTA)
        roc = Roc.of([Mechanism(noise, 1.0, 1, "none")])
        return f_dp_rejected(roc, 5000, guesses, correct, 0.05 / 3)

    assert rejected(f_dp - 0.02) and not rejected(f_dp + 0.02)


def test_without_delta_it_is_the_binomial_tail() -> None:
    assert dp_p_value(100, 10, 10, 0.0, 0.0) == pytest.approx(2**-10)
    assert dp_p_value(100, 10, 0, 1.0, 1e-5) == 1.0
    assert dp_lower_bound(100, 4, 4, 1e-5, 0.05 / 3) == 0.0


@settings(max_examples=50, deadline=None)
@given(st.integers(10, 400), st.data())
def test_more_correct_guesses_are_never_less_suspicious(guesses: int, data: Any) -> None:
    correct = data.draw(st.integers(0, guesses - 1))
    epsilon = data.draw(st.floats(0, 5))
    fewer = dp_p_value(1000, guesses, correct, epsilon, DELTA)
    assert dp_p_value(1000, guesses, correct + 1, epsilon, DELTA) <= fewer + 1e-12
    assert dp_p_value(1000, guesses, correct, epsilon + 0.1, DELTA) >= fewer - 1e-12


# What is done with scores


def test_planted_bug_of_too_little_noise_is_caught() -> None:
    for seed in range(3):
        result = audited(sums(seed, noise=0.3))
        assert result.violated and result.lower > 5.0
        assert result.lower_general > 3.8  # even without knowing the mechanism
    assert audited(sums(0, noise=0.5)).violated


def test_a_right_run_is_not_flagged() -> None:
    for seed in range(3):
        result = audited(sums(seed))
        assert result.verdict == "consistent"
        assert 0.9 < result.lower < CLAIMED
        assert 0.6 < result.lower_general < result.lower


def test_false_alarms_stay_below_what_is_promised() -> None:
    """At most 5 in 100 right runs; here none of 300, as the attack is not the best there is."""
    roc = Roc.of([SCATTERING])
    alarms = sum(
        any(f_dp_rejected(roc, COUNT, *each, SIGNIFICANCE) for each in _guess(sums(seed)))
        for seed in range(300)
    )
    assert alarms == 0


def test_canaries_go_through_every_step() -> None:
    right = audited(trained(1))
    assert right.verdict == "consistent" and 0.9 < right.lower < CLAIMED
    assert audited(trained(1, noise=0.3)).violated


@pytest.mark.parametrize(
    "bug",
    [
        {"clip": lambda norms: np.ones_like(norms)},
        {"clip": lambda norms: np.minimum(1, 3 * CLIP / norms)},
        {"rate": 3 * SCATTERING.sampling_rate},
    ],
    ids=["no clipping", "another clipping norm", "another sampling rate"],
)
def test_other_bugs_are_caught_as_well(bug: dict[str, Any]) -> None:
    assert audited(trained(2, **bug)).violated


def test_the_guesses_are_registered_before_any_score_is_seen() -> None:
    assert (CONFIDENCE, GUESS_SHARES) == (0.95, (0.05, 0.1, 0.2))
    assert len(GUESS_SHARES) * SIGNIFICANCE == pytest.approx(1 - CONFIDENCE)
    made = _guess(sums(0))
    assert [guesses for guesses, _ in made] == [250, 500, 1000]


def test_equal_scores_say_nothing() -> None:
    result = audited(Scores(np.ones(2600), np.ones(2400), 585))
    assert result.correct == 0 and result.lower == result.lower_general == 0.0
    coin = Scores(np.repeat([0.0, 1.0], 1250), np.repeat([0.0, 1.0], 1250), 585)
    assert audited(coin).lower == 0.0


def test_what_is_no_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="finite"):
        audited(Scores(np.array([np.nan] * 100), np.zeros(100), 1))
    with pytest.raises(AuditError, match="too few"):
        audited(Scores(np.zeros(5), np.zeros(5), 1))
    (tmp_path / "audit.npz").write_bytes(b"PK\3\4 torn")
    with pytest.raises(AuditError, match="holds no scores"):
        Scores.read(tmp_path / "audit.npz")
    np.savez(tmp_path / "other.npz", included=np.zeros(3))
    with pytest.raises(AuditError, match="holds no scores"):
        Scores.read(tmp_path / "other.npz")


def test_a_run_without_noise_claims_nothing_and_breaks_nothing() -> None:
    result = audit(sums(0, noise=0.0), Mechanism(0.0, 0.07, 585), DELTA, math.inf)
    assert result.verdict == "consistent" and result.lower > 5.0
    assert result.to_json()["claimed"] is None
    assert command.interval(result)[0].endswith("▷ no bound is claimed")


# As people use it


def axis(lower: float, claimed: float) -> list[str]:
    verdict: Any = "violated" if lower > claimed else "consistent"
    result = AuditResult(lower, 1.0, 0.95, claimed, DELTA, 5000, 250, 200, 585, "", "", verdict)
    return command.interval(result, 20)


def test_both_bounds_stand_on_one_axis() -> None:
    assert axis(1.44, 2.93) == [
        "0 ├─────────●▒▒▒▒▒▒▒▒●─┤ 3.16",
        "            │        └ claimed, at most 2.93",
        "            └ measured, at least 1.44",
    ]
    assert axis(6.4, 2.93) == [
        "0 ├────────●█████████●─┤ 6.91",
        "           │         └ measured, at least 6.4",
        "           └ claimed, at most 2.93",
    ]
    assert axis(2.93, 2.93)[0].count("●") == 1
    assert axis(0.0, 2.93)[0].startswith("0 ├●▒")


RECIPE = """# /// script
# dependencies = []
# [tool.traindeck]
# name = "private"
# dataset = "toy"
# privacy = "dp-sgd"
# [tool.traindeck.accounting]
# records = 1000
# [tool.traindeck.params.noise_multiplier]
# type = "float"
# default = 2.0
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 100
# [tool.traindeck.params.steps]
# type = "int"
# default = 60
# [tool.traindeck.params.bug]
# type = "float"
# default = 1.0
# [tool.traindeck.params.audit]
# type = "bool"
# default = false
# ///
import numpy as np
from traindeck.core import track
from traindeck.recipes.shared.training.dp.canaries import COUNT, Canaries
from traindeck.recipes.shared.training.dp.randomness import Randomness

with track.start() as run:
    plan, randomness = run.plan, Randomness()
    rate, clip = plan.mechanism.sampling_rate, plan.clipping_norm
    scale = run.params.bug * plan.mechanism.noise_multiplier * clip
    canaries = Canaries(plan.records, clip, momentum=0.9, count=COUNT if run.params.audit else 0)
    for step in range(plan.mechanism.steps):
        if not run.spend():
            run.over_budget()
        batch = canaries.among(randomness.poisson_batch(canaries.records, rate))
        assert batch.max() < 1000
        total = canaries.sum(lambda norms: np.minimum(1, clip / norms))
        canaries.step((total + randomness.normal(total.shape, scale)) / plan.batch_size)
    canaries.save(run)
"""
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def train(home: Home, traindeck: Command) -> Callable[..., str]:
    """Run the recipe; returns the run's id."""
    from traindeck.core.privacy import budget

    (home.recipes / "private.py").write_text(RECIPE)
    budget.create(home, "toy", 10.0, 1e-5, "example", None)

    def run(*params: str) -> str:
        given = [word for param in params for word in ("-p", param)]
        done = traindeck("run", "private", *given, "--wait", "--json")
        return str(json.loads(done.stdout)["id"])

    return run


def call(*words: str) -> Any:
    app = typer.Typer()
    command.register(app)
    return CliRunner().invoke(app, list(words))


@pytest.mark.slow
def test_the_command_shows_the_claim_the_measurement_and_the_risk(
    home: Home, train: Callable[..., str]
) -> None:
    run = train("audit=true")
    done = call(run)
    assert done.exit_code == 0, done
    assert "measured, at least" in done.stdout and "claimed, at most 1.8" in done.stdout
    assert "an attacker allowed 1 false accusation in 100" in done.stdout
    assert "verdict   consistent" in done.stdout
    assert "with noise × 0.5 an audit flags 30" in done.stdout
    printed = json.loads(call(run, "--json").stdout)
    assert printed["audit"]["lower"] < printed["audit"]["claimed"]
    doc = Library(home).find(run)
    assert doc["privacy"] and doc["privacy"]["audit"] == printed["audit"]
    log = (Path(doc["path"]) / "events.jsonl").read_bytes().splitlines()
    assert [event["type"] for line in log if (event := events.parse(line))].count("audit") == 1

    shutil.rmtree(Path(doc["path"]) / "artifacts")
    done = call(run)
    assert isinstance(done.exception, NotFoundError) and done.exception.exit_code == 3
    assert "-p audit=true" in str(done.exception)


@pytest.mark.slow
def test_a_violated_claim_is_recorded_and_the_run_quarantined(
    home: Home, train: Callable[..., str]
) -> None:
    from traindeck.core.privacy.ledger.ledgers import find

    run = train("audit=true", "bug=0.3")
    for _ in range(2):
        done = call(run)
        assert done.exit_code == 1
        assert "VIOLATED" in done.stdout and "█" in done.stdout
        assert "false accusation" not in done.stdout  # nobody knows what the risk is now
    [listed] = [doc for doc in Library(home).runs() if doc["id"] == run]
    assert listed["privacy"] and listed["privacy"]["audit"]["verdict"] == "violated"
    ledger = find(home.ledger, "toy")
    assert ledger is not None
    [charge] = ledger.account().runs
    assert "audit: epsilon is at least" in charge.quarantined
    assert [entry["type"] for entry in ledger.history()].count("quarantine") == 1
