"""What the aggregator can see, in three modes; for each an owner's side and the aggregator's.

transport  syft's encryption from end to end: the aggregator opens each owner's update
secagg     updates are masked besides, and only their sum can be unmasked (`secagg`)
ckks       updates are encrypted under a key that the owners hold; the aggregator adds what it
           cannot open, and an owner opens the sum (`ckks`)

A fourth, mpc, has no aggregator at all: owners' jobs compute on shares among themselves (`mpc`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from traindeck.core.federation.status import ByteClass
from traindeck.recipes.shared.federated.errors import Refused, Unrecoverable
from traindeck.recipes.shared.federated.hiding import (
    boxes,
    ckks,
    fixedpoint,
    secagg,
    sums,
    survivors,
)
from traindeck.recipes.shared.federated.hiding.session import SecAggSession
from traindeck.recipes.shared.federated.post.mail import Letter

MODES = ("transport", "secagg", "ckks")

MOST_EXAMPLES = 1 << 40  # of an owner

Vector = npt.NDArray[np.float64]
Answer = tuple[dict[str, Any], bytes]

VISIBLE = {
    "transport": "The aggregator can read each owner's update; nobody else can.",
    "secagg": "The aggregator can read the sum of all owners' updates, and no single one.",
    "ckks": "The aggregator adds ciphertexts that it cannot open; owners open the sum for it.",
    "mpc": "Nobody reads an owner's rows: owners compute on shares, and open the result alone.",
}
ENCRYPTION = {
    "transport": "Each message is sealed to its reader and signed (syft).",
    "secagg": "Masks of X25519 keys and HKDF modulo 2^64, in messages sealed by syft.",
    "ckks": "CKKS (TenSEAL, degree 4096) inside messages sealed by syft.",
    "mpc": "Shamir's shares (MPyC) over TLS between owners; messages sealed by syft.",
}


def encryption(mode: str, encrypt: bool) -> str:
    """The encryption in force, in a sentence."""
    if not encrypt:
        return "None: encryption was switched off for this run, to show what can then be read."
    return ENCRYPTION[mode]


def visible(mode: str, rounds: bool, encrypt: bool = True) -> str:
    """What the aggregator can read, in a sentence; rounds: of an aggregation, or a job's result."""
    if not encrypt and mode == "transport":
        return "Whoever can read the folder can read each owner's update, and all that is said."
    if rounds or mode == "mpc":
        return VISIBLE[mode]
    return "The data scientist gets what the script gives as its result, and nothing else."


class OwnerSide(Protocol):
    """How one owner hides its updates. Every method raises Refused, which says why."""

    kind: ByteClass  # of the bytes of an update

    def answer(self, letter: Letter) -> Answer:
        """Reply to a letter of the aggregator's about keys or the opening of a sum."""
        ...

    def update(self, number: int, update: Vector, examples: int) -> Answer:
        """Facts and body of the letter that carries an update (d,) of a round."""
        ...


class AggregatorSide(Protocol):
    """How the aggregator comes by the mean of the updates."""

    def keys(self, ask: Ask) -> None:
        """Whatever owners must agree on before the first round."""
        ...

    def mean(
        self, number: int, updates: Mapping[str, Letter], owners: list[str], ask: Ask
    ) -> tuple[Vector, int]:
        """Mean of the updates (d,), weighted by examples, and how many examples they come from.

        owners: all, of whom those not among the updates are lost for the round. Raises
        Unrecoverable when too few are left, ValueError for what is no update.
        """
        ...


class Ask(Protocol):
    """The aggregator's question to owners; gives the answers that came in time, by name."""

    def __call__(
        self,
        to: list[str],
        facts: Mapping[str, Any],
        own: Mapping[str, Mapping[str, Any]] | None = None,
        body: bytes = b"",
    ) -> dict[str, Letter]:
        """to: nobody for all; own: facts for one of them alone."""
        ...


def _floats(body: bytes, kind: str = "<f8") -> Vector:
    if len(body) % np.dtype(kind).itemsize:
        raise ValueError(f"{len(body)} bytes are no whole numbers")
    return np.frombuffer(body, kind).astype(np.float64)


# Transport


class TransportOwner:
    kind: ByteClass = "ciphertext"

    def answer(self, letter: Letter) -> Answer:
        raise Refused(f"{letter.type!r} is not asked in transport mode")

    def update(self, number: int, update: Vector, examples: int) -> Answer:
        return {"examples": examples}, update.astype("<f4").tobytes()


class TransportAggregator:
    def keys(self, ask: Ask) -> None:
        pass

    def mean(
        self, number: int, updates: Mapping[str, Letter], owners: list[str], ask: Ask
    ) -> tuple[Vector, int]:
        weights: list[int] = []
        vectors: list[Vector] = []
        for name, letter in updates.items():
            vector, examples = _floats(letter.body, "<f4"), letter.facts.get("examples")
            if not isinstance(examples, int) or not 0 < examples < MOST_EXAMPLES:
                raise ValueError(f"{name}: its update says it is of {examples!r:.40} examples")
            if not np.isfinite(vector).all() or (vectors and len(vector) != len(vectors[0])):
                raise ValueError(f"{name}: its update has numbers that are none, or another length")
            weights.append(examples)
            vectors.append(vector)
        return np.average(vectors, axis=0, weights=weights), sum(weights)


# Secure aggregation


