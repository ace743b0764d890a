"""Real processes for the tests to look at, and ways to wait for them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import psutil
import pytest

T = TypeVar("T")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# A child, a grandchild that left the session, and a child started by a thread.
FAMILY = """
import subprocess, sys, threading
children = [subprocess.Popen(["sh", "-c", "setsid sleep 600 & wait"])]
def start():
    children.append(subprocess.Popen(["sleep", "600"]))
    waiting.wait()
waiting = threading.Event()
threading.Thread(target=start, daemon=True).start()
while len(children) < 2: pass
print("ready", flush=True)
sys.stdin.readline()
"""


def until(condition: Callable[[], T], seconds: float = 30.0) -> T:
    """Poll until the condition holds; fail the test if it does not in good time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(0.02)


@contextlib.contextmanager
def script(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process in a session of its own; it and all it started are killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            family = []
            with contextlib.suppress(psutil.NoSuchProcess):
                family = psutil.Process(process.pid).children(recursive=True)
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            process.kill()


def say(process: subprocess.Popen[str], line: str = "go") -> None:
    """Send the script a line."""
    assert process.stdin
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """The script's next line."""
    assert process.stdout
    return process.stdout.readline().strip()
