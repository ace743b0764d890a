"""The scattering features of `scattering`, by products of matrices alone: any runtime has those.

A discrete Fourier transform of 36 values is a product with a 36×36 matrix, and so is its inverse,
mirroring a margin and blurring. No complex numbers, no operators that only one framework has.
Differs from the features that training reads from its cache by those being kept in float16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from traindeck.recipes.shared.training.data import scattering

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FEATURES = scattering.CHANNELS * scattering.SIDE**2


def features(ops: Any, constant: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What makes of images (n, 28, 28), floats from 0 to 255, their normalised features (n, 3969).

    ops       torch, or tensorflow: both know the few functions that are used by the same names
    constant  makes a tensor of an array: torch.from_numpy, tf.constant
    """
    m = {name: constant(matrix) for name, matrix in _matrices().items()}
    half = scattering._PADDED // 2
    turned = getattr(ops.linalg, "matrix_transpose", None) or (lambda planes: planes.mT)

    def times(x: Any, name: str) -> Any:
        """Planes (n, …, a, b) times a matrix (b, c).

        As one product of matrices: TensorFlow's product of many with one writes where it must not.
        """
        matrix = m[name]
        rows = ops.reshape(x, (-1, matrix.shape[0])) @ matrix
        return ops.reshape(rows, (-1, *x.shape[1:-1], matrix.shape[1]))

    def both(x: Any, rows: str, columns: str) -> Any:
        """Planes (n, …, a, b) with their rows, and then their columns, times a matrix."""
        return turned(times(turned(times(x, rows)), columns))

    def transformed(x: Any) -> tuple[Any, Any]:
        """The spectrum of real planes (…, 36, 36): real and imaginary part."""
        real = both(x, "cos", "cos") - both(x, "sin", "sin")
        return real, both(x, "cos", "sin") + both(x, "sin", "cos")

    def modulus(real: Any, imaginary: Any, size: str) -> Any:
        """The length of each complex number of a spectrum's inverse transform."""
        cos, sin = f"cos_{size}", f"sin_{size}"
        a = times(real, cos) - times(imaginary, sin)
        b = times(real, sin) + times(imaginary, cos)
        a, b = turned(a), turned(b)
        real, imaginary = times(a, cos) - times(b, sin), times(b, cos) + times(a, sin)
        return turned(ops.sqrt(real * real + imaginary * imaginary))

    def folded(x: Any) -> Any:
        """Every second pixel is kept: of a spectrum, that is the mean of its quarters."""
        upper = x[..., :half, :half] + x[..., :half, half:]
        return 0.25 * (upper + x[..., half:, :half] + x[..., half:, half:])

    def smooth(x: Any, size: str) -> Any:
        return both(x, f"blur_{size}", f"blur_{size}")

    def of(images: Any) -> Any:
        x = both(images, "across", "down")[:, None]
        real, imaginary = transformed(x)
        first, second = m["first"], m["second"]
        fine = modulus(real * first, imaginary * first, "whole")
        coarse = modulus(folded(real * second), folded(imaginary * second), "half")
        real, imaginary = transformed(fine)
        pairs = [  # one angle at a time: LiteRT multiplies no more than four axes
            modulus(
                folded(real[:, k : k + 1] * second),
                folded(imaginary[:, k : k + 1] * second),
                "half",
            )
            for k in range(scattering.ANGLES)
        ]
        planes = ops.concat(
            [
                smooth(x, "whole"),
                smooth(fine, "whole"),
                smooth(coarse, "half"),
                smooth(ops.concat(pairs, 1), "half"),
            ],
            1,
        )
        groups = ops.reshape(planes, (-1, scattering.GROUPS, FEATURES // scattering.GROUPS))
        groups = groups - times(groups, "mean")
        groups = groups / ops.sqrt(times(groups * groups, "mean") + 1e-5)
        return ops.reshape(groups, (-1, FEATURES))

    return of


def _matrices() -> dict[str, Floats]:
    import numpy as np

    whole, margin, angles = scattering._PADDED, scattering._MARGIN, scattering.ANGLES
    mirrored = np.zeros((whole, 28))
    mirrored[np.arange(whole), np.pad(np.arange(28), margin, "reflect")] = 1
    group = FEATURES // scattering.GROUPS
    wavelets = scattering._wavelets()
    matrices: dict[str, Any] = {
        "across": mirrored.T / 255,
        "down": mirrored.T,
        "first": wavelets[:angles],
        "second": wavelets[angles:],
        "mean": np.full((group, 1), 1 / group),
    }
    for name, size in (("whole", whole), ("half", whole // 2)):
        at = np.arange(size)
        turns = 2 * np.pi * np.outer(at, at) / size
        if size == whole:
            matrices |= {"cos": np.cos(turns), "sin": -np.sin(turns)}
        matrices |= {f"cos_{name}": np.cos(turns) / size, f"sin_{name}": np.sin(turns) / size}
        matrices[f"blur_{name}"] = scattering._blur(size)
    return {name: np.ascontiguousarray(m, np.float32) for name, m in matrices.items()}
