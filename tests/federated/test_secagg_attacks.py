"""Nothing but the sum is to be had of a secure aggregation by who keeps all, and lies."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("cryptography")
from tests.federated.secagg_parties import RUN, Owners, assembled
from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.hiding import session, shamir, survivors


def test_secrets_are_not_in_what_an_owner_prints(owners: Callable[..., Owners]) -> None:
    assert repr(owners(3).parties["owner-2"]) == (
        f"SecAggParty(owner-2, run {RUN}, range(1, 4), threshold 2)"
    )


class Attack:
    """An aggregator that kept everything it saw: it joins what shares it has, honest or not."""

    def __init__(self, all_of: Owners, number: int, reveals: list[dict[str, Any]]) -> None:
        self.session = session.SecAggSession.of(all_of.adverts)
        self.number = number
        self.seeds: dict[str, bytes] = {}
        self.keys: dict[str, bytes] = {}
        for kind, secrets, fits in (
            ("alive", self.seeds, self.session.is_seed),
            ("dropped", self.keys, self.session.is_key),
        ):
            for name in all_of.names:
                shares = {
                    self.session.holder(reveal["by"]): base64.b64decode(reveal[kind][name])
                    for reveal in reveals
                    if name in reveal[kind]
                }
                secret = self.join(shares)
                if secret is not None and fits(name, number, secret):
                    secrets[name] = secret

    @staticmethod
    def join(shares: dict[int, bytes]) -> bytes | None:
        try:
            return shamir.join(shares)
        except ValueError:
            return None

    def opened(self, name: str, masked: NDArray[np.uint64]) -> NDArray[np.int64]:
        """An owner's vector, less all of its masks that can be made."""
        size, left = masked.size, masked.copy()
        if name in self.seeds:
            left -= self.session.self_mask(name, self.number, self.seeds[name], size)
        for other in self.session.names:
            if other != name and name in self.keys:
                left -= self.session.pair_mask(name, other, self.number, self.keys[name], size)
            elif other != name and other in self.keys:
                left += self.session.pair_mask(other, name, self.number, self.keys[other], size)
        return left.view(np.int64)

    def alone(self) -> set[str]:
        """The owners of whom it has both secrets."""
        return set(self.seeds) & set(self.keys)


def uneven(values: NDArray[np.int64]) -> float:
    """Chi-square of the top bytes against evenness: 255 degrees of freedom, 255 ± 23 if even."""
    counts = np.bincount((values.view(np.uint64) >> np.uint64(56)).astype(int), minlength=256)
    expected = values.size / 256
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("masks", [True, False], ids=["masked", "masks off"])
@pytest.mark.parametrize(("count", "lost"), [(3, 0), (3, 1), (5, 2)])
def test_all_that_the_aggregator_saw_opens_no_owner(
    owners: Callable[..., Owners],
    monkeypatch: pytest.MonkeyPatch,
    masks: bool,
    count: int,
    lost: int,
) -> None:
    if not masks:
        monkeypatch.setattr(session, "stream", lambda key, size: np.zeros(size, np.uint64))
    all_of = owners(count)
    vectors = all_of.vectors(size=20_000)
    alive, dropped = all_of.names[lost:], all_of.names[:lost]
    # Those dropped answered too late: the aggregator has their vectors as well.
    masked = all_of.mask(1, vectors, all_of.names)
    reveals = all_of.reveals(1, alive, dropped, by=alive)
    attack = Attack(all_of, 1, [{**reveal, "by": name} for name, reveal in reveals.items()])
    assert set(attack.seeds) == set(alive) and set(attack.keys) == set(dropped)
    assert attack.alone() == set()

    for name in all_of.names:
        opened, truth = attack.opened(name, masked[name]), vectors[name]
        near = float(np.corrcoef(opened, truth)[0, 1])
        if masks:
            assert uneven(opened) < 255 + 6 * 23
            assert abs(near) < 6 / np.sqrt(truth.size)
            assert not np.isin(opened, truth).any()
        else:
            assert np.array_equal(opened, truth)
            assert uneven(opened) > 1e6 and near > 0.999
    # The shares crossed sealed: none that was revealed later was to be seen in them.
    crossed = b"".join(
        base64.b64decode(b) for sent in all_of.bundles.values() for b in sent.values()
    )
    for reveal in reveals.values():
        for share in (*reveal["alive"].values(), *reveal["dropped"].values()):
            assert base64.b64decode(share) not in crossed


