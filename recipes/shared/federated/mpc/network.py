"""A trained network of two fully connected layers, from the checkpoint of another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from traindeck.core import track
from traindeck.recipes.shared.federated.job import mlp
from traindeck.recipes.shared.training import needs


def read(given: str) -> dict[str, Any]:
    """The network in a checkpoint: w1 (inputs, hidden), b1, w2 (hidden, classes), b2.

    Of PyTorch's recipes torch-digits writes such ones, of the federated ones syft-fedavg.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        folder = path / "artifacts" if (path / "artifacts").is_dir() else path
        there = sorted([*folder.glob("checkpoint-*.pt"), *folder.glob("checkpoint-*.npz")])
        if not there:
            track.abort(f"--model: {folder}: no checkpoint-*.pt or checkpoint-*.npz in it")
        path = there[-1]
    if not path.is_file():
        track.abort(f"--model: {path}: no such file or folder")
    if path.suffix == ".npz":
        parts = _flat(path)
    else:
        with needs.framework("torch"):
            import torch
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)["model"]
            w1, b1, w2, b2 = (part.double().numpy() for part in state.values())
            parts = [w1.T, b1, w2.T, b2]
        except Exception as error:  # torch raises a different one for each way to be wrong
            track.abort(
                f"--model: {path} holds no network of two fully connected layers, such as"
                f" torch-digits trains ({error!r:.200})"
            )
    w1, b1, w2, b2 = parts
    if w1.ndim != 2 or b1.shape != w1.shape[1:] or w2.shape != (*b1.shape, *b2.shape):
        track.abort(f"--model: {path} holds no network of two fully connected layers")
    return dict(zip(("w1", "b1", "w2", "b2"), map(np.ascontiguousarray, parts), strict=True))


def _flat(path: Path) -> list[Any]:
    """The parts of a network whose parameters lie in one row, as syft-fedavg's."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            row = np.asarray(arrays["weights"], np.float64)
        inputs = next(size for size in (784, 64) if mlp.size(size) == row.size)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        track.abort(f"--model: {path} is no checkpoint of syft-fedavg ({error!r:.200})")
    shapes = mlp.shapes(inputs)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(row, ends), shapes, strict=True)]
