"""The aggregator's side of a secure aggregation: it adds masked vectors and opens their sum alone.

What owners answer it with, and what all of it stands up to: see `secagg`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from traindeck.recipes.shared.federated.errors import Unrecoverable
from traindeck.recipes.shared.federated.hiding import shamir
from traindeck.recipes.shared.federated.hiding.session import SecAggSession, Words, untext


class Sum:
    """The aggregator's side of one round: masked vectors in, their sum out.

    adverts    what the owners of the session advertised (a SecAggSession made of them saves time)
    threshold  how many owners must answer
    number     of the round
    size       of the vectors, weight included
    """

    def __init__(
        self,
        adverts: SecAggSession | Mapping[str, Mapping[str, Any]],
        threshold: int,
        number: int,
        size: int,
    ) -> None:
        self._session = adverts if isinstance(adverts, SecAggSession) else SecAggSession.of(adverts)
        self._threshold, self._number = threshold, number
        self._total = np.zeros(size, np.uint64)
        self._alive: set[str] = set()
        self._closed = False

    @property
    def missing(self) -> list[str]:
        """The owners whose vector has not come."""
        return [name for name in self._session.names if name not in self._alive]

    def add(self, name: str, masked: Words) -> None:
        """Add an owner's masked vector. Raises ValueError for what does not belong in the sum."""
        if self._closed or name not in self.missing:
            raise ValueError(f"round {self._number}: nothing of {name} is waited for")
        if masked.dtype != np.uint64 or masked.shape != self._total.shape:
            raise ValueError(
                f"round {self._number}: {name} sent {masked.dtype} {masked.shape},"
                f" not uint64 {self._total.shape}"
            )
        self._total += masked
        self._alive.add(name)

    def close(self) -> tuple[list[str], list[str]]:
        """Take no more vectors; (alive, dropped), about which those alive are to be asked.

        Raises Unrecoverable when too few came: nothing is asked then, and nothing opened.
        """
        self._closed = True
        alive, missing = sorted(self._alive), self.missing
        if len(alive) < self._threshold:
            raise Unrecoverable(
                f"round {self._number}: {len(alive)} of {len(self._session.names)} owners answered,"
                f" {self._threshold} are needed: nothing of {', '.join(missing)}"
            )
        return alive, missing

    def open(self, reveals: Mapping[str, Mapping[str, Any]]) -> npt.NDArray[np.int64]:
        """The sum (size,) of the vectors that were added, from what the owners alive revealed.

        The threshold of them is enough. Raises Unrecoverable, naming whose shares are too few.
        """
        alive, dropped = self.close()
        session, number, size = self._session, self._number, self._total.size
        total = self._total.copy()
        for name in alive:
            seed = self._joined(reveals, "alive", name)
            if not session.is_seed(name, number, seed):
                raise Unrecoverable(f"round {number}: the shares of {name} do not fit")
            total -= session.self_mask(name, number, seed, size)
        for name in dropped:
            secret = self._joined(reveals, "dropped", name)
            if not session.is_key(name, number, secret):
                raise Unrecoverable(f"round {number}: the shares of {name} do not fit")
            for other in alive:
                total += session.pair_mask(name, other, number, secret, size)
        return total.view(np.int64)

    def _joined(self, reveals: Mapping[str, Mapping[str, Any]], kind: str, name: str) -> bytes:
        """A secret of an owner, from the shares of it that came."""
        shares: dict[int, bytes] = {}
        for holder in self._session.names:
            try:
                reveal = reveals[holder]
                share = untext(reveal[kind][name])
                if reveal["round"] == self._number and len(share) == shamir.SHARE:
                    shares[self._session.holder(holder)] = share
            except (LookupError, TypeError, ValueError):
                continue  # it did not answer, or not to this question
        if len(shares) < self._threshold:
            raise Unrecoverable(
                f"round {self._number}: {len(shares)} shares of {name},"
                f" {self._threshold} are needed"
            )
        enough = dict(list(shares.items())[: self._threshold])
        try:
            return shamir.join(enough)
        except ValueError:
            raise Unrecoverable(f"round {self._number}: the shares of {name} do not fit") from None
