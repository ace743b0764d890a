"""The first process of a container, where traindeck is that: it reaps, and outlives the runs.

When process 1 ends, the kernel ends all others at once, and signals that it does not handle do not
reach it. So the command is done by a child; the first process passes signals on, reaps what is
orphaned, and stays until the last supervisor has written down how its run ended.
"""

from __future__ import annotations

import contextlib
import os
import signal

from traindeck.core.base.environ import SUPERVISOR
from traindeck.core.base.process import Identity, variable

PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
LOOK_SECONDS = 0.2
_FROM_KERNEL = 0x80  # a terminal's key: the whole foreground has it already


def become_init() -> None:
    """Go on in a child if this is process 1, and as its init in this; else do nothing."""
    if os.getpid() != 1:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*PASSED_ON, signal.SIGCHLD})
        return
    code = 1
    try:
        code = _serve(child)
    finally:
        os._exit(code)


def _serve(child: int) -> int:
    """Reap and pass on until the child and all supervisors have ended; the child's exit code."""
    code: int | None = None
    stop = False  # the runs too, once the child has ended: it may have left them to themselves
    while code is None or _supervisors():
        heard = signal.sigtimedwait({*PASSED_ON, signal.SIGCHLD}, LOOK_SECONDS)
        if heard is not None and heard.si_signo != signal.SIGCHLD:
            of_a_key = code is None and heard.si_code == _FROM_KERNEL
            stop |= heard.si_signo in (signal.SIGTERM, signal.SIGINT) and not of_a_key
            if code is None and not of_a_key:
                _send(child, heard.si_signo)
        if stop and code is not None:
            stop = False
            for pid in _supervisors():
                _send(pid, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == child:
                    ended = os.waitstatus_to_exitcode(status)
                    code = ended if ended >= 0 else 128 - ended
    return code


def _supervisors() -> list[int]:
    """With keepers, scribes and clerks."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal() and name != "1"]
    return [pid for pid in pids if variable(pid, SUPERVISOR) is not None and Identity.of(pid)]


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
