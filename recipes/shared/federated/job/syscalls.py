"""What Landlock leaves open to a job, closed by a seccomp filter of its process.

Landlock confines TCP ports, and neither datagrams nor the sockets of other programs (a session bus
that starts programs outside, an agent that signs). It confines what is in files, and not whose they
are, who may read them, their times and attributes, which a path is enough to change. The filter
(seccomp(2), man-pages) takes away all sockets but TCP's and all those changes, of a job's own files
too: `shutil.copyfile` works, `shutil.copy`, which copies the mode besides, does not. It does so for
good, and for all that the process starts. Ways around it (io_uring, the calls of other
architectures) it takes away whole.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct

_SECCOMP, _FILTER = 22, 2  # of prctl
_ALLOW, _DENY, _KEEP = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x00050000 | errno.EPERM
_LOAD, _MASK, _EQUAL, _ABOVE, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # of classic BPF
_NUMBER, _ARCHITECTURE, _DOMAIN, _TYPE, _PROTOCOL = 0, 4, 16, 24, 32  # in struct seccomp_data
_OTHER_ABI = 0x40000000  # x32's calls are from here
_RING = 425  # io_uring_setup, by which sockets are made past this filter; everywhere the same
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # audit's, socket's number
_CHANGES = {  # calls that change a file's mode, owner, times or attributes
    "x86_64": (
        *(90, 91, 268),  # chmod, fchmod, fchmodat
        *(92, 93, 94, 260),  # chown, fchown, lchown, fchownat
        *(132, 235, 261, 280),  # utime, utimes, futimesat, utimensat
        *(188, 189, 190, 197, 198, 199),  # setxattr, lsetxattr, fsetxattr; removexattr and so on
    ),
    "aarch64": (52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16),
}
_NEW_CHANGES = (
    452,
    463,
    466,
    469,
)  # fchmodat2, setxattrat, removexattrat, file_setattr: everywhere

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def restrict(*, tcp: bool) -> bool:
    """Let this process make no sockets but TCP's, or none, and change no file but its content.

    Socket pairs of its own stay.

    Needs no_new_privs. False, and nothing done, where the machine or the kernel has no such filter.
    """
    if os.name != "posix" or platform.machine() not in _MACHINES:
        return False
    architecture, make = _MACHINES[platform.machine()]
    changes = _CHANGES[platform.machine()] + _NEW_CHANGES
    deny, keep, allow = "deny", "keep", "allow"
    lines: list[tuple[int, int, str, str]] = [
        (_LOAD, _ARCHITECTURE, "", ""),
        (_EQUAL, architecture, "", deny),
        (_LOAD, _NUMBER, "", ""),
        (_ABOVE, _OTHER_ABI, deny, ""),
        (_EQUAL, _RING, deny, ""),
        *((_EQUAL, call, keep, "") for call in changes),
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
        (_RETURN, _KEEP, "", ""),
        (_RETURN, _ALLOW, "", ""),
    ]
    places = {name: len(lines) - 3 + at for at, name in enumerate((deny, keep, allow))}
    places["type"] = lines.index((_LOAD, _TYPE, "", ""))

    def jump(at: int, to: str) -> int:
        return places[to] - at - 1 if to else 0

    steps = b"".join(
        struct.pack("<HBBI", code, jump(at, yes), jump(at, no), value)
        for at, (code, value, yes, no) in enumerate(lines)
    )
    kept = ctypes.create_string_buffer(steps, len(steps))
    program = _Program(len(lines), ctypes.cast(kept, ctypes.c_void_p).value)
    return not _libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)