@settings(max_examples=30, deadline=None)
@given(data=st.data(), count=st.integers(3, 6))
def test_an_aggregator_that_tells_owners_different_things_opens_no_sum_of_fewer(
    data: st.DataObject, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It asks in any order, for signatures of any lists, and for shares with all that it has."""
    all_of = assembled(count, tmp_path_factory.mktemp("owners"), rounds=(1, 1))
    names, vectors = all_of.names, all_of.vectors()
    masked = all_of.mask(1, vectors, names)
    every = frozenset(names)
    some = st.sets(st.sampled_from(names), min_size=all_of.threshold).map(frozenset)
    lists = [every, *data.draw(st.lists(some, min_size=1, max_size=2), "lists")]
    ahead = {name: party.sign_ahead(1) for name, party in all_of.parties.items()}
    signatures: dict[frozenset[str], dict[str, str]] = {alive: {} for alive in lists}
    asked = st.tuples(st.sampled_from(names), st.sampled_from(lists), st.sampled_from("sra"))
    reveals = []
    for name, alive, what in data.draw(st.lists(asked, min_size=count, max_size=60), "asked"):
        party, dropped = all_of.parties[name], every - alive
        with contextlib.suppress(Refused):
            if what == "s":
                signatures[alive][name] = party.sign(1, alive, dropped)["signature"]
            else:
                signed = ahead if what == "a" else signatures[alive]
                reveal = party.reveal(1, alive, dropped, signed, ahead=what == "a")
                reveals.append({**reveal, "by": name})
    signed = [alive for alive, by in signatures.items() if len(by) >= all_of.threshold]
    assert len(signed) <= 1, "one list, which enough have signed"
    attack = Attack(all_of, 1, reveals)
    assert attack.alone() == set()
    # Whose masks can be taken off are the owners of one list, all of them together.
    assert set(attack.seeds) in (set(), every, *map(set, signed))
    for name in names:
        assert not np.array_equal(attack.opened(name, masked[name]), vectors[name])
    if set(attack.seeds) | set(attack.keys) == every:
        assert len(attack.seeds) >= all_of.threshold


@pytest.mark.parametrize("checked", [True, False], ids=["signed", "without signatures"])
def test_subsets_that_are_told_different_lists_give_no_sum_of_two(
    owners: Callable[..., Owners], monkeypatch: pytest.MonkeyPatch, checked: bool
) -> None:
    """Each of two is called alive and each of the others dropped by enough owners, though no list
    has fewer than the threshold: without signatures that opens the sum of the two."""
    if not checked:
        monkeypatch.setattr(survivors, "check", lambda *_: None)
    all_of = owners(5)
    names = all_of.names
    one, two, three, four, five = names
    vectors = all_of.vectors()
    masked = all_of.mask(1, vectors, names)
    lists = {
        one: [one, two, three],
        two: [one, two, four],
        three: [one, two, three],
        four: [one, two, four],
        five: [one, two, five],
    }
    signatures: dict[str, str] = {}
    for name, alive in lists.items():
        dropped = [other for other in names if other not in alive]
        signatures[name] = all_of.parties[name].sign(1, alive, dropped)["signature"]
    reveals = []
    for name, alive in lists.items():
        dropped = [other for other in names if other not in alive]
        refused = pytest.raises(Refused, match=r"[12] owners have signed who answered it, 3 are")
        with refused if checked else contextlib.nullcontext():
            reveal = all_of.parties[name].reveal(1, alive, dropped, signatures)
            reveals.append({**reveal, "by": name})
    attack = Attack(all_of, 1, reveals)
    opened = attack.opened(one, masked[one]) + attack.opened(two, masked[two])
    assert np.array_equal(opened, vectors[one] + vectors[two]) is not checked
    assert bool(attack.seeds or attack.keys) is not checked


def test_fewer_shares_than_the_threshold_tell_nothing() -> None:
    secret = bytes(range(32))
    shares = dict(enumerate(shamir.split(secret, 3, 5), start=1))
    assert shamir.join(shares) == secret
    assert shamir.join({at: shares[at] for at in (5, 1, 3)}) == secret
    assert Attack.join({at: shares[at] for at in (1, 4)}) != secret
    again = shamir.split(secret, 3, 5)
    assert not set(again) & set(shares.values())
    for bad in (b"\xff" * shamir.SHARE, (shamir.PRIME).to_bytes(shamir.SHARE)):
        with pytest.raises(ValueError, match="none"):
            shamir.join({**shares, 2: bad})
    for edge in (bytes(32), b"\xff" * 32):
        assert shamir.join(dict(enumerate(shamir.split(edge, 2, 2), start=1))) == edge
    with pytest.raises(ValueError, match="31 bytes cannot be shared"):
        shamir.split(bytes(31), 2, 3)
