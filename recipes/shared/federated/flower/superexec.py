"""Flower's SuperExec, whose apps get their tokens by an open file. Runs where Flower runs.

Flower 1.41 writes an app's token on its command line, where every user of a machine can read it.
The app takes a file as well: here one in memory, which the app alone inherits (Linux).
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from flwr.supercore.cli import flower_superexec
from flwr.supercore.superexec.executor import subprocess_executor


class Subprocess:
    """What Flower's executor uses of the module `subprocess`."""

    DEVNULL = subprocess.DEVNULL

    @staticmethod
    def Popen(words: list[str], **how: Any) -> subprocess.Popen[bytes]:
        if "--token" not in words:
            return subprocess.Popen(words, **how)
        at = words.index("--token")
        token = os.memfd_create("token")
        try:
            os.write(token, words[at + 1].encode())
            words = [*words[:at], "--token-file", f"/proc/self/fd/{token}", *words[at + 2 :]]
            return subprocess.Popen(words, pass_fds=[token], **how)
        finally:
            os.close(token)


if __name__ == "__main__":
    if sys.platform == "linux":
        subprocess_executor.subprocess = Subprocess
    flower_superexec()
