"""The keeper: the run's parent, which does nothing but wait for it.

Forked from the supervisor, it starts the run, records its exact wait status in exit.json even if
the supervisor is killed, and leaves no process behind: as a child subreaper (prctl(2)) it inherits
whatever the run orphans, and ends it once the run itself has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindeck.core.base.process import (
    PPID,
    SESSION,
    START,
    Identity,
    boot_id,
    pid_namespace,
    stat_fields,
)
from traindeck.core.devices.family import family, is_supervisors
from traindeck.core.run.folder import encode_exit
from traindeck.core.run.state import boottime
from traindeck.core.supervisor import cgroup
from traindeck.core.supervisor.reach import Reach
from traindeck.core.supervisor.scribe import Scribe
from traindeck.core.supervisor.sending import send

PR_SET_CHILD_SUBREAPER = 36
SWEEP_SECONDS = 0.05
MOST_KEEPERS = 5
RECORD_SECONDS = 60.0
KILLED_SECONDS = 20.0  # that what was killed may take to go


@dataclass(frozen=True, slots=True)
class Start:
    """What the keeper starts, and on what.

    `held` are descriptors to share with the run (its device), `private` those to close (ours),
    `group` the control group that it is born into.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: Path
    exit_file: int
    cores: tuple[int, ...] | None
    held: tuple[int, ...]
    private: tuple[int, ...]
    grace: float
    group: Path | None


