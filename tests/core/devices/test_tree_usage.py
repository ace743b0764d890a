"""What a process tree used: nothing is counted twice, whoever spends it and whoever ends."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from tests.core.devices.trees import hear, linux, say, script, until
from traindeck.core.devices.proctree import TreeSampler

pytestmark = pytest.mark.slow

# Burns CPU in the way asked for, then prints the seconds it and its children used in doing so.
BURN = """
import os, resource, signal, sys, time
def used():
    mine, theirs = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def child(seconds):
    pid = os.fork()
    if not pid:
        burn(seconds)
        os._exit(0)
    return pid
for line in sys.stdin:
    before = used()
    if line == "self\\n":
        burn(0.6)
    elif line == "brief children\\n":
        for _ in range(12): os.waitpid(child(0.05), 0)
    elif line == "long child\\n":
        os.waitpid(child(0.6), 0)
    elif line == "left as a zombie\\n":
        zombie = child(0.6)
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
        print("zombie", flush=True)
        sys.stdin.readline()
        os.waitpid(zombie, 0)
    elif line == "grandchild\\n":
        middle = os.fork()
        if not middle:
            os.waitpid(child(0.6), 0)
            os._exit(0)
        os.waitpid(middle, 0)
    print(used() - before, flush=True)
"""


def seconds_seen(sampler: TreeSampler, process: subprocess.Popen[str], how: str) -> float:
    """CPU seconds the samples add up to while the script burns; checked against its own count."""
    last, seen = time.monotonic(), 0.0

    def look() -> None:
        nonlocal last, seen
        now = time.monotonic()
        if now - last > 0.11:
            seen += sampler.sample().cpu_percent / 100 * (now - last)
            last = now

    say(process, how)
    os.set_blocking(process.stdout.fileno(), False)  # type: ignore[union-attr]
    answer = ""
    while not answer:
        time.sleep(0.02)
        look()
        answer = hear(process)
        if answer == "zombie":
            for _ in range(15):  # what it used must not be counted again while it lies there
                time.sleep(0.02)
                look()
            say(process)
            answer = ""
    for _ in range(15):
        time.sleep(0.02)
        look()
    assert seen == pytest.approx(float(answer), abs=0.12)
    return seen


@linux
@pytest.mark.parametrize(
    "how", ["self", "brief children", "long child", "left as a zombie", "grandchild"]
)
def test_cpu_is_counted_once_whoever_spends_it(how: str) -> None:
    with script(BURN) as root:
        sampler = TreeSampler(root.pid)
        until(lambda: sampler.sample().processes == 1)
        time.sleep(0.3)
        sampler.sample()
        assert seconds_seen(sampler, root, how) > 0.4


@linux
def test_children_nobody_waits_for_never_make_it_negative() -> None:
    source = """
import os, signal, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    for _ in range(3):
        if not os.fork():
            end = time.process_time() + 0.3
            while time.process_time() < end: pass
            os._exit(0)
"""
    with script(source) as root:
        sampler = TreeSampler(root.pid)
        say(root)
        samples = []
        for _ in range(20):
            samples.append(sampler.sample())
            time.sleep(0.11)
    assert all(0 <= sample.cpu_percent < 120 * (os.cpu_count() or 1) for sample in samples)
    assert max(sample.cpu_percent for sample in samples) > 10


@linux
def test_shared_memory_is_counted_once() -> None:
    source = """
import os, sys
ballast = bytearray(os.urandom(1 << 20)) * 64
for _ in range(4):
    if not os.fork():
        sys.stdin.readline()
        os._exit(0)
print("ready", flush=True)
sys.stdin.readline()
"""
    with script(source) as root:
        hear(root)
        sampler = TreeSampler(root.pid)
        until(lambda: sampler.sample().processes == 5)
        usage = sampler.sample()
        assert usage.memory_kind == "pss"
        assert 60 << 20 < usage.memory_bytes < 200 << 20  # five resident sizes: more than 320 MiB


@linux
def test_memory_is_followed_between_two_readings_of_pss() -> None:
    source = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    kept = bytearray(b"x") * (96 << 20)
    print("grown", flush=True)
"""
    with script(source) as root:
        hear(root)
        sampler = TreeSampler(root.pid)
        before = sampler.sample().memory_bytes
        for member in sampler._members.values():
            member.pss_due = float("inf")
        say(root)
        hear(root)
        grown = sampler.sample().memory_bytes - before
        assert grown == pytest.approx(96 << 20, rel=0.1)


@linux
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make itself somebody else")
def test_where_pss_is_forbidden_memory_is_rss_and_says_so() -> None:
    with script("import sys; print('ready', flush=True); sys.stdin.readline()") as root:
        hear(root)
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setuid(65534)
                usage = TreeSampler(root.pid).sample()
                os.write(writable, f"{usage.memory_kind} {usage.memory_bytes}".encode())
                status = 0
            finally:
                os._exit(status)
        os.close(writable)
        kind, size = os.read(readable, 100).decode().split()
        os.close(readable)
        assert os.waitpid(pid, 0)[1] == 0
    assert kind == "rss"
    assert int(size) > 1 << 20


@linux
def test_storage_io_is_kept_when_the_writer_ends(tmp_path: Path) -> None:
    source = """
import os, sys
def written():
    return int(open("/proc/self/io").read().split("\\nwrite_bytes: ")[1].split()[0])
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        with open(sys.argv[1], "wb") as file:
            file.write(os.urandom(1 << 20) * 16)
            file.flush()
            os.fsync(file.fileno())
        print(written(), flush=True)
        sys.stdin.readline()
        os._exit(0)
    os.waitpid(pid, 0)
    print("reaped", flush=True)
"""
    with script(source, str(tmp_path / "file")) as root:
        hear(root)
        sampler = TreeSampler(root.pid)
        start = sampler.sample().write_bytes
        say(root)
        written = int(hear(root))
        during = sampler.sample().write_bytes
        say(root)
        assert hear(root) == "reaped"
        after = [sampler.sample().write_bytes for _ in range(3)]
    assert start is not None
    assert during == start + written
    assert after == [during] * 3


@linux
def test_threads_are_counted() -> None:
    source = """
import sys, threading
for _ in range(7): threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.readline()
"""
    with script(source) as root:
        hear(root)
        usage = TreeSampler(root.pid).sample()
        assert (usage.threads, usage.processes) == (8, 1)


@linux
def test_a_sample_of_fifty_processes_is_cheap() -> None:
    source = """
import os, sys
for _ in range(49):
    if not os.fork():
        sys.stdin.readline()
        os._exit(0)
print("ready", flush=True)
sys.stdin.readline()
"""
    with script(source) as root:
        hear(root)
        sampler = TreeSampler(root.pid)
        until(lambda: sampler.sample().processes == 50)
        for member in sampler._members.values():
            member.pss_due = float("inf")  # its cost is bounded by its own budget
        costs = []
        for _ in range(30):
            began = time.thread_time()
            sampler.sample()
            costs.append(time.thread_time() - began)
    assert statistics.median(costs) < 0.01  # 1 to 2 ms on a quiet machine
