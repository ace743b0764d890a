"""A job's own view of the machine: no other's processes, queues, networks, and its files alone.

By namespaces(7) of Linux, each for itself: what cannot be made is named and the others are. Whoever
is not root makes them within a user namespace, where the system lets users have one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from traindeck.recipes.shared.federated.job import kernel, rights

USER = 0x10000000
FLAGS = {"mount": 0x00020000, "ipc": 0x08000000, "uts": 0x04000000, "pid": 0x20000000}
NET = 0x40000000

_ADMINISTRATOR = 21  # the capability that makes namespaces
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 1 << 18  # of mount(2)
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_SET_ATTRIBUTES = 442  # mount_setattr(2), everywhere
_AT_RECURSIVE, _READ_ONLY = 0x8000, 1
_PIVOT = {"x86_64": 155, "aarch64": 41}
_PLACES = ("/mnt", "/media", "/srv", "/opt", "/home", "/var", "/boot", "/run", "/tmp")


@dataclass
class Made:
    """Which namespaces there are, by name; and of those that are not, why."""

    names: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def separate() -> Made:
    """Make this process's namespaces but the net's, the pid's for its children.

    The process must have one thread.
    """
    made = Made()
    if not rights.capabilities() >> _ADMINISTRATOR & 1:
        user, group = os.getuid(), os.getgid()
        try:
            kernel.unshare(USER)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
            made.names.append("user")
        except OSError as error:
            made.failed["user"] = error.strerror or str(error)
    for name, flag in FLAGS.items():
        _leave(made, name, flag)
    return made


def leave_network(made: Made) -> None:
    """Be in a network of this process's own, in which there is nobody."""
    _leave(made, "net", NET)


def _leave(made: Made, name: str, flag: int) -> None:
    try:
        kernel.unshare(flag)
        made.names.append(name)
    except OSError as error:
        made.failed[name] = error.strerror or str(error)


def root(machine: str, read: Iterable[Path], write: Iterable[Path]) -> None:
    """Leave this process a file system of these files alone, at their places, and its own /proc.

    Needs a mount namespace of its own. Raises OSError, and nothing has changed then.
    """
    sources = {path.absolute(): False for path in read} | {path.absolute(): True for path in write}
    sources = {path: own for path, own in sources.items() if path.parts[:2] != ("/", "proc")}
    whole = {Path(os.path.realpath(path)): own for path, own in sources.items()}
    kernel.mount("", "/", flags=_RECURSIVE | _PRIVATE)
    base = _place(whole)
    mask = os.umask(0o022)
    kernel.mount("tmpfs", str(base), "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m")
    try:
        for path in sources:
            _links(path, base)
        bound: list[Path] = []
        for path in sorted(whole):
            if whole[path] or not any(path.is_relative_to(above) for above in bound):
                _bind(path, base, whole[path])
                bound.append(path)
        with contextlib.suppress(FileExistsError):
            os.symlink("/proc/self/fd", base / "dev" / "fd")
        (base / "proc").mkdir()
        try:
            kernel.mount("proc", str(base / "proc"), "proc", _NOSUID | _NODEV | _NOEXEC)
        except OSError:  # a container that covers parts of it: as it is seen there
            kernel.mount("/proc", str(base / "proc"), flags=_BIND | _RECURSIVE)
        _attributes(base, recursive=False)
        os.chdir(base)
        kernel.call(_PIVOT[machine], b".", b".")
    except BaseException:
        os.chdir("/")
        with contextlib.suppress(OSError):
            kernel.detach(str(base))
        raise
    finally:
        os.umask(mask)
    kernel.detach(".")
    os.chdir("/")


def _place(sources: Iterable[Path]) -> Path:
    """A folder that nothing of the job lies in: where its root is laid out."""
    for place in map(Path, _PLACES):
        clear = not any(source.is_relative_to(place) for source in sources)
        if clear and place.is_dir() and not place.is_symlink():
            return place
    raise OSError(errno.ENOENT, "no folder is free for a root")


def _links(path: Path, base: Path) -> None:
    """Make the symbolic links that are on the way to a path."""
    at = Path("/")
    for number, part in enumerate(path.parts[1:], 2):
        at /= part
        if at.is_symlink():
            copy = base / at.relative_to("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(copy):
                os.symlink(os.readlink(at), copy)
            rest = at.parent / os.readlink(at) / Path(*path.parts[number:])
            _links(Path(os.path.normpath(rest)), base)
            return


def _bind(path: Path, base: Path, writable: bool) -> None:
    copy = base / path.relative_to("/")
    if not os.path.lexists(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            copy.mkdir()
        else:
            copy.touch()
    kernel.mount(str(path), str(copy), flags=_BIND | _RECURSIVE)
    device = path.is_relative_to("/dev")
    _attributes(copy, recursive=True, writable=writable, devices=device)


def _attributes(
    path: Path, *, recursive: bool, writable: bool = False, devices: bool = False
) -> None:
    bits = _NOSUID | (0 if writable else _READ_ONLY) | (0 if devices else _NODEV)
    attributes = struct.pack("<QQQQ", bits, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    here = -100
    kernel.call(_SET_ATTRIBUTES, here, str(path).encode(), flags, attributes, len(attributes))
