"""Checkpoint files: `checkpoint-<step>.<suffix>` in a run's artifacts folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from traindeck.core import track


def path(run: track.Run, step: int, suffix: str) -> Path:
    """Where the checkpoint after so many steps belongs."""
    return run.artifacts / f"checkpoint-{step:08d}{suffix}"


def write(run: track.Run, target: Path, save: Callable[[Path], object]) -> None:
    """Have `save` write a checkpoint, which appears under its name only once it is whole.

    A checkpoint that cannot be written costs a warning, not the training so far.
    """
    part = target.with_name(f"part-{os.getpid()}-{target.name}")  # frameworks judge by the suffix
    try:
        save(part)
        part.replace(target)
    except (OSError, RuntimeError) as error:  # torch calls a full disk a RuntimeError
        print(f"warning: no checkpoint {target}: {' '.join(str(error).split())}", flush=True)
    else:
        run.seal(target)
        run.artifact(target, "checkpoint")
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def find(given: str, suffix: str) -> Path:
    """The checkpoint that `--resume` means: a file, or the newest one of a run or its artifacts.

    Ends the recipe when there is none.
    """
    place = Path(given).expanduser()
    if place.is_file():
        return place
    if not place.is_dir():
        track.abort(f"--resume: {place}: no such file or folder")
    folder = place / "artifacts" if (place / "artifacts").is_dir() else place
    there = sorted(folder.glob(f"checkpoint-*{suffix}"))
    if not there:
        track.abort(f"--resume: {folder}: no checkpoint-*{suffix} in it")
    return there[-1]


def refuse(path: Path) -> NoReturn:
    """End the recipe: what is to be resumed is no checkpoint of its own, or not whole."""
    track.abort(
        f"--resume: {path} is not a checkpoint of this recipe with these layers: take one that it"
        " wrote itself, or leave --resume out"
    )
