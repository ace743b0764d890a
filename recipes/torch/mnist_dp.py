# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "torch-mnist-dp"
# title = "MNIST CNN with DP-SGD (PyTorch)"
# description = "Reads handwritten digits, 98 % of them right, and tells little of any one image."
# framework = "torch"
# task = "image classification"
# dataset = "mnist"
# privacy = "dp-sgd"
# devices = ["cpu", "gpu"]
# tags = ["cnn", "private"]
# headline = "test/accuracy"
# pair = "mnist-dp"
# accounting = {records = 60000, unit = "example", sampler = "poisson"}
# [tool.traindeck.params]
# epsilon = {type = "float", default = 2.93, min = 0.0, help = "the whole run's; inf: no privacy"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.1, min = 1e-9, help = "most that an image adds"}
# clipping = {type = "choice", default = "fixed", help = """\
#   adaptive: follows a quantile of the gradients' norms""", choices = ["fixed", "adaptive"]}
# clipping_quantile = {type = "float", default = 0.5, min = 0.0, max = 1.0, help = "left unclipped"}
# clipping_lr = {type = "float", default = 0.2, min = 1e-6, max = 10.0, help = "how fast it moves"}
# count_noise = {type = "float", default = 0.0, min = 0.0, help = "its count's; 0: batch_size / 20"}
# batch_size = {type = "int", default = 2048, min = 1, max = 60000, help = "images a step, mean"}
# epochs = {type = "float", default = 40.0, min = 0.001, max = 10000.0, help = "may be a fraction"}
# noise = {type = "choice", default = "independent", choices = ["independent", "banded"]}
# bands = {type = "int", default = 8, min = 1, max = 64, help = "of banded noise: steps it spans"}
# lr = {type = "float", default = 3.0, min = 1e-6, max = 1000.0, help = "learning rate"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "decides the first weights"}
# noise_seed = {type = "int", default = -1, min = -1, help = "-1: true noise; else not private"}
# self_test = {type = "bool", default = true, help = "check gradients, noise and sampling first"}
# workers = {type = "int", default = 1, min = 1, max = 256, help = "that share each batch"}
# data_dir = {type = "path", help = "folder of MNIST's four IDX files; else as in torch-mnist"}
# audit = {type = "bool", default = false, help = "add canaries, for `traindeck audit`"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# ///
"""Train a small convolutional network on MNIST with differential privacy, in PyTorch.

DP-SGD (M. Abadi et al., CCS 2016) with the tanh network of N. Papernot et al.: Tempered sigmoid
activations for deep learning with differential privacy, AAAI 2021. The weights that are tested
and kept as a result are a running average of the trained ones, which costs no privacy.
"""

import os
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, mnist
from traindeck.recipes.shared.training.dp import banded, canaries
from traindeck.recipes.shared.training.dp.loop import announce, check_records, private_steps
from traindeck.recipes.shared.training.loop import Tested
from traindeck.recipes.shared.training.parallel.launch import in_ranks

MOMENTUM = 0.9
AVERAGING = 0.99


def main(run: track.Run) -> None:
    p, plan = run.params, run.plan
    resume = checkpoints.find(p.resume, ".pt") if p.resume else None
    in_ranks(run, p.workers)
    data = needs.data(mnist.load, p.data_dir)
    records = len(data.train_x)
    check_records(run, records, "images")
    # Threads that wait sleep: spinning, two runs that share cores slow each other down threefold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with needs.framework("torch"):
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

        from traindeck.recipes.shared.training.dp import torch as dp_torch
        from traindeck.recipes.shared.training.dp.torch_state import Training
        from traindeck.recipes.shared.training.parallel.torch_dp import clipped_gradients

    device = needs.torch_device(run.device)
    run.use(datasets.fingerprint(data.train_x, data.train_y))

    train_x = torch.from_numpy(data.train_x).to(device)
    train_y = torch.from_numpy(data.train_y).to(device).long()
    test_x = torch.from_numpy(data.test_x).to(device)
    test_y = torch.from_numpy(data.test_y).to(device).long()

    def pixels(images: torch.Tensor) -> torch.Tensor:
        """Bytes (n, 28, 28) to floats (n, 1, 28, 28), by MNIST's published mean and deviation."""
        # Channels last in memory makes the network twice as fast on CPUs.
        return (images.unsqueeze(-1).permute(0, 3, 1, 2).float() / 255 - 0.1307) / 0.3081

    def examples(chosen: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Training images and labels by their indices."""
        indices = torch.as_tensor(chosen, dtype=torch.long, device=device)
        return pixels(train_x[indices]), train_y[indices]

    torch.manual_seed(p.seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 8, stride=2, padding=3),  # 28×28 → 14×14
        nn.Tanh(),
        nn.MaxPool2d(2, stride=1),  # 14×14 → 13×13
        nn.Conv2d(16, 32, 4, stride=2),  # 13×13 → 5×5
        nn.Tanh(),
        nn.MaxPool2d(2, stride=1),  # 5×5 → 4×4
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )
    model.to(device)
    training = Training(run, model, p.lr, MOMENTUM, AVERAGING)
    if resume:
        training.resume(resume)

    @torch.no_grad()
    def evaluate() -> Tested:
        """Mean loss and accuracy over the test images."""
        loss = hits = 0.0
        for x, y in zip(test_x.split(1000), test_y.split(1000), strict=True):
            logits = training.average(pixels(x))
            loss += cross_entropy(logits, y, reduction="sum").item()
            hits += (logits.argmax(1) == y).sum().item()
        return Tested(loss / len(test_x), hits / len(test_x))

    micro_batch = 4096 if device.type == "cuda" else dp_torch.MICRO_BATCH
    clipped = clipped_gradients(run, model, training.clipping_norm, micro_batch)
    test = dp_torch.self_test(clipped, records, examples) if p.self_test else None
    randomness = banded.randomness(plan, p.noise_seed, training.step, MOMENTUM)
    count = canaries.COUNT if p.audit else 0
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, count)
    announce(run, randomness, device, "images")
    for step in private_steps(run, training, randomness, evaluate, test, planted):
        clipped.clip_to(step.clipping_norm)
        batch = step.randomness.poisson_batch(planted.records, step.rate)
        result = clipped(*examples(planted.among(batch)))
        step.follow(result.norms)
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, torch.from_numpy(planted.sum(clipped.weights)).to(device)]
        gradients = dp_torch.noisy_mean(sums, step.noise, plan.batch_size, step.randomness)
        planted.step(gradients.pop().cpu())
        training.update(gradients)
        step.gave(result)

    training.leave(pixels, mnist.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
