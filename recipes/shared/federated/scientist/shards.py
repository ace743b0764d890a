"""Who holds which examples: a data set divided among owners, for trying federations out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WAYS = ("iid", "dirichlet", "label")
FEWEST = 10  # examples of an owner
TRIES = 1000

Indices = npt.NDArray[np.int64]


def split(
    labels: npt.NDArray[np.integer], owners: int, way: str, alpha: float, seed: int
) -> list[Indices]:
    """Indices of each owner's examples, by one of three ways.

    labels: (n,). iid shuffles and deals; label gives out sorted labels, so that each owner has few
    of them; dirichlet gives each label's examples to the owners in shares from a symmetric
    Dirichlet(alpha) distribution (Hsu, Qi & Brown 2019): a small alpha is unequal.
    Raises ValueError when some owner would have fewer than 10 examples.
    """
    random = np.random.default_rng(seed)
    if way == "iid":
        parts = np.array_split(random.permutation(len(labels)), owners)
    elif way == "label":
        parts = np.array_split(np.argsort(labels, kind="stable"), owners)
    else:
        for _ in range(TRIES):
            parts = _dirichlet(labels, owners, alpha, random)
            if min(map(len, parts)) >= FEWEST:
                break
    if min(map(len, parts)) < FEWEST:
        raise ValueError(
            f"some of {owners} owners would have fewer than {FEWEST} of {len(labels)} examples:"
            " fewer owners, more examples or a larger alpha"
        )
    return [np.asarray(part, np.int64) for part in parts]


def _dirichlet(
    labels: npt.NDArray[np.integer], owners: int, alpha: float, random: np.random.Generator
) -> list[Indices]:
    owner = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        shares = random.dirichlet([alpha] * owners)
        owner[own] = random.choice(owners, len(own), p=shares)
    return [np.flatnonzero(owner == number) for number in range(owners)]
