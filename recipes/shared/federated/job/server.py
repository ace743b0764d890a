"""Runs approved scripts: each forked from a process that has loaded the libraries and no secret.

An owner forks its job server before it makes its keys, so that no job finds them in its memory;
the job starts in milliseconds, for PyTorch or TensorFlow is there already.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psutil

from traindeck.recipes.shared.federated.job import kernel, sandbox, warden
from traindeck.recipes.shared.federated.job.script import KEPT, die_with_parent
from traindeck.recipes.shared.federated.post import wire

ENVIRONMENT = (*KEPT, "HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")
"""What owners see of it. A job reads that too: a process's first environment stays in /proc."""

_Warden = tuple[int, socket.socket, int]
"""Its process, the way for its order, and the pipe that its report comes by."""


@dataclass
class Job:
    """A script that runs: our end of its wire, its warden's process, and what confines it.

    There is no report when the script could not be started: `JobServer.ended` says how.
    """

    wire: socket.socket
    pid: int
    report: sandbox.Report | None = None

    def stop(self) -> None:
        """End it and all that it started."""
        for ending in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                ending(self.pid, signal.SIGKILL)


class JobServer:
    """The owner's side: start a job, learn how it ended."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.pid = os.fork()
        if not self.pid:
            ours.close()
            _serve(theirs)
        theirs.close()
        self._wire = ours

    def start(self, code: Path, entry: str, facts: dict[str, Any], ports: list[int]) -> Job:
        """Start the script `entry` in the folder `code`; facts are told to its session first.

        It may read the data that facts name, write below code/tmp, and use these TCP ports.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        order = {"code": str(code), "entry": entry, "data": facts["data"], "ports": ports}
        wire.send(self._wire, order)
        socket.send_fds(self._wire, [b"."], [theirs.fileno()])
        theirs.close()
        with contextlib.suppress(wire.Closed):  # of one that could not be started
            wire.send(ours, facts)
        started, _ = wire.receive(self._wire)
        confined = started["sandbox"]
        return Job(ours, started["pid"], sandbox.Report(**confined) if confined else None)

    def ended(self, seconds: float | None = None) -> int | None:
        """Wait for the job's exit code; negative for the signal that ended it.

        None when it has not ended in time.
        """
        if not select.select([self._wire], [], [], seconds)[0]:
            return None
        facts, _ = wire.receive(self._wire)
        return int(facts["exit"])

    def close(self) -> None:
        self._wire.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _serve(orders: socket.socket) -> NoReturn:
    die_with_parent()
    if sys.platform == "linux":
        kernel.prctl(kernel.SUBREAPER, 1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sandbox.libraries()  # whose first asking takes long
    ready: _Warden | None = _warden(orders)  # forks of a process that has libraries take long
    while True:
        try:
            order, _ = wire.receive(orders)
            _, descriptors, _, _ = socket.recv_fds(orders, 1, 1)
        except (wire.Closed, wire.BadFrame):
            os._exit(0)
        pid, control, reports = ready or _warden(orders)
        ready = None
        with contextlib.suppress(OSError):
            wire.send(control, order)
            socket.send_fds(control, [b"."], descriptors)
        os.close(descriptors[0])
        control.close()
        try:
            with open(reports, "rb") as said:
                confined = json.loads(said.read() or b"{}")
            wire.send(orders, {"pid": pid, "sandbox": confined})
            _, status = os.waitpid(pid, 0)
            _end_what_is_left()
            wire.send(orders, {"exit": os.waitstatus_to_exitcode(status)})
        except wire.Closed:
            os._exit(0)


def _warden(orders: socket.socket) -> _Warden:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    reports, report = os.pipe()
    pid = os.fork()
    if not pid:
        orders.close()
        ours.close()
        os.close(reports)
        warden.run(theirs, report)
    theirs.close()
    os.close(report)
    return pid, ours, reports


def _end_what_is_left() -> None:
    """Kill what a job has started and left behind, wherever it has moved to: it is ours now."""
    while True:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                child.kill()
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
