"""The scribe: brings what a run prints from a pipe into output.log, and does nothing else.

A pipe, since a run that opens a file of ours anew (`> /dev/stderr`) empties it. A process of its
own, since what reads the pipe must live as long as the run: with nobody there, printing ends a run.
The keeper forks it, and another if it is killed; supervisor and keeper may both be killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

from traindeck.core.base.files import opened
from traindeck.core.base.process import Identity, call_oneself

NAME = "traindeck print"
PIPE_BYTES = 1 << 20
ROOM_BYTES = 1 << 18  # read and written at once
LITTLE_BYTES = 1 << 16
SOON_SECONDS = 0.01  # after little was printed: a thousand lines a second are not as many writes
KEPT_BYTES = 1 << 20  # of what cannot be written now
RETRY_SECONDS = 1.0
END_SECONDS = 1.0  # until who holds the pipe, though all has been ended, is waited for no more
LAST_SECONDS = 5.0  # that writing the rest may take
_F_SETPIPE_SZ = 1031


class Scribe:
    """The keeper's: its pipe and the process that reads it. Raises OSError.

    The run is given both ends: one to print to, the other to be alive for, see `output`.
    """

    def __init__(self, log: Path) -> None:
        self._log = opened(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.reading, self.writing = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.writing, _F_SETPIPE_SZ, PIPE_BYTES)
        self.pid = 0
        self._fork()

    @property
    def identity(self) -> Identity | None:
        """The process that reads, if it lives."""
        return Identity.of(self.pid) if self.pid else None

    def ready(self) -> bool:
        """Whether there is one; if it was killed another is forked, where that can be."""
        if not self.pid:
            with contextlib.suppress(OSError):
                self._fork()
        return bool(self.pid)

    def reaped(self, pid: int) -> None:
        """Hear that a child of the keeper has ended."""
        if pid == self.pid:
            self.pid = 0

    def finish(self) -> None:
        """Wait until all is written that was printed, for some seconds."""
        if not self.ready():
            return
        with contextlib.suppress(ChildProcessError):
            for number, seconds in ((signal.SIGUSR2, END_SECONDS), (signal.SIGKILL, LAST_SECONDS)):
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    if os.waitpid(self.pid, os.WNOHANG)[0]:
                        return
                    time.sleep(0.005)
                os.kill(self.pid, number)

    def close_writing(self) -> None:
        """Once the run has its own; the pipe then ends with it."""
        os.close(self.writing)

    @property
    def pipe(self) -> str:
        """What /proc calls it, whoever holds it; empty where there is none."""
        try:
            return os.readlink(f"/proc/self/fd/{self.reading}")
        except OSError:
            return ""

    def _fork(self) -> None:
        self.pid = fork_scribe(self.reading, self._log)


def fork_scribe(reading: int, log: int) -> int:
    """The pid of a process that writes all that comes down. Raises OSError."""
    if pid := os.fork():
        return pid
    try:
        _write_down(reading, log)
    finally:
        os._exit(0)


def end(scribe: Identity | None) -> None:
    """Wait for the scribe of a keeper that was killed, for some seconds."""
    for number, seconds in ((signal.SIGUSR2, END_SECONDS), (signal.SIGKILL, LAST_SECONDS)):
        deadline = time.monotonic() + seconds
        while scribe and scribe.alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        with contextlib.suppress(PermissionError):
            if scribe:
                scribe.send(number)


def _write_down(reading: int, log: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, lambda *_: os.set_blocking(reading, False))
    for descriptor in range(3, _most() + 1):
        if descriptor not in (reading, log):
            with contextlib.suppress(OSError):
                os.close(descriptor)
    os.chdir("/")
    call_oneself(NAME)
    book = Book(log)
    room = memoryview(bytearray(ROOM_BYTES))
    with contextlib.suppress(BlockingIOError):
        while size := os.readv(reading, [room]):
            book.add(room[:size])
            if size < LITTLE_BYTES:
                time.sleep(SOON_SECONDS)
    book.close()


def _most() -> int:
    try:
        return max(map(int, os.listdir("/proc/self/fd")))
    except OSError:
        return 1023


class Book:
    """What is written to a file; of what cannot be, the newest is kept until it can.

    Writing never fails, and never keeps its caller waiting: a run goes on while its disk is full.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._kept = bytearray()
        self._lost = 0
        self._retry_at = 0.0

    def add(self, data: bytes | memoryview) -> None:
        """Write, or keep."""
        if self._kept or self._lost:
            self._keep(data)
            if time.monotonic() >= self._retry_at:
                self._retry()
            return
        written = self._write(data)
        if written < len(data):
            self._keep(data[written:])

    def close(self) -> None:
        """Write what is left, if that can be done within some seconds."""
        deadline = time.monotonic() + LAST_SECONDS - RETRY_SECONDS
        while self._retry() and time.monotonic() < deadline:
            time.sleep(RETRY_SECONDS / 4)

    def _retry(self) -> bool:
        """Write what was kept, and how much was not; whether something is left."""
        if self._lost:
            line = f"[{self._lost} bytes of output were lost: they could not be written]\n"
            self._lost = 0 if self._write(line.encode()) else self._lost
        if not self._lost:
            del self._kept[: self._write(bytes(self._kept))]
        self._retry_at = time.monotonic() + RETRY_SECONDS
        return bool(self._kept or self._lost)

    def _keep(self, data: bytes | memoryview) -> None:
        self._kept += data
        over = max(0, len(self._kept) - KEPT_BYTES)
        if over:
            over = self._kept.find(b"\n", over) + 1 or over  # whole lines
            del self._kept[:over]
            self._lost += over

    def _write(self, data: bytes | memoryview) -> int:
        """How many bytes could be written."""
        written = 0
        with contextlib.suppress(OSError), memoryview(data) as view:
            while written < len(view):
                written += os.write(self._file, view[written:])
        return written
