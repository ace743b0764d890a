"""Starting a supervisor: its interpreter can start while its run is still being prepared."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.environ import DEVICE, RUN_FOLDER, SUPERVISOR
from traindeck.core.base.installed import package_folder

if TYPE_CHECKING:
    from traindeck.core.engines.base import Mode

_ENTRY = (
    "import sys; sys.path[:] = sys.argv[1].split(':');"
    "from traindeck.core.supervisor.main import main; main()"
)


class Boot:
    """A supervisor's first process: it imports what it needs, then waits to be told its run.

    One that is told nothing ends with its launcher. Raises OSError when it cannot be started.
    """

    def __init__(self) -> None:
        paths = [str(package_folder().parent), *(path for path in sys.path if path)]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it has its run
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _ENTRY, ":".join(paths)],
                stdin=subprocess.PIPE,
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        except BlockingIOError as error:
            self._said.close()
            why = "no further process can be started (`ulimit -u`, or a container's limit)"
            raise OSError(error.errno, why) from None

    def supervise(self, folder: Path, mode: Mode) -> None:
        """Give it a run to `start`, or to `adopt` from a supervisor that was killed.

        Returns when it has written its identity, or an adopted run has another supervisor by now.
        Raises OSError when that failed.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as orders:
            orders.write(os.fsencode(folder) + b"\0" + mode.encode())
        with self._said as said:
            ended = self._process.wait()
            said.seek(0)
            why = said.read()[-500:].decode("utf-8", "replace").strip()
            if ended and (mode == "start" or why):
                raise OSError(0, f"its supervisor did not start: {why}")


def _environment() -> dict[str, str]:
    """Ours, without what is said to a run: a run may be started from within another."""
    ours = {name: value for name, value in os.environ.items() if name not in (RUN_FOLDER, DEVICE)}
    return {**ours, SUPERVISOR: "1"}
