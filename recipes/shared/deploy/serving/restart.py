"""A server that crashed is started anew, with a pause that doubles."""

from __future__ import annotations

import subprocess
import sys
import time

from traindeck.core import track
from traindeck.core.base.errors import FAILED, MISSING, NOT_FOUND, USAGE
from traindeck.core.serving import ADDRESS

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_LOOK_SECONDS = 0.1
_NEVER_AGAIN = (USAGE, NOT_FOUND, MISSING)
"""What is wrong with these, a restart does not mend."""


def watch(run: track.Run, times: int) -> None:
    """Run this same command without `--restart` until it ends by itself, or is stopped.

    Ends the process as the server ended: after so many crashes, or at once where it cannot start.
    """
    words = [word for word in sys.argv[1:] if not word.startswith("--restart")]
    pause = _FIRST_PAUSE
    for left in range(times, -1, -1):
        child = subprocess.Popen([sys.executable, sys.argv[0], *words, "--restart=0"])
        code = _ended(run, child)
        # Whoever looks for the server finds none until the next one listens.
        ((run.folder or run.artifacts) / ADDRESS).unlink(missing_ok=True)
        if run.should_stop() or code == 0:
            return
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        if code in _NEVER_AGAIN or not left:
            track.abort(f"the server has ended: {how}", code if code > 0 else FAILED)
        run.note(f"the server has ended ({how}): started anew, {left - 1} times left")
        print(f"the server has ended ({how}): started anew in {pause:g} s", flush=True)
        _wait(run, pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        if run.should_stop():
            return


def _ended(run: track.Run, child: subprocess.Popen[bytes]) -> int:
    """The child's exit code; a stop is handed on to it."""
    told = False
    while (code := child.poll()) is None:
        if run.should_stop() and not told:
            told = True
            child.terminate()
        time.sleep(_LOOK_SECONDS)
    return code


def _wait(run: track.Run, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not run.should_stop():
        time.sleep(_LOOK_SECONDS)
