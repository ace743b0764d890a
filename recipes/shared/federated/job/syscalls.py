"""The filter of a job's system calls: what `allowed` names, and nothing else.

By seccomp(2) (man-pages), for good, and for all that the process starts. What is denied is asked of
whoever holds the listener (seccomp_unotify(2)), who notes it and says no, see `denials`; where a
kernel has no listener, or another program's filter has one, it is denied without a note.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Iterable

from traindeck.recipes.shared.federated.job import allowed, kernel
from traindeck.recipes.shared.federated.job.calls import numbers

_SET_FILTER, _NEW_LISTENER = 1, 1 << 3  # of seccomp(2)
_ALLOW, _ERROR, _ASK = 0x7FFF0000, 0x00050000, 0x7FC00000
_LOAD, _MASK, _EQUAL, _ABOVE, _JUMP, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x05, 0x06  # classic BPF
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # in struct seccomp_data
_OTHER_ABI = 0x40000000  # x32's calls are from here
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # as audit knows them

Step = tuple[int, int, int, int]
"""An instruction: code, steps to skip when it holds, when it does not, its number."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def error_of(call: str) -> int:
    """What a denied call ends with."""
    if call in allowed.ABSENT:
        return errno.ENOSYS
    if call in allowed.NO_ATTRIBUTES:
        return errno.EOPNOTSUPP
    return errno.EACCES if call in allowed.SOCKETS else errno.EPERM


def restrict(
    *, ports: bool, enclosed: bool, without: Iterable[str] = ()
) -> tuple[bool, int | None]:
    """Deny this process all calls but those of a training job, see `allowed.rules`.

    without: calls that it is denied besides.

    Gives whether it has (no filter is written for other machines), and the listener that denied
    calls are asked of. Needs no_new_privs. The process must have one thread.
    """
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False, None
    known = numbers(platform.machine())
    for asked in (True, False):
        steps = program(_MACHINES[platform.machine()], known, ports, enclosed, asked, without)
        kept = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
        filter = _Program(len(steps), ctypes.cast(kept, ctypes.c_void_p).value)
        flags = _NEW_LISTENER if asked else 0
        try:
            given = kernel.call(known["seccomp"], _SET_FILTER, flags, bytes(filter))
        except OSError:
            continue
        return True, given if asked else None
    return False, None


def program(
    architecture: int,
    known: dict[str, int],
    ports: bool,
    enclosed: bool,
    asked: bool,
    without: Iterable[str] = (),
) -> list[Step]:
    """The filter. known: calls' numbers; asked: whether denied calls are asked of a listener."""
    rules = allowed.rules(enclosed=enclosed)
    plain = (allowed.ALWAYS | (allowed.PEERS if ports else frozenset())) - {*without}
    quiet = allowed.ABSENT | allowed.NO_ATTRIBUTES
    steps: list[Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_ABOVE, 0, 1, _OTHER_ABI),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (
            _ABOVE,
            0,
            1,
            max(known.values()) + 1,
        ),  # of a kernel to come: its callers know another way
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
    ]
    for first, last in _ranges(known[call] for call in plain & known.keys()):
        steps += [(_ABOVE, 0, 2, first), (_ABOVE, 1, 0, last + 1), (_RETURN, 0, 0, _ALLOW)]
    for call, ways in rules.items():
        if call in known:
            block = [step for way in ways for step in _way(way)]
            steps += _when(known[call], [*block, *_denial(call, asked)])
    for call in sorted(known.keys() - plain - rules.keys()):
        if call in quiet or call in allowed.SOCKETS:
            steps += _when(known[call], _denial(call, asked and call not in quiet))
    return [*steps, *_denial("", asked)]


def _ranges(calls: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers that follow each other, as first and last: the kernel takes time for each step."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(calls):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ranges


def _denial(call: str, asked: bool) -> list[Step]:
    return [(_RETURN, 0, 0, _ASK if asked else _ERROR | error_of(call))]


def _when(number: int, block: list[Step]) -> list[Step]:
    return [(_EQUAL, 1, 0, number), (_JUMP, 0, 0, len(block)), *block]


def _way(checks: Iterable[allowed.Check]) -> list[Step]:
    """Allow if all checks hold, else go on behind."""
    blocks: list[list[Step]] = []
    for check in checks:
        tests: list[Step] = [
            (_EQUAL, len(check.values) - at, 0, value) for at, value in enumerate(check.values)
        ]
        passed: list[Step] = [(_JUMP, 0, 0, 1)] if check.none else []
        blocks.append(
            [
                (_LOAD, 0, 0, _ARGUMENTS + 8 * check.argument),
                (_MASK, 0, 0, check.mask),
                *tests,  # one that holds skips the others, and the jump behind unless for `none`
                *passed,
                (_JUMP, 0, 0, 0),
            ]
        )
    steps: list[Step] = []
    left = sum(map(len, blocks)) + 1  # with the return
    for block in blocks:
        left -= len(block)
        steps += [*block[:-1], (_JUMP, 0, 0, left)]
    return [*steps, (_RETURN, 0, 0, _ALLOW)]
