"""IDX files: what is read, and what is refused with its name and why."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.idxfiles import contents, drawings, packed, write
from traindeck.recipes.shared.training.data import idx
from traindeck.recipes.shared.training.data.idx import IMAGES, LABELS, DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "train-images-idx3-ubyte"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx") / "train-images-idx3-ubyte"


def refused(path: Path, dimensions: int = IMAGES) -> str:
    """Why the file is refused; the message must name it."""
    with pytest.raises(DataError) as caught:
        idx.read(path, dimensions)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_reads_a_folder_however_it_is_spelt(tmp_path: Path, zipped: bool, dotted: bool) -> None:
    files = contents(40, 20)
    if dotted:
        files = {name.replace("-idx", ".idx"): data for name, data in files.items()}
    images = idx.load(write(tmp_path / "data", files, zipped), 10, (28, 28))
    train_x, train_y = drawings(40, 1)
    assert images.train_x.dtype == images.train_y.dtype == np.uint8
    assert (images.train_x == train_x).all() and (images.train_y == train_y).all()
    assert images.test_x.shape == (20, 28, 28) and images.test_y.shape == (20,)
    images.train_x[0] = 0  # frameworks warn about arrays that cannot be written


def test_gzip_is_seen_from_the_content_not_the_name(file: Path) -> None:
    x, _ = drawings(3)
    file.write_bytes(gzip.compress(packed(x)))
    assert (idx.read(file, IMAGES) == x).all()


class TestRefused:
    def test_labels_where_images_belong_and_the_reverse(self, file: Path) -> None:
        x, y = drawings(3)
        file.write_bytes(packed(y))
        assert refused(file) == (
            "holds labels (1 dimension) where images (3 dimensions) are needed"
        )
        file.write_bytes(packed(x))
        assert refused(file, LABELS) == (
            "holds images (3 dimensions) where labels (1 dimension) are needed"
        )

    def test_not_idx_at_all(self, file: Path) -> None:
        file.write_bytes(b"<!DOCTYPE html>")
        assert refused(file) == "not an IDX file: it begins with 3c 21 44 4f"
        file.write_bytes(b"")
        assert refused(file) == "not an IDX file: it begins with nothing"

    def test_values_that_are_not_bytes(self, file: Path) -> None:
        file.write_bytes(struct.pack(">BBBB3I", 0, 0, 0x0D, 3, 1, 28, 28))
        assert refused(file) == "holds values of type 0x0d, not unsigned bytes (0x08)"

    def test_a_file_that_ends_early(self, file: Path) -> None:
        data = packed(drawings(3)[0])
        file.write_bytes(data[:-1])
        assert refused(file) == (
            "its header says 3×28×28 = 2352 bytes, but the file holds 2351; it is truncated"
        )
        file.write_bytes(data[:9])
        assert refused(file) == "ends within its header; the file is truncated"

    def test_a_file_that_goes_on(self, file: Path) -> None:
        file.write_bytes(packed(drawings(3)[0]) + b"\0")
        assert refused(file).endswith("but the file is longer")

    def test_an_empty_set(self, file: Path) -> None:
        file.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 28, 28))
        assert refused(file) == "is empty: its header says 0×28×28"

    def test_a_header_that_asks_for_terabytes_costs_nothing(self, file: Path) -> None:
        header = struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3)
        for data in (header + b"12", gzip.compress(header + b"12")):
            file.write_bytes(data)
            assert refused(file).endswith("but the file holds 2; it is truncated")

    def test_damaged_gzip(self, file: Path) -> None:
        whole = gzip.compress(packed(drawings(30)[0]))
        file.write_bytes(whole[:-4])
        assert refused(file) == "the gzip data ends early; the file is truncated"
        file.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
        assert "CRC check failed" in refused(file)
        file.write_bytes(whole[:10] + b"\xff" + whole[11:])  # a kind of block that is not defined
        assert refused(file).startswith("the gzip data is damaged")

    def test_a_file_that_may_not_be_read(self, tmp_path: Path) -> None:
        assert refused(tmp_path) == "cannot be read: Is a directory"
        assert refused(tmp_path / "gone") == "cannot be read: No such file or directory"


class TestFolder:
    @pytest.fixture
    def files(self) -> dict[str, bytes]:
        return contents()

    def refused(self, folder: Path, classes: int = 10, size: tuple[int, int] = (28, 28)) -> str:
        with pytest.raises(DataError) as caught:
            idx.load(folder, classes, size)
        return str(caught.value).replace(f"{folder}{os.sep}", "")

    def test_missing_files_are_named(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        del files["train-labels-idx1-ubyte"], files["t10k-images-idx3-ubyte"]
        message = self.refused(write(tmp_path / "data", files))
        assert "no train-labels-idx1-ubyte and no t10k-images-idx3-ubyte" in message

    def test_swapped_files(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        images, labels = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
        files[images], files[labels] = files[labels], files[images]
        message = self.refused(write(tmp_path / "data", files))
        assert message.startswith("t10k-images-idx3-ubyte: holds labels")

    def test_labels_of_the_other_set(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        files["t10k-labels-idx1-ubyte"] = files["train-labels-idx1-ubyte"]
        message = self.refused(write(tmp_path / "data", files))
        assert message == "t10k-labels-idx1-ubyte: 40 labels for 20 images"

    def test_a_label_outside_the_classes(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        labels = drawings(40, 1)[1]
        labels[17] = 10
        files["train-labels-idx1-ubyte"] = packed(labels)
        message = self.refused(write(tmp_path / "data", files))
        assert message == "train-labels-idx1-ubyte: label 17 is 10, outside 0 to 9"

    def test_images_of_another_size(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        files["t10k-images-idx3-ubyte"] = packed(np.zeros((20, 32, 28), np.uint8))
        folder = write(tmp_path / "data", files)
        message = "t10k-images-idx3-ubyte: images of 32×28 pixels where 28×28 is needed"
        assert self.refused(folder) == message
        with pytest.raises(DataError, match="32×28 pixels where 28×28"):
            idx.load(folder, 10)  # without a wanted size, the two sets must still agree


class TestAnyDamage:
    """Whatever happens to a file, it is read rightly or refused: nothing else is raised."""

    data = packed(drawings(5)[0])
    header = 16

    @staticmethod
    def outcome(path: Path, damaged: bytes) -> tuple[int, ...] | str:
        path.write_bytes(damaged)
        try:
            return idx.read(path, IMAGES).shape
        except DataError as error:
            return str(error)

    @settings(deadline=None, max_examples=150)
    @given(length=st.integers(0, len(data) - 1), zipped=st.booleans())
    def test_truncation(self, path: Path, length: int, zipped: bool) -> None:
        whole = gzip.compress(self.data) if zipped else self.data
        assert isinstance(self.outcome(path, whole[: length % len(whole)]), str)

    @settings(deadline=None, max_examples=150)
    @given(bit=st.integers(0, 8 * header - 1))
    def test_a_flipped_bit_in_the_header(self, path: Path, bit: int) -> None:
        damaged = bytearray(self.data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert isinstance(self.outcome(path, bytes(damaged)), str)

    @settings(deadline=None, max_examples=150)
    @given(bit=st.integers(0, 8 * len(gzip.compress(data, mtime=0)) - 1))
    def test_a_flipped_bit_in_a_gzip_file(self, path: Path, bit: int) -> None:
        damaged = bytearray(gzip.compress(self.data, mtime=0))
        damaged[bit // 8] ^= 1 << bit % 8
        outcome = self.outcome(path, bytes(damaged))
        if not isinstance(outcome, str):  # gzip's header has bits that mean nothing
            assert (idx.read(path, IMAGES) == drawings(5)[0]).all()

    @settings(deadline=None, max_examples=150)
    @given(damaged=st.binary(max_size=64))
    def test_noise(self, path: Path, damaged: bytes) -> None:
        self.outcome(path, damaged)
        self.outcome(path, b"\x1f\x8b" + damaged)
        self.outcome(path, b"\0\0\x08\x03" + damaged)
