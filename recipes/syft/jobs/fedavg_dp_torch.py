"""One owner's part in federated averaging by DP-SGD, in PyTorch. Read it before you approve it.

In each round: from the model as it was sent take some steps of DP-SGD (M. Abadi et al., CCS 2016).
Each draws every image of the owner's by itself with probability sampling_rate, sums the clipped
gradients, adds Gaussian noise of noise_multiplier times the clipping norm from the operating
system's entropy, and divides by a number that is public, never by how many images came.
"""

import math

import numpy as np
import torch
from torch import nn

from traindeck.recipes.shared.federated.job import job, mlp
from traindeck.recipes.shared.training.dp import torch as dp_torch
from traindeck.recipes.shared.training.dp.randomness import Randomness

with job.session() as here:
    p = here.params
    torch.set_num_threads(1)
    data = here.data()
    x = torch.from_numpy(data["x"]).float().flatten(1) / p["brightest"]
    y = torch.from_numpy(data["y"]).long()
    here.log(examples=len(x))
    inputs = x.shape[1]
    model = nn.Sequential(
        nn.Linear(inputs, mlp.HIDDEN), nn.ReLU(), nn.Linear(mlp.HIDDEN, mlp.CLASSES)
    )
    clipped = dp_torch.ClippedGradients(model, p["clipping_norm"])
    noise = p["noise_multiplier"] * p["clipping_norm"]
    randomness = Randomness()
    weights = list(model.parameters())
    ends = np.cumsum([math.prod(shape) for shape in mlp.shapes(inputs)])[:-1]

    def load(row: np.ndarray) -> None:
        """Give the model the parameters of a row, see `mlp`; PyTorch keeps weights transposed."""
        parts = np.split(row, ends)
        for weight, part, shape in zip(weights, parts, mlp.shapes(inputs), strict=True):
            weight.copy_(torch.from_numpy(part.reshape(shape).T.copy()))

    def saved() -> np.ndarray:
        """The model's parameters as a row."""
        return np.concatenate([weight.detach().numpy().T.ravel() for weight in weights])

    for round in here.rounds():
        with torch.no_grad():
            load(round.weights)
        lr = p["lr"] * 0.5 * (1 + math.cos(math.pi * (round.number - 1) / p["rounds"]))
        for _ in range(p["local_steps"]):
            batch = torch.from_numpy(randomness.poisson_batch(len(x), p["sampling_rate"]))
            result = clipped(x[batch], y[batch])
            gradients = dp_torch.noisy_mean(result.sums, noise, p["expected"], randomness)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.sub_(gradient, alpha=lr)
        # Every owner weighs the same: how many images it has is nobody's business.
        round.send(saved() - round.weights, examples=1, loss=float(result.losses.mean()))
