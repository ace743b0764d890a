"""media.jsonl: pictures, histograms, texts and tables of a run, one JSON object a line.

Every line has `v` (1), `t` (unix seconds), `kind`, `name`, `step`, and by its kind:

| kind | what else |
| --- | --- |
| `image` | `path` of a file in the run's `media/`, relative to the run's folder |
| `histogram` | `edges` (n + 1 rising numbers), `counts` (n), `left_out` (values not finite) |
| `text` | `text` |
| `table` | `columns` (texts), `rows` (lists of texts and numbers, as long as `columns`) |

What a private run shows is named `private/…` unless it was said to be public: like series of that
name, it may be made of training data, which no epsilon covers.
Standard library only: recipes import this.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from traindeck.core.base.files import opened, write_atomic
from traindeck.core.run.series import PRIVATE, clean_name, is_private

VERSION = 1
LOG = "media.jsonl"
FOLDER = "media"
KINDS = ("image", "histogram", "text", "table")
MOST_IMAGES = 10_000
MOST_IMAGE_BYTES = 16 << 20
MOST_LINE = 256 << 10  # of what is in the line itself
MOST_BINS = 1024
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class Shown:
    """One line: what was shown under a name at a step; `content` is what its kind has besides."""

    kind: str
    name: str
    step: int
    when: float
    content: dict[str, Any]

    @property
    def private(self) -> bool:
        return is_private(self.name)


def append(folder: Path, kind: str, name: str, step: int, **content: Any) -> None:
    """Add a line in a single write. Raises OSError, and ValueError for what is too long."""
    said = {"v": VERSION, "t": time.time(), "kind": kind, "name": clean_name(name)}
    said["step"] = int(step)
    line = json.dumps({**said, **content}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    if len(line) > MOST_LINE:
        raise ValueError(f"{kind} {name}: {len(line):,} bytes are more than {MOST_LINE:,}")
    descriptor = opened(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def add_image(folder: Path, name: str, step: int, image: bytes | Path) -> None:
    """Keep a picture, PNG bytes or a file that is copied, and add its line.

    Raises OSError, ValueError for one that is none, too large, or one too many.
    """
    place = folder / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    if len(os.listdir(place)) >= MOST_IMAGES:
        raise ValueError(f"image {name}: {MOST_IMAGES:,} are kept already, and no more")
    suffix = image.suffix.lower() if isinstance(image, Path) else _suffix(image)
    if suffix not in SUFFIXES:
        raise ValueError(f"image {name}: {image!s} is not one of {', '.join(SUFFIXES)}")
    length = image.stat().st_size if isinstance(image, Path) else len(image)
    if length > MOST_IMAGE_BYTES:
        raise ValueError(f"image {name}: {length:,} bytes are more than {MOST_IMAGE_BYTES:,}")
    target = place / f"{time.time_ns():x}-{os.getpid():x}{suffix}"
    if isinstance(image, Path):
        shutil.copyfile(image, target)
    else:
        write_atomic(target, image)
    append(folder, "image", name, step, path=f"{FOLDER}/{target.name}")


def parse(line: bytes) -> Shown | None:
    """One line; None for what is none (torn, foreign, or of a later version)."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("v") != VERSION or said.get("kind") not in KINDS:
        return None
    name, step, when = said.get("name"), said.get("step"), said.get("t")
    if not isinstance(name, str) or not isinstance(step, int):
        return None
    if not isinstance(when, int | float):
        return None
    known = ("v", "t", "kind", "name", "step")
    content = {key: value for key, value in said.items() if key not in known}
    if not _IS_WHOLE[said["kind"]](content):
        return None
    return Shown(said["kind"], name, step, float(when), content)


def private_name(name: str) -> str:
    """The name under which what may be made of training data is kept."""
    return name if is_private(name) else f"{PRIVATE}{name}"


def _suffix(data: bytes) -> str:
    begins = {b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}
    return next((end for begin, end in begins.items() if data.startswith(begin)), ".png")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_image(content: dict[str, Any]) -> bool:
    path = content.get("path")
    parts = Path(path).parts if isinstance(path, str) and "\0" not in path else ()
    return len(parts) == 2 and parts[0] == FOLDER and parts[1] not in ("..", ".")


def _is_histogram(content: dict[str, Any]) -> bool:
    edges, counts = content.get("edges"), content.get("counts")
    if not isinstance(edges, list) or not isinstance(counts, list):
        return False
    return (
        0 < len(counts) <= MOST_BINS
        and len(edges) == len(counts) + 1
        and all(map(_is_number, (*edges, *counts)))
        and all(low < high for low, high in pairwise(edges))
        and min(counts) >= 0
    )


def _is_table(content: dict[str, Any]) -> bool:
    columns, rows = content.get("columns"), content.get("rows")
    return (
        isinstance(columns, list)
        and isinstance(rows, list)
        and all(isinstance(column, str) for column in columns)
        and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    )


_IS_WHOLE = {
    "image": _is_image,
    "histogram": _is_histogram,
    "text": lambda content: isinstance(content.get("text"), str),
    "table": _is_table,
}
