"""Which process is meant, for certain: boot id, pid and start time together.

A pid alone is reused sooner or later, and a machine that was rebooted hands all of them out again.
The start time in clock ticks since boot, as the kernel keeps it, tells two users of one pid apart;
the boot id tells two boots apart, and the pid namespace two containers of one boot.

Standard library only on Linux. Elsewhere psutil is imported when first needed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_LINUX = sys.platform.startswith("linux")
_PR_SET_NAME = 15
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# Where proc(5)'s numbered fields lie once "pid (comm) " is cut off.
STATE, PPID, SESSION, UTIME, STIME, CUTIME, CSTIME = 0, 1, 3, 11, 12, 13, 14
THREADS, START, RSS = 17, 19, 21


def stat_fields(pid: int) -> list[bytes] | None:
    """Fields 3 and up of /proc/<pid>/stat (proc(5)), or None when there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(fd, 4096)
    except OSError:  # it ended between open and read
        return None
    finally:
        os.close(fd)
    return parse_stat(line)


def parse_stat(line: bytes) -> list[bytes] | None:
    """Fields 3 and up of a line of /proc/<pid>/stat, or None when it is cut short.

    The command name, field 2, may hold spaces, newlines and parentheses: nothing before the last
    ")" of the line is looked at.
    """
    fields = line[line.rfind(b")") + 1 :].split()
    return fields if len(fields) > RSS else None


def is_dead(fields: list[bytes]) -> bool:
    """Whether these stat fields are those of a process that has ended.

    A zombie has ended. But a process whose first thread has exited while others go on is listed as
    a zombie too; its thread count gives it away.
    """
    return fields[STATE] in (b"X", b"x") or (fields[STATE] == b"Z" and int(fields[THREADS]) <= 1)


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is none or it has ended.

    Elsewhere than on Linux: microseconds since the epoch, which serves the same comparison.
    """
    if not _LINUX:
        return _start_portable(pid)
    if pid <= 0:
        return None
    fields = stat_fields(pid)
    return None if fields is None or is_dead(fields) else int(fields[START])


def variable(pid: int, name: str) -> str | None:
    """An environment variable as a process was started with; None where that cannot be read.

    What it has changed in its own since is not seen, and what it has forked has the same.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        return None
    start = os.fsencode(f"{name}=")
    found = (part for part in environment.split(b"\0") if part.startswith(start))
    return next((os.fsdecode(part[len(start) :]) for part in found), None)


def call_oneself(name: str) -> None:
    """Name this process, in at most 15 bytes: every other can read that, whatever the disks do."""
    if _LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def name_of(pid: int) -> str:
    """What a process is called; empty when there is none."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _start_portable(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(process.create_time() * 1_000_000)
    except (psutil.Error, ValueError):
        return None


@cache
def boot_id() -> str:
    """A name for this boot of the machine, or "" where the system does not give one."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        import subprocess  # a supervisor starts sooner without it

        try:
            return subprocess.run(
                ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"],
                capture_output=True,
                text=True,
                check=True,
                timeout=5,
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return ""


@cache
def pid_namespace() -> str:
    """A name for the processes that are seen from here (pid_namespaces(7)): a container has one.

    Empty where the system has none.
    """
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for all time; of before `namespace` was written, it is taken for ours."""

    boot_id: str
    pid: int
    start_ticks: int
    namespace: str = ""

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The living process that has this pid now, or None."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(boot_id(), pid, ticks, pid_namespace())

    def alive(self) -> bool:
        """Whether this very process still runs: not another with its pid, not a zombie.

        One that is `out_of_sight` is not known to.
        """
        return (
            self.boot_id == boot_id()
            and not self.out_of_sight
            and start_ticks(self.pid) == self.start_ticks
        )

    def send(self, number: int) -> bool:
        """Send a signal to this very process; False when it is gone. Raises PermissionError."""
        try:
            if not hasattr(os, "pidfd_open"):  # only Linux has it
                os.kill(self.pid, number)
                return True
            descriptor = os.pidfd_open(self.pid)
            try:
                if not self.alive():
                    return False
                signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
        except ProcessLookupError:
            return False
        return True

    @property
    def out_of_sight(self) -> bool:
        """Whether it was of another container of this boot: nobody here knows if it runs."""
        return self.boot_id == boot_id() and self.namespace not in ("", pid_namespace())

    def to_json(self) -> dict[str, str | int]:
        own: dict[str, str | int] = {
            "boot_id": self.boot_id,
            "pid": self.pid,
            "start_ticks": self.start_ticks,
        }
        return own | ({"namespace": self.namespace} if self.namespace else {})

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Identity:
        """The inverse of `to_json`. Raises ValueError when a part is missing or of another type."""
        boot, pid, ticks = (data.get(key) for key in ("boot_id", "pid", "start_ticks"))
        if not (isinstance(boot, str) and type(pid) is int and type(ticks) is int):
            raise ValueError(f"not a process identity: {dict(data)!r}")
        namespace = data.get("namespace", "")
        if not isinstance(namespace, str):
            raise ValueError(f"not a process identity: {dict(data)!r}")
        return cls(boot, pid, ticks, namespace)
