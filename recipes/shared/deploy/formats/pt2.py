"""PyTorch's own: an exported program, here of weights and the code that builds their module."""

from __future__ import annotations

import inspect
from pathlib import Path

from traindeck.core.base.errors import UsageError
from traindeck.core.models.bundle import Signature
from traindeck.recipes.shared.deploy import trial
from traindeck.recipes.shared.training import needs

ANY = 2  # a size that no dimension is specialised to


def of_code(weights: Path, target: Path, signature: Signature) -> None:
    """Write a .pt2 of any number of records. Runs the code that is beside the weights.

    Raises UsageError, and whatever the code and torch.export do.
    """
    with needs.framework("torch"):
        import torch

        from traindeck.recipes.shared.training.servable_torch import without_paths

    module = trial.coded(weights)
    inputs = signature["inputs"]
    taken = list(inspect.signature(module.forward).parameters)
    if missing := [name for name in inputs if name not in taken]:
        raise UsageError(
            f"the module's forward takes {', '.join(taken)}, and the run's signature or test"
            f" records say {', '.join(missing)}: they must have one name"
        )
    batch = torch.export.Dim("batch", min=1)
    examples, free = {}, {}
    for name, tensor in inputs.items():
        sizes = tensor["shape"]
        shape = [ANY, *(ANY if size is None else size for size in sizes)]
        examples[name] = torch.zeros(shape, dtype=getattr(torch, tensor["dtype"]))
        auto = {at: torch.export.Dim.AUTO for at, size in enumerate(sizes, 1) if size is None}
        free[name] = {0: batch, **auto}
    program = torch.export.export(module, (), examples, dynamic_shapes=free)
    torch.export.save(without_paths(program), target)
