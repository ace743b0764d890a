"""Process trees: nobody of the family is missed, and no stranger is counted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.devices.trees import FAMILY, hear, linux, script, until
from traindeck.core.devices import proctree, proctree_portable
from traindeck.core.devices.proctree import TreeSampler, descendants
from traindeck.core.devices.tree_usage import TreeUsage


def names(pids: list[int]) -> list[str]:
    return sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids)


@linux
def test_descendants_across_sessions_and_threads() -> None:
    with script(FAMILY) as root:
        hear(root)
        until(lambda: names(descendants(root.pid)) == ["sh", "sleep", "sleep"])
        family = descendants(root.pid)
        assert os.getpid() not in descendants(root.pid)
        assert set(family) <= set(descendants(os.getpid()))
        for pid in family:
            os.kill(pid, 9)
        until(lambda: descendants(root.pid) == [])  # zombies by now: the root does not reap


def test_descendants_of_nobody() -> None:
    assert descendants(2**22 + 1) == []


@linux
@pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(),
    reason="this kernel lacks CONFIG_PROC_CHILDREN",
)
def test_both_ways_to_the_descendants_agree() -> None:
    with script(FAMILY) as root:
        hear(root)
        until(lambda: len(descendants(root.pid)) == 3)
        by_files = proctree._from_children_files(root.pid)
        assert by_files is not None
        assert sorted(by_files) == sorted(proctree._from_all_parents(root.pid))


@linux
def test_a_supervisor_counts_adopted_orphans_but_not_itself() -> None:
    source = """
import ctypes, json, os, subprocess, sys, time
from dataclasses import asdict
from traindeck.core.devices.proctree import TreeSampler, descendants
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
ballast = b"x" * (64 << 20)
sampler = TreeSampler(os.getpid(), include_root=False)
sampler.sample()
subprocess.run(["sh", "-c", "setsid sh -c 'setsid sleep 600 & exit' & exit"])
def names():
    try: return [open(f"/proc/{pid}/comm").read() for pid in descendants(os.getpid())]
    except OSError: return []
while names() != ["sleep\\n"]: time.sleep(0.02)
print(json.dumps(asdict(sampler.sample())), flush=True)
sys.stdin.readline()
"""
    with script(source) as root:
        usage = TreeUsage(**json.loads(hear(root)))
        assert usage.processes == 1
        assert usage.threads == 1
        assert usage.memory_bytes < 32 << 20


@linux
@pytest.mark.slow
def test_large_trees_need_no_more_open_files() -> None:
    source = """
import os, sys
for _ in range(99):
    if not os.fork():
        sys.stdin.readline()
        os._exit(0)
print("ready", flush=True)
sys.stdin.readline()
"""

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    with script(source) as root:
        hear(root)
        before = open_files()
        sampler = TreeSampler(root.pid)
        until(lambda: sampler.sample().processes == 100)
        assert sampler.sample().threads == 100
        assert open_files() - before == 2 * proctree._KEPT_OPEN
    until(lambda: sampler.sample() and open_files() < before)  # its two pipes are closed too


def test_a_tree_that_is_gone_is_all_zeros() -> None:
    with script("import sys; sys.stdin.readline()") as root:
        sampler = TreeSampler(root.pid)
        assert sampler.sample().processes == 1
    usage = sampler.sample()
    assert (usage.processes, usage.threads, usage.memory_bytes) == (0, 0, 0)
    assert TreeSampler(2**22 + 1).sample().cpu_percent == 0


@linux
def test_a_reused_pid_is_a_stranger() -> None:
    """In a pid namespace of its own a test may say which pid is handed out next."""
    source = """
import subprocess, time
from traindeck.core.devices.proctree import TreeSampler
from traindeck.core.base.process import Identity
first = subprocess.Popen(["sleep", "600"])
sampler, identity = TreeSampler(first.pid), Identity.of(first.pid)
assert sampler.sample().processes == 1 and identity.alive()
first.kill()
first.wait()
time.sleep(0.1)
with open("/proc/sys/kernel/ns_last_pid", "w") as last: last.write(str(first.pid - 1))
second = subprocess.Popen(["sleep", "600"])
print(second.pid == first.pid, identity.alive(), [sampler.sample().processes for _ in range(3)])
second.kill()
"""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"]).returncode:
        pytest.skip("a pid namespace of its own needs unshare and the right to use it")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", source], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("True False [0, 0, 0]\n", "")


@linux
def test_a_newcomer_is_taken_in_and_strangers_are_not() -> None:
    with script(FAMILY) as root, script(FAMILY) as stranger:
        sampler = TreeSampler(root.pid)
        hear(root)
        hear(stranger)
        until(lambda: len(descendants(stranger.pid)) == 3 and sampler.sample().processes == 4)
        for _ in range(2 * proctree._RECHECK):
            assert sampler.sample().processes == 4


def test_without_proc_psutil_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proctree, "_LINUX", False)
    with script(FAMILY) as root:
        hear(root)
        until(lambda: len(descendants(root.pid)) == 3)
        sampler = TreeSampler(root.pid)
        usage = sampler.sample()
        assert (usage.memory_kind, usage.processes) == ("rss", 4)
        assert usage.read_bytes is None
        alone = TreeSampler(root.pid, include_root=False).sample()
        assert alone.processes == 3
    assert sampler.sample().processes == 0
    assert proctree_portable.descendants(2**22 + 1) == []
