# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "torch-mistakes"
# title = "Mistakes and what is said of them (PyTorch)"
# description = "Counts the words of the errors for the same mistakes; tries what tracing refuses."
# framework = "torch"
# task = "measuring"
# devices = ["cpu"]
# tags = ["measuring", "quick"]
# headline = "mistake/shape/words"
# pair = "mistakes"
# ///
"""Make three mistakes in PyTorch and count the words of each error; try what tracing refuses."""

from collections.abc import Callable

from traindeck.core import track
from traindeck.recipes.shared.training import mistakes, needs


def main(run: track.Run) -> None:
    with needs.framework("torch"):
        import torch
        from torch import nn

    layer, x = nn.Linear(64, 10), torch.ones(8, 64)

    def nan_caught() -> None:
        with torch.autograd.set_detect_anomaly(True):
            low = torch.tensor([-1.0], requires_grad=True)
            torch.sqrt(low).sum().backward()

    def branch(x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x
        return -x

    def loop(x: torch.Tensor) -> torch.Tensor:
        while x.sum() < 1e4:
            x = x * 2
        return x

    def reads(x: torch.Tensor) -> torch.Tensor:
        return x * x.sum().item()

    def numpy(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.numpy() * 2)

    def traced(made: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        return torch.compile(made, fullgraph=True, backend="eager")(x)

    mistakes.record(
        run,
        {
            "shape": lambda: layer(torch.ones(8, 63)),
            "dtype": lambda: torch.ones(8, 64, dtype=torch.float64) @ layer.weight.T,
            "nan": lambda: torch.sqrt(torch.tensor([-1.0])).sum().item(),
            "nan, asked for": nan_caught,
        },
        {
            "branch on a value": lambda: traced(branch),
            "loop until a value": lambda: traced(loop),
            "value read as a number": lambda: traced(reads),
            "numpy inside": lambda: traced(numpy),
        },
    )


if __name__ == "__main__":
    with track.start() as run:
        main(run)
