"""Which Python a run's command is, from its words and from the processes that came of it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

MOST_SECONDS = 60.0
PAUSE_SECONDS = 0.02
MOST_PAUSE_SECONDS = 2.0
MOST_BYTES = 1 << 20
_PYTHON = re.compile(r"(python|pypy)[0-9.]*t?").fullmatch
_SHEBANG = re.compile(rb"#!\s*(\S+)(?:[ \t]+(?:-S[ \t]+)?(\S+))?").match
# What starts the command that stands behind it.
_BEFORE = re.compile(
    "chrt|env|ionice|nice|nohup|numactl|setsid|stdbuf|taskset|time|timeout"
).fullmatch
# What is written in Python and starts another one in an environment of its own.
_STARTERS = frozenset(("conda", "mamba", "poetry", "pipenv", "pdm", "hatch", "rye", "tox", "nox"))


def named(argv: Sequence[str], cwd: str, path: str | None = None) -> str | None:
    """The interpreter that these words start: themselves, by `env`, `nice` …, or by a shebang.

    None when none can be told by them alone, as of a shell script. `path` is the PATH that holds.
    """
    for number, word in enumerate(argv):
        if number and not _BEFORE(Path(argv[0]).name):
            return None
        found = shutil.which(os.path.join(cwd, word) if os.sep in word else word, path=path)
        if found is None:
            continue
        if Path(found).name in _STARTERS:
            return None
        if _PYTHON(Path(found).name):
            return found
        if python := _of_shebang(found, path):
            return python
    return None


def running(child: int, processes: Callable[[int], Iterable[int]]) -> str | None:
    """The first Python among a run's processes; waits for one, no longer than `child` lives.

    `processes` gives the ids of one's descendants, parents before their children. None where none
    comes within a minute, or where the system has no /proc.
    """
    deadline, pause = time.monotonic() + MOST_SECONDS, PAUSE_SECONDS
    with _ending(child) as ended:
        while time.monotonic() < deadline:
            for pid in (child, *processes(child)):
                with contextlib.suppress(OSError, ValueError):
                    if python := _python_of(Path(f"/proc/{pid}")):
                        return python
            if ended(pause):
                return None
            pause = min(pause * 1.5, MOST_PAUSE_SECONDS)
    return None


def _python_of(process: Path) -> str | None:
    """The interpreter of one process, by the name that it was started by."""
    program = os.readlink(process / "exe").removesuffix(" (deleted)")
    if not _PYTHON(Path(program).name):
        return None
    words = [os.fsdecode(word) for word in _read(process / "cmdline").split(b"\0")]
    if not words[0]:  # its exec is not over: the next look tells
        return None
    if any(Path(word).name in _STARTERS for word in words[1:3]):
        return None
    started = words[0]
    if os.sep in started:
        started = os.path.join(os.readlink(process / "cwd"), started)
    else:
        variables = _read(process / "environ").split(b"\0")
        path = next((each[5:] for each in variables if each.startswith(b"PATH=")), None)
        started = shutil.which(started, path=os.fsdecode(path) if path else None) or program
    return started if os.path.realpath(started) == os.path.realpath(program) else program


@contextlib.contextmanager
def _ending(pid: int) -> Iterator[Callable[[float], bool]]:
    """A function that waits so many seconds, or until a process has ended, and says whether."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not on this system, or it has ended
        yield lambda seconds: True
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        yield lambda seconds: bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _of_shebang(program: str, path: str | None) -> str | None:
    """The Python that a script is started by, if it names one in its first line."""
    try:
        with open(program, "rb") as file:
            match = _SHEBANG(file.read(512))
    except OSError:
        return None
    if match is None:
        return None
    words = [os.fsdecode(word) for word in match.groups() if word]
    if Path(words[0]).name == "env" and len(words) > 1:
        words = [shutil.which(words[1], path=path) or ""]
    return words[0] if _PYTHON(Path(words[0]).name) and shutil.which(words[0]) else None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES)
