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

from traindeck.core.base.files import opened
from traindeck.core.base.process import START, Identity, boot_id, pid_namespace, stat_fields
from traindeck.core.devices.proctree import descendants
from traindeck.core.run.folder import encode_exit
from traindeck.core.run.state import boottime
from traindeck.core.supervisor import cgroup

PR_SET_CHILD_SUBREAPER = 36
SWEEP_SECONDS = 0.05


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


def fork_keeper(start: Start) -> tuple[Identity, int]:
    """Fork the keeper; returns who it is and a pipe on which it sends the run's identity as JSON.

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
        return keeper, reading
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


def hear(report: int) -> dict[str, Any]:
    """What the keeper sends once it has started the run, or could not; {} if it was killed."""
    with open(report, "rb") as pipe:
        message: dict[str, Any] = json.loads(pipe.readline() or b"{}")
    return message


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
    """Send a signal to every living descendant of a process; returns how many could be sent one."""
    return sum(send(pid, number) for pid in descendants(root))


def _keep(start: Start, report: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
    for descriptor in start.private:
        os.close(descriptor)
    become_subreaper()
    begun = boottime()
    try:
        child = _spawn(start)
    except OSError as error:
        reason = f"could not be started: {error.strerror}: {error.filename or start.argv[0]}"
        _record(start.exit_file, begun, error=reason)
        _send(report, {"error": reason})
        return
    known = {
        "keeper": _identity(os.getpid()).to_json(),
        "child": _identity(child).to_json(),
    }
    with contextlib.suppress(OSError):
        os.pwrite(start.exit_file, encode_exit(known), 0)
    _send(report, known)
    _wait_for(child, start, begun, known)
    _sweep(start.grace)


def _spawn(start: Start) -> int:
    os.chdir(start.cwd)
    if start.cores and sys.platform == "linux":
        os.sched_setaffinity(0, start.cores)
    for descriptor in start.held:
        os.set_inheritable(descriptor, True)
    log = opened(start.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    inside = start.group is not None and cgroup.enter(start.group)
    try:
        return os.posix_spawnp(
            start.argv[0],
            start.argv,
            start.env,
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


def _wait_for(child: int, start: Start, begun: float, known: dict[str, Any]) -> None:
    ended = False
    while True:
        if hasattr(os, "waitid") and not ended:  # macOS has it from Python 3.13 on
            # Recorded while the kernel still has it: killed in between, we lose no exit code.
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            if ended := seen is not None and seen.si_pid == child:
                facts = {**known, "status": _wait_status(seen)}
                with contextlib.suppress(OSError):
                    os.pwrite(start.exit_file, _ended(begun, facts), 0)
        pid, status, usage = os.wait4(child, 0) if ended else os.wait3(0)
        if pid == child:
            facts = {
                **known,
                "status": status,
                "max_rss_bytes": usage.ru_maxrss * 1024,
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            }
            _record(start.exit_file, begun, **facts)
            return


def _wait_status(seen: os.waitid_result) -> int:
    """As wait(2) has it."""
    if seen.si_code == os.CLD_EXITED:
        return seen.si_status << 8
    return seen.si_status | (0x80 if seen.si_code == os.CLD_DUMPED else 0)


def _sweep(grace: float) -> None:
    """End what the run left behind: politely, after the grace for good, if we may."""
    deadline = time.monotonic() + grace
    polite = True
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        late = time.monotonic() > deadline
        if polite or late:
            left = kill_all(os.getpid(), signal.SIGKILL if late else signal.SIGTERM)
            polite = False
        else:
            left = len(descendants(os.getpid()))
        if not left:
            return
        time.sleep(SWEEP_SECONDS)


def _record(exit_file: int, begun: float, **facts: Any) -> None:
    record = _ended(begun, facts)
    while True:
        try:
            os.pwrite(exit_file, record, 0)
            os.fsync(exit_file)
            return
        except OSError:  # a read-only disk may come back
            if os.getppid() == 1:
                return
            time.sleep(1.0)


def _ended(begun: float, facts: dict[str, Any]) -> bytes:
    ended = {"ended": time.time(), "ended_boottime": boottime(), "seconds": boottime() - begun}
    return encode_exit({**ended, **facts})


def _send(report: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(report, json.dumps(message).encode() + b"\n")
    os.close(report)
