"""What the owners of these tests run: a step of gradient descent, and what a test tells one to try.

One that reads it sees: `tricks` in its parameters names, by owner and round, what is tried.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import time
from typing import Any

import numpy as np

from traindeck.recipes.shared.federated.job import job, mlp

LR = 0.5


def update(row: Any, x: Any, y: Any) -> Any:
    """One step down the mean gradient of the small network: (d,) float64."""
    x = x.reshape(len(x), -1).astype(np.float64) / 16
    shapes = mlp.shapes(x.shape[1])
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    parts = np.split(np.asarray(row, np.float64), ends)
    w1, b1, w2, b2 = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    hidden = np.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + b2
    likely = np.exp(logits - logits.max(1, keepdims=True))
    likely /= likely.sum(1, keepdims=True)
    likely[np.arange(len(y)), y] -= 1
    likely /= len(y)
    back = (likely @ w2.T) * (hidden > 0)
    gradient = [x.T @ back, back.sum(0), hidden.T @ likely, likely.sum(0)]
    return -LR * np.concatenate([part.ravel() for part in gradient])


def bad_updates(good: Any, examples: int) -> list[tuple[Any, Any]]:
    """Updates that are none, with their numbers of examples."""
    spoilt = good.copy()
    spoilt[7] = np.nan
    endless = good.copy()
    endless[0] = np.inf
    return [
        (spoilt, examples),
        (endless, examples),
        (good[:-1], examples),
        (np.append(good, np.zeros(1000)), examples),
        (good, 0),
        (good, examples + 1),
        (good, "many"),
    ]


def reach(forbidden: str) -> dict[str, int]:
    """Error numbers of trying, past Python's own watch, what a job must not; 0: it worked."""
    libc = ctypes.CDLL(None, use_errno=True)
    errors = {}
    for what, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY | os.O_CREAT)):
        path = forbidden if what == "read" else forbidden + ".made"
        ctypes.set_errno(0)
        opened = libc.open(path.encode(), flags, 0o600)
        errors[what] = ctypes.get_errno() if opened < 0 else 0
    ctypes.set_errno(0)
    errors["chmod"] = ctypes.get_errno() if libc.chmod(forbidden.encode(), 0o666) else 0
    for what in ("connect", "listen"):
        with socket.socket() as wire:
            try:
                if what == "connect":
                    wire.connect(("127.0.0.1", 9))
                else:
                    wire.bind(("127.0.0.1", 0))
                errors[what] = 0
            except OSError as error:
                errors[what] = error.errno or -1
    errors["denied"] = errno.EACCES
    return errors


def main() -> None:
    with job.session() as here:
        data = here.data()
        print(*(row.ravel().tolist() for row in data["x"]))  # what a script prints stays at home
        tricks = here.params.get("tricks", {}).get(here.owner, {})
        for round in here.rounds():
            trick = tricks.get(str(round.number), {})
            given = trick.get("scale", 1) * update(round.weights, data["x"], data["y"])
            with open("tmp/updates", "ab") as kept:
                kept.write(given.tobytes())
            time.sleep(trick.get("sleep", 0))
            if "reach" in trick:
                here.log(**reach(trick["reach"]))
            if "open" in trick:
                np.fromfile(trick["open"])
            refused = 0
            for bad, examples in bad_updates(given, len(data["x"])) if "bad" in trick else ():
                try:
                    round.send(bad, examples=examples, loss=0.0)
                except PermissionError:
                    refused += 1
            here.log(refused=refused)
            round.send(given, examples=len(data["x"]), loss=trick.get("loss", 1.0))


if __name__ == "__main__":
    main()
