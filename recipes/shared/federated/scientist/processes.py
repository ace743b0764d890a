"""The owners' processes, as the data scientist's holds them: one that they are all forked from."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from traindeck.recipes.shared.federated.errors import Failed
from traindeck.recipes.shared.federated.job.server import ENVIRONMENT

ENDING_SECONDS = 10.0  # for all of them together


class Processes:
    """The owners as far as their processes go, see `owner.warm`."""

    def __init__(self, warm: subprocess.Popen[bytes]) -> None:
        self._warm = warm
        self._unread = b""  # of its lines, one that has not come whole

    @classmethod
    def start(cls, modules: Sequence[str], log: IO[bytes]) -> Processes:
        """Load the modules that owners share, in an environment without our secrets."""
        words = [sys.executable, "-m", "traindeck.recipes.shared.federated.owner.warm", *modules]
        warm = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        )
        return cls(warm)

    def fork(self, policies: Sequence[Mapping[str, Any]]) -> None:
        """Have one process made for each policy. Raises Failed when none can be made any more."""
        assert self._warm.stdin is not None
        try:
            self._warm.stdin.write(json.dumps(policies).encode() + b"\n")
            self._warm.stdin.flush()
        except BrokenPipeError:
            code = self._warm.wait()
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            raise Failed(f"the process that owners are forked from {how}") from None

    def ended(self) -> Iterator[tuple[str, int]]:
        """Owners that have ended since this was asked, and how: negative for a signal.

        Raises EOFError after them when the process that they are forked from has ended too.
        """
        assert self._warm.stdout is not None
        while select.select([self._warm.stdout], [], [], 0)[0]:
            part = os.read(self._warm.stdout.fileno(), 1 << 16)
            if not part:
                raise EOFError
            *lines, self._unread = (self._unread + part).split(b"\n")
            for facts in map(json.loads, lines):
                yield facts["owner"], facts["exit"]

    def close(self) -> None:
        """End all of them: they end when nothing can be read from us any more."""
        assert self._warm.stdin is not None and self._warm.stdout is not None
        with contextlib.suppress(OSError):
            self._warm.stdin.close()
        try:
            self._warm.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._warm.kill()
            self._warm.wait()
        self._warm.stdout.close()
