"""The folder in place of a drive, as several processes see it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("syft", reason="syft is not installed")

from traindeck.recipes.shared.federated.post.drive import FolderStore
from traindeck.recipes.shared.federated.post.mail import address

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class TestDrive:
    """The folder in place of Google Drive."""

    def make(self, root: Path, id: str = "a-1", content: bytes = b"content") -> FolderStore:
        from syft.sync.connections.drive.mock_drive_service import MockDriveFile

        store = FolderStore(root)
        owners = [{"emailAddress": address("owner-1")}]
        store.add_file(MockDriveFile(id=id, name="a file", owners=owners, content=content))
        return store

    def test_another_process_sees_what_was_put_there(self, tmp_path: Path) -> None:
        self.make(tmp_path, content=b"with\nlines\n\0and more")
        other = FolderStore(tmp_path)
        file = other.get_file("a-1")
        assert file is not None and file.content == b"with\nlines\n\0and more"
        assert [each.name for each in other.values()] == ["a file"] and "a-1" in other
        [own] = other.get_permissions("a-1")
        assert (own.role, own.emailAddress) == ("owner", address("owner-1"))
        other.delete_file("a-1")
        assert "a-1" not in FolderStore(tmp_path) and other.get_file("a-1") is None

    def test_a_change_is_seen_by_who_has_read_it_before(self, tmp_path: Path) -> None:
        store, other = self.make(tmp_path), FolderStore(tmp_path)
        assert other.get_file("a-1") is not None
        file = store.get_file("a-1")
        assert file is not None
        file.content = b"changed"
        file.modifiedTime = "now"  # the service sets this last
        again = other.get_file("a-1")
        assert again is not None and again.content == b"changed"

    @pytest.mark.parametrize("id", ["../a", "a/b", "", ".", "a\0b"])
    def test_an_id_is_no_path(self, id: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is no id of an object"):
            FolderStore(tmp_path).get_file(id)

    def test_a_full_folder_leaves_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = self.make(tmp_path)
        whole = (tmp_path / "a-1.object").read_bytes()

        def full(source: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            file = store.get_file("a-1")
            assert file is not None
            with pytest.raises(OSError, match="No space left"):
                file.modifiedTime = "now"
            with pytest.raises(OSError, match="No space left"):
                self.make(tmp_path, "b-2")
        assert (tmp_path / "a-1.object").read_bytes() == whole
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a-1.object"]
