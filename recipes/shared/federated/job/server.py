"""Runs approved scripts: each forked from a process that has loaded the libraries and no secret.

An owner forks its job server before it makes its keys, so that no job finds them in its memory;
the job starts in milliseconds, for PyTorch or TensorFlow is there already.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import runpy
import select
import signal
import socket
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psutil

from traindeck.recipes.shared.federated.job import job, sandbox
from traindeck.recipes.shared.federated.post import wire

KEPT: tuple[str, ...] = (
    *("PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_CPP_MIN_LOG_LEVEL"),
    "CUDA_VISIBLE_DEVICES",
)
"""Of the environment, what a job sees."""

ENVIRONMENT = (*KEPT, "HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")
"""What owners see of it. A job reads that too: a process's first environment stays in /proc."""

OUTSIDE = 77
"""Exit code of a job that reached for what is not its own."""

TEMPORARY = "tmp"  # folder that a job may write to

MOST_FILE = 1 << 30  # bytes of a file that a job writes, what it prints among them

_DEATH_SIGNAL, _SUBREAPER = 1, 36  # of prctl


def die_with_parent() -> None:
    """Be killed when the process that started this one ends, however it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


@dataclass
class Job:
    """A script that runs: our end of its wire, and its process."""

    wire: socket.socket
    pid: int

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
        started, _ = wire.receive(self._wire)
        wire.send(ours, facts)
        return Job(ours, started["pid"])

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
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            order, _ = wire.receive(orders)
            _, descriptors, _, _ = socket.recv_fds(orders, 1, 1)
        except (wire.Closed, wire.BadFrame):
            os._exit(0)
        pid = os.fork()
        if not pid:
            orders.close()
            _run(order, descriptors[0])
        os.close(descriptors[0])
        try:
            wire.send(orders, {"pid": pid})
            _, status = os.waitpid(pid, 0)
            _end_what_is_left()
            wire.send(orders, {"exit": os.waitstatus_to_exitcode(status)})
        except wire.Closed:
            os._exit(0)


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


def no_core() -> None:
    """Leave no memory behind on a crash: it holds keys and private data."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(order: dict[str, Any], descriptor: int) -> NoReturn:
    """The job's process."""
    code = 1
    try:
        os.setsid()
        die_with_parent()
        no_core()
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE, MOST_FILE))
        folder = Path(order["code"])
        os.chdir(folder)
        (folder / TEMPORARY).mkdir(exist_ok=True)
        for output, name in ((1, "stdout"), (2, "stderr")):
            log = os.open(folder / f".{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(log, output)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.closerange(3, descriptor)
        os.closerange(descriptor + 1, 4096)
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        os.environ.clear()
        os.environ.update(kept, HOME=str(folder), TMPDIR=str(folder / TEMPORARY))
        tempfile.tempdir = str(folder / TEMPORARY)
        os.environ[job.SOCKET] = str(descriptor)

        def denied(path: str) -> None:
            tell = socket.socket(fileno=os.dup(descriptor))
            with contextlib.suppress(wire.Closed):
                wire.send(tell, {"type": "outside", "path": path})
            os._exit(OUTSIDE)

        readable = [*sandbox.libraries(), folder, Path(order["data"])]
        print(sandbox.confine(readable, [folder / TEMPORARY], order["ports"], denied), flush=True)
        sys.argv = [order["entry"]]
        runpy.run_path(str(folder / order["entry"]), run_name="__main__")
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)
