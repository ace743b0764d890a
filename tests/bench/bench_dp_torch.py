"""What privacy costs in speed: a private step over a plain one of the same network, in PyTorch.

    python tests/bench/bench_dp_torch.py [--rounds N] [--batch N]...

One thread. Every way takes turns with the others, so that they meet the same machine, and is given
the memory format that suits it better; the best of all rounds counts. Batches are random images
and each step holds all that it needs: gradients, clipping, noise, the update, and, where it is not
the plain one, a Poisson sample. Reach: ours at most 2.0 times as slow as the plain step.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.torch import ClippedGradients, noisy_mean

REACH = 2.0
CLIP, NOISE, RATE = 0.1, 1.255, 0.001
RECORDS = 60_000
Step = Callable[[], object]


def network() -> nn.Sequential:
    """The network of torch-mnist-dp."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, stride=2, padding=3),
        nn.Tanh(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(16, 32, 4, stride=2),
        nn.Tanh(),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(512, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


@torch.no_grad()
def descend(parameters: list[Any], gradients: list[Any]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.sub_(gradient, alpha=RATE)


def plain(x: Any, y: Any) -> Step:
    model = network()
    parameters = list(model.parameters())

    def step() -> None:
        loss = cross_entropy(model(x), y)
        descend(parameters, list(torch.autograd.grad(loss, parameters)))

    return step


def ours(x: Any, y: Any) -> Step:
    model = network()
    parameters = list(model.parameters())
    clipped, randomness = ClippedGradients(model, CLIP), Randomness()

    def step() -> None:
        randomness.poisson_batch(RECORDS, len(x) / RECORDS)
        sums = clipped(x, y).sums
        descend(parameters, noisy_mean(sums, NOISE * CLIP, len(x), randomness))

    return step


def opacus_hooks(x: Any, y: Any) -> Step:
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    model = GradSampleModule(network())
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=RATE),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=len(x),
    )

    def step() -> None:
        torch.rand(RECORDS) < len(x) / RECORDS  # noqa: B015
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def opacus_ghost(x: Any, y: Any) -> Step:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    model = GradSampleModuleFastGradientClipping(
        network(), max_grad_norm=CLIP, use_ghost_clipping=True
    )
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(model.parameters(), lr=RATE),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=len(x),
    )
    criterion = DPLossFastGradientClipping(model, optimizer, nn.CrossEntropyLoss())

    def step() -> None:
        torch.rand(RECORDS) < len(x) / RECORDS  # noqa: B015
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()

    return step


def functorch(x: Any, y: Any) -> Step:
    from torch.func import functional_call, grad, vmap

    model = network()
    parameters = dict(model.named_parameters())

    def loss(weights: dict[str, Any], a: Any, b: Any) -> Any:
        return cross_entropy(functional_call(model, weights, (a[None],)), b[None])

    per_example = vmap(grad(loss), in_dims=(None, 0, 0))

    def step() -> None:
        torch.rand(RECORDS) < len(x) / RECORDS  # noqa: B015
        weights = {name: p.detach() for name, p in parameters.items()}
        gradients = list(per_example(weights, x, y).values())
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients], 1).norm(dim=1)
        factors = CLIP / norms.clamp(min=CLIP)
        sums = [torch.einsum("n,n...->...", factors, g) for g in gradients]
        noisy = [(s + NOISE * CLIP * torch.randn_like(s)) / len(x) for s in sums]
        descend(list(parameters.values()), noisy)

    return step


WAYS = {
    "plain, not private": plain,
    "traindeck": ours,
    "Opacus hooks": opacus_hooks,
    "Opacus ghost clipping": opacus_ghost,
    "functorch vmap": functorch,
}
FORMATS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def measure(batch: int, rounds: int) -> None:
    x, y = torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))
    # One channel has the same strides in both formats: said anew, the convolution heeds it.
    inputs = {
        "NCHW": x,
        "NHWC": x.squeeze(1).unsqueeze(-1).permute(0, 3, 1, 2),
    }
    steps = {(way, name): make(inputs[name], y) for way, make in WAYS.items() for name in FORMATS}
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for number in range(rounds + 1):
        for key, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            taken = time.perf_counter() - wall, time.process_time() - cpu
            if number:  # the first is to warm up
                before = best.get(key, taken)
                best[key] = min(before[0], taken[0]), min(before[1], taken[1])
    print(
        f"\nbatch {batch}{'wall':>28}{'CPU':>9}{'images/s':>11}{'over plain: wall':>19}{'CPU':>7}"
    )
    base = min(best["plain, not private", name] for name in FORMATS)
    for way in WAYS:
        name = min(FORMATS, key=lambda name: best[way, name])
        wall, cpu = best[way, name]
        verdict = ""
        if way == "traindeck":
            ratio = wall / base[0]
            verdict = f"  {'reached' if ratio <= REACH else 'MISSED'} (at most {REACH:.1f})"
        print(
            f"{way:<24}{name}{wall * 1e3:>8.1f} ms{cpu * 1e3:>6.1f} ms{batch / wall:>11.0f}"
            f"{wall / base[0]:>18.2f}×{cpu / base[1]:>6.2f}×{verdict}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, action="append", help="default: 512 and 1024")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread, best of {given.rounds} rounds")
    for batch in given.batch or (512, 1024):
        measure(batch, given.rounds)


if __name__ == "__main__":
    main()
