"""Checkpoint files: `checkpoint-<step>.<suffix>` in a run's artifacts folder."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from traindeck.core import track
from traindeck.core.base.files import read_json
from traindeck.core.privacy.origin import beside
from traindeck.core.privacy.telemetry import is_private
from traindeck.core.run.points import read_points

LESS_IS_BETTER = ("loss", "error", "perplexity", "nll", "mse", "mae", "rmse")


def path(run: track.Run, step: int, suffix: str) -> Path:
    """Where the checkpoint after so many steps belongs."""
    return run.artifacts / f"checkpoint-{step:08d}{suffix}"


def write(run: track.Run, target: Path, save: Callable[[Path], object]) -> None:
    """Have `save` write a checkpoint, which appears under its name only once it is whole.

    A checkpoint that cannot be written costs a warning, not the training so far. Where the run
    keeps only so many (`keep_checkpoints`), the best and the last ones stay.
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
        with contextlib.suppress(OSError):
            _prune(run, target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _prune(run: track.Run, newest: Path) -> None:
    """Delete those that need not be kept, and what seals them. Raises OSError."""
    spec = (run.folder and read_json(run.folder / "run.json")) or {}
    most = spec.get("keep_checkpoints")
    if run.folder is None or not isinstance(most, int) or most < 1:
        return
    there = sorted(newest.parent.glob(f"checkpoint-*{newest.suffix}"))
    kept = there[-most:]
    best = _best(run.folder, there, spec.get("headline")) if most > 1 else None
    if best and best not in kept:
        kept[0] = best
    for path in set(there) - {*kept, newest}:
        path.unlink()
        beside(path).unlink(missing_ok=True)


def _best(folder: Path, there: list[Path], headline: object) -> Path | None:
    """The checkpoint where the run's headline was best; None where nobody can say.

    A headline that no epsilon covers decides nothing: which file is left would tell of it.
    """
    if not isinstance(headline, str) or is_private(headline):
        return None
    sign = -1 if headline.rpartition("/")[2].lower().endswith(LESS_IS_BETTER) else 1
    values = {step: value for _, step, value in read_points(folder, [headline]).get(headline, ())}
    rated = [
        (sign * values[step], path)
        for path in there
        if math.isfinite(values.get(step := int(path.stem.rpartition("-")[2]), math.nan))
    ]
    return max(rated)[1] if rated else None


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
    there = newest(folder, suffix)
    if there is None:
        track.abort(f"--resume: {folder}: no checkpoint-*{suffix} in it")
    return there


def newest(folder: Path, suffix: str) -> Path | None:
    """The newest checkpoint in a folder of artifacts."""
    return max(folder.glob(f"checkpoint-*{suffix}"), default=None)


def refuse(path: Path) -> NoReturn:
    """End the recipe: what is to be resumed is no checkpoint of its own, or not whole."""
    track.abort(
        f"--resume: {path} is not a checkpoint of this recipe with these layers: take one that it"
        " wrote itself, or leave --resume out"
    )


def check_left(path: Path, step: int, total: int) -> None:
    """Say where training goes on; end the recipe where a checkpoint leaves nothing to do."""
    print(f"resuming after step {step} of {total} from {path}", flush=True)
    if step >= total:
        track.abort(f"{path} has already been trained for {step} steps: raise --epochs")
