"""A clipping norm that moves with the rounds: what an owner sends, whatever norm it is sent."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import traindeck.recipes
from tests.federated import federated_tools as tools
from tests.federated import owner_pairs
from tests.federated.owner_pairs import Pair
from traindeck.core.federation.status import federation_of
from traindeck.core.privacy.clipping import AdaptiveClipping
from traindeck.core.privacy.plan import Plan, make
from traindeck.core.recipe.read import read_recipe
from traindeck.core.run.points import read_names
from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.hiding import fixedpoint
from traindeck.recipes.shared.federated.hiding.session import noise_shares
from traindeck.recipes.shared.federated.owner import gate as gates
from traindeck.recipes.shared.federated.owner.owner import FARTHEST
from traindeck.recipes.shared.federated.post import mail, wire
from traindeck.recipes.shared.federated.post.mail import SCIENTIST

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FEDAVG = Path(traindeck.recipes.__file__).parent / "syft" / "fedavg.py"
CLOSE = 0.03  # of a deviation: over six times what chance moves one of 24,000 numbers by
VALUES = 4000
Row = NDArray[np.float64]
Made = tuple[gates.Gate, socket.socket]


def central(**given: Any) -> Plan:
    recipe = read_recipe(FEDAVG)
    assert recipe is not None
    made = make(recipe, recipe.validate({"dp": "central", "clipping": "adaptive", **given}))
    assert made is not None
    return made


class TestGate:
    """What leaves of an update in a round of some norm."""

    @pytest.fixture
    def pair(self, tmp_path: Path) -> Iterator[Pair]:
        made = owner_pairs.make(tmp_path / "f", clip=1.0, count_noise=0.0)
        yield made
        made.server.started.clear()

    @pytest.fixture
    def gate(self, pair: Pair) -> Iterator[Made]:
        pair.befriend()
        ours, theirs = socket.socketpair()
        theirs.settimeout(60)
        ours.settimeout(5)
        with ours, theirs:
            yield gates.Gate(pair.owner, ours, pair.root / "outputs"), theirs

    def ask(self, gate: gates.Gate, size: int = 4, **facts: Any) -> None:
        body = np.ones(size, "<f4").tobytes()
        gate._from_aggregator(mail.Letter(SCIENTIST, {"type": "round", **facts}, body))

    def sent(
        self, gate: Made, pair: Pair, update: Row, norm: float, number: int = 1
    ) -> tuple[Row, int]:
        """What an owner sends of an update in a round of this norm, and what it weighs."""
        made, script = gate
        self.ask(made, len(update), number=number, clipping_norm=norm)
        assert wire.receive(script)[0] == {"type": "round", "number": number}, "no norm for it"
        facts = {"type": "update", "round": number, "examples": 3, "loss": 1.0}
        wire.send(script, facts, update.tobytes())
        assert made._from_job()
        wire.receive(script)
        [letter] = pair.letters()
        return np.frombuffer(letter.body, "<f4").astype(float), letter.facts["examples"]

    @pytest.mark.parametrize(
        ("norm", "length", "count"),
        [(10.0, 0.2, 0.5), (2.0, 1.0, 0.5), (0.5, 1.0, -0.5), (1e-9, 1.0, -0.5), (1e9, 2e-9, 0.5)],
    )
    def test_an_update_leaves_over_the_norm_and_its_bit_behind(
        self, norm: float, length: float, count: float, gate: Made, pair: Pair
    ) -> None:
        values, weight = self.sent(gate, pair, np.ones(4), norm)  # which is 2 long
        assert np.linalg.norm(values[:-1]) == pytest.approx(length, rel=1e-6)
        assert values[-1] == count and weight == 1

    @pytest.mark.parametrize("each", [0.0, math.nan, math.inf, 1e200])
    def test_an_update_of_zeros_or_none_is_not_clipped(
        self, each: float, gate: Made, pair: Pair
    ) -> None:
        """The neighbour that is accounted for: zeros, and the bit of zeros."""
        pair.owner.policy.noise = pair.owner.policy.count_noise = 1e-9
        values, _ = self.sent(gate, pair, np.array([each, 0.0, 0.0, 0.0]), 1e-9)
        assert np.allclose(values, [0, 0, 0, 0, 0.5], atol=1e-6)

    @pytest.mark.parametrize("norm", [1e-9, 0.05, 1e9])
    def test_its_noise_has_one_scale_whatever_norm_it_is_sent(
        self, norm: float, gate: Made, pair: Pair
    ) -> None:
        """A scientist that sends another norm to each owner gains nothing by it."""
        pair.owner.policy.noise, pair.owner.policy.count_noise = 1.5, 4.0
        update = np.zeros(VALUES)
        update[0] = 100.0
        rows = [self.sent(gate, pair, update, norm, number)[0] for number in range(1, 8)]
        updates = np.concatenate([row[1:-1] for row in rows])
        assert np.std(updates) == pytest.approx(1.5, rel=CLOSE)
        moved = np.mean([row[0] for row in rows])
        assert abs(moved - min(1.0, 100 / norm)) < 6 * 1.5 / math.sqrt(len(rows))
        counts = np.array([row[-1] for row in rows]) - (0.5 if norm > 100 else -0.5)
        assert np.abs(counts).min() > 0 and np.abs(counts).max() < 6 * 4.0

    def test_the_count_has_its_own_noise(self, pair: Pair) -> None:
        from traindeck.recipes.shared.federated.owner import release

        pair.owner.policy.noise, pair.owner.policy.count_noise = 1.5, 4.0
        drawn = [
            release.clipped(np.zeros(1), 0.0, 1.0, pair.owner.policy, pair.owner.randomness)
            for _ in range(20_000)
        ]
        scale = np.std(drawn, axis=0)
        assert scale == pytest.approx([1.5, 4.0], rel=CLOSE)
        assert np.mean(drawn, axis=0) == pytest.approx([0, 0.5], abs=6 * 4 / math.sqrt(20_000))
        assert abs(np.corrcoef(np.transpose(drawn))[0, 1]) < 6 / math.sqrt(20_000)

    @pytest.mark.parametrize(
        "norm", [0.0, -1.0, 1e-10, 1e10, math.nan, math.inf, None, "0.5", True, [0.5], 10**400]
    )
    def test_what_is_no_norm_is_refused_and_may_be_sent_right(
        self, norm: Any, gate: Made, pair: Pair
    ) -> None:
        with pytest.raises(Refused, match=r"round 1: .* is no clipping norm: one is from 1e-09"):
            self.ask(gate[0], number=1, clipping_norm=norm)
        self.ask(gate[0], number=1, clipping_norm=1)
        assert wire.receive(gate[1])[0]["number"] == 1

    def test_a_round_without_a_norm_is_refused(self, gate: Made) -> None:
        with pytest.raises(Refused, match="malformed: KeyError\\('clipping_norm'"):
            self.ask(gate[0], number=1)

    def test_a_round_that_waits_keeps_its_own_norm(self, gate: Made, pair: Pair) -> None:
        made, script = gate
        self.ask(made, number=1, clipping_norm=4.0)
        self.ask(made, number=2, clipping_norm=1.0)
        wire.receive(script)
        for number, length in ((1, 0.5), (2, 1.0)):
            update = {"type": "update", "round": number, "examples": 3}
            wire.send(script, update, np.ones(4).tobytes())
            assert made._from_job()
            [letter] = pair.letters()
            values = np.frombuffer(letter.body, "<f4")
            assert np.linalg.norm(values[:-1]) == pytest.approx(length)
            if number == 1:
                made._begin(*made._next)  # type: ignore[misc]

    def test_where_the_norm_stays_one_that_comes_changes_nothing(
        self, gate: Made, pair: Pair
    ) -> None:
        pair.owner.policy.count_noise = None
        values, weight = self.sent(gate, pair, np.ones(4), 1e9)
        assert values == pytest.approx([0.5] * 4) and weight == 3


def test_a_count_fits_fixed_point_with_the_noise_of_any_plan() -> None:
    """The header bounds count_noise: what an owner may send at the most can still be summed."""
    plan = central(noise_multiplier=20.0, count_noise=1000.0)
    assert plan.adaptive is not None
    shares = math.sqrt(noise_shares(16, 11))
    most = 1.0 + FARTHEST * max(plan.gradient_noise, plan.adaptive.count_noise) / shares
    row = np.array([1.0, -1.0, most])
    total = np.sum([fixedpoint.encode(row, 1, most) for _ in range(16)], axis=0)
    mean, owners = fixedpoint.decode(total)
    assert owners == 16 and mean == pytest.approx(row, abs=1e-6)


def test_sixteen_owners_have_a_plan_that_says_both_noises() -> None:
    plan = central()
    joint = plan.mechanism.noise_multiplier
    assert plan.epsilon <= 20 and plan.adaptive is not None
    assert plan.adaptive == AdaptiveClipping(0.5, 0.2, 3 * joint, sensitivity=1.0)
    assert plan.gradient_noise == pytest.approx(joint * (9 / 8) ** 0.5)


@pytest.mark.slow
@pytest.mark.framework
class TestRounds:
    """Owners whose updates are of all lengths, in one real federation."""

    def test_the_sum_is_in_the_norm_s_units_and_counts_who_was_clipped(
        self, tmp_path: Path
    ) -> None:
        owned = tools.shards(20, 30, 10, 20)
        true = [tools.true_update(tools.first(), shard) for shard in owned.values()]
        lengths = sorted(float(np.linalg.norm(one)) for one in true)
        with tools.federation(
            tmp_path, owned, rounds=3, clip=1.0, noise=1e-9, count_noise=1e-9
        ) as federation:
            norms = (10 * lengths[-1], (lengths[1] + lengths[2]) / 2, lengths[0] / 10)
            for number, norm in enumerate(norms, 1):
                outcome = federation.round(number, tools.first(), norm)
                clipped = [one * min(1.0, norm / np.linalg.norm(one)) for one in true]
                assert outcome.update == pytest.approx(np.mean(clipped, 0), abs=2e-6 * norm)
                assert outcome.count == pytest.approx({1: 2.0, 2: 0.0, 3: -2.0}[number], abs=1e-4)
                assert outcome.examples == 4, "all owners weigh the same"

    def test_who_is_lost_is_in_neither_sum(self, tmp_path: Path) -> None:
        owned = tools.shards(20, 30, 10, 20)
        with tools.federation(
            tmp_path, owned, rounds=1, clip=1.0, noise=1e-9, count_noise=1e-9
        ) as federation:
            os.kill(tools.status(federation.root, "owner-4")["pid"], signal.SIGKILL)
            outcome = federation.round(1, tools.first(), 100.0)
        true = [tools.true_update(tools.first(), owned[f"owner-{n}"]) for n in (1, 2, 3)]
        assert outcome.lost == ["owner-4"] and outcome.examples == 3
        assert outcome.count == pytest.approx(1.5, abs=1e-4), "three of three were not clipped"
        assert outcome.update == pytest.approx(np.mean(true, 0), abs=2e-4)

    def test_both_noises_are_in_the_sum_whatever_scripts_give(self, tmp_path: Path) -> None:
        owned = tools.shards(20, 30, 10, 20)
        numbers = range(1, 9)
        tricks = {"owner-1": {str(number): {"scale": 1e6} for number in numbers}}
        with tools.federation(
            tmp_path, owned, tricks=tricks, rounds=8, clip=1.0, noise=3.0, count_noise=5.0
        ) as federation:
            outcomes = [federation.round(number, tools.first(), 1e-3) for number in numbers]
        sums = np.concatenate([4 * outcome.update / 1e-3 for outcome in outcomes])
        whole = math.sqrt(4 / noise_shares(4, 3))
        assert np.std(sums) == pytest.approx(3.0 * whole, rel=CLOSE)
        counts = [outcome.count for outcome in outcomes]
        assert len(set(counts)) == 8 and max(map(abs, counts)) < 2 + 6 * 5.0 * whole


@pytest.mark.slow
@pytest.mark.framework
class TestRecipe:
    """A run whose norm moves; one that goes on with it; choices that it is not for."""

    CHOSEN = (
        "--dataset=digits",
        "--dp=central",
        "--owners=3",
        "--clipping-norm=0.5",
        "--noise-multiplier=2",
        "--epsilon=inf",
        "--clipping=adaptive",
    )

    def train(self, root: Path, name: str, *flags: str, code: int = 0) -> tuple[Path, str]:
        folder = root / name
        done = subprocess.run(
            [sys.executable, str(FEDAVG), *self.CHOSEN, f"--run-folder={folder}", *flags],
            env={
                "TRAINDECK_HOME": str(root / "home"),
                "PATH": "/usr/bin:/bin",
                "OMP_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return folder, done.stdout + done.stderr

    def test_its_norm_moves_is_shown_and_gone_on_with(self, tmp_path: Path) -> None:
        folder, text = self.train(tmp_path, "first", "--rounds=3")
        assert "noise multiplier 2 (updates' 2.121, and 6 on a count)" in text
        federation, _ = federation_of(tools.shown(folder / "federation"))
        norms = [each.clipping_norm for each in federation.rounds]
        assert norms[0] == 0.5 and len(set(norms)) == 3
        assert "clipping_norm" in read_names(folder)
        plan = Plan.read(folder)
        fixed = central(owners=3, rounds=3, noise_multiplier=2.0, clipping="fixed")
        assert plan is not None and plan.mechanism == fixed.mechanism
        own = tools.status(folder / "federation", "owner-1")["privacy"]
        assert own["epsilon"] == plan.epsilon == fixed.epsilon and own["steps"] == 3
        last = max(folder.glob("artifacts/checkpoint-*.npz"))
        with np.load(last, allow_pickle=False) as state:
            kept = float(state["clipping_norm"])
        rest = ("--rounds=5", f"--resume={last}")
        on, _ = self.train(tmp_path, "second", *rest)
        federation, _ = federation_of(tools.shown(on / "federation"))
        assert federation.rounds[0].clipping_norm == kept
        _, text = self.train(tmp_path, "third", *rest, "--clipping=fixed", code=2)
        assert "clipping_norm 0.5 (adaptive, count_noise 6.0) and" in text
