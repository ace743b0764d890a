"""One owner's part in federated averaging, in PyTorch. Read it before you approve it.

In each round: start from the model as it was sent, pass over the owner's own examples by
stochastic gradient descent with momentum, give back how far the weights have moved. The learning
rate falls along a cosine over the rounds. With mu > 0 the way from the start is held short
(FedProx, T. Li et al., MLSys 2020).
"""

import math
from typing import Any

import torch
from torch.nn.functional import cross_entropy, relu

from traindeck.recipes.shared.federated.job import job, mlp

MOMENTUM = 0.9


def logits(row: Any, x: Any) -> Any:
    """The model's outputs; row holds all its parameters, see `mlp`."""
    shapes = mlp.shapes(x.shape[1])
    parts = row.split([torch.Size(shape).numel() for shape in shapes])
    w1, b1, w2, b2 = (part.view(shape) for part, shape in zip(parts, shapes, strict=True))
    return relu(x @ w1 + b1) @ w2 + b2


with job.session() as here:
    p = here.params
    torch.set_num_threads(1)
    data = here.data()
    x = torch.from_numpy(data["x"]).float().flatten(1) / p["brightest"]
    y = torch.from_numpy(data["y"]).long()
    here.log(examples=len(x))
    for round in here.rounds():
        torch.manual_seed(p["seed"] + round.number)
        start = torch.from_numpy(round.weights)
        row = start.clone().requires_grad_()
        velocity = torch.zeros_like(start)
        lr = p["lr"] * 0.5 * (1 + math.cos(math.pi * (round.number - 1) / p["rounds"]))
        losses = []
        for _ in range(p["local_epochs"]):
            for batch in torch.randperm(len(x)).split(p["batch_size"]):
                loss = cross_entropy(logits(row, x[batch]), y[batch])
                (gradient,) = torch.autograd.grad(loss, row)
                with torch.no_grad():
                    gradient += p["weight_decay"] * row + p["mu"] * (row - start)
                    velocity.mul_(MOMENTUM).add_(gradient)
                    row.sub_(velocity, alpha=lr)
                losses.append(loss.item())
        update = (row.detach() - start).numpy()
        round.send(update, examples=len(x), loss=sum(losses) / len(losses))
