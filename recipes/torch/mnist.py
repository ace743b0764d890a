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
# [tool.traindeck.params.epochs]
# type = "int"
# default = 4
# min = 1
# max = 1000
# help = "passes over the training images"
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 128
# min = 1
# max = 10000
# help = "images a step"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.1
# min = 0.000001
# max = 10.0
# help = "highest learning rate: reached in the first steps, then lowered to 0 along a cosine"
# [tool.traindeck.params.seed]
# type = "int"
# default = 0
# min = 0
# max = 999999
# help = "decides the first weights and the order of the images"
# [tool.traindeck.params.mode]
# type = "choice"
# default = "eager"
# choices = ["eager", "graph"]
# help = "graph compiles the model first (torch.compile; needs a C++ compiler)"
# [tool.traindeck.params.data_dir]
# type = "path"
# help = "folder of MNIST's four IDX files; else $TRAINDECK_DATA/mnist, the cache or a download"
# [tool.traindeck.params.resume]
# type = "path"
# help = "checkpoint file, or run folder to take the newest of; keep seed and batch_size"
# ///
"""Train a small convolutional network on MNIST with PyTorch."""

import math
import os
import time

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, mnist

WARMUP = 0.1  # share of all steps in which the learning rate rises
LOG_EVERY = 10  # reading a loss waits for the device: every step would slow a GPU down


def main(run: track.Run) -> None:
    p = run.params
    resume = checkpoints.find(p.resume, ".pt") if p.resume else None
    if p.mode == "graph":
        needs.compiler()
    data = needs.data(mnist.load, p.data_dir)
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    # Threads that wait sleep: spinning, two runs that share cores slow each other down threefold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with needs.framework("torch"):
        import numpy as np
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

    if run.device == "gpu" and not torch.cuda.is_available():
        track.abort("torch finds no GPU that it can use: check its driver, or use --device cpu")
    device = torch.device("cuda" if run.device == "gpu" else "cpu")

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

    batch_size = min(p.batch_size, len(train_x))
    steps_per_epoch = len(train_x) // batch_size  # what remains comes in another epoch's shuffle
    total_steps: int = p.epochs * steps_per_epoch
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

    def learning_rate(step: int) -> float:
        warmup = min(1.0, (step + 1) / (WARMUP * total_steps))
        return float(p.lr) * warmup * 0.5 * (1 + math.cos(math.pi * step / total_steps))

    def save(step: int) -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        path = checkpoints.path(run, step, ".pt")
        checkpoints.write(run, path, lambda part: torch.save(state, part))

    @torch.no_grad()
    def evaluate() -> tuple[float, float]:
        """Mean loss and accuracy over the test images."""
        loss = hits = 0.0
        for x, y in zip(test_x.split(1000), test_y.split(1000), strict=True):
            logits = model(pixels(x))
            loss += cross_entropy(logits, y, reduction="sum").item()
            hits += (logits.argmax(1) == y).sum().item()
        return loss / len(test_x), hits / len(test_x)

    print(f"training on {device}: {total_steps} steps of {batch_size} images", flush=True)
    order = torch.empty(0)
    window: list[tuple[torch.Tensor, torch.Tensor]] = []  # loss and accuracy since the last log
    window_began = epoch_began = time.perf_counter()
    for step in range(first_step, total_steps):
        epoch, at = divmod(step, steps_per_epoch)
        if at == 0 or step == first_step:  # by seed and epoch alone, so that a resumed run agrees
            shuffled = np.random.default_rng((p.seed, epoch)).permutation(len(train_x))
            order = torch.from_numpy(shuffled).to(device)
        batch = order[at * batch_size : (at + 1) * batch_size]
        x, y = pixels(train_x[batch]), train_y[batch]

        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        logits = forward(x)
        loss = cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        done = step + 1
        window.append((loss.detach(), (logits.argmax(1) == y).float().mean()))
        run.progress(done, total_steps)
        stopping = run.should_stop()
        epoch_over = stopping or done % steps_per_epoch == 0
        if epoch_over or len(window) == LOG_EVERY:
            losses, accuracies = zip(*window, strict=True)
            train_loss = torch.stack(losses).mean().item()
            train_accuracy = torch.stack(accuracies).mean().item()
            seconds = (time.perf_counter() - window_began) / len(window)
            run.log(done, {"train/loss": train_loss, "train/accuracy": train_accuracy})
            run.log(done, {"step_seconds": seconds, "examples_per_second": batch_size / seconds})
            window, window_began = [], time.perf_counter()

        if epoch_over:
            save(done)
            test_loss, test_accuracy = evaluate()
            run.log(done, {"test/loss": test_loss, "test/accuracy": test_accuracy})
            now = time.perf_counter()
            print(
                f"epoch {done / steps_per_epoch:.4g}/{p.epochs}  test loss {test_loss:.4f}"
                f"  test accuracy {test_accuracy:.4f}  {now - epoch_began:.1f} s",
                flush=True,
            )
            if stopping:
                print(f"stopped on request after step {done} of {total_steps}", flush=True)
                break
            window_began = epoch_began = now


if __name__ == "__main__":
    with track.start() as run:
        main(run)
