"""The process beside each job: makes its namespaces, notes what it is denied, and ends as it ends.

A job server forks a warden for each script. It is outside of what the job can reach. Where there is
a pid namespace, its first process stands between them: it only waits, and all ends with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

from traindeck.recipes.shared.federated.job import kernel, namespaces, rights, script
from traindeck.recipes.shared.federated.job.denials import Denials
from traindeck.recipes.shared.federated.job.namespaces import Made

MOST_REPORT = 1 << 16
LOOK = 0.02  # seconds between looks where a child's end cannot be waited for

_STATUS = struct.Struct("<i")


def run(order: dict[str, Any], descriptor: int, reports: int) -> NoReturn:
    """Be the warden of one job.

    descriptor  the job's end of its wire
    reports     pipe: what confines the job, in JSON, before its script begins; empty: it has failed
    """
    code = 1
    try:
        os.setsid()
        script.die_with_parent()
        code = _guard(order, descriptor, reports)
    except OSError as error:
        _say(f"no job was started: {error}")
    if code < 0:
        script.no_core()
        signal.signal(-code, signal.SIG_DFL) if -code not in (
            signal.SIGKILL,
            signal.SIGSTOP,
        ) else None
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def _guard(order: dict[str, Any], descriptor: int, reports: int) -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    statuses, status = os.pipe()
    folder = Path(order["code"])
    (folder / script.TEMPORARY).mkdir(exist_ok=True)
    user = rights.hand_over([folder, Path(order["data"])], [folder / script.TEMPORARY])
    made = Made()
    if sys.platform == "linux":
        made = namespaces.separate(net=not order["ports"])
    child = os.fork()
    if not child:
        os.close(reports)
        if "pid" in made.names:
            _wait_within(order, descriptor, theirs, made, user, status)
        script.die_with_parent()
        script.run(order, descriptor, theirs, made, user)
    os.close(descriptor)
    os.close(status)
    theirs.close()
    report, listeners, _, _ = socket.recv_fds(ours, MOST_REPORT, 1)
    with open(reports, "wb") as owner:
        owner.write(report)
    rights.drop(os.uname().machine)
    denials = Denials(listeners[0], _say) if listeners else None
    _attend(child, listeners, denials)
    _, ended = os.waitpid(child, 0)
    if denials:
        denials.end()
    if "pid" in made.names and len(said := os.read(statuses, _STATUS.size)) == _STATUS.size:
        return int(_STATUS.unpack(said)[0])
    return os.waitstatus_to_exitcode(ended)


def _attend(child: int, listeners: list[int], denials: Denials | None) -> None:
    """Answer what is asked until the child has ended."""
    try:
        end = os.pidfd_open(child)
    except (OSError, AttributeError):
        end = -1
    waiting = select.poll()
    for each in (*listeners, *([end] if end >= 0 else [])):
        waiting.register(each, select.POLLIN)
    while True:
        for ready, event in waiting.poll(None if end >= 0 else LOOK * 1000):
            if ready == end:
                return
            if event & select.POLLIN and denials:
                denials.answer()
            elif event:  # all that had the filter have ended
                waiting.unregister(ready)
        if end < 0 and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return


def _wait_within(
    order: dict[str, Any],
    descriptor: int,
    line: socket.socket,
    made: Made,
    user: tuple[int, str],
    status: int,
) -> NoReturn:
    """Be the first process of a pid namespace: all that is in it ends with the job."""
    code = 1
    try:
        job = os.fork()
        if not job:
            script.die_with_parent()
            script.run(order, descriptor, line, made, user)
        os.closerange(0, status)
        os.closerange(status + 1, 4096)
        rights.bound()
        rights.drop(os.uname().machine)
        kernel.prctl(kernel.DUMPABLE, 0)
        script.die_with_parent()
        while True:
            ended, how = os.wait()
            if ended == job:
                code = os.waitstatus_to_exitcode(how)
                break
    finally:
        with contextlib.suppress(OSError):
            os.write(status, _STATUS.pack(code))
        os._exit(0)


def _say(words: str) -> None:
    """To the owner's log."""
    with contextlib.suppress(OSError):
        os.write(2, f"sandbox: {words}\n".encode())
