"""What stays in a run's folder once its federation is over: neither private data nor keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import federated_tools as tools

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


@pytest.mark.parametrize("fails", [False, True], ids=["finished", "failed"])
def test_neither_keys_nor_data_stay(fails: bool, tmp_path: Path) -> None:
    assert left(tmp_path, fails=fails) == []
    assert not list(tmp_path.rglob("shard.npz"))


def test_who_keeps_messages_can_still_open_them(tmp_path: Path) -> None:
    found = left(tmp_path, keep=True)
    assert {path.rpartition("/")[2] for path in found} == {
        "identity",
        "crypto_keys.json",
        "shard.npz",
        ".stdout",  # where the script has printed its rows
    }
