"""The supervisor: one small process beside each run.

It waits for the run's device, starts the run through its keeper, samples it, stops it when asked
and writes down what became of it. It is the only writer of run.json. Being asked is a signal:
SIGTERM stops politely, SIGUSR1 kills at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

from traindeck.core import events
from traindeck.core.devices.proctree import descendants
from traindeck.core.errors import MissingError
from traindeck.core.files import read_json, write_json
from traindeck.core.home import Home
from traindeck.core.placement import Placement, place
from traindeck.core.procident import Identity
from traindeck.core.run import (
    ENDED,
    EXIT_ROOM,
    Verdict,
    boottime,
    encode_exit,
    identity,
    judge,
)
from traindeck.core.scheduler import Claim, Granted, Place
from traindeck.core.supervisor import cgroup
from traindeck.core.supervisor.clerk import Clerks
from traindeck.core.supervisor.intake import Intake
from traindeck.core.supervisor.keeper import Start, become_subreaper, fork_keeper, kill_all
from traindeck.core.supervisor.oom import OomWatch
from traindeck.core.supervisor.sampling import Sampler
from traindeck.core.variables import RUN_FOLDER

QUEUE_SECONDS = 0.25
TICK_SECONDS = 0.25
RETRY_SECONDS = 24 * 3600.0


class Supervisor:
    """Runs in its own process; `run` returns when all is recorded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder.parent.parent)
        self.spec: dict[str, Any] = read_json(folder / "run.json") or {}
        self.grace = float(self.spec["grace"])
        self.asked = ""
        self.asked_at = 0.0
        self.unsaved = False
        self.child_status: int | None = None
        self.wakeups, self._wakeup_writer = os.pipe()
        self.poll = select.poll()

    def register(self) -> None:
        """Take charge: become the run's writer and listen to requests.

        Raises BlockingIOError when another supervisor has charge of the run.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self.lock = os.open(self.folder / "supervisor.lock", flags, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.clerks = Clerks(self.home, self.folder, self.lock)
        become_subreaper()
        for end in (self.wakeups, self._wakeup_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.poll.register(self.wakeups, select.POLLIN)
        self.exit_file = os.open(self.folder / "exit.json", flags, 0o600)
        me = Identity.of(os.getpid())
        self.save(supervisor=me.to_json() if me else None)

    def run(self) -> None:
        """Wait for the device, run, record."""
        os.pwrite(self.exit_file, b" " * EXIT_ROOM, 0)
        granted = self._wait_for_device()
        if granted is None:
            how = "killed" if self.asked == "kill" else "stopped"
            self._finish(Verdict(how, "ended on request while it waited for its device", None))
            return
        self.group = cgroup.make(self.spec["id"])
        self.oom = OomWatch(self.group)
        try:
            placement = place(self.spec["on"], granted.slots)
        except MissingError as error:
            self._finish(Verdict("failed", str(error), None))
            return
        self.save(
            state="starting",
            reason="",
            queue=None,
            group=str(self.group) if self.group else None,
            device=placement.label,
            started=time.time(),
            started_boottime=boottime(),
        )
        start = Start(
            argv=self.spec["argv"],
            env=self._environment(placement),
            cwd=self.spec["cwd"],
            log=self.folder / "output.log",
            exit_file=self.exit_file,
            cores=placement.cores,
            held=granted.descriptors,
            private=(self.lock,),
            group=self.group,
            grace=self.grace,
        )
        keeper_pid, report = fork_keeper(start)
        keeper = Identity.of(keeper_pid)
        message = json.loads(_read_line(report) or b"{}")
        if message.get("child"):
            self.save(
                state="running",
                keeper=keeper.to_json() if keeper else None,
                child=message["child"],
            )
            self.clerks.sync()
            self.clerks.provenance()
        self._watch(keeper, placement.gpus)

    def adopt(self) -> None:
        """Take over a run whose supervisor was killed."""
        group = self.spec.get("group")
        self.group = Path(group) if group else None
        self.oom = OomWatch(self.group)
        if self.spec["state"] == "stopping":
            self._ask("stop")
        self._watch(identity(self.spec, "keeper"), ())

    def save(self, **changes: Any) -> None:
        """Write run.json; what cannot be written now is tried again at every tick."""
        if changes.get("state", self.spec["state"]) != self.spec["state"]:
            with contextlib.suppress(OSError):
                log = self.folder / "events.jsonl"
                reason = changes.get("reason", "")
                events.append(log, "state", state=changes["state"], reason=reason)
        self.spec.update(changes)
        try:
            write_json(self.folder / "run.json", self.spec)
            self.unsaved = False
        except OSError:
            self.unsaved = True

    def _environment(self, placement: Placement) -> dict[str, str]:
        return {
            **os.environ,
            **placement.environment,
            RUN_FOLDER: str(self.folder),
            "PYTHONUNBUFFERED": "1",
        }

    def _wait_for_device(self) -> Granted | None:
        place = Place(self.home, self.spec["id"], Claim.from_json(self.spec["claim"]))
        try:
            while not self.asked:
                answer = place.try_take()
                if isinstance(answer, Granted):
                    return answer
                queue = {"place": answer.place, "reason": answer.reason}
                if queue != self.spec.get("queue"):
                    new = self.spec["state"] != "queued"
                    self.save(state="queued", queue=queue, reason=answer.reason)
                    if new:
                        self.clerks.sync()
                self._wait(QUEUE_SECONDS)
            return None
        finally:
            place.leave()

    def _watch(self, keeper: Identity | None, gpus: tuple[str, ...]) -> None:
        child = identity(self.spec, "child")
        intake, sampler = None, None
        if child:
            intake = Intake(self.folder, self.spec, keeper.pid if keeper else child.pid)
            sampler = Sampler(self.folder, keeper, child, gpus)
        while (keeper and keeper.alive()) or (child and child.alive()):
            self._wait(TICK_SECONDS)
            self._enforce(keeper, child)
            if intake and sampler:
                intake.take()
                sampler.tick()
            if self.unsaved:
                self.save()
        self._kill_orphans()
        if intake and sampler:
            intake.close()
            sampler.close()
        self._finish(self._verdict())

    def _enforce(self, keeper: Identity | None, child: Identity | None) -> None:
        """Carry on with what was asked: SIGTERM once, SIGKILL when the grace is over."""
        if not self.asked:
            return
        if self.spec["state"] != "stopping":
            asked = {"stop": "asked to stop", "kill": "asked to be killed"}[self.asked]
            self.save(state="stopping", reason=asked)
            self.clerks.sync()
            if self.asked == "stop" and child and child.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)
        running = child is not None and child.alive()
        if running and self.asked == "stop" and boottime() - self.asked_at > self.grace:
            self.asked = "force"
        if running and self.asked in ("force", "kill"):
            if keeper and keeper.alive():
                kill_all(keeper.pid, signal.SIGKILL)
            elif child:
                if self.group:
                    cgroup.kill(self.group)
                kill_all(child.pid, signal.SIGKILL)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)

    def _kill_orphans(self) -> None:
        """End what a killed keeper has left behind."""
        if self.group:
            cgroup.kill(self.group)
        while orphans := set(descendants(os.getpid())) - self.clerks.busy:
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._wait(0.05)
        self._reap()
        if self.group:
            cgroup.remove(self.group)

    def _verdict(self) -> Verdict:
        end = read_json(self.folder / "exit.json") or {}
        if "error" in end:
            return Verdict("failed", end["error"], None)
        status = end.get("status", self.child_status)
        if status is None:
            reason = "supervisor and keeper were both killed; the exit code is not known"
            return Verdict("lost", reason, None)
        ended = end.get("ended_boottime", boottime())
        waited = max(0.0, ended - self.asked_at) if self.asked else 0.0
        asked = self.asked if not self.asked or ended >= self.asked_at else ""
        verdict = judge(status, asked=asked, waited=waited, oom=self.oom.evidence())
        if verdict.state == "failed":
            why = self._last_words()
            return Verdict(
                "failed", f"{verdict.reason}: {why}" if why else verdict.reason, status >> 8
            )
        return verdict

    def _last_words(self) -> str:
        """Why the run says it failed: its last error event, or the last line it printed."""
        from traindeck.core.text import plain

        with contextlib.suppress(OSError):
            for line in reversed((self.folder / "events.jsonl").read_bytes().split(b"\n")):
                event = events.parse(line)
                if event and event["type"] == "error":
                    return plain(str(event["text"]))[:300]
        with contextlib.suppress(OSError), (self.folder / "output.log").open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            for printed in reversed(log.read().split(b"\n")):
                if printed.strip():
                    return plain(printed.decode("utf-8", "replace"))[:300]
        return ""

    def _finish(self, verdict: Verdict) -> None:
        end = read_json(self.folder / "exit.json") or {}
        started = self.spec.get("started_boottime")
        end.setdefault("ended", time.time())
        end.setdefault("seconds", boottime() - started if started else None)
        end.update(state=verdict.state, reason=verdict.reason, exit_code=verdict.exit_code)
        deadline = boottime() + RETRY_SECONDS
        while boottime() < deadline:
            try:
                os.pwrite(self.exit_file, encode_exit(end), 0)
                os.fsync(self.exit_file)
                break
            except OSError:  # a read-only disk may come back
                self._wait(1.0)
        self.save(
            state=verdict.state,
            reason=verdict.reason,
            exit_code=verdict.exit_code,
            ended=end["ended"],
            queue=None,
        )
        assert self.spec["state"] in ENDED
        self.clerks.sync()
        self.clerks.wait()

    def _ask(self, what: str) -> None:
        if not self.asked or what == "kill":
            self.asked = what
            self.asked_at = boottime()

    def _wait(self, seconds: float) -> None:
        """Sleep until something happens or the time is over, then see to signals and children."""
        self.poll.poll(seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self.wakeups, 4096):
                if number == signal.SIGTERM:
                    self._ask("stop")
                elif number == signal.SIGUSR1:
                    self._ask("kill")
        self._reap()

    def _reap(self) -> None:
        child = identity(self.spec, "child")
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if child and pid == child.pid:
                    self.child_status = status
                self.clerks.reaped(pid)


def _read_line(pipe: int) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        block = os.read(pipe, 4096)
        if not block:
            break
        data += block
    os.close(pipe)
    return data
