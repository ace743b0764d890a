# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "torch-mnist"
# title = "MNIST CNN (PyTorch)"
# description = "A small convolutional network reads handwritten digits, 99 % of them right."
# framework = "torch"
# task = "image classification"
# dataset = "mnist"
# devices = ["cpu", "gpu"]
# tags = ["cnn", "baseline"]
# headline = "test/accuracy"
# pair = "mnist"
# [tool.traindeck.params]
# epochs = {type = "int", default = 4, min = 1, max = 1000, help = """\
#   passes over the training images"""}
# batch_size = {type = "int", default = 128, min = 1, max = 10000, help = "images a step"}
# lr = {type = "float", default = 0.1, min = 1e-6, max = 10.0, help = """\
#   highest learning rate: reached in the first steps, then lowered to 0 along a cosine"""}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = """\
#   decides the first weights and the order of the images"""}
# mode = {type = "choice", default = "eager", choices = ["eager", "graph"], help = """\
#   graph compiles the model first (torch.compile; needs a C++ compiler)"""}
# workers = {type = "int", default = 1, min = 1, max = 256, help = "that share each batch"}
# restarts = {type = "int", default = 0, min = 0, help = "after a worker died"}
# data_dir = {type = "path", help = """\
#   folder of MNIST's four IDX files; else $TRAINDECK_DATA/mnist, the cache or a download"""}
# resume = {type = "path", help = """\
#   checkpoint file, or run folder to take the newest of; keep seed and batch_size"""}
# ///
"""Train a small convolutional network on MNIST with PyTorch."""

import os
from collections.abc import Sequence
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, mnist
from traindeck.recipes.shared.training.loop import Schedule, Tested, training_steps
from traindeck.recipes.shared.training.parallel.launch import in_ranks


def main(run: track.Run) -> None:
    p = run.params
    resume = checkpoints.find(p.resume, ".pt") if p.resume else None
    in_ranks(run, p.workers, p.restarts, ".pt")
    if p.mode == "graph":
        needs.compiler()
    data = needs.data(mnist.load, p.data_dir)
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    # Threads that wait sleep: spinning, two runs that share cores slow each other down threefold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with needs.framework("torch"):
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

        from traindeck.recipes.shared.training import servable_torch
        from traindeck.recipes.shared.training.parallel import torch as parallel_torch

    device = needs.torch_device(run.device)
    ranks = parallel_torch.join(run, device)
    # The whole data set fits on the device: 55 MB as bytes.
    train_x = torch.from_numpy(data.train_x).to(device)
    train_y = torch.from_numpy(data.train_y).to(device).long()
    test_x = torch.from_numpy(data.test_x).to(device)
    test_y = torch.from_numpy(data.test_y).to(device).long()

    def pixels(images: torch.Tensor) -> torch.Tensor:
        """Bytes (n, 28, 28) to floats (n, 1, 28, 28) from 0 to 1."""
        # Channels last in memory makes the network a quarter faster on CPUs.
        return images.unsqueeze(-1).permute(0, 3, 1, 2).float() / 255

    torch.manual_seed(p.seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2),  # 28×28 → 14×14
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # 14×14 → 7×7
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=p.lr, momentum=0.9, nesterov=True)
    forward = torch.compile(model) if p.mode == "graph" else model
    forward = parallel_torch.averaging(forward, ranks)

    batch_size = min(p.batch_size, len(train_x))
    schedule = Schedule(len(train_x), batch_size, p.epochs)
    total_steps = schedule.total_steps
    first_step = 0
    if resume:
        try:
            state = torch.load(resume, map_location=device, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            first_step = int(state["step"])
        except Exception:  # torch raises a different one for each way to be wrong
            checkpoints.refuse(resume)
        print(f"resuming after step {first_step} of {total_steps} from {resume}", flush=True)
        if first_step >= total_steps:
            track.abort(f"{resume} has already been trained for {p.epochs} epochs: raise --epochs")

    def save(step: int) -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        path = checkpoints.path(run, step, ".pt")
        checkpoints.write(run, path, lambda part: torch.save(state, part))

    def means(window: Sequence[Any]) -> tuple[float, float]:
        losses, accuracies = zip(*window, strict=True)
        return torch.stack(losses).mean().item(), torch.stack(accuracies).mean().item()

    @torch.no_grad()
    def evaluate() -> Tested:
        """Mean loss and accuracy over the test images."""
        loss = hits = 0.0
        for x, y in zip(test_x.split(1000), test_y.split(1000), strict=True):
            logits = model(pixels(x))
            loss += cross_entropy(logits, y, reduction="sum").item()
            hits += (logits.argmax(1) == y).sum().item()
        return Tested(loss / len(test_x), hits / len(test_x))

    print(f"training on {device}: {total_steps} steps of {batch_size} images", flush=True)
    order = torch.empty(0)
    for step in training_steps(run, schedule, first_step, means, save, evaluate, ranks):
        if step.needs_order:
            order = torch.from_numpy(schedule.order(p.seed, step.epoch)).to(device)
        batch = order[step.batch]
        x, y = pixels(train_x[batch]), train_y[batch]

        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(p.lr, step.number)
        logits = forward(x)
        loss = cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step.measured(loss.detach(), (logits.argmax(1) == y).float().mean())

    servable_torch.leave(run, model, pixels, mnist.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
