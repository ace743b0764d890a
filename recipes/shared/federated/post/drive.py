"""A folder in place of Google Drive: what syft's transport keeps, one file an object.

`FolderStore` has the methods of syft's in-memory `MockDriveBackingStore`, so that syft's own drive
service and transport work over it unchanged, in as many processes as there are parties. A file is
one line of JSON (name, folder, owner, who may read) and then the content. Each is replaced whole;
a change is made under a lock of the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from syft.sync.connections.drive.mock_drive_service import MockDriveFile, MockPermission

from traindeck.recipes.shared.federated.post import plainfile

MOST = 1 << 30  # bytes of an object
LOCKED_SECONDS = 60.0  # that others may keep the folder locked
LOOK = 0.005  # seconds
END = ".object"  # of an object's file name

Written = Callable[[str, bytes], None]
"""Told of each object that is written: the names of its folders and its own, and its content."""


class _NoObject(ValueError):
    """A file of the drive's that is none of its objects."""


class _Object(MockDriveFile):
    """An object whose change by the drive service is written: the service sets the time last."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "modifiedTime" and (store := self.__dict__.get("_store")):
            store.save(self)


class FolderStore:
    """The objects of a drive, in a folder that all parties can reach.

    Raises OSError when the folder is full, gone, or locked for too long: nothing is then half
    written. What lies in it and is no object of a drive's is passed over.
    """

    def __init__(self, root: Path, written: Written | None = None) -> None:
        self.root = root
        self.files = self  # of syft's store, a dict: `values` and `in` are all that is asked of it
        self._written = written
        self._known: dict[str, tuple[tuple[int, int], _Object, list[dict[str, Any]]]] = {}
        self._alone = threading.RLock()
        root.mkdir(parents=True, exist_ok=True)

    # What syft's drive service asks

    def values(self) -> list[_Object]:
        """All objects, as they are now."""
        ids = sorted(n.removesuffix(END) for n in os.listdir(self.root) if n.endswith(END))
        files = (self.get_file(id) for id in ids if _is_id(id))
        return [file for file in files if file is not None]

    def __contains__(self, id: object) -> bool:
        return self._path(str(id)).exists()

    def get_file(self, id: str) -> _Object | None:
        known = self._load(id)
        return known[0] if known else None

    def add_file(self, file: MockDriveFile) -> None:
        owner = file.owners[0]["emailAddress"] if file.owners else None
        own = MockPermission(type="user", role="owner", emailAddress=owner).model_dump()
        with self._locked():
            self._write(self._bound(file.model_dump()), [own])

    def delete_file(self, id: str) -> None:
        with self._locked():
            self._path(id).unlink(missing_ok=True)
            self._known.pop(id, None)

    def add_permission(self, id: str, permission: MockPermission) -> None:
        with self._locked():
            known = self._load(id)
            if known is not None:
                self._write(known[0], [*known[1], permission.model_dump()])

    def get_permissions(self, id: str) -> list[MockPermission]:
        known = self._load(id)
        return [MockPermission.model_construct(**each) for each in known[1]] if known else []

    # Files

    def save(self, file: _Object) -> None:
        with self._locked():
            known = self._load(file.id)
            self._write(file, known[1] if known else [])

    def _path(self, id: str) -> Path:
        if not _is_id(id):
            raise ValueError(f"{id!r} is no id of an object")
        return self.root / f"{id}{END}"

    def _bound(self, facts: dict[str, Any]) -> _Object:
        file = _Object(**facts)
        object.__setattr__(file, "_store", self)
        return file

    def _load(self, id: str) -> tuple[_Object, list[dict[str, Any]]] | None:
        with self._alone:
            try:
                entry = os.lstat(self._path(id))
                known = self._known.get(id)
                if known is None or known[0] != (entry.st_mtime_ns, entry.st_ino):
                    content, entry = plainfile.read(self._path(id), MOST)
                    version = (entry.st_mtime_ns, entry.st_ino)
                    known = self._known[id] = (version, *self._parsed(id, content))
            except (FileNotFoundError, _NoObject):
                self._known.pop(id, None)
                return None
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.EINVAL, errno.ENXIO):
                    raise
                return None  # a link or a pipe
            return known[1], known[2]

    def _parsed(self, id: str, content: bytes) -> tuple[_Object, list[dict[str, Any]]]:
        head, _, body = content.partition(b"\n")
        try:
            facts = json.loads(head)
            may = facts.pop("permissions")
            bound = self._bound({**facts, "content": body})
            for each in may:
                MockPermission(**each)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise _NoObject(f"{id}: {error}") from None
        if bound.id != id:
            raise _NoObject(f"{id} says that it is another")
        return bound, may

    def _write(self, file: _Object, permissions: list[dict[str, Any]]) -> None:
        facts = {**file.model_dump(exclude={"content"}), "permissions": permissions}
        whole = json.dumps(facts).encode() + b"\n" + file.content
        plainfile.replace(self._path(file.id), whole)
        if self._written:
            self._written(self._place(file), whole)

    def _place(self, file: _Object) -> str:
        folders = [folder.name for id in file.parents if (folder := self.get_file(id)) is not None]
        return "/".join([*folders, file.name])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._alone, open(os.open(self.root / ".lock", flags, 0o600), "rb") as lock:
            until = time.monotonic() + LOCKED_SECONDS
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                if time.monotonic() > until:
                    raise TimeoutError(errno.ETIMEDOUT, f"somebody keeps {self.root} locked")
                time.sleep(LOOK)
            yield


def _is_id(id: str) -> bool:
    return id.isascii() and id.replace("-", "").isalnum()
