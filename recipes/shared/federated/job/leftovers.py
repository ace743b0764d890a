"""Removing what a script could write to: whatever it made of the modes, and as far as can be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PRIVATE = (
    "scientist/*/private",
    *(f"owners/*/{path}" for path in ("syft/*/private", "identity", "shard.npz", "work")),
)
"""Keys and private data below a federation's folder; a script's own folder comes last."""


def forget(root: Path) -> list[Path]:
    """Remove the keys and private data of a federation; gives what could not be removed.

    root: its folder, where nobody is at work any more. What a script has said goes too: it had the
    data. Its last line stands in its owner's status, or log.
    """
    left = unlock(root)
    for pattern in PRIVATE:
        try:
            left += [path for path in sorted(root.glob(pattern)) if not remove(path)]
        except OSError:
            left.append(root / pattern)
    return left


def remove(path: Path) -> bool:
    """Remove a file, a link, or a folder with all that is in it. Whether nothing is left of it."""
    if os.path.isdir(path) and not os.path.islink(path):
        unlock(path)
        shutil.rmtree(path, ignore_errors=True)
        return not os.path.lexists(path)
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def unlock(folder: Path) -> list[Path]:
    """Let folders be read and changed by their owner again; gives those where that failed.

    That is this folder and all below it; links are not followed.
    """
    left = []

    def permit(path: str) -> None:
        try:
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode & 0o777 | 0o700)
        except FileNotFoundError:
            pass
        except OSError:
            left.append(Path(path))

    permit(str(folder))
    for place, inner, _ in os.walk(folder):
        for name in inner:  # before the walk goes on into them
            permit(os.path.join(place, name))
    return left
