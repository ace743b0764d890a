"""Whom an owner and the data scientist believe, and how the scientist's own side ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.federated import federated_tools as tools
from tests.federated.federated_tools import JOB, as_before
from tests.federated.owner_pairs import NAME, Pair, make
from traindeck.core import track
from traindeck.core.federation.inbox import PARAMS, SCRIPT
from traindeck.recipes.shared.federated.errors import Failed, Refused
from traindeck.recipes.shared.federated.hiding import boxes
from traindeck.recipes.shared.federated.hiding.modes import TransportAggregator
from traindeck.recipes.shared.federated.owner import owner
from traindeck.recipes.shared.federated.post import mail
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.post.syft import Site
from traindeck.recipes.shared.federated.scientist.federation import Federation
from traindeck.recipes.shared.federated.scientist.founding import Founding

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_who_is_no_approved_scientist_is_turned_away(pair: Pair) -> None:
    pair.befriend()
    mallory = Site(address("mallory"), pair.root / "m", pair.root / "drive", owner=False)
    mallory.ask(address(NAME))
    pair.owner._answer_peers()
    why = "mallory@traindeck.invalid was turned away: it is no approved scientist"
    assert pair.shown()["reason"] == why
    assert [letter.facts["why"] for letter in pair.letters()] == [why]
    assert mallory.not_ready([address(NAME)]) == [address(NAME)]
    code = pair.root / "code"
    code.mkdir()
    (code / SCRIPT).write_text(JOB.read_text())
    (code / PARAMS).write_text("{}")
    with contextlib.suppress(Exception):  # whatever syft says to it
        mallory.submit(address(NAME), code, "in-secret")
    pair.consider()
    assert pair.owner._site.requests() == [] and pair.server.started == []
    with pytest.raises(Exception, match=r"mallory|No cached peer|no peer"):
        pair.owner._site.unseal(address("mallory"), b"anything")


def test_the_scientists_keys_cannot_be_others(tmp_path: Path) -> None:
    with as_before():
        pair = make(tmp_path, scientist="0" * 64)
        pair.scientist.ask(address(NAME))
        with pytest.raises(Refused, match="not those agreed: they were swapped"):
            pair.owner._answer_peers()
        assert pair.scientist.not_ready([address(NAME)]) == [address(NAME)]


def test_an_owners_keys_cannot_be_others(pair: Pair, tmp_path: Path) -> None:
    """Its keys in syft must be signed by the one that was agreed beforehand."""
    pair.befriend()
    with track.Run(folder=tmp_path / "run") as run:
        made = Founding(
            run, JOB, dataset="digits", shards=tools.shards(20), mock=tools.MOCK, params={}
        )
        asked = tools.speaking(made, site=pair.scientist)
        identity = (asked.root / "owners" / NAME / "identity").read_bytes()
        key = owner.Ed25519PrivateKey.from_private_bytes
        own = boxes.Boxes(NAME, key(identity), {}, asked.session)
        other = boxes.Boxes(NAME, key(bytes(32)), {}, asked.session)
        true = pair.owner._site.fingerprint().encode()

        def hear(signed: Any) -> None:
            asked.hear(mail.Letter(NAME, {"type": "approved", "keys": signed}, b""))

        with pytest.raises(Failed, match="owner-1: its syft keys is not signed"):
            hear(other.signed(owner.KEYS, true))
        with pytest.raises(Failed, match="not its own: they were swapped"):
            hear(own.signed(owner.KEYS, b"0" * 64))
        assert tools.shown(asked.root)["phase"] == "failed"
        assert "not signed by the key" in tools.shown(asked.root)["reason"]
        assert not asked.proven
        hear(own.signed(owner.KEYS, true))
        assert asked.proven == {NAME}


def test_a_letter_that_nobody_sealed_is_not_taken(pair: Pair) -> None:
    """Syft's seal at work: who can write into the folder can still not speak for an owner."""
    pair.befriend()
    folder = pair.root / "drive" / "mail" / SCIENTIST
    (folder / f"0000000001-{NAME}").write_bytes(json.dumps({"type": "update"}).encode())
    with pytest.raises(mail.BadLetter, match="in the name of owner-1 was refused"):
        pair.box.next()
    assert pair.letters() == []


class TestScientist:
    """The data scientist's own side, before it has started any owner."""

    @pytest.fixture
    def asked(self, tmp_path: Path) -> Iterator[Founding]:
        with as_before(), track.Run(folder=tmp_path / "run") as run:
            yield Founding(
                run,
                JOB,
                dataset="digits",
                shards=tools.shards(20, 20, 20),
                mock=tools.MOCK,
                params={},
                size=8,
            )

    @pytest.mark.parametrize(
        "answers",
        [
            {},
            {"advert": 3},
            {"advert": {}},
            {"advert": {"v": 1, "name": "owner-1"}},
        ],
    )
    @pytest.mark.parametrize("mode", ["secagg", "ckks"])
    def test_keys_that_are_none_end_it_with_the_reason(
        self, mode: str, answers: Any, asked: Founding
    ) -> None:
        asked.options.aggregation = mode

        def ask_all(*how: Any, **more: Any) -> dict[str, mail.Letter]:
            return {name: mail.Letter(name, answers, b"") for name in asked.owners}

        dialogue = tools.speaking(asked)
        dialogue.ask_all = ask_all  # type: ignore[method-assign]
        with pytest.raises(Failed, match=r"about keys is malformed|keys are none"):
            asked._agree_on_keys(dialogue)
        assert tools.shown(asked.root)["phase"] == "failed"

    def test_a_full_folder_ends_it_with_the_reason(
        self, asked: Founding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Full:
            def send(self, *letter: Any) -> None:
                raise OSError(28, "No space left on device")

        dialogue = tools.speaking(asked, mail=Full())
        made = Federation(dialogue, TransportAggregator(), size=8, threshold=2)
        with pytest.raises(Failed, match="cannot be written: No space left on device"):
            made.round(1, np.zeros(8, np.float32))
        assert "No space left" in tools.shown(asked.root)["reason"]

        def start() -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(asked, "_start", start)
        with pytest.raises(Failed, match=r"cannot be used: .* No space left"), asked:
            pass

    def test_secagg_of_two_does_not_begin(self, tmp_path: Path) -> None:
        with (
            track.Run(folder=tmp_path / "two") as run,
            pytest.raises(Failed, match="secagg needs 3"),
        ):
            Founding(
                run,
                JOB,
                dataset="digits",
                shards=tools.shards(20, 20),
                mock=tools.MOCK,
                params={},
                size=8,
            )
