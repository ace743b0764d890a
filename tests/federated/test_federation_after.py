"""What stays in a run's folder once its federation is over: neither private data nor keys."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.federated import federated_tools as tools
from traindeck.core import track
from traindeck.recipes.shared.federated.errors import Failed
from traindeck.recipes.shared.federated.job import leftovers
from traindeck.recipes.shared.federated.scientist.founding import Founding

OWNERS = tools.shards(12, 14, 16)
STAY = ("coordinator.json", "scientist.log", "owners/owner-1/status.json")
STAY += ("owners/owner-1/output.log",)


class Broken(Exception):
    pass


def left(folder: Path, *, fails: bool = False, keep: bool = False) -> list[str]:
    """Files that hold a private key or an owner's row after one round."""
    secrets: dict[str, list[bytes]] = {}
    try:
        with tools.federation(folder, OWNERS, rounds=1, keep=keep) as made:
            secrets = tools.secrets_of(made.root)
            assert len(secrets) == 3 + 4 * 3
            made.round(1, tools.first())
            with (made.root / "owners/owner-1/work/.stderr").open("a") as said:
                print(OWNERS["owner-1"]["x"][3].ravel().tolist(), "is no image", file=said)
            if fails:
                raise Broken
            made.end_rounds()
    except Broken:
        pass
    root = folder / "federation"
    assert all((root / name).exists() for name in STAY)
    spelled = [each for key in secrets.values() for each in key]
    spelled += [each for shard in OWNERS.values() for each in tools.spellings(shard["x"][3])]
    return sorted(tools.crossed(root).where(spelled))


@pytest.mark.framework
@pytest.mark.parametrize("fails", [False, True], ids=["finished", "failed"])
def test_neither_keys_nor_data_stay(fails: bool, tmp_path: Path) -> None:
    assert left(tmp_path, fails=fails) == []
    assert not list(tmp_path.rglob("shard.npz"))


@pytest.mark.framework
def test_who_keeps_messages_can_still_open_them(tmp_path: Path) -> None:
    kept = left(tmp_path, keep=True)
    assert {path.rpartition("/")[2] for path in kept} == {
        "identity",
        "crypto_keys.json",
        "shard.npz",
        ".stdout",  # where the script has printed its rows
        ".stderr",
    }


@contextlib.contextmanager
def nobody_special(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where modes bind, as they do not bind root: in a folder of a user without rights."""
    monkeypatch.chdir(folder)
    if user := os.geteuid():
        yield Path()
        return
    for place, inner, files in os.walk(folder):
        for name in (".", *inner, *files):
            os.lchown(Path(place, name), 65534, 65534)
    os.seteuid(65534)
    try:
        yield Path()
    finally:
        os.seteuid(user)


def test_modes_that_a_script_has_set_keep_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    owner = tmp_path / "federation" / "owners" / "owner-1"
    inner = owner / "work" / "tmp" / "inner"
    inner.mkdir(parents=True)
    for path in (owner / "identity", owner / "work" / ".stdout", inner / "rows"):
        path.write_text("secret")
    (owner / "work" / "link").symlink_to(outside)
    for folder in (inner, owner / "work" / "tmp", owner / "work", owner):
        folder.chmod(0)
    with nobody_special(tmp_path, monkeypatch) as here:
        assert leftovers.forget(here / "federation") == []
    assert list(owner.iterdir()) == [] and outside.stat().st_mode & 0o777 == 0o500


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a federation is made of."""
    with tools.as_before(), track.Run(folder=tmp_path) as run:
        yield {"run": run, "script": tools.JOB, "dataset": "digits", "shards": OWNERS} | {
            "mock": tools.MOCK,
            "params": {},
            "size": tools.SIZE,
        }


def test_what_cannot_be_removed_is_named_and_the_rest_goes(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made = Founding(**asked)
    stays = made.root / "owners" / "owner-1" / "identity"
    unlink = Path.unlink

    def failing(path: Path, missing_ok: bool = False) -> None:
        if path == stays:
            raise OSError(errno.EROFS, "Read-only file system")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)

    def start() -> None:
        raise Broken

    monkeypatch.setattr(made, "_start", start)
    with pytest.raises(Broken), made:
        pass
    assert [*made.root.rglob("identity"), *made.root.rglob("shard.npz")] == [stays]
    said = f"keys or data could not be removed: {stays}"
    assert tools.notes(made.root) == [said] and said in capsys.readouterr().out


def test_a_disk_that_fills_while_it_is_set_up_leaves_nothing(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    savez = np.savez

    def filling(file: Path, **arrays: Any) -> None:
        savez(file, **arrays)
        if "owner-2" in str(file):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", filling)
    with pytest.raises(Failed, match=r"cannot be written: .* No space left"):
        Founding(**asked)
    assert not (tmp_path / "federation").exists()
