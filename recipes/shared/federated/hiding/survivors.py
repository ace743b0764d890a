"""Owners sign whose vectors came, once a round, before any of them opens its shares.

The consistency check of Bonawitz et al., Practical Secure Aggregation (CCS 2017), figure 4, round
3: an aggregator that lies to owners about who answered gets no list signed by enough of them. With
threshold t of n owners, each of whom signs one list a round, two lists have t signatures each only
if 2t - n owners have signed both. An owner's Ed25519 key, the one that is pinned, signs the
session's digest (the federation, its owners and all their keys), the round and the list.

Ahead of it, with its own vector, each owner signs too that it takes all for those who answer: as
long as nobody is lost that spares the round of questions. Such signatures count only if all n have
given one, and who has signed a list since opens nothing by them. Then two ways do not meet either:
a list that is opened has t signatures, so at most n - t < t owners open all's shares, and of who is
not on the list too few of its seed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.hiding.session import SecAggSession, text, untext


def sign(
    identity: Ed25519PrivateKey,
    session: SecAggSession,
    number: int,
    alive: Collection[str] | None = None,
) -> str:
    """An owner's signature that it takes these for those who answered a round; None: all, ahead."""
    return text(identity.sign(_statement(session, number, alive)))


def check(
    session: SecAggSession,
    number: int,
    alive: Collection[str] | None,
    signatures: Mapping[str, Any],
    threshold: int,
) -> None:
    """Raises Refused unless enough owners have signed this list: the threshold; None: all of them.

    What is no signature of one of them counts not. Their keys are those in the session: only who
    has checked these against its pins may rely on it.
    """
    statement = _statement(session, number, alive)
    enough = len(session.names) if alive is None else threshold
    valid = 0
    for name in session.names:
        try:
            key = Ed25519PublicKey.from_public_bytes(session.adverts[name].identity)
            key.verify(untext(signatures[name]), statement)
        except (InvalidSignature, LookupError, TypeError, ValueError):
            continue
        valid += 1
        if valid == enough:
            return
    raise Refused(
        f"round {number}: {valid} owners have signed who answered it, {enough} are needed"
    )


def _statement(session: SecAggSession, number: int, alive: Collection[str] | None) -> bytes:
    what = "all, ahead" if alive is None else sorted(alive)
    facts = json.dumps([number, what]).encode()
    return b"traindeck survivors 1\0" + session.digest + facts
