"""Arrays that are dear to compute, kept in files for the next run and for this user alone."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Halves = NDArray[np.float16]

_PROGRESS_SECONDS = 5.0


def kept(path: Path, shape: tuple[int, ...], make: Callable[[], Halves]) -> Halves:
    """The array of this shape that the file holds; one that is not there, or not whole, is made.

    A place that cannot be written costs a warning.
    """
    import numpy as np

    try:
        there: Halves = np.load(path, mmap_mode="r", allow_pickle=False)
        if there.shape == shape and there.dtype == np.float16:
            return there
    except (OSError, ValueError, EOFError):
        pass  # not there, or not whole
    made = make()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        for folder in reversed((path.parent, *path.parent.parents)):
            folder.mkdir(mode=0o700, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            np.save(file, made)
        part.replace(path)
    except OSError as error:
        print(f"warning: the features are not kept: {error}", flush=True)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return made


def by_parts(
    what: str, records: str, shape: tuple[int, ...], size: int, make: Callable[[slice], Any]
) -> Halves:
    """An array of this shape, made in parts of so many records; what is done is told meanwhile.

    what     such as `scattering features`, of such `records` as `the training images`
    make     the features of these records
    """
    import numpy as np

    made = np.empty(shape, np.float16)
    reported = began = time.monotonic()
    print(f"{what} of {records} ...", flush=True)
    for at in range(0, len(made), size):
        part = slice(at, at + size)
        made[part] = make(part)
        if time.monotonic() - reported >= _PROGRESS_SECONDS:
            reported = time.monotonic()
            share = min(1.0, (at + size) / len(made))
            left = (reported - began) * (1 / share - 1)
            print(f"{what}: {share:.0%}, {left:.0f} s left", flush=True)
    return made
