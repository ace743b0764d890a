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
# [tool.traindeck.accounting]
# records = 60000
# unit = "example"
# sampler = "poisson"
# [tool.traindeck.params]
# epsilon = {type = "float", default = 2.93, min = 0.0, help = "the whole run's; inf: no privacy"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.1, min = 1e-9, help = "most that an image adds"}
# batch_size = {type = "int", default = 4096, min = 1, max = 60000, help = "images a step, mean"}
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

import time
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, mnist, scattering
from traindeck.recipes.shared.training.dp import canaries
from traindeck.recipes.shared.training.dp.randomness import Randomness

MOMENTUM = 0.9
AVERAGING = 0.99
LOG_EVERY = 10
CHECKPOINTS = 10  # in the whole run


def main(run: track.Run) -> None:
    p, plan = run.params, run.plan
    resume = checkpoints.find(p.resume, ".pt") if p.resume else None
    data = needs.data(mnist.load, p.data_dir)
    records = len(data.train_x)
    if records > plan.records:
        track.abort(f"{records} training images: epsilon is for {plan.records} at most", 2)
    with needs.framework("torch"):
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

        from traindeck.recipes.shared.training.dp import torch as dp_torch
        from traindeck.recipes.shared.training.dp.torch_state import Training

    if run.device == "gpu" and not torch.cuda.is_available():
        track.abort("torch finds no GPU that it can use: check its driver, or use --device cpu")
    device = torch.device("cuda" if run.device == "gpu" else "cpu")
    run.use(datasets.fingerprint(data.train_x, data.train_y))

    # What is derived from an image shares its budget: its features are no other data set.
    features = scattering.features(data.train_x, data.test_x, scattering.cache_folder())
    train_x, test_x = (torch.from_numpy(scattering.normalised(x)).to(device) for x in features)
    train_y = torch.from_numpy(data.train_y).to(device).long()
    test_y = torch.from_numpy(data.test_y).to(device).long()

    def examples(chosen: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, 3969) and labels of training images by their indices."""
        indices = torch.as_tensor(chosen, dtype=torch.long, device=device)
        return train_x[indices], train_y[indices]

    torch.manual_seed(p.seed)
    model = nn.Linear(train_x.shape[1], 10)
    model.to(device)
    training = Training(run, model, p.lr, MOMENTUM, AVERAGING)
    if resume:
        training.resume(resume)

    @torch.no_grad()
    def evaluate() -> tuple[float, float]:
        """Mean loss and accuracy over the test images."""
        logits = training.average(test_x)
        hits = (logits.argmax(1) == test_y).float()
        return cross_entropy(logits, test_y).item(), hits.mean().item()

    clipped = dp_torch.ClippedGradients(model, plan.clipping_norm, micro_batch=1024)
    if p.self_test:
        dp_torch.self_test(run, clipped, Randomness(p.noise_seed), records, examples)
    randomness = Randomness(p.noise_seed, stream=training.step)
    count = canaries.COUNT if p.audit else 0
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, count)
    mechanism = plan.mechanism
    noise = mechanism.noise_multiplier * plan.clipping_norm  # standard deviation, in the sum
    source = randomness.name if noise else "no noise: not private"
    print(
        f"training on {device}: {mechanism.steps} steps of about {plan.batch_size} images, noise"
        f" multiplier {mechanism.noise_multiplier:.4g}, epsilon {plan.epsilon:.4g} at delta"
        f" {plan.delta:g}; {source}",
        flush=True,
    )
    part_steps = -(-mechanism.steps // CHECKPOINTS)
    logged = training.step
    window_began = part_began = time.perf_counter()
    while training.step < mechanism.steps:
        if not run.spend():  # paid for before its noise is released
            training.save()
            planted.save(run)
            run.over_budget()
        batch = randomness.poisson_batch(planted.records, mechanism.sampling_rate)
        result = clipped(*examples(planted.among(batch)))
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, torch.from_numpy(planted.sum(clipped.weights)).to(device)]
        gradients = dp_torch.noisy_mean(sums, noise, plan.batch_size, randomness)
        planted.step(gradients.pop().cpu())
        training.update(gradients)

        done = training.step
        run.progress(done, mechanism.steps)
        stopping = run.should_stop()
        part_over = stopping or done % part_steps == 0 or done == mechanism.steps
        if part_over or done % LOG_EVERY == 0:
            seconds = (time.perf_counter() - window_began) / (done - logged)
            run.log(done, result.telemetry(plan.clipping_norm))
            run.log(done, {"step_seconds": seconds})
            run.log(done, {"examples_per_second": plan.batch_size / seconds})
            logged, window_began = done, time.perf_counter()

        if part_over:
            training.save()
            test_loss, test_accuracy = evaluate()
            run.log(done, {"test/loss": test_loss, "test/accuracy": test_accuracy})
            now = time.perf_counter()
            print(
                f"step {done}/{mechanism.steps}  test loss {test_loss:.4f}"
                f"  test accuracy {test_accuracy:.4f}  {now - part_began:.1f} s",
                flush=True,
            )
            if stopping:
                print(f"stopped on request after step {done} of {mechanism.steps}", flush=True)
                break
            window_began = part_began = now
    planted.save(run)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
