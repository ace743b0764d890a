# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "scipy>=1.13", "traindeck"]
# [tool.traindeck]
# name = "torch-mnist-scatter-dp"
# title = "MNIST scattering with DP-SGD (PyTorch)"
# description = "A linear model on fixed wavelets: 98.7 % right, and little told of any image."
# framework = "torch"
# task = "image classification"
# dataset = "mnist"
# privacy = "dp-sgd"
# devices = ["cpu", "gpu"]
# tags = ["scattering", "private"]
# headline = "test/accuracy"
# pair = "mnist-scatter-dp"
# accounting = {records = 60000, unit = "example", sampler = "poisson"}
# [tool.traindeck.when.unit.user]
# accounting = {records = 3000, unit = "user", sampler = "poisson"}
# [tool.traindeck.when.unit.user.defaults]
# batch_size = 600
# epochs = 60.0
# [tool.traindeck.params]
# unit = {type = "choice", default = "example", choices = ["example", "user"], help = "protected"}
# made_up_users = {type = "bool", default = false, help = "where nobody says who wrote the images"}
# user_images = {type = "int", default = 20, min = 1, max = 1000, help = "most of one user"}
# epsilon = {type = "float", default = 2.93, min = 0.0, help = "the whole run's; inf: no privacy"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.1, min = 1e-9, help = "most that one unit adds"}
# batch_size = {type = "int", default = 4096, min = 1, max = 60000, help = "units a step, mean"}
# epochs = {type = "float", default = 80.0, min = 0.001, max = 10000.0, help = "may be a fraction"}
# lr = {type = "float", default = 4.0, min = 1e-6, max = 1000.0, help = "learning rate"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "decides the first weights"}
# noise_seed = {type = "int", default = -1, min = -1, help = "-1: true noise; else not private"}
# self_test = {type = "bool", default = true, help = "check gradients, noise and sampling first"}
# data_dir = {type = "path", help = "folder of MNIST's four IDX files; else as in torch-mnist"}
# audit = {type = "bool", default = false, help = "add canaries, for `traindeck audit`"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# ///
"""Train a linear model on scattering features of MNIST with differential privacy, in PyTorch.

F. Tramèr, D. Boneh: Differentially private learning needs better features (or much more data),
ICLR 2021: noise hurts the less the fewer weights there are, and wavelets need no training.
"""

from functools import partial
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, mnist, products, scattering, users
from traindeck.recipes.shared.training.dp import canaries
from traindeck.recipes.shared.training.dp.loop import announce, check_records, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.loop import Tested

MOMENTUM = 0.9
AVERAGING = 0.99


def main(run: track.Run) -> None:
    p, plan = run.params, run.plan
    resume = checkpoints.find(p.resume, ".pt") if p.resume else None
    data = needs.data(mnist.load, p.data_dir)
    given = None
    if p.unit == "user":
        who = partial(mnist.writers, len(data.train_x), p.data_dir, made_up=p.made_up_users)
        given = users.of(needs.data(who), p.user_images, p.seed)
    units = "users" if given else "images"
    records = len(given or data.train_x)
    check_records(run, records, units)
    with needs.framework("torch"):
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

        from traindeck.recipes.shared.training.dp import torch as dp_torch
        from traindeck.recipes.shared.training.dp.torch_state import Training

    device = needs.torch_device(run.device)
    run.use(datasets.fingerprint(data.train_x, data.train_y))

    # What is derived from an image shares its budget: its features are no other data set.
    features = scattering.features(data.train_x, data.test_x, scattering.cache_folder())
    train_x, test_x = (torch.from_numpy(scattering.normalised(x)).to(device) for x in features)
    train_y = torch.from_numpy(data.train_y).to(device).long()
    test_y = torch.from_numpy(data.test_y).to(device).long()

    def examples(chosen: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, 3969) and labels of training images; of users (n, images, 3969)."""
        rows = given.records[chosen] if given else chosen
        indices = torch.as_tensor(rows, dtype=torch.long, device=device)
        y = train_y[indices]
        if given:
            y[torch.from_numpy(~given.given[chosen]).to(device)] = dp_torch.NOTHING
        return train_x[indices], y

    torch.manual_seed(p.seed)
    model = nn.Linear(train_x.shape[1], 10)
    model.to(device)
    training = Training(run, model, p.lr, MOMENTUM, AVERAGING)
    if resume:
        training.resume(resume)

    @torch.no_grad()
    def evaluate() -> Tested:
        """Mean loss and accuracy over the test images."""
        logits = training.average(test_x)
        hits = (logits.argmax(1) == test_y).float()
        return Tested(cross_entropy(logits, test_y).item(), hits.mean().item())

    micro_batch = -(-1024 // p.user_images) if given else 1024
    clipped = dp_torch.ClippedGradients(model, plan.clipping_norm, micro_batch=micro_batch)
    test = dp_torch.self_test(clipped, records, examples) if p.self_test else None
    randomness = Randomness(p.noise_seed, stream=training.step)
    count = canaries.COUNT if p.audit else 0
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, count)
    announce(run, randomness, device, units)
    for step in private_steps(run, training, randomness, evaluate, test, planted):
        batch = step.randomness.poisson_batch(planted.records, step.rate)
        result = clipped(*examples(planted.among(batch)))
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, torch.from_numpy(planted.sum(clipped.weights)).to(device)]
        gradients = dp_torch.noisy_mean(sums, step.noise, plan.batch_size, step.randomness)
        planted.step(gradients.pop().cpu())
        training.update(gradients)
        step.gave(result)

    training.leave(products.features(torch, torch.from_numpy), mnist.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
