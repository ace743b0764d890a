"""Whom a SIGTERM must reach for a run to end well, and whom it must not.

A shell that traps SIGTERM does not pass it on to what it waits for. But a program that ends when
its pipe does must live to read what is still printed; and what a program has forked of itself is
ended by it: a data loader's worker that dies fails the training that is about to save its state.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from traindeck.core.base.process import PPID, START, stat_fields
from traindeck.core.supervisor.sending import send

SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "busybox")
_WORKERS = (b"multiprocessing", b"joblib.externals.loky", b"torch._inductor.compile_worker")
_PASSING_ON = (b"torchrun", b"torch.distributed", b"accelerate", b"deepspeed", b"mpirun")


class Reach:
    """Sends SIGTERM to each process of a run that should have it, once."""

    def __init__(self) -> None:
        self._told: set[tuple[int, bytes]] = set()

    def tell(self, pids: Iterable[int], child: int, *, all_programs: bool) -> bool:
        """Tell the run's own process, `child`, and what shells of `pids` wait for.

        `all_programs`: all that are no copies of another; for when that has not been enough.
        False when one may not be signalled.
        """
        fields = {pid: found for pid in pids if (found := stat_fields(pid))}
        filters = _filters(fields)
        allowed = True
        for pid, found in fields.items():
            parent = int(found[PPID])
            due = pid == child or (parent in fields and _waits(parent, child) and _heeds(pid))
            due = due or (all_programs and _is_program(pid, parent))
            if due and pid not in filters and (pid, found[START]) not in self._told:
                self._told.add((pid, found[START]))
                allowed = send(pid, signal.SIGTERM) and allowed
        return allowed


def _waits(shell: int, child: int) -> bool:
    """Whether a process is a shell from which those that it waits for hear nothing.

    The run's own shell, if it does not trap the signal, ends: its keeper tells what it leaves.
    """
    try:
        name = os.path.basename(os.readlink(f"/proc/{shell}/exe"))
    except OSError:
        return False
    caught = _signals(shell, b"SigCgt:") | _signals(shell, b"SigIgn:")
    return name in SHELLS and (shell != child or bool(caught & _bit(signal.SIGTERM)))


def _heeds(pid: int) -> bool:
    """Whether its shell waits for it: what shells start in the background ignores SIGINT."""
    return not _signals(pid, b"SigIgn:") & _bit(signal.SIGINT)


def _is_program(pid: int, parent: int) -> bool:
    own, above = _read(pid, "cmdline"), _read(parent, "cmdline")
    if any(word in own for word in _WORKERS) or any(word in above for word in _PASSING_ON):
        return False
    return own != above


def _filters(pids: Iterable[int]) -> set[int]:
    """Those whose input is what others of them print."""
    inputs = {pid: _pipe(pid, 0) for pid in pids}
    outputs = {(pid, _pipe(pid, number)) for pid in pids for number in (1, 2)}
    return {
        pid
        for pid, pipe in inputs.items()
        if pipe and any(pipe == output and pid != writer for writer, output in outputs)
    }


def _pipe(pid: int, number: int) -> str:
    try:
        link = os.readlink(f"/proc/{pid}/fd/{number}")
    except OSError:
        return ""
    return link if link.startswith("pipe:") else ""


def _bit(number: int) -> int:
    return 1 << (number - 1)


def _signals(pid: int, label: bytes) -> int:
    status = _read(pid, "status")
    at = status.find(label)
    return int(status[at + len(label) :].split(None, 1)[0], 16) if at >= 0 else 0


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""
