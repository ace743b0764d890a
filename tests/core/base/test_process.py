"""A process is known by boot, pid and start: reuse, death and odd names do not fool it."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys

import psutil
import pytest

from tests.core.devices.trees import hear, say, script, until
from traindeck.core.base import process as procident
from traindeck.core.base.process import Identity, boot_id, start_ticks, stat_fields

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

NAMED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
print("ready", flush=True)
sys.stdin.readline()
"""

# The first thread leaves by the bare system call, which ends that thread alone.
HEADLESS = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.readline).start()
print("ready", flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[sys.argv[1]], 0)
"""


def test_this_process_is_alive() -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    assert me.alive()
    assert me.pid == os.getpid()
    assert me.boot_id == boot_id() != ""


@linux
def test_start_ticks_are_the_kernels() -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    since_boot = psutil.Process().create_time() - psutil.boot_time()
    assert ticks / os.sysconf("SC_CLK_TCK") == pytest.approx(since_boot, abs=2)


def test_a_zombie_is_dead() -> None:
    with script("import sys; print('ready', flush=True); sys.stdin.readline()") as process:
        hear(process)
        identity = Identity.of(process.pid)
        assert identity is not None
        assert identity.alive()
        say(process)
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert not identity.alive()
        assert start_ticks(process.pid) is None
        assert Identity.of(process.pid) is None
        process.wait()
        assert not identity.alive()


@linux
@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="a raw system call")
def test_a_process_that_lost_only_its_first_thread_is_alive() -> None:
    with script(HEADLESS, platform.machine()) as process:
        hear(process)
        until(lambda: (stat_fields(process.pid) or [b""])[0] == b"Z")
        assert start_ticks(process.pid) is not None
        say(process)
        until(lambda: start_ticks(process.pid) is None)


@linux
@pytest.mark.parametrize("name", ["a) R 1 (", ")))", "two\nlines", "S 1 2 3", "(", "\u202e名前"])
def test_no_process_name_fools_the_parser(name: str) -> None:
    with script(NAMED, name) as process:
        hear(process)
        fields = stat_fields(process.pid)
        assert fields is not None
        assert fields[0] in (b"S", b"R")
        assert int(fields[1]) == os.getpid()
        assert Identity.of(process.pid) is not None


def test_another_process_with_the_same_pid_is_not_it() -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    assert not dataclasses.replace(me, start_ticks=me.start_ticks + 1).alive()


def test_after_a_reboot_nothing_is_alive() -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    assert not dataclasses.replace(me, boot_id="another boot").alive()


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_pids_that_cannot_be(pid: int) -> None:
    assert start_ticks(pid) is None
    assert Identity.of(pid) is None


def test_json_round_trip() -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    assert Identity.from_json(me.to_json()) == me


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"boot_id": "b", "pid": 1},
        {"boot_id": "b", "pid": "1", "start_ticks": 2},
        {"boot_id": "b", "pid": True, "start_ticks": 2},
        {"boot_id": None, "pid": 1, "start_ticks": 2},
    ],
)
def test_damaged_json_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a process identity"):
        Identity.from_json(data)


def test_without_proc_psutil_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procident, "_LINUX", False)
    me = Identity.of(os.getpid())
    assert me is not None
    assert me.alive()
    assert Identity.of(2**22 + 1) is None
