"""A server of a bundle for a comparison: begun, asked for some seconds by one client, stopped."""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import ControlError, TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.control import kill, stop
from traindeck.core.models.client import DTYPES, Client, Input
from traindeck.core.recipe.params import Value
from traindeck.core.serving import awaited

MEASURED = "stopped"
"""The state of a server that was asked; of one that did not answer it is another."""
ASKED_SECONDS = 3.0


def params(bundle: Path) -> dict[str, Value]:
    """Of the recipe `serve`, for this bundle alone, on ports that are free."""
    models = shlex.join([f"{bundle.parent.name}={bundle}"])
    return {"models": models, "port": 0, "grpc_port": -1}


def serves(models: object, bundle: Path) -> bool:
    """Whether a server's parameter `models` names this bundle alone, wherever its home was then."""
    try:
        words = shlex.split(str(models or ""))
    except ValueError:  # an imported run's may be anything
        return False
    return len(words) == 1 and Path(words[0]).parts[-3:] == bundle.parts[-3:]


def ask(home: Home, run: str) -> str:
    """Ask a server that was begun for one record after another, then stop it.

    One that does not answer is killed, as it is when this is interrupted; why it does not, or
    nothing.
    """
    folder = home.runs / run
    end = kill
    try:
        there = awaited(folder)
        [model] = there["models"]
        if model in there["problems"]:
            return there["problems"][model]
        client = Client(there["http"])
        record = {one.name: _zeros(one) for one in client.inputs(model)}
        until = time.monotonic() + ASKED_SECONDS
        while time.monotonic() < until:
            client.infer(model, record)
        end = stop
    except TraindeckError as error:
        return str(error)
    finally:
        with contextlib.suppress(ControlError):  # it has ended by itself
            end(folder)
    return ""


def _zeros(one: Input) -> Any:
    """One record that is all zeros, (1, ...): where a size is free, it is 1."""
    import numpy as np

    if one.datatype not in DTYPES:
        raise TraindeckError(f"{one.name} takes {one.datatype}, and only numbers are asked about")
    return np.zeros([max(1, size) for size in one.shape], np.dtype(DTYPES[one.datatype]))
