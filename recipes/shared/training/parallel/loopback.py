"""A network of a run's own, with nothing in it but a loopback interface: Linux's namespaces.

TensorFlow's workers listen on all interfaces, and do for everybody what they are asked: no option
changes that. In a network of their own nobody else reaches them. See user_namespaces(7),
network_namespaces(7), netdevice(7).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable

_NEWUSER, _NEWNET = 0x10000000, 0x40000000
_HOLDER = """
import ctypes, fcntl, os, socket, struct, sys
uid, gid = os.getuid(), os.getgid()
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x50000000):
    sys.exit(os.strerror(ctypes.get_errno()))
maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
for name, text in maps.items():
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
up = struct.pack("16sh14x", b"lo", 1)  # IFF_UP
fcntl.ioctl(socket.socket(), 0x8914, up)  # SIOCSIFFLAGS
print("there", flush=True)
sys.stdin.read()
"""


class Loopback:
    """Such a network, until it is closed. Raises OSError where there can be none."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout and self._holder.stderr
        if self._holder.stdout.readline() != b"there\n":
            said = self._holder.stderr.read().decode("utf-8", "replace").strip().splitlines()
            self.close()
            raise OSError(said[-1] if said else "no namespaces here")

    def enter(self) -> Callable[[], None]:
        """What a forked process calls to be in it."""
        folder = f"/proc/{self._holder.pid}/ns"
        libc = ctypes.CDLL(None, use_errno=True)

        def go_in() -> None:
            for name, kind in (("user", _NEWUSER), ("net", _NEWNET)):
                descriptor = os.open(f"{folder}/{name}", os.O_RDONLY)
                if libc.setns(descriptor, kind):
                    raise OSError(ctypes.get_errno(), "setns")
                os.close(descriptor)

        return go_in

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()
