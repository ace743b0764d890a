# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "scikit-learn>=1.5", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "torch-digits"
# title = "Digits MLP (PyTorch)"
# description = "A small network reads scikit-learn's handwritten digits. Seconds, no download."
# framework = "torch"
# task = "image classification"
# dataset = "digits"
# devices = ["cpu", "gpu"]
# tags = ["mlp", "quick"]
# headline = "test/accuracy"
# pair = "digits"
# [tool.traindeck.params]
# epochs = {type = "int", default = 30, min = 1, max = 1000, help = """\
#   passes over the training images"""}
# batch_size = {type = "int", default = 32, min = 1, max = 1000, help = "images a step"}
# lr = {type = "float", default = 0.1, min = 1e-6, max = 10.0, help = """\
#   highest learning rate: reached in the first steps, then lowered to 0 along a cosine"""}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = """\
#   decides the first weights and the order of the images"""}
# mode = {type = "choice", default = "eager", choices = ["eager", "graph"], help = """\
#   graph compiles the model first (torch.compile; needs a C++ compiler)"""}
# resume = {type = "path", help = """\
#   checkpoint file, or run folder to take the newest of; keep seed and batch_size"""}
# ///
"""Train a small fully connected network on scikit-learn's digits with PyTorch."""

from collections.abc import Sequence
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, digits
from traindeck.recipes.shared.training.loop import Schedule, Tested, training_steps


def main(run: track.Run) -> None:
    p = run.params
    resume = checkpoints.find(p.resume, ".pt") if p.resume else None
    if p.mode == "graph":
        needs.compiler()
    data = needs.data(digits.load)
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    with needs.framework("torch"):
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

        from traindeck.recipes.shared.training import servable_torch

    device = needs.torch_device(run.device)

    def pixels(images: torch.Tensor) -> torch.Tensor:
        """Bytes (n, 8, 8) to floats (n, 64) from 0 to 1."""
        return images.flatten(1).float() / digits.BRIGHTEST

    train_x = pixels(torch.from_numpy(data.train_x).to(device))
    train_y = torch.from_numpy(data.train_y).to(device).long()
    test_x = pixels(torch.from_numpy(data.test_x).to(device))
    test_y = torch.from_numpy(data.test_y).to(device).long()

    torch.set_num_threads(1)  # batches this small gain nothing from a second core
    torch.manual_seed(p.seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=p.lr, momentum=0.9, nesterov=True)
    forward = torch.compile(model) if p.mode == "graph" else model

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
        logits = model(test_x)
        hits = (logits.argmax(1) == test_y).float()
        return Tested(cross_entropy(logits, test_y).item(), hits.mean().item())

    print(f"training on {device}: {total_steps} steps of {batch_size} images", flush=True)
    order = torch.empty(0)
    for step in training_steps(run, schedule, first_step, means, save, evaluate):
        if step.needs_order:
            order = torch.from_numpy(schedule.order(p.seed, step.epoch)).to(device)
        batch = order[step.batch]
        x, y = train_x[batch], train_y[batch]

        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(p.lr, step.number)
        logits = forward(x)
        loss = cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step.measured(loss.detach(), (logits.argmax(1) == y).float().mean())

    servable_torch.leave(run, model, pixels, digits.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
