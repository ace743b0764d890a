"""torch.export's .pt2. Loading one runs code that it holds: `choose` must have vouched for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from traindeck.core.models.bundle import read_signature
from traindeck.recipes.shared.deploy.serving.errors import brief, invalid
from traindeck.recipes.shared.deploy.serving.kinds import (
    BY_DTYPE,
    DEFAULT,
    Array,
    Port,
    Signature,
)
from traindeck.recipes.shared.deploy.serving.meters import memory


class Pt2:
    kind = "torch"

    def __init__(self, path: Path, threads: int = 1) -> None:
        said = read_signature(path.parent)
        ports: list[dict[str, Port]] = []
        for side in (said["inputs"], said["outputs"]):
            shapes = {
                name: (-1, *(size or -1 for size in one["shape"])) for name, one in side.items()
            }
            ports.append(
                {
                    name: Port(name, BY_DTYPE[np.dtype(one["dtype"])], shapes[name])
                    for name, one in side.items()
                }
            )
        self.signatures = {DEFAULT: Signature.of(*ports)}

        import torch

        self.memory = memory()
        torch.set_num_threads(threads)
        self._torch = torch
        self._module = torch.export.load(path).module()
        self._outputs = list(ports[1])
        self._lock = threading.Lock()

    def run(
        self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()
    ) -> dict[str, Array]:
        try:
            with self._lock, self._torch.inference_mode():
                given = {name: self._torch.tensor(array) for name, array in inputs.items()}
                made = self._module(**given)
        except Exception as error:  # whatever the traced program raises
            raise invalid(brief(error)) from None
        if isinstance(made, Mapping):
            listed = {name: made[name] for name in self._outputs}
        else:
            values = made if isinstance(made, tuple | list) else [made]
            listed = dict(zip(self._outputs, values, strict=True))
        return {name: a.numpy() for name, a in listed.items() if not outputs or name in outputs}
