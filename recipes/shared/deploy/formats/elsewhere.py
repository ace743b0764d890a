"""What is made of a .pt2 in an environment of its own: LiteRT and ExecuTorch."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from traindeck.core.base.errors import UsageError
from traindeck.core.models.bundle import Signature
from traindeck.recipes.shared.deploy.aside import to_executorch, to_litert
from traindeck.recipes.shared.deploy.calibration import Calibration


class Failed(Exception):
    """A converter ended with an error; the text is its last line."""


def litert(
    python: str,
    model: Path,
    target: Path,
    signature: Signature,
    how: str = "",
    calibration: Calibration | None = None,
) -> None:
    """Write a .tflite of one record at a time. Raises UsageError, Failed.

    python  of the environment; how: empty, dynamic or int8
    """
    if how not in ("", "dynamic", "int8"):
        flag = "--for micro" if how == "micro" else f"--quantize {how}"
        raise UsageError(f"{flag}: made of SavedModels alone; of PyTorch's, dynamic and int8 are")
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="traindeck-calibration-") as folder:
        if calibration is not None:
            for name, array in calibration.inputs.items():
                np.save(Path(folder, f"{name}.npy"), np.ascontiguousarray(array))
        words = [how, folder] if how else []
        _run(python, to_litert.__file__, model, target, signature, *words)


def executorch(python: str, model: Path, target: Path, signature: Signature) -> None:
    """Write a .pte of one record at a time. Raises Failed."""
    _run(python, to_executorch.__file__, model, target, signature)


def _run(
    python: str, script: str, model: Path, target: Path, signature: Signature, *words: str
) -> None:
    command = [python, script, str(model), str(target), json.dumps(signature["inputs"]), *words]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode or not target.exists():
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it wrote nothing"]
        raise Failed(said[-1].strip()[:400])