class SecAggOwner:
    kind: ByteClass = "masked"

    def __init__(
        self,
        name: str,
        identity: Ed25519PrivateKey,
        pins: Mapping[str, bytes],
        session: str,
        rounds: tuple[int, int],
        threshold: int,
        answered: Path,
        clip: float,
    ) -> None:
        self._clip = clip
        self._party = secagg.SecAggParty(name, identity, pins, session, rounds, threshold, answered)

    def answer(self, letter: Letter) -> Answer:
        match letter.type:
            case "keys":
                return {"advert": self._party.advertise()}, b""
            case "adverts":
                return {"shares": self._party.share(letter.facts["adverts"])}, b""
            case "shares":
                self._party.receive(letter.facts["shares"])
                return {}, b""
            case "survivors":
                facts = letter.facts
                return self._party.sign(facts["number"], facts["alive"], facts["dropped"]), b""
            case "open":
                facts = letter.facts
                asked = facts["number"], facts["alive"], facts["dropped"], facts["signatures"]
                return self._party.reveal(*asked, ahead=facts["ahead"]), b""
        raise Refused(f"{letter.type!r} is not asked in secagg mode")

    def update(self, number: int, update: Vector, examples: int) -> Answer:
        encoded = fixedpoint.encode(update, examples, self._clip)
        masked = self._party.mask(number, encoded).tobytes()
        return {"signature": self._party.sign_ahead(number)}, masked


class SecAggAggregator:
    def __init__(self, size: int, threshold: int) -> None:
        self._size = size
        self._threshold = threshold
        self._session: SecAggSession | None = None

    def keys(self, ask: Ask) -> None:
        answers = ask([], {"type": "keys"})
        adverts = {name: letter.facts["advert"] for name, letter in answers.items()}
        self._session = SecAggSession.of(adverts)
        answers = ask([], {"type": "adverts", "adverts": adverts})
        made = {name: letter.facts["shares"] for name, letter in answers.items()}
        shares = {
            name: {"shares": {other: made[other][name] for other in made if other != name}}
            for name in made
        }
        ask([], {"type": "shares"}, own=shares)

    def mean(
        self, number: int, updates: Mapping[str, Letter], owners: list[str], ask: Ask
    ) -> tuple[Vector, int]:
        assert self._session is not None
        total = sums.Sum(self._session, self._threshold, number, self._size + 1)
        for name, letter in updates.items():
            if len(letter.body) % 8:
                raise ValueError(f"{name}: {len(letter.body)} bytes are no whole numbers")
            total.add(name, np.frombuffer(letter.body, "<u8"))
        alive, dropped = total.close()
        question = {"number": number, "alive": alive, "dropped": dropped}
        signed = {name: letter.facts.get("signature") for name, letter in updates.items()}
        try:
            survivors.check(self._session, number, None, signed, self._threshold)
            ahead = True
        except Refused:  # somebody is lost, or has not signed: they are asked
            answers = ask(alive, {"type": "survivors", **question})
            signed = {name: letter.facts.get("signature") for name, letter in answers.items()}
            survivors.check(self._session, number, alive, signed, self._threshold)
            ahead = False
        opening = {"type": "open", **question, "signatures": signed, "ahead": ahead}
        reveals = ask(list(signed), opening)
        return fixedpoint.decode(
            total.open({name: letter.facts for name, letter in reveals.items()})
        )


# CKKS


class CkksOwner:
    kind: ByteClass = "ciphertext"

    def __init__(self, name: str, own: boxes.Boxes) -> None:
        self._boxes = own
        self._name = name
        self._secret = b""

    def answer(self, letter: Letter) -> Answer:
        match letter.type:
            case "keys":
                return {"advert": self._boxes.advertise()}, b""
            case "adverts":  # to the first owner alone: it makes the key for all
                self._secret, public = ckks.new_context()
                adverts = letter.facts["adverts"]
                sealed = {
                    name: self._boxes.seal(name, advert, self._secret)
                    for name, advert in adverts.items()
                    if name != self._name
                }
                return {"sealed": sealed}, public
            case "secret":
                facts = letter.facts
                self._secret = self._boxes.unseal(facts["maker"], facts["advert"], facts["sealed"])
                return {}, b""
            case "open":
                size = int(letter.facts["size"])
                try:
                    total = ckks.decrypt(self._secret, letter.body, size)
                except ValueError as error:
                    raise Refused(f"what is to be opened is no sum: {error}") from None
                return {}, total.astype("<f8").tobytes()
        raise Refused(f"{letter.type!r} is not asked in ckks mode")

    def update(self, number: int, update: Vector, examples: int) -> Answer:
        whole = np.append(update * (examples / WEIGHT), examples / WEIGHT)
        return {}, ckks.encrypt(self._secret, whole)


WEIGHT = 1000.0
"""Examples in one unit of weight under CKKS, whose precision is absolute."""


class CkksAggregator:
    def __init__(self, size: int) -> None:
        self._size = size
        self._public = b""

    def keys(self, ask: Ask) -> None:
        answers = ask([], {"type": "keys"})
        adverts = {name: letter.facts["advert"] for name, letter in answers.items()}
        maker = min(adverts)
        made = ask([maker], {"type": "adverts", "adverts": adverts})[maker]
        self._public = made.body
        others = [name for name in adverts if name != maker]
        facts = {"type": "secret", "maker": maker, "advert": adverts[maker]}
        ask(others, facts, own={name: {"sealed": made.facts["sealed"][name]} for name in others})

    def mean(
        self, number: int, updates: Mapping[str, Letter], owners: list[str], ask: Ask
    ) -> tuple[Vector, int]:
        total = ckks.add(self._public, [letter.body for letter in updates.values()])
        for name in sorted(updates):
            answers = ask([name], {"type": "open", "size": self._size + 1}, body=total)
            if name in answers:
                whole = _floats(answers[name].body)
                return whole[:-1] / whole[-1], round(whole[-1] * WEIGHT)
        raise Unrecoverable(f"round {number}: no owner has opened the sum")
