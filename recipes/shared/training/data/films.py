"""Sentences about films, and whether they speak well of them: 10,605 from Rotten Tomatoes.

Of the reviews of B. Pang, L. Lee: A sentimental education, ACL 2004, each sentence rated by 20
people for C. J. Hutto, E. Gilbert: VADER: a parsimonious rule-based model for sentiment analysis of
social media text, ICWSM 2014, who publish them with the source of their package vaderSentiment (MIT
licence). A reviewer wrote several: privacy is that of one sentence.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.home import Home
from traindeck.core.models.bundle import Tensor
from traindeck.recipes.shared.training.data.idx import DataError
from traindeck.recipes.shared.training.data.mnist import DATA
from traindeck.recipes.shared.training.data.served import Served

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8]

NAME = "films"
ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
TRAINING = 8500  # of them train a model; the other 2,105 test it
CLASSES = ("bad", "good")


@dataclass(frozen=True, slots=True)
class Sentences:
    """x are texts, y is (n,) uint8: 1 where the film is praised."""

    train_x: list[str]
    train_y: Labels
    test_x: list[str]
    test_y: Labels


def served(features: int) -> Served:
    what = "a sentence's embedding by all-MiniLM-L6-v2, less its mean, of length 1"
    return Served(
        "measures", Tensor(dtype="float32", shape=[features], what=what, unit="none"), CLASSES
    )


def load(data_dir: str | None = None) -> Sentences:
    """Find them and read them, the same ones for testing whatever the run's seed.

    Looked for in `data_dir` alone if given, else in `$TRAINDECK_DATA/films` and the user's cache:
    vaderSentiment's source archive, or `train.csv` and `test.csv` with columns `text` and `label`
    (0 or 1). Raises DataError saying what to do.
    """
    root = os.environ.get(DATA)
    places = [Path(root).expanduser() / NAME] if root else []
    places.append(Home.default().cache / NAME)
    for folder in [Path(data_dir).expanduser()] if data_dir else places:
        if (folder / ARCHIVE).is_file():
            return _archive(folder / ARCHIVE)
        if (folder / "train.csv").is_file():
            return Sentences(*_csv(folder / "train.csv"), *_csv(folder / "test.csv"))
    looked = data_dir or ", ".join(map(str, places))
    raise DataError(
        f"no sentences: looked in {looked} for {ARCHIVE}, or train.csv and test.csv with columns"
        f" text and label. {sys.executable} -m pip download --no-deps --no-binary :all:"
        f" vaderSentiment==3.3.2 -d {data_dir or places[-1]} brings them"
    )


def fingerprint(data: Sentences) -> str:
    """sha256 of the training part."""
    digest = hashlib.sha256("\0".join(data.train_x).encode())
    digest.update(data.train_y.tobytes())
    return digest.hexdigest()


def _archive(path: Path) -> Sentences:
    import numpy as np

    try:
        packed = path.read_bytes()
        sha256 = hashlib.sha256(packed).hexdigest()
        if sha256 != SHA256:
            raise DataError(f"{path}: is another file: its sha256 is {sha256}, not {SHA256}")
        name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        inner = _member(packed, name)
        table = _member(inner, "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    rows = [line.split("\t") for line in table.decode("utf-8", "replace").splitlines()]
    rows = [row for row in rows if len(row) == 3]
    y = np.array([float(row[1]) > 0 for row in rows], np.uint8)
    order = np.random.default_rng(0).permutation(len(rows))
    train, test = order[:TRAINING], order[TRAINING:]
    return Sentences([rows[i][2] for i in train], y[train], [rows[i][2] for i in test], y[test])


def _member(packed: bytes, name: str) -> bytes:
    """A file of an archive, in memory: nothing is unpacked."""
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def _csv(path: Path) -> tuple[list[str], Labels]:
    import numpy as np

    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(row["text"], row["label"].strip()) for row in csv.DictReader(file)]
    except (OSError, UnicodeError, KeyError, AttributeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as text and label: {error}") from None
    wrong = next((n for n, (_, label) in enumerate(rows, 2) if label not in ("0", "1")), None)
    if wrong or not rows:
        where = f"line {wrong}: its label is neither 0 nor 1" if wrong else "has no sentences"
        raise DataError(f"{path}: {where}")
    return [text for text, _ in rows], np.array([label == "1" for _, label in rows], np.uint8)
