"""The three modes by which an aggregator comes by a mean, without processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("syft", reason="syft is not installed")

from traindeck.recipes.shared.federated.errors import Refused, Unrecoverable
from traindeck.recipes.shared.federated.hiding import modes
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, Letter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@dataclass
class Talk:
    """An aggregator and three owners in one of the modes, without letters: each asks and answers.

    silent: who does not answer what; others: who answers a question in an owner's place; asked:
    who was asked what.
    """

    owners: dict[str, modes.OwnerSide]
    silent: set[tuple[str, str]] = field(default_factory=set)
    others: dict[tuple[str, str], modes.OwnerSide] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(
        self, to: list[str], facts: Any, own: Any = None, body: bytes = b""
    ) -> dict[str, Letter]:
        letters = {}
        for name in to or list(self.owners):
            asked = facts["type"], name
            self.asked.append(asked)
            if asked not in self.silent:
                who = self.others.get(asked, self.owners[name])
                letter = Letter(SCIENTIST, {**facts, **(own or {}).get(name, {})}, body)
                letters[name] = Letter(name, *who.answer(letter))
        return letters


class TestModes:
    """The three modes' own words, with owners or an aggregator that do not keep to them."""

    SIZE = 12
    EXAMPLES = (30, 10, 20)

    def start(self, mode: str, folder: Path) -> tuple[Talk, modes.AggregatorSide]:
        side: modes.AggregatorSide = modes.TransportAggregator()
        if mode != "transport":
            kind = modes.SecAggAggregator if mode == "secagg" else modes.CkksAggregator
            side = kind(self.SIZE, 2) if mode == "secagg" else kind(self.SIZE)  # type: ignore
        return Talk(_sides(mode, folder)), side

    def updates(self, talk: Talk, *names: str) -> tuple[dict[str, Letter], Any]:
        """What these owners send in round 1, and the mean of it."""
        vectors = {
            name: np.random.default_rng(k).normal(size=self.SIZE)
            for k, name in enumerate(talk.owners)
        }
        examples = dict(zip(talk.owners, self.EXAMPLES, strict=True))
        sent = {
            name: Letter(name, *talk.owners[name].update(1, vectors[name], examples[name]))
            for name in names
        }
        chosen = [vectors[name] for name in names]
        return sent, np.average(chosen, axis=0, weights=[examples[name] for name in names])

    @pytest.mark.parametrize("mode", modes.MODES)
    @pytest.mark.parametrize("lost", ["", "owner-1", "owner-3"])
    def test_the_mean_is_that_of_those_that_came(
        self, lost: str, mode: str, tmp_path: Path
    ) -> None:
        talk, side = self.start(mode, tmp_path / "owners")
        side.keys(talk)
        left = [name for name in talk.owners if name != lost]
        sent, expected = self.updates(talk, *left)
        if mode == "ckks":
            talk.silent.add(("open", left[0]))  # the next one opens the sum then
        mean, _ = side.mean(1, sent, list(talk.owners), talk)
        close = {"transport": 1e-6, "secagg": 1e-5, "ckks": 1e-3}[mode]
        np.testing.assert_allclose(mean, expected, rtol=0, atol=close)

    @pytest.mark.parametrize("mode", ["secagg", "ckks"])
    def test_without_enough_answers_nothing_is_opened(self, mode: str, tmp_path: Path) -> None:
        talk, side = self.start(mode, tmp_path / "owners")
        side.keys(talk)
        sent, _ = self.updates(talk, *talk.owners)
        talk.silent |= {("open", name) for name in talk.owners}
        with pytest.raises(Unrecoverable, match="round 1"):
            side.mean(1, sent, list(talk.owners), talk)

    def test_who_answered_is_asked_when_somebody_is_lost_or_has_not_signed(
        self, tmp_path: Path
    ) -> None:
        talk, side = self.start("secagg", tmp_path / "owners")
        side.keys(talk)
        sent, expected = self.updates(talk, *talk.owners)
        talk.silent.add(("survivors", "owner-2"))
        facts = {**sent["owner-3"].facts, "signature": sent["owner-1"].facts["signature"]}
        unsigned = {**sent, "owner-3": Letter("owner-3", facts, sent["owner-3"].body)}
        mean, _ = side.mean(1, unsigned, list(talk.owners), talk)
        np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-5)
        asked = [one for one in talk.asked if one[0] in ("survivors", "open")]
        assert asked == [
            *(("survivors", name) for name in talk.owners),
            ("open", "owner-1"),
            ("open", "owner-3"),
        ]

    def test_nobody_is_asked_who_answered_when_all_did(self, tmp_path: Path) -> None:
        talk, side = self.start("secagg", tmp_path / "owners")
        side.keys(talk)
        sent, _ = self.updates(talk, *talk.owners)
        side.mean(1, sent, list(talk.owners), talk)
        assert "survivors" not in [what for what, _ in talk.asked]

    def test_too_few_signatures_open_nothing(self, tmp_path: Path) -> None:
        talk, side = self.start("secagg", tmp_path / "owners")
        side.keys(talk)
        sent, _ = self.updates(talk, "owner-1", "owner-2")
        talk.silent.add(("survivors", "owner-2"))
        with pytest.raises(Refused, match="1 owners have signed who answered it, 2 are needed"):
            side.mean(1, sent, list(talk.owners), talk)
        assert "open" not in [what for what, _ in talk.asked]

    @pytest.mark.parametrize("mode", ["secagg", "ckks"])
    def test_an_owners_key_that_was_swapped_is_refused(self, mode: str, tmp_path: Path) -> None:
        talk, side = self.start(mode, tmp_path / "owners")
        stranger = _sides(mode, tmp_path / "others")["owner-2"]  # whose key nobody has pinned
        talk.others["keys", "owner-2"] = stranger
        why = {
            "secagg": "owner-2: its key is not the one pinned",
            "ckks": "owner-2: its box is not signed by the key that is pinned",
        }[mode]
        with pytest.raises(Refused, match=why):
            side.keys(talk)

    @pytest.mark.parametrize(
        ("facts", "body"),
        [
            ({}, bytes(48)),
            ({"examples": 0}, bytes(48)),
            ({"examples": 1 << 50}, bytes(48)),
            ({"examples": "3"}, bytes(48)),
            ({"examples": 3}, bytes(44)),
            ({"examples": 3}, np.full(12, np.nan, "<f4").tobytes()),
        ],
    )
    def test_an_update_that_is_none_is_named_in_transport(
        self, facts: Any, body: bytes, tmp_path: Path
    ) -> None:
        talk, side = self.start("transport", tmp_path / "owners")
        sent, _ = self.updates(talk, *talk.owners)
        sent["owner-2"] = Letter("owner-2", facts, body)
        with pytest.raises(ValueError, match="owner-2: its update"):
            side.mean(1, sent, list(talk.owners), talk)


def _sides(mode: str, folder: Path) -> dict[str, modes.OwnerSide]:
    names = [f"owner-{k}" for k in (1, 2, 3)]
    keys = {name: modes.Ed25519PrivateKey.generate() for name in names}
    raw = {name: key.public_key().public_bytes_raw() for name, key in keys.items()}
    made: dict[str, modes.OwnerSide] = {}
    folder.mkdir()
    for name in names:
        pins = {other: key for other, key in raw.items() if other != name}
        if mode == "transport":
            made[name] = modes.TransportOwner()
        elif mode == "secagg":
            place = folder / name
            made[name] = modes.SecAggOwner(name, keys[name], pins, "s", (1, 2), 2, place, 10.0)
        else:
            made[name] = modes.CkksOwner(name, modes.boxes.Boxes(name, keys[name], pins, "s"))
    return made
