"""Which sockets a job may make, by a seccomp filter of its process: what Landlock leaves open.

Landlock confines TCP ports, and neither datagrams nor the sockets of other programs (a session bus
that starts programs outside, an agent that signs). The filter (seccomp(2), man-pages) takes away
all but TCP, for good and from all that the process starts. Other ways to make one (io_uring, the
calls of other architectures) it takes away whole.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct

_SECCOMP, _FILTER = 22, 2  # of prctl
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EACCES
_LOAD, _MASK, _EQUAL, _ABOVE, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # of classic BPF
_NUMBER, _ARCHITECTURE, _DOMAIN, _TYPE, _PROTOCOL = 0, 4, 16, 24, 32  # in struct seccomp_data
_OTHER_ABI = 0x40000000  # x32's calls are from here
_RING = 425  # io_uring_setup, by which sockets are made past this filter; everywhere the same
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # audit's, socket's number

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def only_tcp(*, tcp: bool) -> bool:
    """Let this process make no sockets but TCP's, or none; pairs of its own stay.

    Needs no_new_privs. False, and nothing done, where the machine or the kernel has no such filter.
    """
    if os.name != "posix" or platform.machine() not in _MACHINES:
        return False
    architecture, make = _MACHINES[platform.machine()]
    deny, allow = "deny", "allow"
    lines: list[tuple[int, int, str, str]] = [
        (_LOAD, _ARCHITECTURE, "", ""),
        (_EQUAL, architecture, "", deny),
        (_LOAD, _NUMBER, "", ""),
        (_ABOVE, _OTHER_ABI, deny, ""),
        (_EQUAL, _RING, deny, ""),
        (_EQUAL, make, "" if tcp else deny, allow),
        (_LOAD, _DOMAIN, "", ""),
        (_EQUAL, socket.AF_INET, "type", ""),
        (_EQUAL, socket.AF_INET6, "type", deny),
        (_LOAD, _TYPE, "", ""),
        (_MASK, 0xF, "", ""),  # without SOCK_CLOEXEC and SOCK_NONBLOCK
        (_EQUAL, socket.SOCK_STREAM, "", deny),
        (_LOAD, _PROTOCOL, "", ""),
        (_EQUAL, 0, allow, ""),
        (_EQUAL, socket.IPPROTO_TCP, allow, deny),
        (_RETURN, _DENY, "", ""),
        (_RETURN, _ALLOW, "", ""),
    ]
    places = {deny: len(lines) - 2, allow: len(lines) - 1, "type": 9}

    def jump(at: int, to: str) -> int:
        return places[to] - at - 1 if to else 0

    steps = b"".join(
        struct.pack("<HBBI", code, jump(at, yes), jump(at, no), value)
        for at, (code, value, yes, no) in enumerate(lines)
    )
    kept = ctypes.create_string_buffer(steps, len(steps))
    program = _Program(len(lines), ctypes.cast(kept, ctypes.c_void_p).value)
    return not _libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)
