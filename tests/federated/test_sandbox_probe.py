"""What a hostile script asks for it does not get; where a kernel lacks a wall its owner is told."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from tests.federated import sandbox_probes
from tests.federated.sandbox_probes import LACKING, Probed
from tests.federated.sandboxed import IN_SESSION, run
from traindeck.recipes.shared.federated.job import allowed, sandbox, syscalls
from traindeck.recipes.shared.federated.job.calls import numbers

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="no filter of system calls here",
)


@pytest.fixture(scope="module", params=LACKING)
def probed(request: pytest.FixtureRequest) -> Probed:
    if not sandbox_probes.possible(request.param):
        pytest.skip("this needs root")
    return sandbox_probes.probe(request.param)


def test_all_that_reaches_past_a_job_is_denied_or_named(probed: Probed) -> None:
    assert len(probed.answers) > 200
    assert probed.unnamed == []
    assert probed.alive, "the owner's other process"


def test_calls_are_denied_whatever_else_a_kernel_lacks(probed: Probed) -> None:
    kinds = ("queues", "keyrings", "the kernel", "mounts", "users", "sockets")
    assert [each for each in probed.granted if each[0].startswith(kinds)] == []


def test_what_was_denied_is_in_the_owners_log(probed: Probed) -> None:
    if not probed.report["noted"]:
        pytest.skip(probed.words)
    assert "sandbox: denied shmget(0x7d07, 0x1000, 0x3ff" in probed.log
    assert "sandbox: denied in all: " in probed.log and "keyctl 4" in probed.log
    assert len(probed.log.splitlines()) < 300


def test_an_owner_knows_what_is_in_force_whatever_the_script_prints(probed: Probed) -> None:
    lacks = LACKING[probed.mode]
    assert probed.report["filtered"] and probed.report["bare"]
    assert probed.report["landlock"] == (0 if "landlock" in lacks else sandbox.version())
    assert "99" not in probed.words
    if "namespaces" in lacks:
        assert probed.report["namespaces"] == [] and not probed.report["files"]
        named = {"mount", "ipc", "uts", "pid", "net"}
        assert named <= probed.report["left"].keys()
        assert "not shut in: " in probed.words and "Operation not permitted" in probed.words


def test_a_root_that_may_becomes_a_user_of_no_other(tmp_path: Path) -> None:
    script = """
    import os
    def try_it(here):
        open("tmp/made", "w").close()
        return {"ids": [os.getresuid(), os.getresgid(), os.getgroups()], "x": len(here.data()["x"])}
    """
    [ran] = run(tmp_path, script + IN_SESSION.replace("\n", "\n    "))
    user = ran.confined["user"]
    if os.getuid() or "files of root" in ran.confined["left"]:
        assert user == os.getuid()
        return
    assert user not in (0, os.getuid())
    assert ran.result == {"ids": [[user] * 3, [user] * 3, []], "x": 3}
    assert (ran.folder / "tmp" / "made").stat().st_uid == user


def test_peers_are_reached_by_ports_alone_and_that_is_said(tmp_path: Path) -> None:
    script = "def try_it(here): return {}\n" + IN_SESSION
    [alone] = run(tmp_path / "a", script)
    [linked] = run(tmp_path / "b", script, ports=(40007,))
    assert "net" not in linked.confined["namespaces"]
    assert "other machines by its ports" in linked.confined["left"]
    assert "other machines by its ports" not in alone.confined["left"]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_decides_alike_on_both_machines(machine: str) -> None:
    """Interpreted as the kernel would: by number and arguments."""
    known = numbers(machine)
    steps = syscalls.program(7, known, ports=False, enclosed=False, asked=False)
    for name in ("read", "openat", "mmap", "execve", "exit_group", "futex", "clone"):
        assert _decided(steps, 7, known[name], (0, 0, 0)) == "allowed", name
    for name in ("shmget", "add_key", "prlimit64", "setpriority", "mknodat", "unshare", "connect"):
        assert _decided(steps, 7, known[name], (99_999, 0, 0)) == "denied", name
    for call, given, decided in (
        ("clone", (0x10000011, 0, 0), "denied"),
        ("prlimit64", (0, 7, 0), "allowed"),
        ("kill", (os.getpid(), 9, 0), "allowed"),
        ("kill", (os.getppid(), 9, 0), "denied"),
        ("socket", (2, 1, 6), "allowed"),
        ("socket", (2, 2, 17), "denied"),
        ("socketpair", (1, 0x80001, 0), "allowed"),
        ("socketpair", (1, 2, 0), "denied"),
        ("fcntl", (3, 8, 1), "denied"),
        ("prctl", (1, 9, 0), "allowed"),
        ("prctl", (1, 0, 0), "denied"),
    ):
        assert _decided(steps, 7, known[call], given) == decided, (call, given)
    assert _decided(steps, 8, known["read"], (0, 0, 0)) == "denied"
    assert _decided(steps, 7, known["read"] + 0x40000000, (0, 0, 0)) == "denied"
    assert _decided(steps, 7, 5000, (0, 0, 0)) == "denied"
    within = syscalls.program(7, known, ports=True, enclosed=True, asked=True)
    assert _decided(within, 7, known["connect"], (3, 0, 0)) == "allowed"
    assert _decided(within, 7, known["kill"], (99_999, 9, 0)) == "allowed"
    assert _decided(within, 7, known["kill"], (0xFFFFFFFF, 9, 0)) == "denied"


def test_every_call_of_the_lists_is_one() -> None:
    known = {*numbers("x86_64"), *numbers("aarch64")}
    rules = allowed.rules(enclosed=True)
    named = allowed.ALWAYS | allowed.ABSENT | allowed.NO_ATTRIBUTES | allowed.SOCKETS | {*rules}
    assert named <= known
    assert not allowed.ALWAYS & {*rules} and not allowed.ALWAYS & allowed.SOCKETS


def _decided(
    steps: list[syscalls.Step], architecture: int, call: int, given: tuple[int, ...]
) -> str:
    words = {0: call, 4: architecture}
    words |= {16 + 8 * at: value for at, value in enumerate(given)}
    at = value = 0
    while True:
        code, yes, no, number = steps[at]
        at += 1
        if code == 0x20:
            value = words.get(number, 0)
        elif code == 0x54:
            value &= number
        elif code == 0x15:
            at += yes if value == number else no
        elif code == 0x35:
            at += yes if value >= number else no
        elif code == 0x05:
            at += number
        else:
            return "allowed" if number == 0x7FFF0000 else "denied"
