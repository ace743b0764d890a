"""Scattering features: the right numbers, kept for the next run and for nobody else."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from tests.training.idxfiles import drawings
from traindeck.recipes.shared.training.data import scattering

CHANNELS = [0, 1, 4, 8, 9, 13, 16, 17, 21, 44, 62, 80]
KYMATIO = {  # Scattering2D(J=2, shape=(28, 28)) of kymatio 0.3.0, at these channels and places
    (0, 0): "0.05561 0.01105 0.01576 0.01595 0.02400 0.02141"
    " 0.03245 0.00280 0.00177 0.00607 0.00354 0.00337",
    (3, 3): "0.48892 0.09386 0.02894 0.03504 0.02452 0.02324"
    " 0.01098 0.00569 0.00542 0.00311 0.00348 0.00521",
    (6, 2): "0.49131 0.09550 0.05954 0.05825 0.01973 0.03062"
    " 0.01449 0.00387 0.00579 0.00692 0.00430 0.00784",
}


def test_coefficients_are_those_of_kymatio() -> None:
    row, column = np.mgrid[:28, :28]
    image = ((3 * row + 5 * column * row + column * column) % 256).astype(np.uint8)
    coefficients = scattering.scatter(image[None])[0]
    for place, expected in KYMATIO.items():
        values = coefficients[(CHANNELS, *place)]
        assert np.abs(values - np.array(expected.split(), float)).max() < 4e-5


def test_a_constant_image_has_no_waves() -> None:
    coefficients = scattering.scatter(np.full((1, 28, 28), 255, np.uint8))[0]
    assert np.abs(coefficients[0] - 1).max() < 1e-5
    assert np.abs(coefficients[1:]).max() < 1e-5


def test_stripes_answer_at_their_own_angle() -> None:
    stripes = np.zeros((2, 28, 28), np.uint8)
    stripes[0, ::3] = 255  # change from row to row: angle 3 of 8 is 0
    stripes[1, :, ::3] = 255  # from column to column: a quarter turn away
    first = scattering.scatter(stripes)[:, 1:9].mean((2, 3))
    assert first.argmax(1).tolist() == [3, 7]


def test_each_image_has_features_of_its_own_whatever_stands_beside_it() -> None:
    images, _ = drawings(45)
    together = scattering.scatter(images)
    assert together.shape == (45, 81, 7, 7) and together.dtype == np.float32
    for index in (0, 20, 44):
        assert np.abs(together[index] - scattering.scatter(images[index : index + 1])).max() < 1e-6


def test_normalised_features_have_mean_0_and_variance_1_in_each_group() -> None:
    images, _ = drawings(3)
    flat = scattering.normalised(scattering.scatter(images).astype(np.float16))
    assert flat.shape == (3, 81 * 49) and flat.dtype == np.float32
    groups = flat.reshape(3, 27, -1)
    assert np.abs(groups.mean(2)).max() < 1e-5
    assert np.abs(groups[:, 0].var(1) - 1).max() < 0.01  # the others are so small that eps tells


@pytest.mark.framework
def test_normalised_is_group_norm() -> None:
    torch = pytest.importorskip("torch")
    x = scattering.scatter(drawings(3)[0]).astype(np.float16)
    expected = torch.nn.functional.group_norm(torch.from_numpy(x).float(), 27).flatten(1)
    assert np.abs(scattering.normalised(x) - expected.numpy()).max() < 1e-5


class TestCache:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        return tmp_path / "home" / "cache" / "scattering"

    def test_features_are_computed_once(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        train_x, test_x = drawings(50, 1)[0], drawings(30, 2)[0]
        made = scattering.features(train_x, test_x, cache)
        said = capsys.readouterr().out
        assert "features of the training images" in said and "50" not in said
        monkeypatch.delattr(scattering, "scatter")
        kept = scattering.features(train_x, test_x, cache)
        assert capsys.readouterr().out == ""
        for new, old, images in zip(made, kept, (train_x, test_x), strict=True):
            assert new.shape == (len(images), 81, 7, 7) and new.dtype == np.float16
            assert np.array_equal(new, old)

    def test_only_this_user_can_read_them(self, cache: Path) -> None:
        scattering.features(drawings(5, 1)[0], drawings(4, 2)[0], cache)
        for folder in (cache, cache.parent, cache.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = list(cache.iterdir())
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]

    def test_one_pixel_makes_it_other_data(self, cache: Path) -> None:
        train_x, test_x = drawings(5, 1)[0], drawings(4, 2)[0]
        before, _ = scattering.features(train_x, test_x, cache)
        train_x[0, 14, 14] ^= 255
        after, _ = scattering.features(train_x, test_x, cache)
        assert not np.array_equal(before[0], after[0])
        assert np.array_equal(before[1:], after[1:])
        assert len(list(cache.iterdir())) == 3

    def test_another_version_computes_them_anew(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images = drawings(5)[0]
        scattering.features(images, images, cache)
        monkeypatch.setattr(scattering, "VERSION", 10**6)
        scattering.features(images, images, cache)
        assert len(list(cache.iterdir())) == 2

    @pytest.mark.parametrize("size", [0, 60, 200])
    def test_a_torn_file_is_made_anew(self, cache: Path, size: int) -> None:
        images = drawings(5)[0]
        made, _ = scattering.features(images, images, cache)
        [path] = cache.iterdir()
        whole = path.read_bytes()
        path.write_bytes(whole[:size])
        again, _ = scattering.features(images, images, cache)
        assert np.array_equal(made, again)
        assert path.read_bytes() == whole

    def test_a_place_that_cannot_be_written_costs_a_warning(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        images = drawings(5)[0]
        made, _ = scattering.features(images, images, tmp_path / "file" / "cache")
        assert made.shape == (5, 81, 7, 7)
        assert "warning: the features are not kept" in capsys.readouterr().out

    def test_is_in_the_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path))
        assert scattering.cache_folder() == tmp_path / "cache" / "scattering"
