"""The process beside each job: makes its namespaces, notes what it is denied, and ends as it ends.

A job server forks a warden for each script, the first before it is needed. It is outside of what
the job can reach. Where there is a pid namespace, its first process stands between them: it only
waits, and all ends with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
from typing import NoReturn

from traindeck.recipes.shared.federated.job import kernel, namespaces, rights, script
from traindeck.recipes.shared.federated.job.denials import Denials
from traindeck.recipes.shared.federated.job.namespaces import Made
from traindeck.recipes.shared.federated.post import wire

MOST_REPORT = 1 << 16
LOOK = 0.02  # seconds between looks where a child's end cannot be waited for

_STATUS = struct.Struct("<i")


def run(control: socket.socket, reports: int) -> NoReturn:
    """Be the warden of one job.

    control  from the job server: its order, and the job's end of its wire, when it comes to that
    reports  pipe: what confines the job, in JSON, before its script begins; empty: it has failed
    """
    code = 1
    try:
        os.setsid()
        script.die_with_parent()
        code = _guard(control, reports)
    except OSError as error:
        _say(f"no job was started: {error}")
    if code < 0:
        script.no_core()
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def _guard(control: socket.socket, reports: int) -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    statuses, status = os.pipe()
    made, number = Made(), os.getpid()
    if sys.platform == "linux":
        made = namespaces.separate()
    within = "pid" in made.names
    if within:
        child = os.fork()
        if not child:
            os.close(reports)
            ours.close()
            _wait_within(control, theirs, made, number, status)
    else:
        child = _begin(control, theirs, made, number)
    for end in (control, theirs):
        end.close()
    os.close(status)
    report, listeners, _, _ = socket.recv_fds(ours, MOST_REPORT, 1)
    with open(reports, "wb") as owner:
        owner.write(report)
    rights.drop(os.uname().machine)
    denials = Denials(listeners[0], _say) if listeners else None
    _attend(child, listeners, denials)
    _, ended = os.waitpid(child, 0)
    if denials:
        denials.end()
    if within and len(said := os.read(statuses, _STATUS.size)) == _STATUS.size:
        return int(_STATUS.unpack(said)[0])
    return os.waitstatus_to_exitcode(ended)


def _begin(control: socket.socket, line: socket.socket, made: Made, number: int) -> int:
    """Wait for the order, and fork the job. Gives its process."""
    try:
        order, _ = wire.receive(control)
        _, [descriptor], _, _ = socket.recv_fds(control, 1, 1)
    except (wire.Closed, wire.BadFrame, ValueError):
        os._exit(0)
    job = os.fork()
    if not job:
        script.die_with_parent()
        script.run(order, descriptor, line, made, number)
    os.close(descriptor)
    return job


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
    control: socket.socket, line: socket.socket, made: Made, number: int, status: int
) -> NoReturn:
    """Be the first process of a pid namespace: all that is in it ends with the job."""
    script.die_with_parent()
    code = 1
    try:
        job = _begin(control, line, made, number)
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
