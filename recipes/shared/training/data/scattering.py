"""Scattering features of 28×28 images: fixed wavelets, so nothing of them is learnt from the data.

J. Bruna, S. Mallat: Invariant scattering convolution networks, IEEE TPAMI 35(8), 2013;
E. Oyallon, S. Mallat: Deep roto-translation scattering for object classification, CVPR 2015. A
linear classifier on them is the strongest private model of MNIST without other data (F. Tramèr,
D. Boneh: Differentially private learning needs better features, ICLR 2021).

Features are derived from the images one by one: they hold what the images hold, and what is spent
on them is spent from the budget of the images' own data set.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.core.base.home import Home
from traindeck.recipes.shared.training.data.kept import by_parts, kept

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

VERSION = 1  # of the numbers: raise it when they change, and cached features are made anew
ANGLES = 8
CHANNELS = 1 + 2 * ANGLES + ANGLES**2  # orders 0, 1 and 2, at scales 1 and 2 pixels
SIDE = 7
GROUPS = 27  # of channels that are normalised together
_MARGIN = 4  # mirrored pixels around an image, one of the features' own pixels
_PADDED = 28 + 2 * _MARGIN
_CHUNK = 20  # images whose intermediate results fit a core's cache


def features(
    train_x: NDArray[np.uint8], test_x: NDArray[np.uint8], cache: Path
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Scattering features (n, 81, 7, 7) of images (n, 28, 28), read from the folder `cache`.

    What is not there yet is computed (about 15 s of one core for all of MNIST) and kept in files
    that only this user can read, named by the images' sha256.
    """
    return _cached(train_x, cache, "training"), _cached(test_x, cache, "test")


def cache_folder() -> Path:
    """Where features are kept: in traindeck's home."""
    return Home.default().cache / "scattering"


