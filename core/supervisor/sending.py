"""Sending signals to processes that may have gone, or become another user's."""

from __future__ import annotations

import os

from traindeck.core.devices.family import family


def send(pid: int, number: int) -> bool:
    """Send a signal to a process that may have gone; False when we may not.

    A process that became another user's (sudo, a setuid program) cannot be signalled.
    """
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


def kill_all(root: int, number: int) -> int:
    """Send a signal to all below a process but other runs; returns how many could be sent one."""
    return sum(send(pid, number) for pid in family(root))
