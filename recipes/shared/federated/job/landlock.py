"""Landlock: which files and TCP ports a process and all that it starts can reach, for good.

It takes rights away (docs.kernel.org, userspace-api/landlock), and nothing gives them back. Device
nodes, FIFOs and sockets cannot be made anywhere.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from traindeck.recipes.shared.federated.job import kernel

LENGTHS_FROM, PORTS_FROM, SIGNALS_FROM = 3, 4, 6
"""Versions from which are confined: truncate(2), TCP ports, signals to processes outside."""

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on all architectures
_PATH_BENEATH, _NET_PORT = 1, 2
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
_ALL_FILES = (1 << 13) - 1  # of version 1
_MADE = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11  # character devices, sockets, FIFOs, block devices
_REFER, _TRUNCATE, _DEVICES = 1 << 13, 1 << 14, 1 << 15
_BIND, _CONNECT = 1 << 0, 1 << 1
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets and signals of the outside
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | _TRUNCATE


def version() -> int:
    """Landlock's version in this kernel; 0: there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return kernel.call(_CREATE, None, 0, 1)
    except OSError:
        return 0


def restrict(abi: int, read: Iterable[Path], write: Iterable[Path], ports: Iterable[int]) -> None:
    """Leave this process these files and TCP ports alone, as far as version `abi` can.

    Needs no_new_privs. Raises OSError when the kernel refuses.
    """
    files = _ALL_FILES
    files |= _REFER if abi >= 2 else 0
    files |= _TRUNCATE if abi >= 3 else 0
    files |= _DEVICES if abi >= 5 else 0
    net = _BIND | _CONNECT if abi >= PORTS_FROM else 0
    scopes = _SCOPES if abi >= SIGNALS_FROM else 0
    rules = struct.pack("<QQQ", files, net, scopes)[: 24 if scopes else 16 if net else 8]
    ruleset = kernel.call(_CREATE, rules, len(rules), 0)
    for paths, rights in ((read, _READ), (write, files & ~_MADE & ~_DEVICES)):
        for path in paths:
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights if path.is_dir() else rights & _FILE_RIGHTS
            rule = struct.pack("<Qi", allowed & files, beneath)
            kernel.call(_ADD, ruleset, _PATH_BENEATH, rule, 0)
            os.close(beneath)
    if net:
        for port in ports:
            kernel.call(_ADD, ruleset, _NET_PORT, struct.pack("<QQ", net, port), 0)
    kernel.call(_RESTRICT, ruleset, 0)
    os.close(ruleset)
