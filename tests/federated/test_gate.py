"""The gate of one owner: what a script gives, and what an aggregator that follows no rules asks."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.federated.owner_pairs import Pair
from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.owner import gate as gates
from traindeck.recipes.shared.federated.post import mail, plainfile, wire
from traindeck.recipes.shared.federated.post.mail import SCIENTIST

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class TestGate:
    """What a script gives its owner, and what the aggregator asks of it."""

    @pytest.fixture
    def gate(self, pair: Pair) -> Iterator[tuple[gates.Gate, socket.socket]]:
        pair.befriend()
        ours, theirs = socket.socketpair()
        theirs.settimeout(60)
        ours.settimeout(0.2)
        with ours, theirs:
            made = gates.Gate(pair.owner, ours, pair.root / "outputs")
            yield made, theirs

    def ask(self, gate: gates.Gate, type: str, body: bytes = b"", **facts: Any) -> None:
        gate._from_aggregator(mail.Letter(SCIENTIST, {"type": type, **facts}, body))

    @pytest.mark.parametrize(
        ("facts", "body", "why"),
        [
            ({"number": 1}, np.full(4, np.nan, "<f4").tobytes(), "values that are not finite"),
            ({"number": 1}, b"odd", "malformed"),
            ({}, bytes(16), "malformed"),
            ({"number": "one"}, bytes(16), "malformed"),
            ({"number": None}, bytes(16), "malformed"),
            ({"number": 0}, bytes(16), "round 0 came before"),
            ({"number": 10}, bytes(16), "round 10 of 9 was not agreed"),
        ],
    )
    def test_a_round_that_is_none_is_refused(
        self, facts: Any, body: bytes, why: str, gate: tuple[gates.Gate, socket.socket]
    ) -> None:
        with pytest.raises(Refused, match=why):
            self.ask(gate[0], "round", body, **facts)

    def test_a_round_is_followed_once(self, gate: tuple[gates.Gate, socket.socket]) -> None:
        model = np.ones(4, "<f4").tobytes()
        self.ask(gate[0], "round", model, number=3)
        for number in (3, 2):
            with pytest.raises(Refused, match=f"round {number} came before: it is shown again"):
                self.ask(gate[0], "round", model, number=number)
        assert wire.receive(gate[1]) == ({"type": "round", "number": 3}, model)

    def test_a_round_waits_for_the_one_that_the_script_is_in(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        """Else the script would take the model for the answer to its update."""
        made, script = gate
        for number in (1, 2, 3):
            self.ask(made, "round", np.full(4, number, "<f4").tobytes(), number=number)
        assert wire.receive(script)[0]["number"] == 1
        late = {"type": "update", "round": 1, "examples": 3, "loss": 1.0}
        wire.send(script, late, np.ones(4).tobytes())
        script.shutdown(socket.SHUT_WR)
        made.serve(time.monotonic() + 60)
        assert wire.receive(script) == ({}, b"")
        assert wire.receive(script)[0]["number"] == 3, "the newest that came meanwhile"
        updates = [letter for letter in pair.letters() if letter.type == "update"]
        assert [letter.facts["number"] for letter in updates] == [1]

    @pytest.mark.parametrize("each", [0.3, 1e6])
    def test_what_a_script_gives_is_clipped_and_then_noised(
        self, each: float, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        made, script = gate
        pair.owner.policy.clip, pair.owner.policy.noise = 0.5, 1e-3
        self.ask(made, "round", np.ones(4, "<f4").tobytes(), number=1)
        update = {"type": "update", "round": 1, "examples": 3, "loss": 1.0}
        wire.send(script, update, np.full(4, each).tobytes())
        assert made._from_job()
        [letter] = pair.letters()
        off = np.frombuffer(letter.body, "<f4") - 0.25  # four of them are 0.5 long
        assert 0 < np.abs(off).max() < 0.01 and letter.facts["examples"] == 1

    def test_an_update_that_is_none_is_no_sign_of_the_data_where_noise_hides_it(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        """That training came to nothing at one owner is known of its data: it sends noise alone."""
        made, script = gate
        pair.owner.policy.clip, pair.owner.policy.noise = 0.5, 1e-3
        self.ask(made, "round", np.ones(4, "<f4").tobytes(), number=1)
        update = {"type": "update", "round": 1, "examples": 3, "loss": 1.0}
        wire.send(script, update, np.array([1.0, np.nan, np.inf, 2.0]).tobytes())
        assert made._from_job()
        [letter] = pair.letters()
        sent = np.frombuffer(letter.body, "<f4")
        assert letter.type == "update" and 0 < np.abs(sent).max() < 0.01

    def test_what_a_script_logs_has_an_end(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        made, script = gate
        for number in range(100):
            wire.send(script, {"type": "log", "numbers": {f"name {number}": 1, "name 0": number}})
            assert made._from_job()
        assert len(pair.owner.status.facts) == gates.MOST_NUMBERS
        assert pair.owner.status.facts["name 0"] == 99

    def test_what_jobs_send_each_other_is_counted_too(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        made, script = gate
        before = dict(pair.owner.status.bytes_out)
        pair.owner.policy.tls = {"certificate": "", "key": ""}
        for count in (20_000_000, 1996):
            wire.send(script, {"type": "sent", "bytes": count})
            assert made._from_job()
        left = pair.owner.status.bytes_out
        assert left["ciphertext"] - before["ciphertext"] == 20_001_996
        assert pair.owner.status.bytes_round["ciphertext"] >= 20_001_996
        for count in (-1, 1.5, True, "many", None, 1 << 60):
            wire.send(script, {"type": "sent", "bytes": count})
            with pytest.raises(Refused, match="says that it has sent"):
                made._from_job()
        assert left["ciphertext"] - before["ciphertext"] == 20_001_996

    def test_what_is_not_asked_in_this_mode_is_refused(
        self, gate: tuple[gates.Gate, socket.socket]
    ) -> None:
        with pytest.raises(Refused, match="'open' is not asked in transport mode"):
            self.ask(gate[0], "open", number=1, alive=[], dropped=[])

    def test_a_script_cannot_stop_its_owner(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        """Whatever it says, its owner says no or nothing, and goes on."""
        made, script = gate
        self.ask(made, "round", np.ones(4, "<f4").tobytes(), number=1)
        wire.receive(script)
        endless = float("inf")
        for numbers in (5, ["a"], None, {"a": endless, "b": "text", "c": {}, "d": 3}):
            wire.send(script, {"type": "log", "numbers": numbers})
            assert made._from_job()
        assert pair.owner.status.facts == {"d": 3}
        wire.send(script, {"type": "log", "numbers": {str(k): k for k in range(1000)}})
        assert made._from_job() and len(pair.owner.status.facts) < 100
        update = {"type": "update", "round": 1, "examples": 3}
        wire.send(script, {**update, "loss": float("nan")}, np.ones(4).tobytes())
        assert made._from_job() and pair.shown()["loss"] is None
        assert wire.receive(script) == ({}, b"")
        wire.send(script, update, np.ones(4).tobytes())
        with pytest.raises(Refused, match="came in round 0"):
            made._from_job()
        script.sendall(b"\x10\0\0\0")
        with pytest.raises(Refused, match="unfinished"):
            made._from_job()
        script.sendall(b"\xff" * 8)
        assert not made._from_job()

    def test_a_full_folder_is_a_refusal(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, script = gate
        self.ask(made, "round", np.ones(4, "<f4").tobytes(), number=1)
        wire.receive(script)

        def full(path: Path, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(plainfile, "replace", full)
        update = {"type": "update", "round": 1, "examples": 3, "loss": 1.0}
        wire.send(script, update, np.ones(4).tobytes())
        script.shutdown(socket.SHUT_WR)
        made.serve(time.monotonic() + 60)
        assert "No space left" in wire.receive(script)[0]["refused"]
        status = pair.shown()
        assert status["state"] == "refused" and "No space left" in status["reason"]
        assert status["bytes_out"]["ciphertext"] == status["bytes_round"].get("ciphertext", 0) == 0
        monkeypatch.undo()
        assert pair.letters() == []

    def test_a_script_says_nothing_to_the_scientist_in_its_own_words(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        made, script = gate
        self.ask(made, "round", np.ones(4, "<f4").tobytes(), number=1)
        wire.receive(script)
        update = {"type": "update", "round": 1, "examples": 3}
        for facts in (
            {**update, "round": "SECRET"},
            {**update, "examples": "SECRET"},
            {"type": "outside", "path": "/SECRET"},
            {"type": "SECRET"},
            {"type": "log", "numbers": {"SECRET": 1}},
        ):
            wire.send(script, facts, np.ones(4).tobytes())
        script.shutdown(socket.SHUT_WR)
        made.serve(time.monotonic() + 60)
        letters = pair.letters()
        assert len(letters) == 3
        assert not [letter for letter in letters if "SECRET" in json.dumps(letter.facts)]

    def test_hidden_updates_have_no_open_result_beside_them(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        made, script = gate
        pair.owner.policy.aggregation = "secagg"
        wire.send(script, {"type": "result", "result": {"weights": [1.0]}})
        with pytest.raises(Refused, match="gives no result besides"):
            made._from_job()
        assert "gives no result" in wire.receive(script)[0]["refused"]
        assert not (pair.root / "outputs").exists()

    def test_what_cannot_be_hidden_is_not_sent(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, script = gate
        self.ask(made, "round", np.ones(4, "<f4").tobytes(), number=1)
        wire.receive(script)

        def never(*args: Any) -> Any:
            raise ValueError("3 examples times 1e9 are too much for 64 bits")

        monkeypatch.setattr(pair.owner.mode, "update", never)
        wire.send(script, {"type": "update", "round": 1, "examples": 3}, np.ones(4).tobytes())
        with pytest.raises(Refused, match="too much for 64 bits"):
            made._from_job()
        assert pair.letters() == []

    def test_a_script_that_outstays_its_time_is_ended(
        self, gate: tuple[gates.Gate, socket.socket], pair: Pair
    ) -> None:
        gate[0].serve(time.monotonic())
        assert "ran out of its" in pair.shown()["reason"]
