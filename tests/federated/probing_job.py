"""A hostile script: asks for all that a job must not have, and tells what it was answered.

Run by `sandbox_probes` as owners run scripts. It says of each the error number; 0: it was granted.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

from traindeck.recipes.shared.federated.job import job
from traindeck.recipes.shared.federated.job.calls import numbers

NUMBERS = numbers(platform.machine())
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
SPACE = ctypes.create_string_buffer(8192)
HERE = -100

Probe = tuple[str, str, Callable[[], int]]

QUEUES = """shmget 32007,4096,1023 shmat 0,0,0 shmctl 0,2,SPACE shmdt 0 msgget 32007,1023
msgsnd 0,SPACE,8,2048 msgrcv 0,SPACE,8,0,2048 msgctl 0,2,SPACE semget 32007,1,1023
semop 0,SPACE,1 semtimedop 0,SPACE,1,0 semctl 0,0,2 mq_open NAME,66,384,0 mq_unlink NAME
mq_timedsend 0,SPACE,1,0,0 mq_timedreceive 0,SPACE,8192,0,0 mq_notify 0,0 mq_getsetattr 0,0,0"""
KEYS = """add_key USER,NAME,SPACE,8,-4 request_key USER,NAME,0,-4 keyctl 10,-4,USER,NAME,0
keyctl 11,-4,SPACE,64 keyctl 6,-4,SPACE,64 keyctl 1,0"""
PROCESSES = """kill VICTIM,0 tgkill VICTIM,VICTIM,0 tkill VICTIM,0 kill -1,0
rt_sigqueueinfo VICTIM,0,SPACE rt_tgsigqueueinfo VICTIM,VICTIM,0,SPACE pidfd_open VICTIM,0
pidfd_send_signal 0,0,0,0 pidfd_getfd 0,0,0 prlimit64 VICTIM,7,0,SPACE prlimit64 VICTIM,0,LIMIT,0
setpriority 0,VICTIM,1 setpriority 2,0,1 getpriority 0,VICTIM sched_setaffinity VICTIM,128,MASK
sched_getaffinity VICTIM,128,SPACE sched_setscheduler VICTIM,0,SPACE sched_setparam VICTIM,SPACE
sched_setattr VICTIM,SPACE,0 sched_getattr VICTIM,SPACE,56,0 sched_getparam VICTIM,SPACE
sched_getscheduler VICTIM ioprio_set 1,VICTIM,0 ioprio_get 1,VICTIM ptrace 16,VICTIM,0,0
ptrace 16902,VICTIM,0,0 ptrace 0,0,0,0 process_vm_readv VICTIM,SPACE,1,SPACE,1,0
process_vm_writev VICTIM,SPACE,1,SPACE,1,0 process_madvise 0,SPACE,1,4,0 process_mrelease 0,0
kcmp VICTIM,VICTIM,0,0,0 migrate_pages VICTIM,8,SPACE,SPACE move_pages VICTIM,0,SPACE,0,SPACE,0
get_robust_list VICTIM,SPACE,SPACE getpgid VICTIM getsid VICTIM setpgid VICTIM,0 fcntl 0,8,VICTIM
fcntl 0,15,SPACE fcntl 0,1026,1 fcntl 0,1024,0 capget SPACE,SPACE clock_gettime CLOCK,SPACE
flock 1,2 fcntl 1,6,SPACE fcntl 1,5,SPACE fcntl 1,37,SPACE fcntl 1,36,SPACE"""
KERNEL = """perf_event_open SPACE,0,-1,-1,0 userfaultfd 0 userfaultfd 1 bpf 0,SPACE,64
io_uring_setup 4,SPACE io_uring_enter 0,0,0,0,0,0 io_uring_register 0,0,0,0 personality 4194304
init_module SPACE,0,SPACE finit_module -1,SPACE,0 delete_module SPACE,0 kexec_load 0,0,0,-1
kexec_file_load -1,-1,0,0,-1 reboot 0,0,0,0 swapon SPACE,0 swapoff SPACE acct SPACE
syslog 10,0,0 quotactl 0,0,0,0 quotactl_fd -1,0,0,0 clock_settime 0,0 clock_adjtime 0,0
adjtimex 0 settimeofday 1,1 sethostname 1,4 setdomainname 1,4 iopl 0 ioperm 0,1,0
modify_ldt 0,SPACE,16 remap_file_pages 0,0,0,0,0 ustat 0,SPACE sysfs 3 seccomp 0,1,0
landlock_create_ruleset 0,0,1 memfd_create NAME,0 memfd_secret 0 execveat 0,EMPTY,0,0,4096
fanotify_init 0,0 fanotify_mark 0,0,0,0,0 inotify_init1 0 inotify_add_watch 0,SPACE,1 mlockall 0
prctl 1,0 prctl 4,1 prctl 22,1 prctl 35,1,0 prctl 0x59616d61,-1 prctl 36,0 ioctl 0,0x5412,SPACE
madvise SPACE,1,100 lsm_set_self_attr 0,0,0,0 sync"""
MOUNTS = """unshare 0x10000000 unshare 0x20000 unshare 0x40000000 unshare 0x8000000 unshare 1024
setns 0,0 clone 0x10000011,0 clone 0x20000011,0 clone3 SPACE,88 mount 0,TMP,TMPFS,0,0
umount2 TMP,2 pivot_root TMP,TMP chroot TMP open_tree HERE,TMP,1 move_mount 0,EMPTY,0,EMPTY,0
fsopen TMPFS,0 fsconfig 0,0,0,0,0 fsmount 0,0,0 fspick HERE,TMP,0 mount_setattr HERE,TMP,0,SPACE,32
statmount 0,0,0,0 listmount 0,0,0,0 open_tree_attr HERE,TMP,0,SPACE,32"""
FILES = """mknodat HERE,MADE,0x61b0,DISK mknodat HERE,MADE,0x21b0,MEMORY mknodat HERE,MADE,0x11b0,0
mknodat HERE,MADE,0xc1b0,0 name_to_handle_at HERE,SECRET,HANDLE,SPACE,0
open_by_handle_at HERE,HANDLE,0 fchmodat HERE,SECRET,438 fchownat HERE,SECRET,-1,-1,0
utimensat HERE,SECRET,0,0 setxattr SECRET,USER,SPACE,1,0 getxattr SECRET,USER,SPACE,1
fchmodat2 HERE,SECRET,438,0 file_setattr HERE,SECRET,SPACE,24,0 linkat HERE,SECRET,HERE,MADE,0
openat2 HERE,SECRET,SPACE,24 syncfs 0"""
USERS = """setuid 0 setgid 0 setresuid 0,0,0 setresgid 0,0,0 setreuid 0,0 setfsuid 0 setfsgid 0
setgroups 0,0 capset SPACE,SPACE"""
SOCKETS = """AF_UNIX 1,1,0 AF_NETLINK 16,3,0 AF_PACKET 17,3,0 AF_VSOCK 40,1,0 AF_ALG 38,5,0
AF_BLUETOOTH 31,3,0 AF_XDP 44,3,0 AF_KEY 15,3,2 UDP 2,2,0 UDPv6 10,2,0 raw 2,3,1 ICMP 2,2,1
MPTCP 2,1,262 SCTP 2,1,132 SMC 43,1,0 AF_TIPC 30,1,0"""

OPENED = """/etc/shadow /etc/passwd /etc/ssl/private /etc/ssh /root /home /var/log /var/lib /tmp
/run /opt /boot /srv /dev/shm /dev/mem /dev/kmsg /dev/vda /dev/sda /dev/loop0 /dev/tty /dev/ptmx
/dev/pts /dev/mqueue /dev/fuse /dev/kvm /dev/net/tun /dev/vsock /proc/kcore /proc/kallsyms
/proc/kmsg /proc/keys /proc/key-users /proc/interrupts /proc/timer_list /proc/modules
/sys/kernel/debug /sys/kernel/tracing /sys/kernel/security /sys/firmware /sys/fs/cgroup
/sys/fs/pstore /sys/module /proc/sys/vm/mmap_min_addr /proc/VICTIM/environ /proc/VICTIM/mem
/proc/VICTIM/maps /proc/VICTIM/cmdline /proc/VICTIM/fd SECRET"""
WRITTEN = """/proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname
/proc/self/uid_map /proc/self/oom_score_adj /sys/kernel/mm/transparent_hugepage/enabled
/dev/kmsg /usr/made /etc/made /tmp/made main.py params.json DATA"""


def probes(params: dict[str, Any], data: str) -> Iterator[Probe]:
    """All of them: kind, words, and what asks and gives an error number."""
    words: dict[str, Any] = {
        "SPACE": SPACE,
        "NAME": b"traindeck-probe",
        "USER": b"user",
        "EMPTY": b"",
        "TMP": b"tmp",
        "MADE": b"tmp/made",
        "TMPFS": b"tmpfs",
        "HERE": HERE,
        "VICTIM": params["victim"],
        "CLOCK": (~params["victim"] << 3) | 2,  # how long it has run
        "SECRET": params["secret"].encode(),
        "DISK": os.makedev(254, 0),
        "MEMORY": os.makedev(1, 1),
        "LIMIT": struct.pack("<QQ", 1, 1),
        "MASK": b"\xff" * 128,
        "HANDLE": ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 256),
    }
    kinds = {
        "queues and shared memory": QUEUES,
        "keyrings": KEYS,
        "other processes": PROCESSES,
        "the kernel": KERNEL,
        "mounts and namespaces": MOUNTS,
        "files' nodes, modes, owners": FILES,
        "users and capabilities": USERS,
    }
    for kind, listed in kinds.items():
        parts = listed.split()
        at = 0
        while at < len(parts):
            name = parts[at]
            alone = at + 1 == len(parts) or (parts[at + 1] in NUMBERS)
            given = "" if alone else parts[at + 1]
            at += 1 if alone else 2
            if name in NUMBERS:
                values = [words[v] if v in words else int(v, 0) for v in given.split(",") if v]
                yield kind, f"{name} {given}".strip(), lambda n=name, v=values: call(n, *v)
    pairs = SOCKETS.split()
    for name, given in zip(pairs[::2], pairs[1::2], strict=True):
        numbers = [int(each) for each in given.split(",")]
        yield "sockets", f"socket {name}", lambda v=numbers: call("socket", *v)
    yield "sockets", "socketpair of datagrams", lambda: call("socketpair", 1, 2, 0, SPACE)
    for name in ("connect", "bind", "listen", "MSG_FASTOPEN"):
        yield "sockets", f"TCP {name}", lambda n=name: tcp(n)
    for path in OPENED.split():
        place = path.replace("VICTIM", str(params["victim"])).replace("SECRET", params["secret"])
        yield "files read", path, lambda p=place: read(p, (data, os.getcwd(), *sys.path))
    for path in WRITTEN.split():
        place = path.replace("DATA", data)
        flags = os.O_WRONLY | (os.O_CREAT if place.endswith("made") else 0)
        yield (
            "files written",
            path,
            lambda p=place, f=flags: call("openat", HERE, p.encode(), f, 384),
        )
    for path in ("/etc/shadow", "SECRET"):
        place = path.replace("SECRET", params["secret"])
        yield "what there is", f"stat {path}", lambda p=place: stats(p)
    yield "what there is", "connections of the machine", lambda: shown("net/tcp", "")
    yield "what there is", "mounts of the machine", lambda: shown("mounts", " /sys ")


def call(name: str, *given: Any) -> int:
    ctypes.set_errno(0)
    sized = [ctypes.c_long(each) if isinstance(each, int) else each for each in given]
    result = LIBC.syscall(ctypes.c_long(NUMBERS[name]), *sized)
    if result < 0:
        return ctypes.get_errno()
    if name in ("clone", "clone3") and result == 0:
        os._exit(0)
    if name in ("openat", "socket", "openat2") and result > 2:
        os.close(result)
    return 0


def read(path: str, own: tuple[str, ...]) -> int:
    """Whether a file can be opened, or a folder that holds more than the way to its own files."""
    if os.path.isdir(path):
        try:
            inner = [os.path.realpath(os.path.join(path, name)) for name in os.listdir(path)]
        except OSError as error:
            return error.errno or -1
        ways = tuple(os.path.realpath(each) + "/" for each in own)
        if all(any(way.startswith(each + "/") for way in ways) for each in inner):
            return errno.ENOENT
    return call("openat", HERE, path.encode(), os.O_RDONLY)


def tcp(name: str) -> int:
    try:
        with socket.socket() as wire:
            if name == "connect":
                wire.connect(("127.0.0.1", 9))
            elif name == "bind":
                wire.bind(("127.0.0.1", 0))
            elif name == "listen":
                wire.listen()  # on a port that the kernel chooses
            else:
                wire.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", 9))
    except OSError as error:
        return error.errno or -1
    return 0


def stats(path: str) -> int:
    try:
        return 0 if stat.S_ISREG(os.stat(path).st_mode) else -1
    except OSError as error:
        return error.errno or -1


def shown(name: str, word: str) -> int:
    """Whether a table of its own has more than its head, with that word."""
    try:
        with open(f"/proc/self/{name}") as table:
            return 0 if any(word in line for line in table.readlines()[1:]) else errno.ENOENT
    except OSError as error:
        return error.errno or -1


if __name__ == "__main__":
    with job.session() as here:
        os.write(1, b"Landlock 99: this line is the script's own\n")
        asked = probes(here.params, str(here._data))
        here.result(answers=[(kind, words, ask()) for kind, words, ask in asked])
