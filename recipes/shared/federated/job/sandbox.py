"""What a job may reach: its data, its folder and the libraries; for good, whatever it does.

Each wall stands alone: Landlock has its files and ports (`landlock`), seccomp its system calls
(`syscalls`), namespaces what it sees of the machine (`namespaces`), and it is nobody who could do
more (`rights`). What this kernel, or this container, does not have is said in the `Report`. A hook
of Python's tells the owner of a file that the script tried to open, and stops nobody who goes
around it.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindeck.core.base.installed import package_folder
from traindeck.recipes.shared.federated.job import kernel, landlock, rights, syscalls
from traindeck.recipes.shared.federated.job.namespaces import Made

SYSTEM: tuple[str, ...] = (
    *("/usr", "/bin", "/lib", "/lib64"),
    *("/sys/devices", "/sys/bus/pci", "/sys/kernel/mm"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/hosts", "/etc/nsswitch.conf"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf"),
    *("/dev/zero", "/dev/random", "/dev/urandom"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/kernel"),
)

version = landlock.version
"""Landlock's in this kernel; 0: there is none."""


@dataclass
class Report:
    """What is in force around a job, as its process found it before the script began.

    landlock    its version; 0: this kernel has none
    files       whether its file system has the job's files alone, by a mount namespace
    filtered    whether system calls are those of an allow-list; noted: those denied are noted
    namespaces  those of its own; user: its number; bare: it has no capabilities
    left        what it is not shut in from, and why
    """

    landlock: int = 0
    files: bool = False
    filtered: bool = False
    noted: bool = False
    namespaces: list[str] = field(default_factory=list)
    user: int = 0
    bare: bool = False
    left: dict[str, str] = field(default_factory=dict)

    def words(self) -> str:
        """For screens."""
        net = " and TCP ports" if self.landlock >= landlock.PORTS_FROM else ""
        said = ["no sandbox: this kernel has no Landlock; Python's own opening of files is watched"]
        if self.files:
            said = ["no Landlock in this kernel; files of the job alone by a mount namespace"]
        if self.landlock:
            said = [f"Landlock {self.landlock}: files{net} of the job alone"]
        if self.filtered:
            said[0] += ", no other sockets"
            said.append(f"calls by an allow-list, others denied{' and logged' * self.noted}")
        if self.namespaces:
            said.append(f"namespaces of its own: {', '.join(self.namespaces)}")
        user = "a user of its own" if self.user >= rights.FIRST else f"user {self.user}"
        said.append(user + ", no capabilities" * self.bare)
        if self.left:
            reasons: dict[str, list[str]] = {}
            for what, why in self.left.items():
                reasons.setdefault(why, []).append(what)
            left = (f"{', '.join(what)} ({why})" for why, what in reasons.items())
            said.append(f"not shut in: {'; '.join(left)}")
        return "; ".join(said)


@functools.cache
def libraries() -> list[Path]:
    """What a script needs to read of this machine to run at all: Python, libraries, devices."""
    places = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *SYSTEM}
    rooms = [package_folder() / room for room in ("core", "recipes")]
    places |= {str(path) for room in rooms for path in (room, room.resolve())}
    places |= {str(device) for device in Path("/dev").glob("nvidia*")}
    return [Path(place) for place in sorted(places) if Path(place).exists()]


def library_of(path: Path) -> Path | None:
    """The folder of libraries that a path lies in, where every job can read it; None: in none."""
    holding = (place for place in libraries() if path.resolve().is_relative_to(place.resolve()))
    return next(holding, None)


def confine(
    read: Iterable[Path],
    write: Iterable[Path],
    ports: Iterable[int],
    denied: Callable[[str], None],
    made: Made | None = None,
    left: dict[str, str] | None = None,
) -> tuple[Report, int | None]:
    """Leave this process only these files, TCP ports and system calls.

    made: namespaces that it is in already; left: what it could not be shut in from before. Gives
    what is in force, and the listener that denied calls are asked of, see `denials`.

    Before version 4 Landlock confines no ports: a job that has some can reach all.

    denied is told of a path that Python code tried to open outside of them, and need not return.
    Raises OSError when the kernel has Landlock and refuses it.
    """
    made = made or Made()
    read, write, ports = [*map(Path, read)], [*map(Path, write)], [*ports]
    roots = tuple(str(path.resolve()) for path in (*read, *write))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(args[0]))
            if not any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots):
                denied(path)

    abi = version()
    if sys.platform == "linux":
        kernel.prctl(kernel.NO_NEW_PRIVILEGES, 1)
    enclosed = abi >= landlock.SIGNALS_FROM or "pid" in made.names
    if abi:
        landlock.restrict(abi, read, write, ports)
    bare = rights.gone()
    lengths = abi >= landlock.LENGTHS_FROM or "mount" in made.names
    filtered, listener = syscalls.restrict(
        ports=bool(ports), enclosed=enclosed, without=() if lengths else ("truncate",)
    )
    sys.addaudithook(hook)
    files = "mount" in made.names
    open_to = {name: why for name, why in {**made.failed, **(left or {})}.items() if why}
    if not abi and not files:
        open_to["files of this user"] = "no Landlock, no mount namespace: its processes' memory too"
    elif not abi:
        open_to["/proc"] = "no Landlock"
    if not filtered:
        open_to["system calls"] = "no filter for this machine or kernel"
    if ports:
        open_to["other machines by its ports"] = (
            "its peers' network; listen() alone takes any free port"
        )
        if abi < landlock.PORTS_FROM:
            open_to["all TCP ports"] = "Landlock before version 4, or none"
    if not bare:
        open_to["capabilities"] = "they could not be given up"
    return (
        Report(
            landlock=abi,
            files=files,
            filtered=filtered,
            noted=listener is not None,
            namespaces=sorted(made.names),
            user=os.getuid(),
            bare=bare,
            left=open_to,
        ),
        listener,
    )
