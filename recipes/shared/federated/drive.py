"""A folder in place of Google Drive: what syft's transport keeps, one file an object.

`FolderStore` has the methods of syft's in-memory `MockDriveBackingStore`, so that syft's own drive
service and transport work over it unchanged, in as many processes as there are parties. A file is
one line of JSON (name, folder, owner, who may read) and then the content. Each is replaced whole;
a change is made under a lock of the folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from syft.sync.connections.drive.mock_drive_service import MockDriveFile, MockPermission

Written = Callable[[str, bytes], None]
"""Told of each object that is written: the names of its folders and its own, and its content."""


class _Object(MockDriveFile):
    """An object whose change by the drive service is written: the service sets the time last."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "modifiedTime" and (store := self.__dict__.get("_store")):
            store.save(self)


class FolderStore:
    """The objects of a drive, in a folder that all parties can reach.

    Raises OSError when the folder is full or gone: nothing is then half written.
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
        names = sorted(name for name in os.listdir(self.root) if name.endswith(".object"))
        return [found for name in names if (found := self.get_file(name[:-7])) is not None]

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
        if not id.replace("-", "").isalnum():
            raise ValueError(f"{id!r} is no id of an object")
        return self.root / f"{id}.object"

    def _bound(self, facts: dict[str, Any]) -> _Object:
        file = _Object(**facts)
        object.__setattr__(file, "_store", self)
        return file

    def _load(self, id: str) -> tuple[_Object, list[dict[str, Any]]] | None:
        with self._alone:
            try:
                with self._path(id).open("rb") as file:
                    found = os.fstat(file.fileno())
                    version = (found.st_mtime_ns, found.st_ino)
                    known = self._known.get(id)
                    if known is None or known[0] != version:
                        facts = json.loads(file.readline())
                        may = facts.pop("permissions")
                        bound = self._bound({**facts, "content": file.read()})
                        known = self._known[id] = (version, bound, may)
            except FileNotFoundError:
                self._known.pop(id, None)
                return None
            return known[1], known[2]

    def _write(self, file: _Object, permissions: list[dict[str, Any]]) -> None:
        facts = {**file.model_dump(exclude={"content"}), "permissions": permissions}
        whole = json.dumps(facts).encode() + b"\n" + file.content
        part = self.root / f".{file.id}.{os.getpid()}.{threading.get_ident()}"
        try:
            part.write_bytes(whole)
            os.replace(part, self._path(file.id))
        except OSError:
            part.unlink(missing_ok=True)
            raise
        if self._written:
            self._written(self._place(file), whole)

    def _place(self, file: _Object) -> str:
        folders = [found.name for id in file.parents if (found := self.get_file(id)) is not None]
        return "/".join([*folders, file.name])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._alone, (self.root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
