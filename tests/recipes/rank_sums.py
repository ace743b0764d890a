# /// script
# requires-python = ">=3.11"
# [tool.traindeck]
# name = "rank-sums"
# title = "What ranks sum up"
# framework = "torch"
# [tool.traindeck.params]
# workers = {type = "int", default = 2, help = "how many"}
# ///
"""Sums of clipped gradients and of noise over ranks, against those of one process, as JSON."""

import copy
import json

import torch
from torch import nn

from traindeck.core import track
from traindeck.recipes.shared.training.dp import torch as dp_torch
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.parallel.launch import in_ranks
from traindeck.recipes.shared.training.parallel.torch_dp import clipped_gradients

NORM = 0.5
SIGMA = 1.5

with track.start() as run:
    in_ranks(run, run.params.workers)
    # Weights of another seed at each rank: only rank 0's may count.
    torch.manual_seed(run.rank.number if run.rank else 0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 50), nn.Tanh(), nn.Linear(50, 10))
    shared = clipped_gradients(run, model, 99.0)
    shared.clip_to(NORM)
    alone = dp_torch.ClippedGradients(copy.deepcopy(model), NORM)
    torch.manual_seed(5)
    x, y = 3 * torch.randn(11, 8, 8), torch.randint(10, (11,))
    off, norms_off, longest, shift = [], [], [], []
    whole = shared(x, y)
    for size in (0, 1, 2, 5, 11):
        over, one = shared(x[:size], y[:size]), alone(x[:size], y[:size])
        pairs = zip(over.sums, one.sums, strict=True)
        off.append(max(float((a - b).abs().max()) for a, b in pairs))
        norms_off.append(float((over.norms - one.norms).abs().sum()))
    for record in range(11):
        rest = [each for each in range(11) if each != record]
        without = shared(x[rest], y[rest])
        pairs = zip(whole.sums, without.sums, strict=True)
        shift.append(float(torch.cat([(a - b).flatten() for a, b in pairs]).norm()))
        longest.append(
            float(torch.cat([s.flatten() for s in shared(x[[record]], y[[record]]).sums]).norm())
        )
    source = Randomness()
    noises = []
    for _ in range(20):
        mean = dp_torch.noisy_mean(shared(x[:0], y[:0]).sums, SIGMA * NORM, 1, source)
        noises.append(torch.cat([part.flatten() for part in mean]))
    noise = torch.stack(noises)
    faulty = shared(torch.full((3, 8, 8), torch.nan), y[:3])
    found = {
        "off": max(off),
        "norms_off": max(norms_off),
        "longest": max(longest),
        "shift": max(shift),
        "noise": float(noise.std()) / (SIGMA * NORM),
        "values": noise.numel(),
        "faulty": faulty.faulty,
        "faulty_sum": max(float(total.abs().max()) for total in faulty.sums),
        "telemetry": sorted(whole.telemetry(NORM)),
    }
    print("found " + json.dumps(found), flush=True)
