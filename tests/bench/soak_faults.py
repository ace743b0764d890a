"""A machine that fails: full and read-only disks, I/O errors, no processes, low limits."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.common import COMMAND

PIDS = Path("/sys/fs/cgroup/pids")
PATIENCE = 90.0
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "--wait", "--", "true"),
    "ls": ("ls",),
    "budget create": ("budget", "create", "soak", "--epsilon", "3", "--delta", "1e-5"),
    "edit": ("edit", "@last", "--notes", "x"),
    "budget set": ("budget", "set", "kept", "--epsilon", "2.5"),
}
CODES = (0, 1, 2, 3, 4, 5)
EIO = """
import errno, os
def fsync(descriptor): raise OSError(errno.EIO, os.strerror(errno.EIO))
os.fsync = fsync
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """How a command is started; None for what this machine does not let us try."""

    home: Path
    env: dict[str, str]
    before: Callable[[], object] | None = None


def soak() -> None:
    """Print the table of what is told."""
    print("\n### A machine that fails\n")
    print("| fault | command | exit | told |\n| --- | --- | --- | --- |")
    for name, make in FAULTS.items():
        with tempfile.TemporaryDirectory(prefix="traindeck-soak-") as root:
            try:
                with make(Path(root)) as fault:
                    for command, words in COMMANDS.items():
                        print(f"| {name} | `{command}` | {_tried(fault, words)} |", flush=True)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"| {name} | | | not tried here: {error} |", flush=True)


def _tried(fault: Fault, words: tuple[str, ...]) -> str:
    env = {**os.environ, "TRAINDECK_HOME": str(fault.home), **fault.env}
    process = subprocess.Popen(
        [COMMAND, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        preexec_fn=fault.before,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"**hangs** | nothing within {PATIENCE:.0f} s"
    said = err.decode("utf-8", "replace").strip().splitlines()
    told = next((line for line in said if line.startswith("error")), said[-1] if said else "")
    told = told or (out.decode("utf-8", "replace").strip().splitlines() or ["nothing"])[-1]
    told = told.replace(str(fault.home), "HOME").replace("|", "/")
    wrong = "" if process.returncode in CODES else "**"
    if "Traceback" in err.decode("utf-8", "replace"):
        wrong, told = "**", f"a traceback: {said[-1]}"
    return f"{wrong}{process.returncode}{wrong} | {told[:160]}"


def _prepared(home: Path) -> Path:
    """A home with a run and a budget, from when the machine was well."""
    env = {**os.environ, "TRAINDECK_HOME": str(home)}
    create = ["budget", "create", "kept", "--epsilon", "3", "--delta", "1e-5"]
    for words in (["run", "--wait", "--", "true"], create):
        subprocess.run([COMMAND, *words], env=env, check=True, capture_output=True)
    return home


@contextlib.contextmanager
def _disk(root: Path, options: str, harm: Callable[[Path], object]) -> Iterator[Fault]:
    mount = root / "disk"
    mount.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount], check=True, capture_output=True
    )
    try:
        home = _prepared(mount / "home")
        harm(mount)
        yield Fault(home, {})
    finally:
        subprocess.run(["umount", "-l", mount], check=False, capture_output=True)


def _fill(mount: Path) -> None:
    with contextlib.suppress(OSError), (mount / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def _take_inodes(mount: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(1_000_000):
            (mount / f"filler{number}").touch()


def _seal(mount: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", mount], check=True, capture_output=True)


@contextlib.contextmanager
def _failing(root: Path) -> Iterator[Fault]:
    (root / "sitecustomize.py").write_text(EIO)
    yield Fault(_prepared(root / "home"), {"PYTHONPATH": str(root)})


@contextlib.contextmanager
def _limited(root: Path, limit: int, value: int) -> Iterator[Fault]:
    home = _prepared(root / "home")
    yield Fault(home, {}, lambda: resource.setrlimit(limit, (value, value)))


@contextlib.contextmanager
def _no_forks(root: Path) -> Iterator[Fault]:
    group = PIDS / f"traindeck-soak-{os.getpid()}"
    home = _prepared(root / "home")
    group.mkdir()
    try:
        (group / "pids.max").write_text("1")
        yield Fault(home, {}, lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


FAULTS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Fault]]] = {
    "disk full": partial(_disk, options="size=8m", harm=_fill),
    "inodes gone": partial(_disk, options="size=64m,nr_inodes=300", harm=_take_inodes),
    "read-only": partial(_disk, options="size=64m", harm=_seal),
    "EIO at each fsync": _failing,
    "no processes": _no_forks,
    "8 files open": partial(_limited, limit=resource.RLIMIT_NOFILE, value=8),
    "16 files open": partial(_limited, limit=resource.RLIMIT_NOFILE, value=16),
    "files of 0 bytes": partial(_limited, limit=resource.RLIMIT_FSIZE, value=0),
    "files of 4 kB": partial(_limited, limit=resource.RLIMIT_FSIZE, value=4096),
    "100 MB of memory": partial(_limited, limit=resource.RLIMIT_AS, value=100 * 2**20),
    "no CPU time": partial(_limited, limit=resource.RLIMIT_CPU, value=1),
}
