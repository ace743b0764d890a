"""Shamir's secret sharing of 32 bytes: `threshold` shares give the secret, fewer tell nothing.

A secret is the constant term of a random polynomial of degree threshold - 1 over the integers
modulo PRIME; holder k, from 1, gets its value at k. Source: Shamir, How to share a secret, 1979.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import lru_cache

PRIME = 2**256 + 297  # the first above every 32-byte secret
SECRET = 32  # bytes
SHARE = 33  # bytes


def split(secret: bytes, threshold: int, holders: int) -> list[bytes]:
    """Shares of a secret of 32 bytes, 33 bytes each; the first is holder 1's."""
    if len(secret) != SECRET or not 1 <= threshold <= holders:
        raise ValueError(f"{len(secret)} bytes cannot be shared {threshold} of {holders}")
    terms = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]  # the highest power first
    terms.append(int.from_bytes(secret))
    return [_value(terms, at).to_bytes(SHARE) for at in range(1, holders + 1)]


def join(shares: Mapping[int, bytes]) -> bytes:
    """The secret, from as many shares as its threshold or more, by their holders' numbers.

    With too few shares, or a wrong one, the result is another secret, or ValueError is raised.
    """
    values = {at: int.from_bytes(share) for at, share in shares.items()}
    if any(value >= PRIME for value in values.values()):
        raise ValueError("what was given as a share is none")
    factors = _at_zero(tuple(sorted(values)))
    secret = sum(values[at] * factor for at, factor in factors) % PRIME
    if secret >= 1 << 8 * SECRET:
        raise ValueError("the shares do not fit together")
    return secret.to_bytes(SECRET)


def _value(terms: list[int], at: int) -> int:
    value = 0
    for term in terms:
        value = (value * at + term) % PRIME
    return value


@lru_cache(maxsize=64)
def _at_zero(points: tuple[int, ...]) -> list[tuple[int, int]]:
    """Lagrange's factors of the values at the given points, for the value at 0."""
    factors = []
    for here in points:
        over = under = 1
        for other in points:
            if other != here:
                over = over * other % PRIME
                under = under * (other - here) % PRIME
        factors.append((here, over * pow(under, -1, PRIME) % PRIME))
    return factors
