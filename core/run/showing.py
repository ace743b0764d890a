"""What a recipe can show of its run besides numbers: pictures, histograms, texts, tables.

Arrays are anything that numpy, PyTorch or TensorFlow make, or lists of numbers; no framework is
imported for it, and numpy only when there is something to show.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.core.run import media

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 64
MOST_SIDE = 4096
MOST_TEXT = 64 << 10
MOST_ROWS = 1000
MOST_CELL = 200


class Showing:
    """The part of `track.Run` that shows things.

    In a private run all of it is kept as `private/…`, for whoever may see the training data; with
    `public=True` a recipe vouches that none of it is made of those: of the released model, say.
    What cannot be kept costs a warning, as with `log`.
    """

    folder: Path | None
    _private = False

    def image(self, step: int, name: str, image: Any, *, public: bool = False) -> None:
        """Show a picture: a file's path, or an array.

        Arrays are (height, width), (height, width, channels) or (channels, height, width) with 1,
        3 or 4 channels; floats from 0 to 1, integers from 0 to 255.
        """
        if self.folder is not None:
            self._guard(self._image, self.folder, step, self._named(name, public), image)

    def histogram(self, step: int, name: str, values: Any, *, public: bool = False) -> None:
        """Show how the values of an array are distributed, in 64 bins."""
        if self.folder is not None:
            self._guard(self._histogram, self.folder, step, self._named(name, public), values)

    def text(self, step: int, name: str, text: str, *, public: bool = False) -> None:
        """Show a text; what is over 64 KiB is cut off."""
        if self.folder is not None:
            name, cut = self._named(name, public), str(text)[:MOST_TEXT]
            self._guard(media.append, self.folder, "text", name, step, text=cut)

    def table(
        self,
        step: int,
        name: str,
        rows: Iterable[Mapping[str, Any] | Sequence[Any]],
        columns: Sequence[str] | None = None,
        *,
        public: bool = False,
    ) -> None:
        """Show a table of at most 1,000 rows: mappings, or sequences beside `columns`."""
        if self.folder is not None:
            name = self._named(name, public)
            self._guard(self._table, self.folder, step, name, rows, columns)

    def _guard(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    def _named(self, name: str, public: bool) -> str:
        return media.private_name(name) if self._private and not public else name

    def _image(self, folder: Path, step: int, name: str, image: Any) -> None:
        given = Path(image) if isinstance(image, str | Path) else png(pixels(image))
        media.add_image(folder, name, step, given)

    def _histogram(self, folder: Path, step: int, name: str, values: Any) -> None:
        media.append(folder, "histogram", name, step, **binned(values))

    def _table(
        self,
        folder: Path,
        step: int,
        name: str,
        rows: Iterable[Mapping[str, Any] | Sequence[Any]],
        columns: Sequence[str] | None,
    ) -> None:
        given = [row for row, _ in zip(rows, range(MOST_ROWS), strict=False)]
        if columns is None:
            named = [key for row in given if isinstance(row, Mapping) for key in row]
            columns = list(dict.fromkeys(named)) or [str(n) for n in range(len(given[0]))]
        cells = [
            [row.get(key) for key in columns] if isinstance(row, Mapping) else list(row)
            for row in given
        ]
        if any(len(row) != len(columns) for row in cells):
            raise ValueError(f"table {name}: not every row has {len(columns)} cells")
        said = [[_cell(value) for value in row] for row in cells]
        media.append(folder, "table", name, step, columns=list(map(str, columns)), rows=said)


def pixels(image: Any) -> NDArray[Any]:
    """An array as bytes of shape (height, width, channels), 1, 3 or 4 of these.

    Raises ValueError for another shape or more than 4,096 pixels a side.
    """
    import numpy as np

    array = _array(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(f"no picture has the shape {array.shape}")
    if max(array.shape[:2]) > MOST_SIDE:
        raise ValueError(f"a picture of {array.shape} is larger than {MOST_SIDE} pixels a side")
    if array.dtype.kind in "fb":
        array = np.nan_to_num(array.astype(np.float64)) * 255 + 0.5
    clipped: NDArray[Any] = np.clip(array, 0, 255).astype(np.uint8)
    return clipped


def png(array: NDArray[Any]) -> bytes:
    """A PNG file (https://www.w3.org/TR/png-3/) of bytes (height, width, 1, 3 or 4)."""
    import numpy as np

    height, width, channels = array.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # filter 0 before each row
    rows[:, 1:] = array.reshape(height, -1)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
        for tag, data in parts
    )


def binned(values: Any) -> dict[str, Any]:
    """Edges, counts and how many were not finite. Raises ValueError where none is."""
    import numpy as np

    flat = _array(values).astype(np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        raise ValueError("a histogram of no finite values")
    low, high = float(finite.min()), float(finite.max())
    if not low < high:  # all alike: one bin around it
        reach = max(abs(low), 1.0) / 2
        low, high = low - reach, high + reach
    counts, edges = np.histogram(finite, BINS, (low, high))
    return {
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "left_out": int(flat.size - finite.size),
    }


def _array(value: Any) -> NDArray[Any]:
    """What frameworks' arrays hold, on whatever device."""
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
    array: NDArray[Any] = np.asarray(value)
    return array


def _cell(value: Any) -> str | int | float | None:
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    return str(value)[:MOST_CELL]
