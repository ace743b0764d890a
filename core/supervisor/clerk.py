"""What takes long or needs libraries: done in forked children, so the supervisor stays small."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from traindeck.core.base.files import sweep_of
from traindeck.core.base.home import Home
from traindeck.core.privacy import AUDIT_FILE

WAIT_SECONDS = 60.0


class Clerks:
    """The supervisor's forked children and their work."""

    def __init__(self, home: Home, folder: Path, private: Callable[[], Iterable[int]]) -> None:
        self.home = home
        self.folder = folder
        self.private = private  # the supervisor's locks: not for its children
        self.busy: set[int] = set()
        self._later: list[Callable[[], None]] = []  # no process was to be had for these
        self._syncing: int | None = None
        self._sync_due = False

    def sync(self) -> None:
        """Bring the catalogue's document of this run up to date, one clerk at a time."""
        if self._syncing is not None:
            self._sync_due = True
            return

        def work() -> None:
            from traindeck.core.catalogue.store import Catalogue

            Catalogue(self.home).sync(self.folder)

        self._syncing = self._fork(work)
        self._sync_due = self._syncing is None

    def provenance(self) -> None:
        """Write down what was launched: source, git, interpreter, packages."""

        def work() -> None:
            from traindeck.core.devices.proctree import descendants
            from traindeck.core.run.provenance import record

            record(self.folder, descendants)

        self._start(work)

    def audit(self) -> None:
        """Measure what an ended run gave away, if it trained with canaries."""

        def work() -> None:
            from traindeck.core.audit import audit_run, claim_of, record
            from traindeck.core.catalogue.document import document
            from traindeck.core.run.folder import RunFolder

            doc = document(RunFolder(self.folder), metrics=False)
            if doc is not None:
                claim = claim_of(doc)
                record(self.home, doc, claim, audit_run(doc, claim))

        if os.path.exists(self.folder / "artifacts" / AUDIT_FILE):
            self._start(work)

    def tend(self) -> None:
        """Start what could not be started before."""
        if self._sync_due and self._syncing is None:
            self.sync()
        waiting, self._later = self._later, []
        for work in waiting:
            self._start(work)

    def reaped(self, pid: int, status: int) -> None:
        """Hear that a child has ended: of a clerk that was killed, its temporary files go."""
        if pid in self.busy and status:
            for folder in (self.folder, self.folder / "source", self.home.root):
                sweep_of(folder, pid)
        self.busy.discard(pid)
        if pid == self._syncing:
            self._syncing = None
            if self._sync_due:
                self.sync()

    def wait(self) -> None:
        """Wait until all are done."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._left() and time.monotonic() < deadline:
            self.tend()
            for pid in list(self.busy):
                status = 0
                with contextlib.suppress(ChildProcessError):
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    if not ended:
                        continue
                self.reaped(pid, status)
            time.sleep(0.01)

    def _left(self) -> bool:
        return bool(self.busy or self._later or self._sync_due)

    def _start(self, work: Callable[[], None]) -> None:
        if self._fork(work) is None:
            self._later.append(work)

    def _fork(self, work: Callable[[], None]) -> int | None:
        """The child's pid; None where no process can be had now, as at a limit of them."""
        try:
            pid = os.fork()
        except OSError:
            return None
        if pid:
            self.busy.add(pid)
            return pid
        code = 1
        try:
            for descriptor in self.private():
                os.close(descriptor)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            work()
            code = 0
        except Exception:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
