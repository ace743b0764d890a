"""What a process and everything it started use: CPU, memory, threads, I/O.

Standard library only, and cheap enough for the supervisor to call once a second. Linux reads /proc;
elsewhere psutil answers (see `proctree_portable`), imported when first needed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable

from traindeck.core.base.process import (
    CSTIME,
    CUTIME,
    PPID,
    RSS,
    START,
    STIME,
    THREADS,
    UTIME,
    is_dead,
    parse_stat,
    stat_fields,
)
from traindeck.core.devices.tree_usage import TreeUsage

_LINUX = sys.platform.startswith("linux")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# Reading smaps_rollup walks the page tables of the process while holding its memory map (20 ms a
# gibibyte), so it delays the training it watches: only this share of the time may go into it, but
# twice a minute at least, and only so many seconds into one sample.
_PSS_SHARE = 0.001
_PSS_SELDOM = 30.0
_PSS_AT_ONCE = 0.002

# A stranger's pid is looked at again after this many samples, in case it was reused. Pids are
# handed out in turn: to come round sooner takes a thousand new processes a second.
_RECHECK = 60

# So many processes are read through files kept open, at half the cost of opening them each time.
_KEPT_OPEN = 64

# Under this many seconds one clock tick is a tenth of a core or more: the last figure is repeated.
_SHORTEST = 0.1


def descendants(root_pid: int) -> list[int]:
    """Pids of all living children, grandchildren and so on, parents first; zombies left out.

    One look at a moving target: to end a whole tree, call again until it returns nothing.
    """
    if not _LINUX:
        from traindeck.core.devices import proctree_portable

        return proctree_portable.descendants(root_pid)
    pids = _from_children_files(root_pid)
    if pids is None:
        pids = _from_all_parents(root_pid)
    return [pid for pid in pids if (fields := stat_fields(pid)) and not is_dead(fields)]


def _from_all_parents(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        fields = stat_fields(pid)
        if fields is not None:
            children.setdefault(int(fields[PPID]), []).append(pid)
    pids = children.get(root, [])
    for pid in pids:  # grows while it is walked
        pids.extend(children.get(pid, ()))
    return pids


def _from_children_files(root: int) -> list[int] | None:
    """The same from /proc/<pid>/task/<thread>/children, or None without CONFIG_PROC_CHILDREN."""
    if not os.access(f"/proc/{root}/task/{root}/children", os.R_OK):
        return None
    pids: list[int] = []
    _add_children(root, pids)
    for pid in pids:  # grows while it is walked
        _add_children(pid, pids)
    return pids


def _add_children(pid: int, pids: list[int]) -> None:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        pids.extend(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> bytes:
    """A small file's content, or nothing when it cannot be read (any more)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _number_after(label: bytes, text: bytes) -> int | None:
    at = text.find(label)
    return None if at < 0 else int(text[at + len(label) :].split(None, 1)[0])


class _Text:
    """A file below /proc/<pid>, kept open or opened for each reading."""

    __slots__ = ("_fd", "_path")

    def __init__(self, pid: int, name: str, keep_open: bool) -> None:
        self._path = f"/proc/{pid}/{name}"
        self._fd = -1
        if keep_open:
            with contextlib.suppress(OSError):
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self) -> bytes:
        """Its text now, or nothing when it cannot be read (any more)."""
        if self._fd < 0:
            return _read(self._path)
        try:
            return os.pread(self._fd, 4096, 0)
        except OSError:
            return b""


class _Member:
    """A process of the tree as last seen."""

    __slots__ = (
        "child_ticks",
        "dead",
        "files",
        "io",
        "own_ticks",
        "parent",
        "pss",
        "pss_due",
        "pss_rss",
        "rss",
        "start",
        "threads",
    )

    def __init__(self, pid: int, fields: list[bytes], keep_open: bool) -> None:
        self.files = (_Text(pid, "stat", keep_open), _Text(pid, "io", keep_open))
        self.start = fields[START]
        self.io = (0, 0)
        self.pss = self.pss_rss = 0
        self.pss_due = 0.0
        self.see(fields)

    def look(self) -> bool:
        """Read its state anew; False when it has gone."""
        fields = parse_stat(self.files[0].read())
        if fields is None or fields[START] != self.start:
            return False
        self.see(fields)
        return True

    def look_at_io(self) -> None:
        text = self.files[1].read()
        read = _number_after(b"\nread_bytes:", text)
        written = _number_after(b"\nwrite_bytes:", text)
        if read is not None and written is not None:
            self.io = (read, written)

    def see(self, fields: list[bytes]) -> None:
        self.parent = int(fields[PPID])
        self.own_ticks = int(fields[UTIME]) + int(fields[STIME])
        self.child_ticks = int(fields[CUTIME]) + int(fields[CSTIME])
        self.threads = int(fields[THREADS])
        self.rss = int(fields[RSS]) * _PAGE
        self.dead = is_dead(fields)


