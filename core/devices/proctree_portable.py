"""Process trees without /proc, through psutil: macOS, best effort.

CPU comes from psutil's own deltas, so what ended between two samples is not in it; memory is RSS;
there is no I/O.
"""

from __future__ import annotations

import psutil

from traindeck.core.devices.tree_usage import TreeUsage

# psutil measures CPU between two calls on the same object.
_seen: dict[int, psutil.Process] = {}


def descendants(root_pid: int) -> list[int]:
    """Pids of all living descendants, parents first."""
    try:
        children = psutil.Process(root_pid).children(recursive=True)
    except psutil.Error:
        return []
    return [child.pid for child in children if _alive(child)]


def sample(root_pid: int, *, include_root: bool) -> TreeUsage:
    """One sample of the tree under root_pid."""
    pids = [root_pid] if include_root else []
    pids += descendants(root_pid)
    percent, memory, threads, processes = 0.0, 0, 0, 0
    for pid in pids:
        try:
            process = _seen.get(pid)
            if process is None or not process.is_running():
                process = _seen[pid] = psutil.Process(pid)
            with process.oneshot():
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                percent += process.cpu_percent()
                memory += process.memory_info().rss
                threads += process.num_threads()
            processes += 1
        except psutil.Error:
            continue
    for pid in _seen.keys() - set(pids):
        del _seen[pid]
    return TreeUsage(percent, memory, "rss", threads, processes, None, None)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
