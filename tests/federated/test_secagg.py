"""Secure aggregation: the sum is exact, and each step is refused that would not be safe."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.federated.secagg_parties import IDENTITIES, RUN, Owners, assembled, for_one, party, plain
from traindeck.recipes.shared.federated.errors import Refused, Unrecoverable
from traindeck.recipes.shared.federated.hiding.session import default_threshold


@settings(max_examples=25, deadline=None)
@given(data=st.data(), count=st.integers(3, 16))
def test_the_sum_is_exact_whoever_drops_out(
    data: st.DataObject, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    least = default_threshold(count)
    threshold = data.draw(st.integers(least, count), "threshold")
    folder = tmp_path_factory.mktemp("owners")
    all_of = assembled(count, folder, threshold, rounds=(7, 1))
    few = st.lists(st.sampled_from(all_of.names), max_size=count - threshold, unique=True)
    before = data.draw(few, "gone before masking")
    alive = [name for name in all_of.names if name not in before]
    after = data.draw(st.lists(st.sampled_from(alive), unique=True), "gone after masking")
    answering = [name for name in alive if name not in after[: len(alive) - threshold]]
    vectors = all_of.vectors(seed=count)

    total = all_of.sum(7, all_of.mask(7, vectors, alive))
    assert total.missing == sorted(before)
    assert total.close() == (sorted(alive), sorted(before))
    opened = total.open(all_of.reveals(7, alive, before, by=answering))

    assert opened.tolist() == plain(vectors, alive)


def test_every_round_has_masks_of_its_own(owners: Callable[..., Owners]) -> None:
    all_of = owners(3)
    vectors = all_of.vectors()
    masked = [all_of.mask(number, vectors, all_of.names) for number in (1, 2, 3)]
    for number, words in enumerate(masked, start=1):
        reveals = all_of.reveals(number, all_of.names, [], by=all_of.names)
        assert all_of.sum(number, words).open(reveals).tolist() == plain(vectors, all_of.names)
    for name in all_of.names:
        assert len({words[name].tobytes() for words in masked}) == 3
    # A round's secrets open no other round's sum.
    reveals = all_of.reveals(1, all_of.names, [], by=all_of.names)
    with pytest.raises(Unrecoverable, match="round 2: 0 shares of owner-1, 2 are needed"):
        all_of.sum(2, masked[1]).open(reveals)
    posed = {name: {**reveal, "round": 2} for name, reveal in reveals.items()}
    with pytest.raises(Unrecoverable, match="round 2: the shares of owner-1 do not fit"):
        all_of.sum(2, masked[1]).open(posed)


def test_too_few_vectors_open_nothing_and_say_who_is_missed(
    owners: Callable[..., Owners],
) -> None:
    all_of = owners(5)
    total = all_of.sum(1, all_of.mask(1, all_of.vectors(), ["owner-2", "owner-5"]))
    said = "round 1: 2 of 5 owners answered, 3 are needed: nothing of owner-1, owner-3, owner-4"
    with pytest.raises(Unrecoverable, match=said):
        total.close()
    with pytest.raises(ValueError, match="nothing of owner-1 is waited for"):
        total.add("owner-1", np.zeros(8, np.uint64))


def test_too_few_reveals_open_nothing_and_say_whose_shares_are_missed(
    owners: Callable[..., Owners],
) -> None:
    all_of = owners(5)
    alive, dropped = ["owner-2", "owner-3", "owner-4"], ["owner-1", "owner-5"]
    total = all_of.sum(3, all_of.mask(3, all_of.vectors(), alive))
    reveals = all_of.reveals(3, alive, dropped, by=alive)
    for broken in (None, {}, {"round": 3, "alive": 5}, {**reveals["owner-4"], "round": 2}):
        with pytest.raises(Unrecoverable, match="round 3: 2 shares of owner-2, 3 are needed"):
            total.open({**reveals, "owner-4": broken})  # type: ignore[dict-item]
    del reveals["owner-4"]["dropped"]["owner-5"]
    with pytest.raises(Unrecoverable, match="round 3: 2 shares of owner-5, 3 are needed"):
        total.open(reveals)
    reveals["owner-4"]["dropped"]["owner-5"] = reveals["owner-4"]["dropped"]["owner-1"]
    with pytest.raises(Unrecoverable, match="round 3: the shares of owner-5 do not fit"):
        total.open(reveals)


def test_the_aggregator_takes_only_vectors_it_waits_for(owners: Callable[..., Owners]) -> None:
    all_of = owners(3)
    words = all_of.mask(1, all_of.vectors(), ["owner-1"])["owner-1"]
    total = all_of.sum(1, {"owner-1": words})
    for name in ("owner-1", "owner-9"):
        with pytest.raises(ValueError, match=f"nothing of {name} is waited for"):
            total.add(name, words)
    for wrong in (words[:-1], words.view(np.int64), words.reshape(2, 4)):
        with pytest.raises(ValueError, match="owner-2 sent"):
            total.add("owner-2", wrong)  # type: ignore[arg-type]


def test_a_round_is_answered_once_even_by_a_restarted_owner(
    owners: Callable[..., Owners], tmp_path: Path
) -> None:
    all_of = owners(3)
    vectors = all_of.vectors()
    all_of.mask(3, vectors, all_of.names)
    for number, said in ((3, "round 3 of this run was answered before"), (4, "has 1 to 3")):
        with pytest.raises(Refused, match=said):
            all_of.parties["owner-1"].mask(number, vectors["owner-1"])

    answered = tmp_path / "owner-1.answered"
    assert stat.S_IMODE(answered.stat().st_mode) == 0o600
    with answered.open("ab") as file:
        file.write(b'["torn')
    again = owners(3)
    with pytest.raises(Refused, match="round 3 of this run was answered before"):
        again.parties["owner-1"].mask(3, vectors["owner-1"])
    again.parties["owner-1"].mask(2, vectors["owner-1"])
    third = owners(3)
    for number in (2, 3):
        with pytest.raises(Refused, match="answered before"):
            third.parties["owner-1"].mask(number, vectors["owner-1"])
    other = owners(3, run="another")
    assert other.parties["owner-1"].mask(3, vectors["owner-1"]).dtype == np.uint64


def test_a_damaged_record_of_answers_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "owner-1.answered").write_text(f'["{RUN}", 1]\nwhat\n')
    with pytest.raises(ValueError, match="is damaged"):
        party("owner-1", IDENTITIES, tmp_path)


def test_nothing_leaves_when_the_answer_cannot_be_written_down(
    owners: Callable[..., Owners], monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of = owners(3)
    mine, values = all_of.parties["owner-1"], all_of.vectors()["owner-1"]

    def full(_: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space left"):
            mine.mask(1, values)
    with pytest.raises(Refused, match="answered before"):
        mine.mask(1, values)
    mine.mask(2, values)
    assert owners(3).parties["owner-1"].mask(1, values) is not None  # it never left


def test_a_substituted_key_is_refused(tmp_path: Path) -> None:
    names = ["owner-1", "owner-2", "owner-3"]
    parties = {name: party(name, names, tmp_path) for name in names}
    adverts = {name: one.advertise() for name, one in parties.items()}
    (tmp_path / "b").mkdir()

    def refused(said: str, **changed: dict[str, Any]) -> None:
        changes = {name.replace("_", "-"): advert for name, advert in changed.items()}
        with pytest.raises(Refused, match=said):
            parties["owner-1"].share({**adverts, **changes})

    impostors = {**IDENTITIES, "owner-2": Ed25519PrivateKey.generate()}
    impostor = party("owner-2", names, tmp_path / "b", identities=impostors).advertise()
    refused("owner-2: its key is not the one pinned", owner_2=impostor)
    posing = {**impostor, "identity": adverts["owner-2"]["identity"]}
    refused("owner-2: its signature does not fit", owner_2=posing)
    for part in ("sealing", "masks", "proofs"):
        refused("signature does not fit", owner_2={**adverts["owner-2"], part: impostor[part]})
    refused("owner-2: what came as its keys are none", owner_2=adverts["owner-3"])
    refused("owner-4: no key of it is pinned", owner_4=impostor)
    refused("owner-1: this owner's own keys were changed", owner_1=adverts["owner-2"])
    for junk in ({}, {"rounds": 3}, {**adverts["owner-2"], "masks": 7}, {**impostor, "more": 1}):
        refused("owner-2: what came as its keys are none", owner_2=junk)
    for options, said in (
        ({"run": "another"}, "its run is another"),
        ({"rounds": (1, 4)}, "its rounds is"),
        ({"threshold": 3}, "its threshold is 3, this owner's 2"),
    ):
        other = party("owner-2", names, tmp_path / "b", **options)
        refused(f"owner-2: {said}", owner_2=other.advertise())
    parties["owner-1"].share(adverts)
    refused("were given out before")


def test_two_owners_and_half_of_them_are_too_few(tmp_path: Path) -> None:
    names = [f"owner-{k}" for k in range(1, 5)]
    parties = {name: party(name, names, tmp_path, threshold=2) for name in names}
    adverts = {name: one.advertise() for name, one in parties.items()}
    with pytest.raises(Refused, match="threshold 2 of 4 owners: more than half are needed"):
        parties["owner-1"].share(adverts)
    with pytest.raises(Refused, match="2 owners are too few"):
        parties["owner-1"].share({"owner-2": adverts["owner-2"]})


def test_a_tampered_or_missing_bundle_is_refused(tmp_path: Path) -> None:
    names = ["owner-1", "owner-2", "owner-3"]
    parties = {name: party(name, names, tmp_path) for name in names}
    adverts = {name: one.advertise() for name, one in parties.items()}
    mine, values = parties["owner-1"], np.zeros(4, np.int64)
    with pytest.raises(Refused, match="has not given out shares"):
        mine.receive({})
    bundles = {name: one.share(adverts) for name, one in parties.items()}
    good = for_one(bundles, "owner-1")

    flipped = bytearray(base64.b64decode(good["owner-2"]))
    flipped[40] ^= 1
    for bad in (
        base64.b64encode(flipped).decode(),
        good["owner-3"],
        bundles["owner-2"]["owner-3"],
        bundles["owner-1"]["owner-2"],
        "",
        "not base64!",
        5,
    ):
        with pytest.raises(Refused, match="owner-2: its shares do not open"):
            mine.receive({**good, "owner-2": bad})  # type: ignore[dict-item]
    with pytest.raises(Refused, match="no shares of owner-3 came"):
        mine.receive({"owner-2": good["owner-2"]})
    with pytest.raises(Refused, match="owner-7: not of this session"):
        mine.receive({**good, "owner-7": good["owner-2"]})
    with pytest.raises(Refused, match="have not come yet"):
        mine.mask(1, values)
    mine.receive(good)
    assert mine.mask(1, values).size == 4


def test_owners_that_were_told_of_different_owners_do_not_come_to_terms(tmp_path: Path) -> None:
    names = [f"owner-{k}" for k in range(1, 5)]
    parties = {name: party(name, names, tmp_path, threshold=3) for name in names}
    adverts = {name: one.advertise() for name, one in parties.items()}
    three = {name: adverts[name] for name in names[:3]}
    adverts_of = {name: three if name == "owner-1" else adverts for name in names}
    bundles = {name: one.share(adverts_of[name]) for name, one in parties.items()}
    with pytest.raises(Refused, match=r"owner-2: its shares do not open.*told of other owners"):
        parties["owner-1"].receive(
            {name: bundles[name]["owner-1"] for name in ("owner-2", "owner-3")}
        )


def test_an_owner_answers_one_question_about_a_round(owners: Callable[..., Owners]) -> None:
    all_of = owners(5)
    one, two, three, four, five = all_of.names
    all_of.mask(1, all_of.vectors(), [one, two, three, four])
    mine = all_of.parties[one]
    for alive, dropped, said in (
        ([one, two, three, four], [four, five], "owner-4 cannot be both alive and dropped"),
        ([one, two, three], [four], "do not make up this session's owners"),
        ([one, two, three], [four, five, "owner-6"], "do not make up this session's owners"),
        ([one, two], [three, four, five], "2 owners alive, 3 are needed"),
        ([two, three, four, five], [one], "owner-1 did answer it"),
    ):
        for ask in (mine.sign, partial(mine.reveal, signatures={})):
            with pytest.raises(Refused, match=said):
                ask(1, alive, dropped)
    with pytest.raises(Refused, match="owner-5 did not answer it"):
        all_of.parties[five].sign(1, all_of.names, [])
    with pytest.raises(Refused, match="round 9 is not of this session"):
        mine.sign(9, all_of.names, [])

    alive, dropped = [one, two, three, four], [five]
    signatures = all_of.signatures(1, alive, dropped, by=alive)
    first = mine.reveal(1, alive, dropped, signatures)
    assert set(first["alive"]) == {one, two, three, four} and set(first["dropped"]) == {five}
    assert mine.reveal(1, alive[::-1], dropped, signatures) == first
    assert mine.sign(1, alive[::-1], dropped)["signature"] == signatures[one]
    for other in ([one, two, three], all_of.names):
        rest = [name for name in all_of.names if name not in other]
        for ask in (mine.sign, partial(mine.reveal, signatures=signatures)):
            with pytest.raises(Refused, match="another answer was given about it before"):
                ask(1, other, rest)


def test_an_owner_that_a_round_went_on_without_does_not_answer_it_later(
    owners: Callable[..., Owners],
) -> None:
    all_of = owners(3)
    vectors = all_of.vectors()
    alive, late = ["owner-1", "owner-2"], all_of.parties["owner-3"]
    all_of.mask(1, vectors, alive)
    signatures = all_of.signatures(1, alive, ["owner-3"], by=alive)
    revealed = late.reveal(1, alive, ["owner-3"], signatures)
    assert set(revealed["dropped"]) == {"owner-3"}
    all_of.mask(2, vectors, alive)
    late.sign(2, alive, ["owner-3"])
    for number in (1, 2):
        with pytest.raises(Refused, match=f"round {number} of this run went on without owner-3"):
            late.mask(number, vectors["owner-3"])


def test_no_share_is_shown_before_enough_have_signed_the_same_list(
    owners: Callable[..., Owners], tmp_path: Path
) -> None:
    all_of = owners(5)
    names = all_of.names
    for number in (1, 2):
        all_of.mask(number, all_of.vectors(), names[:4])
    alive, dropped = names[:4], names[4:]
    mine = all_of.parties["owner-1"]
    good = all_of.signatures(1, alive, dropped, by=alive)
    (tmp_path / "others").mkdir()
    elsewhere = assembled(5, tmp_path / "others")  # the same owners in another session
    elsewhere.mask(1, elsewhere.vectors(), alive)
    two = {name: good[name] for name in names[:2]}
    of_another_round = all_of.signatures(2, alive, dropped, by=alive)["owner-3"]
    of_another_session = elsewhere.signatures(1, alive, dropped, by=alive)["owner-3"]
    flipped = base64.b64encode(bytes(64)).decode()
    for third in (of_another_round, of_another_session, good["owner-2"], flipped, "", "?", 5, None):
        for name in ("owner-3", "owner-6"):
            with pytest.raises(Refused, match="2 owners have signed who answered it, 3 are needed"):
                mine.reveal(1, alive, dropped, {**two, name: third})
    for junk in (5, "text", [*two], None):
        with pytest.raises(Refused, match="0 owners have signed who answered it"):
            mine.reveal(1, alive, dropped, junk)  # type: ignore[arg-type]
    # Bad ones beside enough good ones take nobody's vote away.
    mixed = {**good, "owner-2": flipped, "owner-9": flipped}
    assert set(mine.reveal(1, alive, dropped, mixed)["alive"]) == set(alive)


def test_a_round_that_nobody_missed_is_opened_by_what_came_with_the_vectors(
    owners: Callable[..., Owners],
) -> None:
    all_of = owners(4)
    names, vectors = all_of.names, all_of.vectors()
    with pytest.raises(Refused, match="owner-1 did not answer it"):
        all_of.parties["owner-1"].sign_ahead(1)
    masked = all_of.mask(1, vectors, names)
    ahead = {name: party.sign_ahead(1) for name, party in all_of.parties.items()}
    first, *others = all_of.parties.values()
    three = {name: ahead[name] for name in names[:3]}
    for signatures in (three, {**three, "owner-4": ahead["owner-3"]}):
        with pytest.raises(Refused, match="3 owners have signed who answered it, 4 are needed"):
            first.reveal(1, names, [], signatures, ahead=True)
    with pytest.raises(Refused, match="0 owners have signed who answered it, 3 are needed"):
        first.reveal(1, names, [], ahead)  # they are of no list that was asked about
    with pytest.raises(Refused, match="who is dropped was not signed ahead"):
        others[-1].reveal(1, names[1:], names[:1], ahead, ahead=True)
    reveals = {party.name: party.reveal(1, names, [], ahead, ahead=True) for party in others[:2]}
    reveals[first.name] = first.reveal(1, names, [], ahead, ahead=True)
    assert all_of.sum(1, masked).open(reveals).tolist() == plain(vectors, names)


def test_who_has_signed_a_list_opens_nothing_by_what_it_signed_ahead(
    owners: Callable[..., Owners],
) -> None:
    all_of = owners(3)
    names = all_of.names
    all_of.mask(1, all_of.vectors(), names)
    ahead = {name: party.sign_ahead(1) for name, party in all_of.parties.items()}
    one, two, _ = all_of.parties.values()
    one.sign(1, names[:2], names[2:])
    with pytest.raises(Refused, match="another answer was given about it before"):
        one.reveal(1, names, [], ahead, ahead=True)
    two.reveal(1, names, [], ahead, ahead=True)
    with pytest.raises(Refused, match="another answer was given about it before"):
        two.sign(1, names[:2], names[2:])


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2), np.int64), np.zeros(3, "i4")])
def test_only_a_row_of_64_bit_integers_is_masked(
    owners: Callable[..., Owners], values: NDArray[Any]
) -> None:
    mine = owners(3).parties["owner-1"]
    with pytest.raises(ValueError, match="one row of int64"):
        mine.mask(1, values)
    mine.mask(1, np.zeros(3, np.int64))
