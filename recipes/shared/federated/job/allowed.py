"""The system calls that a training job needs: all others are denied.

Measured on this house's jobs in PyTorch, TensorFlow (XLA too) and MPyC, and on what scripts do with
threads, children and their own files; with the variants that other kernels and libcs use for the
same. What reaches past the job is in no list: shared memory, queues and keys of System V and POSIX,
tracing, other processes' limits and priorities, mounts, namespaces, modes and owners of files, and
locks of files, which others see on the libraries that all jobs read.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALWAYS = _names(
    # files
    """read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek open openat
    creat close close_range stat fstat lstat newfstatat statx access faccessat faccessat2 getdents
    getdents64 readlink readlinkat mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2
    link linkat symlink symlinkat truncate ftruncate fallocate fsync fdatasync sync_file_range
    fadvise64 copy_file_range sendfile statfs fstatfs chdir fchdir getcwd umask dup dup2 dup3 pipe
    pipe2"""
    # waiting
    """ poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    epoll_pwait2 eventfd eventfd2 timerfd_settime timerfd_gettime signalfd signalfd4
    nanosleep pause alarm setitimer getitimer timer_settime
    timer_gettime timer_getoverrun timer_delete"""
    # memory
    """ brk mmap munmap mremap mprotect msync mincore mlock mlock2 munlock mbind get_mempolicy
    set_mempolicy membarrier pkey_alloc pkey_free pkey_mprotect map_shadow_stack"""
    # threads and children
    """ fork vfork execve exit exit_group wait4 waitid set_tid_address set_robust_list rseq
    arch_prctl sched_yield getcpu restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn
    rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack setsid setpgid getpgrp"""
    # what is read of oneself and of the machine
    """ getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getrlimit
    setrlimit getrusage times sysinfo uname time gettimeofday getrandom
    sched_get_priority_max sched_get_priority_min sched_getparam sched_getscheduler
    sched_rr_get_interval"""
    # its wire, and sockets that it has
    """ recvfrom recvmsg recvmmsg shutdown getsockname getpeername getsockopt"""
)

PEERS = _names("bind connect listen accept accept4")
"""With ports that were agreed; without any a TCP socket is good for nothing."""

ABSENT = _names(
    """clone3 flock openat2 futex_waitv futex_wake futex_wait futex_requeue pidfd_open cachestat
    mseal statmount listmount lsm_get_self_attr lsm_list_modules memfd_secret
    set_mempolicy_home_node"""
)
"""What libraries try and do without on kernels that lack it: denied as lacking, unlogged."""

NO_ATTRIBUTES = _names(
    """getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat
    file_getattr"""
)
"""Denied as on a file system without attributes, unlogged: whoever copies a file asks."""

SOCKETS = PEERS | {"socket", "socketpair"}
"""Denied by EACCES, as Landlock does, and not by EPERM."""


@dataclass(frozen=True)
class Check:
    """What an argument's low 32 bits may be, under a mask; with `none` what they may not be."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    none: bool = False


Rules = Mapping[str, tuple[tuple[Check, ...], ...]]
"""Of calls that are allowed with some arguments: alternatives, of each of which all checks hold."""

_NAMESPACES, _PARENT, _PTRACE = 0x7E020000, 0x8000, 0x2000  # of clone's flags
_FASTOPEN = 0x20000000  # connects past connect(2)
_FLAGS_OF = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}
_OPTIONS = {
    socket.SOL_SOCKET: (2, 4, 7, 8, 9, 13, 15, 20, 21, 66, 67),  # times, sizes, reuse
    socket.IPPROTO_TCP: (1, 2, 3, 4, 5, 6, 12, 18),  # no delay, cork, keep alive
    socket.IPPROTO_IPV6: (26,),  # IPv6 alone
}
_CLOCKS = tuple(range(12))  # of the machine and of oneself: others' are negative
_TIMED = ("clock_gettime", "clock_getres", "clock_nanosleep", "timer_create", "timerfd_create")
_OF_SELF = ("prlimit64", "sched_setaffinity", "sched_getaffinity", "getpgid", "getsid")
_DESCRIPTOR = (0, 1, 2, 3, 4, 1030, 1031, 1032, 1034)  # no locks, owners, leases, notices
_TERMINAL = (0x5401, 0x5413, 0x540F, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A)  # and FIONBIO …
_PRCTL = (2, 3, 7, 15, 16, 21, 23, 38, 39, 51, 56, 0x53564D41)  # names, and what is read of oneself
_MADVISE = (0, 1, 2, 3, 4, *range(8, 26))  # none that harms memory of others
_KILL, _SET_DEATH_SIGNAL = 9, 1
_ALL = 0xFFFFFFFF  # to whom kill(2) sends: -1


def rules(*, enclosed: bool) -> Rules:
    """What is allowed with some arguments, for this process and what it starts.

    enclosed: whether its signals reach nobody outside anyway; otherwise it may send them to itself
    alone.
    """
    own = (0, os.getpid())
    streams = (Check(1, (socket.SOCK_STREAM,), 0xF), Check(2, (0, socket.IPPROTO_TCP)))
    made: dict[str, tuple[tuple[Check, ...], ...]] = {
        "socket": ((Check(0, (socket.AF_INET, socket.AF_INET6)), *streams),),
        "clone": ((Check(0, (0,), _NAMESPACES | _PARENT | _PTRACE),),),
        "futex": ((Check(1, tuple(range(14)), 0x7F),),),
        "madvise": ((Check(2, _MADVISE),),),
        "fcntl": ((Check(1, _DESCRIPTOR),),),
        "ioctl": ((Check(1, _TERMINAL),),),
        "prctl": (
            (Check(0, _PRCTL),),
            (Check(0, (_SET_DEATH_SIGNAL,)), Check(1, (_KILL,))),
        ),
        "personality": ((Check(0, (0xFFFFFFFF,)),),),  # asked, not set
        "socketpair": ((Check(0, (socket.AF_UNIX,)), Check(1, (1, 5), 0xF)),),  # no datagrams
        "setsockopt": _either((1, 2), _OPTIONS.items()),
        **{call: ((Check(0, _CLOCKS),),) for call in _TIMED},
        "getpriority": ((Check(0, (0,)), Check(1, own)),),
        **{call: ((Check(0, own),),) for call in _OF_SELF},
        **{call: ((Check(at, (0,), _FASTOPEN),),) for call, at in _FLAGS_OF.items()},
    }
    known = Check(0, (_ALL,), none=True) if enclosed else Check(0, own)
    made |= dict.fromkeys(("kill", "tkill", "tgkill"), ((known,),))
    return made


def _either(
    at: tuple[int, int], pairs: Iterable[tuple[int, tuple[int, ...]]]
) -> tuple[tuple[Check, ...], ...]:
    return tuple((Check(at[0], (first,)), Check(at[1], then)) for first, then in pairs)