class TreeSampler:
    """Samples one process and its descendants; keep one per tree and call `sample` at intervals.

    CPU and I/O of processes that came and went between two samples are counted if their parent
    waited for them, because the kernel then adds theirs to the parent's. A parent that ignores
    SIGCHLD loses what its children used since the last sample; nothing is counted twice.

    A process stays in the tree when its parent dies, provided it was seen before or the root is a
    child subreaper (PR_SET_CHILD_SUBREAPER), as the supervisor is.

    With include_root=False the root is only the anchor: a supervisor is no part of its run. What
    `apart` says of a pid is so when it is first seen: it and all below it are not of the tree.

    PSS is read from smaps_rollup as often as its cost allows, and moved along with the resident
    size in between. Where it may not be read, the sample is RSS.
    """

    def __init__(
        self,
        root_pid: int,
        *,
        include_root: bool = True,
        apart: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._root = root_pid
        self._include_root = include_root
        self._apart = apart
        self._members: dict[int, _Member] = {}  # parents before children
        # Names in /proc that are not ours, and the same in the groups they are looked at again in.
        self._strangers: set[str] = set()
        self._recheck: list[set[str]] = [set() for _ in range(_RECHECK)]
        self._round = 0
        self._since: float | None = None
        self._percent = 0.0
        self._ticks = 0
        self._io = (0, 0)
        self._has_io = os.access("/proc/self/io", os.R_OK)
        # What ended processes had used and no parent has been credited with yet.
        self._owed_ticks = 0
        self._owed_io = (0, 0)

    def sample(self) -> TreeUsage:
        """Look at the tree now. A tree that is gone yields zeros, never an error."""
        if not _LINUX:
            from traindeck.core.devices import proctree_portable

            return proctree_portable.sample(self._root, include_root=self._include_root)
        now = time.monotonic()
        self._follow_membership()
        self._account()
        self._measure_percent(now)
        shown = {
            pid: member
            for pid, member in self._members.items()
            if not member.dead and self._counts(pid)
        }
        pss = self._pss(shown, now)
        return TreeUsage(
            cpu_percent=self._percent,
            memory_bytes=sum(m.rss for m in shown.values()) if pss is None else pss,
            memory_kind="rss" if pss is None else "pss",
            threads=sum(m.threads for m in shown.values()),
            processes=len(shown),
            read_bytes=self._io[0] if self._has_io else None,
            write_bytes=self._io[1] if self._has_io else None,
        )

    def _counts(self, pid: int) -> bool:
        return self._include_root or pid != self._root

    def _follow_membership(self) -> None:
        """Take new processes into the tree, reading only those not yet known as strangers."""
        names = set(os.listdir("/proc"))
        self._round += 1
        again = self._recheck[self._round % _RECHECK]
        self._strangers &= names
        self._strangers -= again
        again.clear()
        unknown = {}
        for name in names - self._strangers:
            if not name.isdecimal():
                self._strangers.add(name)
            elif int(name) not in self._members:
                fields = stat_fields(int(name))
                if fields is not None:
                    unknown[int(name)] = fields
        if self._root in unknown and self._round == 1:  # later it would be another of that pid
            self._join(self._root, unknown.pop(self._root))
        children: dict[int, list[int]] = {}
        for pid, fields in unknown.items():
            children.setdefault(int(fields[PPID]), []).append(pid)
        families = [pid for pid in children if pid in self._members]
        for parent in families:  # grows while it is walked
            for pid in children.get(parent, ()):
                if not self._apart(pid):
                    self._join(pid, unknown.pop(pid))
                    families.append(pid)
        for pid, fields in unknown.items():
            parent = int(fields[PPID])
            # One whose parent was not listed yet may turn out to be ours in the next sample.
            if parent == 0 or str(parent) in names:
                self._strangers.add(str(pid))
                self._recheck[pid % _RECHECK].add(str(pid))

    def _join(self, pid: int, fields: list[bytes]) -> None:
        member = _Member(pid, fields, keep_open=len(self._members) < _KEPT_OPEN)
        self._members[pid] = member
        if self._since is not None:  # born since the last sample: all it used is new
            member.own_ticks = member.child_ticks = 0

    def _account(self) -> None:
        """Add what the tree used since the last sample to `_ticks` and `_io`.

        A parent is read before its children. So one that ends meanwhile is missed rather than seen
        twice, and what it had used is owed until the next sample, when its parent shows it.
        """
        used = credited = read = written = 0
        for pid, member in list(self._members.items()):
            own, child, io = member.own_ticks, member.child_ticks, member.io
            if not member.look():
                del self._members[pid]
                credited -= own + child
                if self._counts(member.parent):
                    read -= io[0]
                    written -= io[1]
                continue
            credited += member.child_ticks - child
            if not self._counts(pid):
                continue
            used += member.own_ticks - own
            if self._has_io and not member.dead:
                member.look_at_io()
                read += member.io[0] - io[0]
                written += member.io[1] - io[1]
        self._ticks += used + max(0, credited + self._owed_ticks)
        self._owed_ticks = min(0, credited)
        self._io = (
            self._io[0] + max(0, read + self._owed_io[0]),
            self._io[1] + max(0, written + self._owed_io[1]),
        )
        self._owed_io = (min(0, read), min(0, written))

    def _measure_percent(self, now: float) -> None:
        if self._since is None:
            self._since, self._ticks = now, 0
        elif now - self._since >= _SHORTEST:
            self._percent = 100.0 * self._ticks / _TICKS / (now - self._since)
            self._since, self._ticks = now, 0

    def _pss(self, shown: dict[int, _Member], now: float) -> int | None:
        total, spent = 0, 0.0
        for pid, member in shown.items():
            if now >= member.pss_due and (spent < _PSS_AT_ONCE or member.pss_due == 0):
                began = time.thread_time()
                try:
                    pss = _read_pss(pid)
                except OSError:
                    return None
                if pss is not None:
                    member.pss, member.pss_rss = pss, member.rss
                cost = time.thread_time() - began
                spent += cost
                member.pss_due = now + min(cost * len(shown) / _PSS_SHARE, _PSS_SELDOM)
            total += max(0, member.pss + member.rss - member.pss_rss)
        return total


def _read_pss(pid: int) -> int | None:
    """PSS in bytes, None if the process has just ended. Raises OSError where it may not be read."""
    try:
        fd = os.open(f"/proc/{pid}/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 4096)
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError):
        if os.access("/proc/self/smaps_rollup", os.R_OK):
            return None
        raise
    kilobytes = _number_after(b"\nPss:", text)
    return None if kilobytes is None else kilobytes * 1024
