"""What makes a federation private is what it does: updates are clipped, and noise is in them."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import traindeck.recipes
from tests.federated import federated_tools as tools
from traindeck.recipes.shared.federated.hiding.session import fewest_summed
from traindeck.recipes.shared.federated.job import job, mlp
from traindeck.recipes.shared.federated.post import wire

JOBS = Path(traindeck.recipes.__file__).parent / "syft" / "jobs"
PARAMS = {
    "brightest": 1,
    "lr": 2.0,
    "rounds": 2,
    "local_steps": 1,
    "clipping_norm": 0.5,
    "noise_multiplier": 0.0,
    "sampling_rate": 0.5,
    "expected": 100,
}
AN_IMAGE = PARAMS["lr"] * PARAMS["clipping_norm"] / PARAMS["expected"]  # how far one moves a model
CLOSE = 0.03  # of a deviation: over six times what chance moves one of 24,000 numbers by

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


class TestCentral:
    """Every owner adds its share of the noise to what its script gives, clipped."""

    NOISE, CLIP, ROUNDS = 3.0, 0.5, 10

    def test_the_sum_has_the_noise_whatever_scripts_give(self, tmp_path: Path) -> None:
        """Also of the fewest owners whose sum can be opened, for one that knows its own share."""
        numbers = range(1, self.ROUNDS + 1)
        owned = tools.shards(20, 30, 10, 20)
        scales = {name: 1e6 if name == "owner-1" else 0.0 for name in owned}
        tricks = {
            name: {str(number): {"scale": scale} for number in numbers}
            for name, scale in scales.items()
        }
        with tools.federation(
            tmp_path,
            owned,
            tricks=tricks,
            rounds=self.ROUNDS,
            noise=self.NOISE,
            clip=self.CLIP,
        ) as federation:
            outcomes = [federation.round(number, tools.first()) for number in numbers]
        assert {outcome.examples for outcome in outcomes} == {4}, "all owners weigh the same"
        sums = np.concatenate([4 * outcome.update for outcome in outcomes])
        fewest = fewest_summed(4, threshold=3)
        of_the_others = float(np.std(sums)) * math.sqrt((fewest - 1) / 4)
        assert fewest == 3 and of_the_others == pytest.approx(self.NOISE, rel=CLOSE)
        assert abs(float(np.mean(sums))) < 6 * float(np.std(sums)) / math.sqrt(len(sums))


@pytest.mark.parametrize("script", ["fedavg_dp_torch.py", "fedavg_dp_tf.py"])
class TestLocal:
    """Every step of a script is DP-SGD's: drawn, clipped, noised, over a public number."""

    INPUTS, IMAGES = 784, 400

    def updates(self, script: str, folder: Path, **changed: Any) -> list[NDArray[np.float64]]:
        """What it gives to its owner in two rounds: of images that are all the same."""
        image = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
        np.savez(
            folder / "data.npz",
            x=np.broadcast_to(image, (self.IMAGES, 28, 28)),
            y=np.full(self.IMAGES, 3, np.uint8),
        )
        (folder / "params.json").write_text(json.dumps({**PARAMS, **changed}))
        ours, theirs = socket.socketpair()
        with ours, (folder / "log").open("w") as log:
            ours.settimeout(300)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, str(JOBS / script)],
                    cwd=folder,
                    env={**os.environ, job.SOCKET: str(theirs.fileno()), "OMP_NUM_THREADS": "1"},
                    pass_fds=[theirs.fileno()],
                    stderr=log,
                )
            try:
                facts = {"owner": "owner-1", "owners": ["owner-1"], "data": "data.npz"}
                wire.send(ours, facts)
                updates = [self.round(ours, number) for number in (1, 2)]
                wire.send(ours, {"type": "end"})
                assert process.wait(60) == 0
            finally:
                process.kill()
                process.wait()
        return updates

    def round(self, ours: socket.socket, number: int) -> NDArray[np.float64]:
        model = mlp.first(self.INPUTS, 0).tobytes()
        wire.send(ours, {"type": "round", "number": number}, model)
        facts, body = wire.receive(ours)
        while facts["type"] == "log":
            facts, body = wire.receive(ours)
        wire.send(ours, {})
        assert (facts["type"], facts["round"], facts["examples"]) == ("update", number, 1)
        return np.frombuffer(body, np.float64)

    def test_its_noise_is_that_of_the_plan(self, script: str, tmp_path: Path) -> None:
        steps, multiplier = 3, 100.0
        first, second = self.updates(
            script, tmp_path, noise_multiplier=multiplier, local_steps=steps, sampling_rate=1e-3
        )
        a_step = multiplier * AN_IMAGE
        assert np.std(first) == pytest.approx(a_step * math.sqrt(steps), rel=CLOSE)
        assert np.std(second) == pytest.approx(a_step / 2 * math.sqrt(steps), rel=CLOSE)
        assert abs(np.corrcoef(first, second)[0, 1]) < CLOSE + 0.01, "drawn anew"

    def test_an_example_moves_a_model_by_no_more_than_its_bound(
        self, script: str, tmp_path: Path
    ) -> None:
        """Clipped gradients of the same image add up in length: each counts as the bound."""
        [first, _] = self.updates(script, tmp_path)
        drawn = float(np.linalg.norm(first)) / AN_IMAGE
        assert drawn == pytest.approx(round(drawn), abs=0.01)
        deviation = math.sqrt(self.IMAGES) / 2
        assert abs(drawn - self.IMAGES / 2) < 6 * deviation
