"""What an audit costs each training step, and what it finds of runs with too little noise.

    python tests/bench/bench_audit.py [--seeds 5] [--power 30]

The run is that of scattering features at epsilon 2.93: batches of 4096 out of 60,000 records, 585
steps, momentum 0.9. The canaries go through all of its steps; there is no model. Costs are against
a step of 50 ms, with noise from the operating system as a private run has it. `power` runs are
looked at for the share that is flagged, `seeds` of them measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.common import head, row
from traindeck.core.privacy.accountant import epsilon
from traindeck.core.privacy.audit.measure import SIGNIFICANCE, Scores, _guess, audit
from traindeck.core.privacy.audit.one_run import f_dp_rejected
from traindeck.core.privacy.audit.roc import Roc
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.risk import risk
from traindeck.recipes.shared.training.dp.canaries import COUNT, Canaries
from traindeck.recipes.shared.training.dp.randomness import FROM_THE_SYSTEM, Randomness

RECORDS, BATCH, STEPS, CLIP = 60_000, 4096, 585, 0.1
PROMISED = Mechanism(2.505, BATCH / RECORDS, STEPS)
CLAIMED, DELTA = 2.93, 1e-5
STEP_MS = 50.0
NOISES = (0.3, 0.5, 0.6, 0.7, 0.8, 1.0)


def train(noise: float, seed: int = FROM_THE_SYSTEM) -> tuple[Scores, float]:
    """Scores of a run with `noise` times the promised, and the CPU seconds they cost."""
    canaries, randomness = Canaries(RECORDS, CLIP, momentum=0.9), Randomness(seed)
    scale = noise * PROMISED.noise_multiplier * CLIP
    spent = 0.0
    for _ in range(STEPS):
        batch = randomness.poisson_batch(canaries.records, PROMISED.sampling_rate)
        began = time.process_time()
        canaries.among(batch)
        total = canaries.sum(lambda norms: np.minimum(1, CLIP / norms))
        canaries.step((total + randomness.normal(total.shape, scale)) / BATCH)
        spent += time.process_time() - began
    return Scores(*canaries.scores(), STEPS), spent


def sampling() -> float:
    """CPU ms that drawing from the canaries too adds to the sampling of a batch."""
    randomness = Randomness()

    def cpu(records: int) -> float:
        times = []
        for _ in range(200):
            began = time.process_time()
            randomness.poisson_batch(records, PROMISED.sampling_rate)
            times.append(time.process_time() - began)
        return statistics.median(times) * 1e3

    return max(0.0, cpu(RECORDS + COUNT) - cpu(RECORDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--power", type=int, default=30)
    given = parser.parse_args()
    seeds = given.seeds
    head(f"Audit with {COUNT} canaries, {STEPS} steps at epsilon {CLAIMED}")
    scores, spent = train(1.0)
    per_step = spent / STEPS * 1e3 + sampling()
    row("a step", f"{per_step:.2f} ms, {per_step / STEP_MS:.2%} of {STEP_MS:g} ms", "under 1 %")
    began = time.process_time()
    audit(scores, PROMISED, DELTA, CLAIMED)
    row("traindeck audit, imports included", f"{time.process_time() - began:.1f} s CPU")
    began = time.process_time()
    sentence = risk([PROMISED]).sentence
    row("the risk in words", f"{(time.process_time() - began) * 1e3:.0f} ms CPU")
    print(f"  {sentence}\n")

    print("noise   true epsilon   measured lower bounds               any mechanism   flagged")
    roc = Roc.of([PROMISED])
    for noise in NOISES:
        true = epsilon([Mechanism(noise * 2.505, BATCH / RECORDS, STEPS)], DELTA)
        runs = [train(noise, seed)[0] for seed in range(max(seeds, given.power))]
        audits = [audit(one, PROMISED, DELTA, CLAIMED) for one in runs[:seeds]]
        lower = " ".join(f"{one.lower:.2f}" for one in audits)
        general = statistics.median(one.lower_general for one in audits)
        flagged = sum(
            any(f_dp_rejected(roc, COUNT, *each, SIGNIFICANCE) for each in _guess(one))
            for one in runs
        )
        row_of = f"x {noise:<5} {true:12.2f}   {lower:<36} {general:12.2f}"
        print(f"{row_of}   {flagged} of {len(runs)}", flush=True)


if __name__ == "__main__":
    main()