def become_subreaper() -> None:
    """Inherit orphaned descendants; where the system has no such thing, nothing happens."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def fork_keeper(start: Start) -> tuple[Identity, Report]:
    """Fork the keeper; returns who it is and what it reports.

    Who it is stands in exit.json before it starts anything, and who the run is right after: a run
    is known to whoever looks even if we are killed in between.
    """
    reading, writing = os.pipe()
    awaiting, letting = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.close(awaiting)
        keeper = _identity(pid)
        with contextlib.suppress(OSError):  # the room is taken already
            os.pwrite(start.exit_file, encode_exit({"keeper": keeper.to_json()}), 0)
        with contextlib.suppress(BrokenPipeError):
            os.write(letting, b"!")
        os.close(letting)
        return keeper, Report(reading)
    code = 70
    try:
        os.close(reading)
        os.close(letting)
        if os.read(awaiting, 1):  # else the supervisor was killed: nothing is started
            os.close(awaiting)
            _keep(start, writing)
        code = 0
    finally:
        os._exit(code)


class Report:
    """What a keeper says to its supervisor, through a pipe: no disk is needed for it."""

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "rb")

    def hear(self) -> dict[str, Any]:
        """What comes next; {} once the keeper has ended.

        First whom it has started, or why it could not; then how that has ended.
        """
        message: dict[str, Any] = json.loads(self._pipe.readline() or b"{}")
        return message


def begin(start: Start) -> tuple[Identity, Report, dict[str, Any]]:
    """Start a run: who keeps it, what more will be reported, and who it is or why it is not.

    A keeper that is killed before it starts anything is replaced. Of one that is killed while it
    does so we inherit the run.
    """
    for _ in range(MOST_KEEPERS):
        keeper, report = fork_keeper(start)
        message = report.hear()
        if "starting" in message:
            return keeper, report, report.hear() or _orphan(keeper)
        if message:
            break
    return keeper, report, message


def _orphan(keeper: Identity) -> dict[str, Any]:
    """The run of a keeper that was killed; its own process leads its session."""
    while keeper.alive():  # its pipe is closed before we inherit
        time.sleep(0.001)
    for pid in family(os.getpid()):
        fields = stat_fields(pid)
        if fields and int(fields[PPID]) == os.getpid() and int(fields[SESSION]) == pid:
            return {"child": _identity(pid).to_json(), "scribe": None, "pipe": ""}
    return {}


def _keep(start: Start, report: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
    for descriptor in start.private:
        os.close(descriptor)
    become_subreaper()
    begun = boottime()
    try:
        scribe = Scribe(start.log)
        _send(report, {"starting": True})
        child = _spawn(start, scribe)
    except OSError as error:
        reason = f"could not be started: {error.strerror}: {error.filename or start.argv[0]}"
        _send(report, {"error": reason})
        _record(start.exit_file, begun, error=reason)
        return
    scribe.close_writing()
    reader = scribe.identity
    known = {
        "keeper": _identity(os.getpid()).to_json(),
        "child": _identity(child).to_json(),
        "scribe": reader.to_json() if reader else None,
        "pipe": scribe.pipe,
    }
    with contextlib.suppress(OSError):
        os.pwrite(start.exit_file, encode_exit(known), 0)
    _send(report, known)
    facts = _wait_for(child, scribe, start, begun, known)
    _send(report, facts)
    _record(start.exit_file, begun, **facts)
    _sweep(start.grace, scribe)
    scribe.finish()


def _spawn(start: Start, scribe: Scribe) -> int:
    os.chdir(start.cwd)
    if start.cores and sys.platform == "linux":
        os.sched_setaffinity(0, start.cores)
    for descriptor in (*start.held, scribe.reading):
        os.set_inheritable(descriptor, True)
    inside = start.group is not None and cgroup.enter(start.group)
    try:
        return os.posix_spawnp(
            start.argv[0],
            start.argv,
            start.env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, scribe.writing, 1),
                (os.POSIX_SPAWN_DUP2, scribe.writing, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )
    finally:
        if inside and start.group is not None:
            cgroup.enter(start.group.parent)


def _identity(pid: int) -> Identity:
    """Who we or a child of ours is, even if it has ended already and waits to be reaped."""
    if living := Identity.of(pid):
        return living
    fields = stat_fields(pid)
    return Identity(boot_id(), pid, int(fields[START]) if fields else 0, pid_namespace())


def _wait_for(
    child: int, scribe: Scribe, start: Start, begun: float, known: dict[str, Any]
) -> dict[str, Any]:
    ended = False
    while True:
        look = 0 if scribe.ready() else os.WNOHANG
        if look:
            time.sleep(SWEEP_SECONDS)
        if hasattr(os, "waitid") and not ended:  # macOS has it from Python 3.13 on
            # Recorded while the kernel still has it: killed in between, we lose no exit code.
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | look)
            if seen is None:
                continue
            if ended := seen.si_pid == child:
                facts = {**known, "status": _wait_status(seen)}
                with contextlib.suppress(OSError):
                    os.pwrite(start.exit_file, _ended(begun, facts), 0)
        pid, status, usage = os.wait4(child, 0) if ended else os.wait3(look)
        scribe.reaped(pid)
        if pid == child:
            return {
                **known,
                "status": status,
                "max_rss_bytes": usage.ru_maxrss * 1024,
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            }


def _wait_status(seen: os.waitid_result) -> int:
    """As wait(2) has it."""
    if seen.si_code == os.CLD_EXITED:
        return seen.si_status << 8
    return seen.si_status | (0x80 if seen.si_code == os.CLD_DUMPED else 0)


def _sweep(grace: float, scribe: Scribe | None = None) -> None:
    """End what the run left behind: politely, after the grace for good, if we may.

    What does not end though it was killed, as it waits for a disk, is left to the supervisor.
    """
    deadline = time.monotonic() + grace
    reach = Reach()
    while time.monotonic() < deadline + KILLED_SECONDS:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if scribe:
                    scribe.reaped(pid)
        left = [pid for pid in family(os.getpid()) if not scribe or pid != scribe.pid]
        if time.monotonic() > deadline:
            left = [pid for pid in left if send(pid, signal.SIGKILL)]
        else:
            reach.tell(left, 0, all_programs=True)
        if not left:
            return
        time.sleep(SWEEP_SECONDS)


def _record(exit_file: int, begun: float, **facts: Any) -> None:
    """Write down how the run ended; its supervisor, if it lives, has heard it already."""
    record, supervisor = _ended(begun, facts), os.getppid()
    deadline = time.monotonic() + RECORD_SECONDS
    while time.monotonic() < deadline:
        try:
            os.pwrite(exit_file, record, 0)
            os.fsync(exit_file)
            return
        except OSError:  # a read-only disk may come back
            if is_supervisors(supervisor):
                return
            time.sleep(1.0)


def _ended(begun: float, facts: dict[str, Any]) -> bytes:
    ended = {"ended": time.time(), "ended_boottime": boottime(), "seconds": boottime() - begun}
    return encode_exit({**ended, **facts})


def _send(report: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(report, json.dumps(message).encode() + b"\n")