def normalised(x: NDArray[np.float16], groups: int = GROUPS) -> Floats:
    """GroupNorm without weights: (n, channels, rows, columns) to (n, channels · rows · columns).

    Each image's groups of neighbouring channels get mean 0 and variance 1. It uses nothing but the
    image itself, so it costs no privacy (Y. Wu, K. He: Group normalization, ECCV 2018).
    """
    import numpy as np

    flat = np.empty((len(x), math.prod(x.shape[1:])), np.float32)
    for at in range(0, len(x), 500):
        part = x[at : at + 500].astype(np.float32).reshape(-1, groups, flat.shape[1] // groups)
        part -= part.mean(2, keepdims=True)
        part /= np.sqrt(np.square(part).mean(2, keepdims=True) + 1e-5)
        flat[at : at + 500] = part.reshape(len(part), -1)
    return flat


def scatter(images: NDArray[np.uint8]) -> Floats:
    """Images (n, 28, 28) of bytes to coefficients (n, 81, 7, 7).

    Channel 0 is the smoothed image, 1 to 16 are first order (scale, then angle), 17 to 80 second
    order (first angle, then second). Kymatio 0.3 gives the same, but for its pi of 3.1415.
    """
    import numpy as np
    from scipy import fft

    wavelets = _wavelets()
    first, second = wavelets[:ANGLES], wavelets[ANGLES:]
    around = (_MARGIN, _MARGIN)
    x = np.pad(images.astype(np.float32), ((0, 0), around, around), "reflect")[:, None]
    x /= np.float32(255)
    spectrum = fft.fft2(x)
    fine: Floats = np.abs(fft.ifft2(spectrum * first))  # (n, 8, 36, 36)
    coarse: Floats = np.abs(fft.ifft2(_at_half_size(spectrum, second)))  # (n, 8, 18, 18)
    pairs = fft.ifft2(_at_half_size(fft.fft2(fine)[:, :, None], second))  # (n, 8, 8, 18, 18)
    both = np.abs(pairs).reshape(len(x), ANGLES**2, _PADDED // 2, _PADDED // 2)
    return np.concatenate([_smooth(part) for part in (x, fine, coarse, both)], 1)


def _cached(images: NDArray[np.uint8], cache: Path, kind: str) -> NDArray[np.float16]:
    import numpy as np

    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
    shape = (len(images), CHANNELS, SIDE, SIDE)

    def make() -> NDArray[np.float16]:
        records = f"the {kind} images"
        return by_parts(
            "scattering features", records, shape, _CHUNK, lambda part: scatter(images[part])
        )

    return kept(cache / f"scattering-{VERSION}-{digest}.npy", shape, make)


def _at_half_size(spectrum: NDArray[Any], filters: Floats) -> NDArray[Any]:
    """Filter, and keep every second pixel: in the frequency domain, the mean of its quarters."""
    half = _PADDED // 2
    low, high = slice(0, half), slice(half, _PADDED)
    total = spectrum[..., low, low] * filters[:, low, low]
    total += spectrum[..., low, high] * filters[:, low, high]
    total += spectrum[..., high, low] * filters[:, high, low]
    total += spectrum[..., high, high] * filters[:, high, high]
    total *= 0.25
    return total


def _smooth(x: Floats) -> Floats:
    """Blur (..., 36, 36) or (..., 18, 18) by the widest Gaussian and sample it to (..., 7, 7).

    The Gaussian is a product of one along rows and one along columns.
    """
    import numpy as np

    size = x.shape[-1]
    line = _blur(size)
    rows = (x.reshape(-1, size) @ line).reshape(*x.shape[:-1], SIDE).swapaxes(-1, -2)
    columns = (rows.reshape(-1, size) @ line).reshape(*rows.shape[:-1], SIDE)
    return np.ascontiguousarray(columns.swapaxes(-1, -2))


@lru_cache
def _blur(size: int) -> Floats:
    """Matrix (size, 7) of a Gaussian of 1.6 pixels of the image, without the margin's pixels."""
    import numpy as np

    at = np.arange(-2 * _PADDED, 3 * _PADDED)  # the signal is periodic
    gauss = np.exp(-(at**2) / (2 * 1.6**2)) / (math.sqrt(2 * math.pi) * 1.6)
    response = np.fft.fft(gauss.reshape(5, _PADDED).sum(0)).real
    if size < _PADDED:  # only the frequencies that half the pixels can tell apart
        response = np.concatenate([response[: size // 2], response[-size // 2 :]])
    kernel = np.fft.ifft(response).real
    step = size // (SIDE + 2)
    kept = [np.roll(kernel, step * (1 + place)) for place in range(SIDE)]
    return np.stack(kept, 1).astype(np.float32)


@lru_cache
def _wavelets() -> Floats:
    """Frequency responses (16, 36, 36) of Morlet wavelets: two scales, eight angles each."""
    import numpy as np

    return np.stack(
        [
            _morlet(0.8 * scale, (ANGLES // 2 - 1 - angle) * math.pi / ANGLES, 0.75 / scale)
            for scale in (1, 2)
            for angle in range(ANGLES)
        ]
    ).astype(np.float32)


def _morlet(sigma: float, angle: float, frequency: float) -> NDArray[Any]:
    """A wave of `frequency` (half turns a pixel) under a Gaussian twice as long as it is wide.

    A multiple of the Gaussian is taken away, so that a constant image gives 0.
    """
    import numpy as np

    slant = 4 / ANGLES
    at = np.arange(-2 * _PADDED, 3 * _PADDED)
    row, column = np.meshgrid(at, at, indexing="ij")
    along = row * math.cos(angle) + column * math.sin(angle)
    across = column * math.cos(angle) - row * math.sin(angle)
    envelope = np.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2))
    envelope *= slant / (2 * math.pi * sigma**2)
    wave = envelope * np.exp(1j * math.pi * frequency * along)
    wave -= envelope * (wave.sum() / envelope.sum())
    periodic = wave.reshape(5, _PADDED, 5, _PADDED).sum((0, 2))
    return np.asarray(np.fft.fft2(periodic).real)
