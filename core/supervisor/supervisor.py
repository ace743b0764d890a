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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Unpack, cast

from traindeck.core.base.environ import RUN_FOLDER
from traindeck.core.base.errors import MissingError
from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.devices.family import family
from traindeck.core.engines.leftovers import end_left_over
from traindeck.core.queue.placement import place
from traindeck.core.queue.slots import Claim, Granted, Place, Waiting
from traindeck.core.run import events
from traindeck.core.run.folder import EXIT_ROOM
from traindeck.core.run.spec import Course, Queue, Spec, identity
from traindeck.core.run.state import ENDED, Verdict, boottime
from traindeck.core.supervisor import cgroup
from traindeck.core.supervisor.charge import Charge
from traindeck.core.supervisor.clerk import Clerks
from traindeck.core.supervisor.concluding import conclude
from traindeck.core.supervisor.intake import Intake
from traindeck.core.supervisor.keeper import (
    KILLED_SECONDS,
    Report,
    Start,
    become_subreaper,
    begin,
)
from traindeck.core.supervisor.kept import kept_command
from traindeck.core.supervisor.oom import OomWatch
from traindeck.core.supervisor.output import Output
from traindeck.core.supervisor.recording import write_end
from traindeck.core.supervisor.reporting import Reports, tell_trouble
from traindeck.core.supervisor.sampling import Sampler
from traindeck.core.supervisor.sending import send
from traindeck.core.supervisor.settling import give_back
from traindeck.core.supervisor.stopping import Request
from traindeck.core.supervisor.traces import last_sign

