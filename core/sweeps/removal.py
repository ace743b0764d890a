"""Deleting a sweep: its runs go to the trash, from which each can be brought back."""

from __future__ import annotations

from traindeck.core import control
from traindeck.core.base.errors import ControlError
from traindeck.core.sweeps import selection
from traindeck.core.sweeps.study import SweepFolder
from traindeck.core.sweeps.trials import Runs


def remove(folder: SweepFolder) -> int:
    """Move a sweep's runs to the trash, and its folder to `sweeps/removed`; returns how many.

    Raises ControlError while any of it goes on.
    """
    design = folder.design()
    if folder.driven():
        raise ControlError(f"sweep {folder.id} goes on: stop it first (`traindeck sweeps stop`)")
    attempts = Runs(folder.home, design).update()
    live = [one.run for one in attempts if one.live]
    if live:
        raise ControlError(f"run {live[0]} of sweep {folder.id} goes on: stop the sweep first")
    if design.select:
        selection.drop(folder, design)
    for one in attempts:
        control.trash(folder.home, one.run)
    place = folder.path.parent / "removed"
    try:
        place.mkdir(exist_ok=True)
        folder.path.rename(place / folder.id)
    except OSError as error:
        raise ControlError(f"sweep {folder.id} cannot be deleted: {error.strerror}") from None
    return len(attempts)
