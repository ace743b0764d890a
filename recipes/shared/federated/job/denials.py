"""What a job asked of the kernel and was denied: noted for its owner, and answered with no.

The kernel asks whoever holds the listener of a job's filter, `syscalls`, by seccomp_unotify(2). The
answer is always no, so nothing hangs on what the job does to its memory meanwhile.
"""

from __future__ import annotations

import fcntl
import platform
import struct
from collections import Counter
from collections.abc import Callable

from traindeck.recipes.shared.federated.job import syscalls
from traindeck.recipes.shared.federated.job.calls import numbers

_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101  # ioctls of a listener
_ASKED = struct.Struct("<QIIiIQ6Q")  # struct seccomp_notif
_SAID = struct.Struct("<QqiI")  # struct seccomp_notif_resp


class Denials:
    """Answers a listener, and says each kind of call once and how often it came at the end."""

    def __init__(self, listener: int, say: Callable[[str], None]) -> None:
        self._listener = listener
        self._say = say
        self._names = {n: name for name, n in numbers(platform.machine()).items()}
        self._counts: Counter[str] = Counter()

    def answer(self) -> None:
        """Deny the call that waits, if it still does."""
        asked = bytearray(_ASKED.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, asked)
            number, _, _, call, _, _, *arguments = _ASKED.unpack(asked)
            name = self._names.get(call, f"call {call}")
            error = syscalls.error_of(name)
            fcntl.ioctl(self._listener, _ANSWER, _SAID.pack(number, 0, -error, 0))
        except OSError:  # whoever asked has gone
            return
        self._counts[name] += 1
        if self._counts[name] == 1:
            self._say(f"denied {name}({', '.join(f'{each:#x}' for each in arguments[:4])})")

    def end(self) -> None:
        """Say how often each was denied."""
        if self._counts:
            counts = (f"{name} {count}" for name, count in sorted(self._counts.items()))
            self._say(f"denied in all: {', '.join(counts)}")
