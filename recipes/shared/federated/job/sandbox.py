"""What a job may reach: its data, its folder and the libraries; by Linux's Landlock, for good.

Of sockets a job makes TCP's alone (`syscalls`), for the ports that Landlock leaves it; and of files
it changes nothing but what is in them.

Landlock (docs.kernel.org, userspace-api/landlock) takes rights from a process and all that it
starts, and nothing gives them back. Where a kernel has none, an audit hook of Python is all that
is left: it stops code that does not try to get around it, and `confine` says so.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from traindeck.core.base.installed import package_folder
from traindeck.recipes.shared.federated.job import syscalls

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on all architectures
_PATH_BENEATH, _NET_PORT = 1, 2
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
_ALL_FILES = (1 << 13) - 1  # of version 1
_REFER, _TRUNCATE, _DEVICES = 1 << 13, 1 << 14, 1 << 15
_BIND, _CONNECT = 1 << 0, 1 << 1
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets and signals of the outside
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | _TRUNCATE | _DEVICES
_NO_NEW_PRIVILEGES = 38

SYSTEM: tuple[str, ...] = (
    *("/usr", "/lib", "/lib64", "/sys"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/ssl", "/etc/hosts", "/etc/nsswitch.conf"),
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/kernel"),
)

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Landlock's version in this kernel; 0: there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)))


def libraries() -> list[Path]:
    """What a script needs to read of this machine to run at all: Python, libraries, devices."""
    places = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *SYSTEM}
    places |= {str((package_folder() / room).resolve()) for room in ("core", "recipes")}
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
) -> str:
    """Leave this process only these files and TCP ports. Says in words what is in force.

    Before version 4 Landlock confines no ports: without any a job makes no sockets then, else it
    can reach all. Before version 6 it can send signals to the user's other processes.

    denied is told of a path that Python code tried to open outside of them, and need not return.
    Raises OSError when the kernel has Landlock and refuses it.
    """
    read, write, ports = [*map(Path, read)], [*map(Path, write)], [*ports]
    roots = tuple(str(path.resolve()) for path in (*read, *write))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(args[0]))
            if not any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots):
                denied(path)

    abi = version()
    if sys.platform == "linux" and _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if abi:
        _landlock(abi, read, write, ports)
    filtered = syscalls.restrict(tcp=abi >= 4 or bool(ports))
    sys.addaudithook(hook)
    if not abi:
        return "no sandbox: this kernel has no Landlock; Python's own opening of files is watched"
    net = " and TCP ports" if abi >= 4 else ""
    return f"Landlock {abi}: files{net} of the job alone" + ", no other sockets" * filtered


def _landlock(abi: int, read: list[Path], write: list[Path], ports: Iterable[int]) -> None:
    files = _ALL_FILES
    files |= _REFER if abi >= 2 else 0
    files |= _TRUNCATE if abi >= 3 else 0
    files |= _DEVICES if abi >= 5 else 0
    net = _BIND | _CONNECT if abi >= 4 else 0
    scopes = _SCOPES if abi >= 6 else 0
    rules = struct.pack("<QQQ", files, net, scopes)[: 24 if abi >= 6 else 16 if net else 8]
    ruleset = _call(_CREATE, rules, len(rules), 0)
    for paths, rights in ((read, _READ), (write, files)):
        for path in paths:
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights if path.is_dir() else rights & _FILE_RIGHTS
            rule = struct.pack("<Qi", allowed & files, beneath)
            _call(_ADD, ruleset, _PATH_BENEATH, rule, 0)
            os.close(beneath)
    if net:
        for port in ports:
            _call(_ADD, ruleset, _NET_PORT, struct.pack("<QQ", net, port), 0)
    _call(_RESTRICT, ruleset, 0)
    os.close(ruleset)


def _call(number: int, *args: Any) -> int:
    sized = [ctypes.c_size_t(arg) if isinstance(arg, int) else arg for arg in args]
    result = int(_libc.syscall(number, *sized))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return result
