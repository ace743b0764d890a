# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "scikit-learn>=1.5", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "torch-steps"
# title = "Training steps by the clock (PyTorch)"
# description = "Times the steps of one small network, by the same numbers in each framework."
# framework = "torch"
# task = "measuring"
# dataset = "digits"
# devices = ["cpu", "gpu"]
# tags = ["measuring", "quick"]
# headline = "examples_per_second"
# pair = "steps"
# [tool.traindeck.params]
# mode = {type = "choice", default = "eager", choices = ["eager", "graph"], help = """\
#   graph compiles the step first (torch.compile; needs a C++ compiler)"""}
# precision = {type = "choice", default = "float32", choices = ["float32", "bfloat16"], help = """\
#   bfloat16: mixed, weights and loss stay float32"""}
# seconds = {type = "float", default = 1.5, min = 0.1, max = 600.0, help = "of steady steps"}
# batch_size = {type = "int", default = 128, min = 1, max = 1000, help = "images a step"}
# threads = {type = "int", default = 1, min = 1, max = 256, help = "that compute at a time"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "first weights and order"}
# ///
"""Time the training steps of a small network in PyTorch: the first, then the steady ones."""

import os
import tempfile
from collections.abc import Callable

from traindeck.core import track
from traindeck.recipes.shared.training import measuring, needs


def main(run: track.Run) -> None:
    p = run.params
    if p.mode == "graph":
        needs.compiler()
        # Compiled anew in every run: what an earlier one left would make the first step short.
        kept = tempfile.TemporaryDirectory(prefix="traindeck-steps-", ignore_cleanup_errors=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = kept.name
        # More would be processes that first import PyTorch, for one small graph.
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(p.threads))
    data_x, data_y = needs.data(lambda: measuring.batches(p.seed, p.batch_size))
    with needs.framework("torch"):
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

    device = needs.torch_device(run.device)
    torch.set_num_threads(p.threads)
    x, y = torch.from_numpy(data_x).to(device), torch.from_numpy(data_y).to(device)

    first, second, third, last = measuring.WIDTHS
    model = nn.Sequential(
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, third),
        nn.ReLU(),
        nn.Linear(third, last),
    )
    with torch.no_grad():
        for held, value in zip(model.parameters(), measuring.weights(p.seed), strict=True):
            held.copy_(torch.from_numpy(value.T))
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=measuring.LEARNING_RATE)
    forward = torch.compile(model) if p.mode == "graph" else model
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=p.precision == "bfloat16")

    def step(number: int) -> Callable[[], float]:
        at = number % len(x)
        with mixed:
            loss = cross_entropy(forward(x[at]), y[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return lambda: loss.item()

    print(f"training on {device}, {p.mode}, {p.precision}", flush=True)
    measuring.measure(run, step, x.shape[1], p.seconds)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