QUEUE_SECONDS = 0.25
QUEUE_SECONDS_MOST = 5.0
TICK_SECONDS = 0.25
BUSY_TICK_SECONDS = 0.02  # while more is written than one tick reads
NOT_OURS = "it became another user's process and cannot be signalled"
KEEPER_SECONDS = 120.0  # over the grace, that a keeper may take to sweep and to record


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
        self.barred = True
        self.adopted = False
        self.request = Request(self.grace, is_command=self.spec.get("recipe") is None)
        self.unsaved = False
        self.reports = Reports(charge.folder)
        self.child_status: int | None = None
        self.report: Report | None = None
        self.told: dict[str, Any] = {}
        self.over_at = 0.0
        self.unread: Callable[[], None] | None = None
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
            tell_trouble()
            self._attend(error)

    def _attend(self, error: Exception) -> None:
        """See a run to its end, and record it, without anything else: `error` came up in that."""
        keeper, child = identity(self.spec, "keeper"), identity(self.spec, "child")
        while self._goes_on(keeper, child):
            self._wait(TICK_SECONDS)
            self._enforce(keeper, child)
        self._kill_orphans()
        end = self._end()
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
            how = "killed" if self.request.asked == "kill" else "stopped"
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
            argv=kept_command(self.folder, self.spec),
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
        keeper, self.report, message = begin(start)
        if message.get("child"):
            self.save(
                state="running",
                keeper=keeper.to_json(),
                scribe=message["scribe"],
                pipe=message["pipe"],
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
            self.request.ask("stop")
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
            while not self.request.asked:
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
        output = Output(self.folder, self.spec)
        intake, sampler = None, None
        if child:
            make = partial(Intake, self.folder, self.spec, (keeper or child).pid, child.pid)
            intake = self.reports.do("metrics", make, None)
            sample = partial(Sampler, self.folder, keeper, child, gpus)
            sampler = self.reports.do("samples", sample, None)
        pause = TICK_SECONDS
        while self._goes_on(keeper, child):
            self._wait(pause)
            self._enforce(keeper, child)
            output.tend(keeper)
            pause = TICK_SECONDS
            began = time.monotonic()
            if intake and self.reports.do("metrics", intake.take, False):  # half of the time
                pause = min(max(time.monotonic() - began, BUSY_TICK_SECONDS), TICK_SECONDS)
            if sampler:
                self.reports.do("samples", sampler.tick, None)
            self.reports.do("out-of-memory kills", oom.tick, None)
        self._kill_orphans()
        output.end()
        self._free_device()  # before what is left is read, which may take long
        if intake:
            well = not self.request.asked and self._end().get("status", self.child_status) == 0
            end = partial(intake.end, lambda: self._wait(0), lambda: self.request.asked, well=well)
            self.unread = self.reports.do("metrics", end, None)
        if sampler:
            self.reports.do("samples", sampler.close, None)

    def _goes_on(self, keeper: Identity | None, child: Identity | None) -> bool:
        """Whether there is something to wait for: not for ever for a keeper that cannot end."""
        if child and child.alive():
            return True
        if not (keeper and keeper.alive()):
            return False
        self.over_at = self.over_at or boottime()
        late = boottime() - self.over_at > self.grace + KEEPER_SECONDS
        if late:
            keeper.send(signal.SIGKILL)
        return not late

    def _end(self) -> dict[str, Any]:
        """How the run ended, as its keeper has said and written."""
        if self.report and not self.told:
            self.told = self.report.hear()
        return {**self.told, **(read_json(self.folder / "exit.json") or {})}

    def _enforce(self, keeper: Identity | None, child: Identity | None) -> None:
        """Carry on with what was asked: SIGTERM, SIGKILL when the grace is over."""
        if not self.request.asked:
            return
        allowed = self.request.enforce(keeper, child, self.group)
        if self.spec["state"] != "stopping":
            reason = "asked to be killed" if self.request.asked == "kill" else "asked to stop"
            self.save(state="stopping", reason=reason if allowed else f"{reason}; {NOT_OURS}")
            self.clerks.sync()

    def _kill_orphans(self) -> None:
        """End what a killed keeper has left behind, or what it was not allowed to end."""
        if self.group:
            cgroup.kill(self.group)
        deadline = time.monotonic() + KILLED_SECONDS
        while orphans := family(os.getpid()):
            self.left = sorted(pid for pid in orphans if not send(pid, signal.SIGKILL))
            self.barred = len(self.left) == len(orphans)
            if self.barred or time.monotonic() > deadline:
                self.left = sorted(orphans)
                break
            self._wait(0.05)
        else:
            self.left = []
        if self.adopted:
            end_left_over(self.folder)
        self._reap()
        if self.group:
            cgroup.remove(self.group)

    def _verdict(self, oom: OomWatch) -> Verdict:
        return conclude(
            self.folder,
            self._end(),
            self.child_status,
            request=self.request,
            oom=oom,
            adopted=self.adopted,
        )

    def _finish(self, verdict: Verdict) -> None:
        self._free_device()
        end = self._end()
        if verdict.state == "lost":
            end.setdefault("ended", last_sign(self.folder) or self.spec["created"])
            end.setdefault("seconds", None)
        started = self.spec.get("started_boottime")
        end.setdefault("ended", time.time())
        end.setdefault("seconds", boottime() - started if started else None)
        reason = verdict.reason
        if self.left:
            pids = ", ".join(map(str, self.left))
            why = NOT_OURS if self.barred else "killed, and still waiting for a disk or device"
            reason = f"{reason}; left behind: {pids} ({why})".removeprefix("; ")
        end.update(state=verdict.state, reason=reason, exit_code=verdict.exit_code)
        self.clerks.audit()
        self.clerks.wait()
        write_end(self.exit_file, end, verdict, self._wait)
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
        if self.unread:
            self.reports.do("metrics", self.unread, None)
            self.clerks.sync()
        self.clerks.wait()

    def _free_device(self) -> None:
        for descriptor in self.held:
            os.close(descriptor)
        self.held = ()

    def _wait(self, seconds: float) -> None:
        """Sleep until something happens or the time is over, then see to signals and children."""
        self.poll.poll(seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self.wakeups, 4096):
                if number == signal.SIGTERM:
                    self.request.ask("stop")
                elif number == signal.SIGUSR1:
                    self.request.ask("kill")
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
                self.clerks.reaped(pid, status)
