"""The supervisor: one small process beside each run.

It waits for the run's device, starts the run through its keeper, samples it, stops it when asked
and writes down what became of it. It is the only writer of run.json. Being asked is a signal:
SIGTERM stops politely, SIGUSR1 kills at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Unpack, cast

from traindeck.core.base.environ import RUN_FOLDER
from traindeck.core.base.errors import OVER_BUDGET, MissingError
from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.devices.proctree import descendants
from traindeck.core.queue.placement import place
from traindeck.core.queue.slots import Claim, Granted, Place, Waiting
from traindeck.core.run import events
from traindeck.core.run.folder import EXIT_ROOM, encode_exit
from traindeck.core.run.spec import Course, Queue, Spec, identity
from traindeck.core.run.state import ENDED, Verdict, boottime, judge
from traindeck.core.supervisor import cgroup
from traindeck.core.supervisor.charge import Charge
from traindeck.core.supervisor.clerk import Clerks
from traindeck.core.supervisor.intake import Intake
from traindeck.core.supervisor.keeper import (
    Start,
    become_subreaper,
    fork_keeper,
    hear,
    kill_all,
    send,
)
from traindeck.core.supervisor.oom import OomWatch
from traindeck.core.supervisor.reporting import Reports
from traindeck.core.supervisor.sampling import Sampler
from traindeck.core.supervisor.settling import give_back
from traindeck.core.supervisor.traces import last_sign, last_words, refused

QUEUE_SECONDS = 0.25
QUEUE_SECONDS_MOST = 5.0
TICK_SECONDS = 0.25
BUSY_TICK_SECONDS = 0.02  # while more is written than one tick reads
NOT_OURS = "it became another user's process and cannot be signalled"
RETRY_SECONDS = 24 * 3600.0


class Supervisor:
    """Runs in its own process; `run` returns when all is recorded."""

    def __init__(self, charge: Charge) -> None:
        self.folder = charge.folder
        self.home = Home(charge.folder.parent.parent)
        self.spec = charge.spec
        self.grace = charge.spec["grace"]
        self.before = charge.before
        self.lock = charge.lock
        self.exit_file = charge.exit_file
        self.clerks = Clerks(self.home, self.folder, self._private)
        self.group: Path | None = None
        self.held: tuple[int, ...] = ()
        self.place: Place | None = None
        self.left: list[int] = []
        self.adopted = False
        self.asked = ""
        self.asked_at = 0.0
        self.unsaved = False
        self.reports = Reports(charge.folder)
        self.child_status: int | None = None
        self.wakeups, self._wakeup_writer = os.pipe()
        self.poll = select.poll()

    def register(self) -> None:
        """Listen to requests, then tell who we are. Raises OSError when nobody could be told."""
        become_subreaper()
        for end in (self.wakeups, self._wakeup_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.poll.register(self.wakeups, select.POLLIN)
        me = Identity.of(os.getpid())
        self.spec["supervisor"] = me.to_json() if me else None
        write_json(self.folder / "run.json", self.spec)

    def supervise(self, work: Callable[[], None]) -> None:
        """Do `run` or `adopt`; whatever goes wrong in it, the run ends with that as its reason."""
        try:
            work()
        except Exception as error:
            traceback.print_exc()
            self._attend(error)

    def _attend(self, error: Exception) -> None:
        """See a run to its end, and record it, without anything else: `error` came up in that."""
        keeper, child = identity(self.spec, "keeper"), identity(self.spec, "child")
        while (keeper and keeper.alive()) or (child and child.alive()):
            self._wait(TICK_SECONDS)
            self._enforce(keeper, child)
        self._kill_orphans()
        end = read_json(self.folder / "exit.json") or {}
        known = "status" in end or self.child_status is not None
        why = f"its supervisor failed: {error!r}"
        if "state" in end:
            self._finish(Verdict(end["state"], end.get("reason", ""), end.get("exit_code")))
            return
        oom = OomWatch(self.group)
        self._finish(self._verdict(oom) if known else Verdict("failed", why, None))

    def run(self) -> None:
        """Wait for the device, run, record."""
        os.pwrite(self.exit_file, b" " * EXIT_ROOM, 0)
        granted = self._wait_for_device()
        if granted is None:
            how = "killed" if self.asked == "kill" else "stopped"
            self._finish(Verdict(how, "ended on request while it waited for its device", None))
            return
        self.held = granted.descriptors
        self.group = cgroup.make(self.spec["id"])
        oom = OomWatch(self.group)
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
            oom_kills=oom.before,
            device=placement.label,
            gpus=list(placement.gpus),
            started=time.time(),
            started_boottime=boottime(),
        )
        start = Start(
            argv=self.spec["argv"],
            env={
                **os.environ,
                **placement.environment,
                RUN_FOLDER: str(self.folder),
                "PYTHONUNBUFFERED": "1",
            },
            cwd=self.spec["cwd"],
            log=self.folder / "output.log",
            exit_file=self.exit_file,
            cores=placement.cores,
            held=granted.descriptors,
            private=(self.lock,),
            group=self.group,
            grace=self.grace,
        )
        keeper, report = fork_keeper(start)
        message = hear(report)
        if message.get("child"):
            self.save(
                state="running",
                keeper=keeper.to_json(),
                child=message["child"],
            )
            self.clerks.sync()
            self.clerks.provenance()
        self._watch(keeper, placement.gpus, oom)
        self._finish(self._verdict(oom))

    def adopt(self) -> None:
        """Take over a run whose supervisor was killed."""
        self.adopted = True
        group = self.spec.get("group")
        self.group = Path(group) if group else None
        oom = OomWatch(self.group, self.spec.get("oom_kills"))
        asked = self.spec["state"] == "stopping"
        if asked:
            self._ask("stop")
        ended = self.before.state in ENDED
        self._watch(identity(self.spec, "keeper"), tuple(self.spec.get("gpus") or ()), oom)
        verdict = self._verdict(oom)
        telling = verdict.state in ("out_of_memory", "over_budget") and not asked
        self._finish(self.before if ended and not telling else verdict)

    def save(self, **changes: Unpack[Course]) -> None:
        """Write run.json; what cannot be written now is tried again whenever we have waited."""
        if changes["state"] != self.spec["state"]:
            with contextlib.suppress(OSError):
                log = self.folder / "events.jsonl"
                reason = changes.get("reason", "")
                events.append(log, "state", state=changes["state"], reason=reason)
        self.spec.update(cast("Spec", changes))
        self._write()

    def _write(self) -> None:
        try:
            write_json(self.folder / "run.json", self.spec)
            self.unsaved = False
        except OSError:
            self.unsaved = True

    def _wait_for_device(self) -> Granted | None:
        place = Place(self.home, self.spec["id"], Claim.from_json(self.spec["claim"]))
        self.place = place
        try:
            while not self.asked:
                try:
                    answer = place.try_take()
                except OSError as error:  # a disk that is full or away may come back
                    answer = Waiting(0, f"the queue cannot be read: {error.strerror}")
                if isinstance(answer, Granted):
                    return answer
                queue = Queue(place=answer.place, reason=answer.reason)
                if queue != self.spec.get("queue"):
                    new = self.spec["state"] != "queued"
                    self.save(state="queued", queue=queue, reason=answer.reason)
                    if new:
                        self.clerks.sync()
                # Who is far back asks less often: looking costs as much as there are before us.
                self._wait(min(QUEUE_SECONDS * max(answer.place, 1), QUEUE_SECONDS_MOST))
            return None
        finally:
            place.leave()

    def _watch(self, keeper: Identity | None, gpus: tuple[str, ...], oom: OomWatch) -> None:
        child = identity(self.spec, "child")
        intake, sampler = None, None
        if child:
            root = keeper.pid if keeper else child.pid
            make = partial(Intake, self.folder, self.spec, root, child.pid)
            intake = self.reports.do("metrics", make, None)
            sampler = self.reports.do(
                "samples", partial(Sampler, self.folder, keeper, child, gpus), None
            )
        pause = TICK_SECONDS
        while (keeper and keeper.alive()) or (child and child.alive()):
            self._wait(pause)
            self._enforce(keeper, child)
            pause = TICK_SECONDS
            if intake:
                began = time.monotonic()
                if self.reports.do("metrics", intake.take, False):  # read on soon, half of the time
                    took = time.monotonic() - began
                    pause = min(max(took, BUSY_TICK_SECONDS), TICK_SECONDS)
            if sampler:
                self.reports.do("samples", sampler.tick, None)
            self.reports.do("out-of-memory kills", oom.tick, None)
        self._kill_orphans()
        self._free_device()  # before what is left is read, which may take long
        if intake:
            self.reports.do("metrics", intake.close, None)
        if sampler:
            self.reports.do("samples", sampler.close, None)

    def _enforce(self, keeper: Identity | None, child: Identity | None) -> None:
        """Carry on with what was asked: SIGTERM once, SIGKILL when the grace is over."""
        if not self.asked:
            return
        if self.spec["state"] != "stopping":
            reason = {"stop": "asked to stop", "kill": "asked to be killed"}[self.asked]
            number = signal.SIGTERM if self.asked == "stop" else 0
            if child and child.alive() and not send(child.pid, number):
                reason = f"{reason}; {NOT_OURS}"
            self.save(state="stopping", reason=reason)
            self.clerks.sync()
        running = child is not None and child.alive()
        if running and self.asked == "stop" and boottime() - self.asked_at > self.grace:
            self.asked = "force"
        if self.asked in ("force", "kill"):
            if keeper and keeper.alive():
                kill_all(keeper.pid, signal.SIGKILL)
            elif child:
                if self.group:
                    cgroup.kill(self.group)
                kill_all(child.pid, signal.SIGKILL)
                send(child.pid, signal.SIGKILL)

    def _kill_orphans(self) -> None:
        """End what a killed keeper has left behind, or what it was not allowed to end."""
        if self.group:
            cgroup.kill(self.group)
        while orphans := set(descendants(os.getpid())) - self.clerks.family():
            self.left = sorted(pid for pid in orphans if not send(pid, signal.SIGKILL))
            if len(self.left) == len(orphans):
                break
            self._wait(0.05)
        else:
            self.left = []
        self._reap()
        if self.group:
            cgroup.remove(self.group)

    def _verdict(self, oom: OomWatch) -> Verdict:
        end = read_json(self.folder / "exit.json") or {}
        if "error" in end:
            return Verdict("failed", end["error"], None)
        status = end.get("status", self.child_status)
        if status is None:
            who = "supervisor and keeper were both" if self.adopted else "its keeper was"
            return Verdict("lost", f"{who} killed; the exit code is not known", None)
        ended = end.get("ended_boottime", boottime())
        waited = max(0.0, ended - self.asked_at) if self.asked else 0.0
        asked = self.asked if not self.asked or ended >= self.asked_at else ""
        verdict = judge(status, asked=asked, waited=waited, oom=oom.evidence())
        if verdict.exit_code == OVER_BUDGET and refused(self.folder):
            return Verdict("over_budget", last_words(self.folder), OVER_BUDGET)
        if verdict.state == "failed":
            why = last_words(self.folder)
            return Verdict(
                "failed", f"{verdict.reason}: {why}" if why else verdict.reason, status >> 8
            )
        return verdict

    def _finish(self, verdict: Verdict) -> None:
        self._free_device()
        end = read_json(self.folder / "exit.json") or {}
        if verdict.state == "lost":
            end.setdefault("ended", last_sign(self.folder) or self.spec["created"])
            end.setdefault("seconds", None)
        started = self.spec.get("started_boottime")
        end.setdefault("ended", time.time())
        end.setdefault("seconds", boottime() - started if started else None)
        reason = verdict.reason
        if self.left:
            pids = ", ".join(map(str, self.left))
            reason = f"{reason}; left behind: {pids} ({NOT_OURS})".removeprefix("; ")
        end.update(state=verdict.state, reason=reason, exit_code=verdict.exit_code)
        self.clerks.audit()
        self.clerks.wait()
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
            reason=reason,
            exit_code=verdict.exit_code,
            ended=end["ended"],
            queue=None,
        )
        assert self.spec["state"] in ENDED
        give_back(self.home, self.folder, self.spec, verdict.state)
        self.clerks.sync()
        self.clerks.wait()

    def _free_device(self) -> None:
        for descriptor in self.held:
            os.close(descriptor)
        self.held = ()

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
        self.clerks.tend()
        if self.unsaved:
            self._write()

    def _private(self) -> tuple[int, ...]:
        """Descriptors that no clerk may keep: our lock, our place and the run's device."""
        entry = self.place.entry if self.place else None
        return (self.lock, self.exit_file, *self.held, *(() if entry is None else (entry,)))

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
