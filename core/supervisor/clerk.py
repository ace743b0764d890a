"""What takes long or needs libraries: done in forked children, so the supervisor stays small."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from traindeck.core.home import Home

WAIT_SECONDS = 60.0


class Clerks:
    """The supervisor's forked children and their work."""

    def __init__(self, home: Home, folder: Path, private: int) -> None:
        self.home = home
        self.folder = folder
        self.private = private  # the supervisor's lock: not for its children
        self.busy: set[int] = set()

    def sync(self) -> None:
        """Bring the catalogue's document of this run up to date."""

        def work() -> None:
            from traindeck.core.catalogue import Catalogue

            Catalogue(self.home).sync(self.folder)

        self._fork(work)

    def provenance(self) -> None:
        """Write down what was launched: source, git, packages."""

        def work() -> None:
            from traindeck.core.provenance import record

            record(self.folder)

        self._fork(work)

    def reaped(self, pid: int) -> None:
        self.busy.discard(pid)

    def wait(self) -> None:
        """Wait until all are done."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.busy and time.monotonic() < deadline:
            for pid in list(self.busy):
                with contextlib.suppress(ChildProcessError):
                    if os.waitpid(pid, os.WNOHANG)[0] == 0:
                        continue
                self.busy.discard(pid)
            time.sleep(0.01)

    def _fork(self, work: Callable[[], None]) -> None:
        pid = os.fork()
        if pid:
            self.busy.add(pid)
            return
        code = 1
        try:
            os.close(self.private)
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
