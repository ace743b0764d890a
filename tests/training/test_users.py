"""Records by their users: bounded, and a user's are the same whatever others there are."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from traindeck.recipes.shared.training.data import mnist, users
from traindeck.recipes.shared.training.data.idx import DataError


def writers_file(folder: Path, writers: NDArray[np.int32], columns: int = 8) -> Path:
    """As QMNIST has it: 8 big-endian integers an image, the third of them the writer."""
    table = np.zeros((len(writers), columns), ">i4")
    table[:, 2 : 3 if columns > 2 else 2] = writers[:, None]
    header = struct.pack(">BBBBII", 0, 0, 12, 2, *table.shape)
    path = folder / f"{mnist.WRITERS}.gz"
    path.write_bytes(gzip.compress(header + table.tobytes()))
    return path


def test_each_user_gives_at_most_so_many_of_its_own() -> None:
    owner = np.array([7, 3, 7, 7, 9, 3, 7])
    given = users.of(owner, 3, seed=0)
    assert len(given) == 3 and given.records.shape == given.given.shape == (3, 3)
    for place, (user, has) in enumerate([(3, 2), (7, 4), (9, 1)]):
        own = given.records[place][given.given[place]]
        assert len(own) == len(set(own)) == min(has, 3)
        assert (owner[own] == user).all()


def test_places_that_a_user_does_not_fill_hold_no_other_users_records() -> None:
    """A gradient that is not finite there would leave the user out, by another's data."""
    owner = np.array([7, 3, 7, 7, 9, 3, 7])
    given = users.of(owner, 3, seed=0)
    assert (owner[given.records] == np.array([[3], [7], [9]])).all()


def test_no_other_user_changes_what_one_gives() -> None:
    owner = np.random.default_rng(1).integers(0, 50, 2000)
    everybody = users.of(owner, 10, seed=4)
    kept = np.flatnonzero(owner != 17)
    without = users.of(owner[kept], 10, seed=4)
    place = np.flatnonzero(np.unique(owner) != 17)
    assert (kept[without.records[without.given]] == everybody.records[place][without.given]).all()
    other = users.of(owner, 10, seed=5)
    assert (other.records != everybody.records).any()


def test_writers_are_read_beside_the_images(tmp_path: Path) -> None:
    wrote = np.array([2, 0, 2, 399], np.int32)
    writers_file(tmp_path, wrote)
    assert (mnist.writers(4, str(tmp_path)) == wrote).all()


@pytest.mark.parametrize(("images", "columns"), [(5, 8), (4, 2)])
def test_a_file_of_other_images_or_columns_is_refused(
    tmp_path: Path, images: int, columns: int
) -> None:
    writers_file(tmp_path, np.array([2, 0, 2, 1], np.int32), columns)
    with pytest.raises(DataError, match="does not say who wrote each of the"):
        mnist.writers(images, str(tmp_path))


def test_labels_are_no_writers(tmp_path: Path) -> None:
    (tmp_path / mnist.WRITERS).write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 4, 0, 0, 0, 8]) + bytes(32))
    with pytest.raises(DataError, match=r"type 0x08, not integers of 4 bytes \(0x0c\)"):
        mnist.writers(4, str(tmp_path))


def test_where_nobody_says_it_is_said_that_users_are_made_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="nobody says who wrote the images: QMNIST's"):
        mnist.writers(6001, str(tmp_path))
    dealt = mnist.writers(6001, str(tmp_path), made_up=True)
    assert np.bincount(dealt).max() == 3 and len(set(dealt)) == mnist.STAND_INS
    assert "dealt to 3,000 made-up users: nobody is protected" in capsys.readouterr().out
