"""Owners of a secure aggregation, as far as they have come."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.recipes.shared.federated.hiding.secagg import SecAggParty
from traindeck.recipes.shared.federated.hiding.session import default_threshold
from traindeck.recipes.shared.federated.hiding.sums import Sum

Vectors = dict[str, NDArray[np.int64]]
Words = dict[str, NDArray[np.uint64]]
RUN = "20260101-fedavg"
IDENTITIES = {f"owner-{k}": Ed25519PrivateKey.generate() for k in range(1, 17)}


def party(
    name: str,
    names: Collection[str],
    folder: Path,
    *,
    rounds: tuple[int, int] = (1, 3),
    threshold: int | None = None,
    run: str = RUN,
    identities: Mapping[str, Ed25519PrivateKey] = IDENTITIES,
) -> SecAggParty:
    pins = {
        other: IDENTITIES[other].public_key().public_bytes_raw() for other in names if other != name
    }
    threshold = threshold or default_threshold(len(names))
    answered = folder / f"{name}.answered"
    return SecAggParty(name, identities[name], pins, run, rounds, threshold, answered)


@dataclass
class Owners:
    """All owners of a session, ready to mask, and what the aggregator saw of the set-up."""

    parties: dict[str, SecAggParty]
    adverts: dict[str, dict[str, Any]]
    bundles: dict[str, dict[str, str]]  # by sender, by receiver
    threshold: int

    @property
    def names(self) -> list[str]:
        return list(self.parties)

    def vectors(self, size: int = 8, seed: int = 0) -> Vectors:
        draw = np.random.default_rng(seed).integers
        return {name: draw(-(2**40), 2**40, size) for name in self.names}

    def mask(self, number: int, vectors: Vectors, alive: Collection[str]) -> Words:
        return {name: self.parties[name].mask(number, vectors[name]) for name in alive}

    def sum(self, number: int, masked: Words) -> Sum:
        size = next(iter(masked.values())).size
        result = Sum(self.adverts, self.threshold, number, size)
        for name, words in masked.items():
            result.add(name, words)
        return result

    def signatures(
        self, number: int, alive: Collection[str], dropped: Collection[str], by: Collection[str]
    ) -> dict[str, str]:
        """Of the list of those alive, by these owners."""
        signed = {name: self.parties[name].sign(number, alive, dropped) for name in by}
        return {name: str(each["signature"]) for name, each in signed.items()}

    def reveals(
        self, number: int, alive: Collection[str], dropped: Collection[str], by: Collection[str]
    ) -> dict[str, dict[str, Any]]:
        """As they come out of the mail, once these have signed."""
        signatures = self.signatures(number, alive, dropped, by)
        asked = number, alive, dropped, signatures
        reveals = {name: self.parties[name].reveal(*asked) for name in by}
        return dict(json.loads(json.dumps(reveals)))


def assembled(count: int, folder: Path, threshold: int | None = None, **options: Any) -> Owners:
    names = [f"owner-{k}" for k in range(1, count + 1)]
    threshold = threshold or default_threshold(count)
    parties = {name: party(name, names, folder, threshold=threshold, **options) for name in names}
    adverts = {name: json.loads(json.dumps(party.advertise())) for name, party in parties.items()}
    bundles = {name: party.share(adverts) for name, party in parties.items()}
    for name in names:
        parties[name].receive(for_one(bundles, name))
    return Owners(parties, adverts, bundles, threshold)


def for_one(bundles: Mapping[str, Mapping[str, str]], name: str) -> dict[str, str]:
    return {sender: sent[name] for sender, sent in bundles.items() if sender != name}


def plain(vectors: Vectors, alive: Collection[str]) -> list[int]:
    return [int(total) for total in sum(vectors[name] for name in alive)]  # type: ignore[union-attr]
