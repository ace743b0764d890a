"""Secure aggregation: the aggregator learns the sum of the owners' updates, and no single one.

The double masking of Bonawitz et al., Practical Secure Aggregation (CCS 2017), with the keys of all
rounds made up front. For each round an owner has a key pair and a seed; its vector leaves it only
under a mask from its own seed and one with every other owner, from both key pairs (X25519 →
HKDF-SHA256 → ChaCha20). The latter cancel in the sum. Every owner holds a share of every other's
secrets. Once the aggregator has the masked vectors, the owners show it shares of the seeds of those
whose vector came, and of the keys of those whose vector did not: so it can take off the masks that
are left on the sum. Never both of one owner.

    party = SecAggParty("owner-1", identity, pins, run, (1, 60), 2)     sum = Sum(adverts, 2, 3)
    party.advertise()              → aggregator → adverts of all        sum.add("owner-1", masked)
    party.share(adverts)           → aggregator → shares for this one   alive, dropped = sum.close()
    party.receive(shares)                                               reveals, from those alive
    party.mask(3, values); party.reveal(3, alive, dropped)              total = sum.open(reveals)

What it stands up to, with t the threshold of n owners: an aggregator that keeps everything it reads
and lies to owners about who answered. To open one owner's vector it needs t owners to say one thing
of it and t to say the other, and t > n/2. By telling owners of different sets it can open the sum
of fewer than t (`fewest_summed`), but never of one. If c owners tell it all that they hold, it
needs only t - c honest ones for each, so t > (n + c)/2 is wanted: the default, just more than half,
stands up to none of an odd number of owners and to one of an even. t > 2n/3 stands up to any third
of the owners, and every sum then holds two honest ones. It does not stand up to an owner that
spoils the sum by what it adds.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from traindeck.recipes.shared.federated.errors import Refused, Unrecoverable
from traindeck.recipes.shared.federated.hiding import shamir
from traindeck.recipes.shared.federated.hiding.answered import Answered
from traindeck.recipes.shared.federated.hiding.session import (
    KEY,
    Advert,
    SecAggSession,
    Words,
    agree,
    parts,
    proof,
    public,
    text,
    untext,
)

FEWEST = 3  # owners: of two, each could take its own vector off the sum
_NONCE = 12
_BUNDLE = 2 * shamir.SHARE  # bytes a round: a share of the seed, one of the mask key


class SecAggParty:
    """One owner's side of one session: its secrets, which live as long as this object.

    name       this owner's; the names in pins are the others'
    identity   what signs its adverts
    pins       Ed25519 public keys of the other owners, 32 raw bytes each, learnt elsewhere
    rounds     (first, count): which rounds of the run the keys are for
    threshold  how many owners must answer for a round to be opened, more than half of them
    answered   file of the rounds that this owner has answered in any session, kept over restarts
    """

    def __init__(
        self,
        name: str,
        identity: Ed25519PrivateKey,
        pins: Mapping[str, bytes],
        run: str,
        rounds: tuple[int, int],
        threshold: int,
        answered: Path,
    ) -> None:
        self.name, self.run = name, run
        first, count = rounds
        if name in pins or count < 1 or first < 0:
            raise ValueError(f"{name}: no session of {count} rounds from {first} with itself")
        self._pins = dict(pins)
        self._rounds = range(first, first + count)
        self._answered = Answered(answered)
        self._sealing = X25519PrivateKey.generate()
        self._keys = {n: X25519PrivateKey.generate().private_bytes_raw() for n in self._rounds}
        self._seeds = {n: secrets.token_bytes(KEY) for n in self._rounds}
        advert = Advert(
            run,
            name,
            first,
            threshold,
            identity.public_key().public_bytes_raw(),
            self._sealing.public_key().public_bytes_raw(),
            tuple(public(key) for key in self._keys.values()),
            tuple(proof(seed) for seed in self._seeds.values()),
        )
        self._advert = dataclasses.replace(advert, signature=identity.sign(advert.signed()))
        self._session: SecAggSession | None = None
        self._held: dict[str, tuple[bytes, ...]] = {}  # by owner, then by round
        self._masked: set[int] = set()  # rounds of this session
        self._questions: dict[int, tuple[frozenset[str], frozenset[str]]] = {}  # alive, dropped

    def __repr__(self) -> str:
        threshold = self._advert.threshold
        return f"SecAggParty({self.name}, run {self.run}, {self._rounds}, threshold {threshold})"

    def advertise(self) -> dict[str, Any]:
        """This owner's public keys, signed; JSON-able, for all to see."""
        return self._advert.to_json()

    def share(self, adverts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Shares of this owner's secrets, sealed to each of the other owners, by their names.

        adverts: what the owners of this session advertised; this owner's own may be among them.
        Raises Refused, naming the owner at fault, and when asked a second time.
        """
        if self._session is not None:
            raise Refused("the shares of this session's secrets were given out before")
        others = {name: self._verified(name, facts) for name, facts in adverts.items()}
        session = SecAggSession({**others, self.name: self._advert})
        owners, threshold = len(session.names), self._advert.threshold
        if owners < FEWEST:
            raise Refused(f"{owners} owners are too few: with {FEWEST} a sum begins to hide")
        if not owners < 2 * threshold <= 2 * owners:
            raise Refused(f"threshold {threshold} of {owners} owners: more than half are needed")
        bundles: dict[str, list[bytes]] = {name: [] for name in session.names}
        for number in self._rounds:
            for secret in (self._seeds[number], self._keys[number]):
                split = shamir.split(secret, threshold, owners)
                for name, share in zip(session.names, split, strict=True):
                    bundles[name].append(share)
        own = b"".join(bundles.pop(self.name))
        sealed = {name: self._seal(session, name, b"".join(b)) for name, b in bundles.items()}
        self._session = session
        self._held = {self.name: parts(own, _BUNDLE)}
        return sealed

    def receive(self, shares: Mapping[str, str]) -> None:
        """Keep the other owners' shares that are for this one. All of them are needed."""
        session = self._shared()
        if missing := [name for name in session.names if name not in {*shares, self.name}]:
            raise Refused(f"no shares of {', '.join(missing)} came")
        if strangers := [name for name in shares if name not in session.names]:
            raise Refused(f"{', '.join(strangers)}: not of this session")
        held = {
            name: self._opened(session, name, sealed)
            for name, sealed in shares.items()
            if name != self.name
        }
        self._held.update(held)

    def mask(self, number: int, values: npt.NDArray[np.int64]) -> Words:
        """This owner's vector (d,) of a round under its masks, modulo 2^64; once a round.

        The round is on disk as answered before this returns. Raises Refused, or OSError when it
        cannot be written down.
        """
        session = self._ready(number)
        if values.dtype != np.int64 or values.ndim != 1:
            raise ValueError(f"one row of int64 is masked, not {values.dtype} {values.shape}")
        if number in self._questions and number not in self._masked:
            raise Refused(f"round {number} of this run went on without {self.name}")
        if not self._answered.add(self.run, number):
            raise Refused(f"round {number} of this run was answered before")
        self._masked.add(number)
        seed, secret = self._seeds.pop(number), self._keys.pop(number)
        masked = values.view(np.uint64) + session.self_mask(self.name, number, seed, values.size)
        for other in session.names:
            if other != self.name:
                masked += session.pair_mask(self.name, other, number, secret, values.size)
        return masked

    def reveal(
        self, number: int, alive: Collection[str], dropped: Collection[str]
    ) -> dict[str, Any]:
        """Shares of a round's secrets: of the seed of those alive, of the mask key of those not.

        alive: whose masked vector came; dropped: all others. JSON-able, for the aggregator.
        An owner answers about a round once (the same question again gets the same answer), and
        never for both secrets of one owner; as the threshold is more than half of the owners,
        nobody can gather both, even by asking some this and some that. Where c owners tell the
        aggregator all they hold, that takes a threshold above (n + c)/2: above 2n/3, to stand up
        to any third of the owners. Raises Refused.
        """
        session = self._ready(number)
        question = frozenset(alive), frozenset(dropped)
        if both := sorted(question[0] & question[1]):
            raise Refused(f"round {number}: {', '.join(both)} cannot be both alive and dropped")
        if question[0] | question[1] != set(session.names):
            raise Refused(f"round {number}: alive and dropped do not make up this session's owners")
        if len(question[0]) < self._advert.threshold:
            raise Refused(
                f"round {number}: {len(question[0])} owners alive,"
                f" {self._advert.threshold} are needed"
            )
        if (self.name in question[0]) != (number in self._masked):
            said = "did" if number in self._masked else "did not"
            raise Refused(f"round {number}: {self.name} {said} answer it")
        if self._questions.setdefault(number, question) != question:
            raise Refused(f"round {number}: another answer was given about it before")
        shares = {name: held[number - self._rounds.start] for name, held in self._held.items()}
        size = shamir.SHARE
        return {
            "v": 1,
            "round": number,
            "alive": {name: text(shares[name][:size]) for name in sorted(question[0])},
            "dropped": {name: text(shares[name][size:]) for name in sorted(question[1])},
        }

    def _verified(self, name: str, facts: Mapping[str, Any]) -> Advert:
        if name == self.name:
            if facts != self._advert.to_json():
                raise Refused(f"{name}: this owner's own keys were changed on the way")
            return self._advert
        if name not in self._pins:
            raise Refused(f"{name}: no key of it is pinned")
        advert = Advert.of(name, facts)
        if advert.identity != self._pins[name]:
            raise Refused(f"{name}: its key is not the one pinned")
        try:
            pinned = Ed25519PublicKey.from_public_bytes(self._pins[name])
            pinned.verify(advert.signature, advert.signed())
        except (InvalidSignature, ValueError):
            raise Refused(f"{name}: its signature does not fit") from None
        mine = self._advert
        for what, its, ours in (
            ("run", advert.run, mine.run),
            ("rounds", (advert.first, len(advert.masks)), (mine.first, len(mine.masks))),
            ("threshold", advert.threshold, mine.threshold),
        ):
            if its != ours:
                raise Refused(f"{name}: its {what} is {its}, this owner's {ours}")
        return advert

    def _shared(self) -> SecAggSession:
        if self._session is None:
            raise Refused("this owner has not given out shares of its secrets yet")
        return self._session

    def _ready(self, number: int) -> SecAggSession:
        session = self._shared()
        if number not in self._rounds:
            first, last = self._rounds[0], self._rounds[-1]
            raise Refused(f"round {number} is not of this session, which has {first} to {last}")
        if len(self._held) != len(session.names):
            raise Refused("the other owners' shares have not come yet")
        return session

    def _seal(self, session: SecAggSession, to: str, bundle: bytes) -> str:
        cipher = self._cipher(session, to, self.name, to)
        nonce = secrets.token_bytes(_NONCE)
        return text(nonce + cipher.encrypt(nonce, bundle, self._way(self.name, to)))

    def _opened(self, session: SecAggSession, sender: str, sealed: str) -> tuple[bytes, ...]:
        cipher = self._cipher(session, sender, sender, self.name)
        try:
            data = untext(sealed)
            bundle = cipher.decrypt(data[:_NONCE], data[_NONCE:], self._way(sender, self.name))
            held = parts(bundle, _BUNDLE)
        except (InvalidTag, ValueError, TypeError):
            held = ()
        if len(held) != len(self._rounds):
            raise Refused(
                f"{sender}: its shares do not open: they were changed on the way, or it was told"
                " of other owners or keys"
            )
        return held

    def _cipher(self, session: SecAggSession, other: str, *way: str) -> ChaCha20Poly1305:
        agreed = agree(self._sealing, session.adverts[other])
        return ChaCha20Poly1305(session.derive(agreed, "shares", *way))

    def _way(self, *way: str) -> bytes:
        return json.dumps([self.run, *way]).encode()


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
