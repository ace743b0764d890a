"""One owner beside a data scientist that follows no rules: what is refused, and what both read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.federated import federated_tools as tools
from tests.federated.federated_tools import JOB, as_before
from traindeck.core import track
from traindeck.core.federation.inbox import PARAMS, SCRIPT
from traindeck.recipes.shared.federated.errors import Failed, Refused
from traindeck.recipes.shared.federated.hiding import boxes
from traindeck.recipes.shared.federated.hiding.modes import TransportAggregator
from traindeck.recipes.shared.federated.job.server import Job
from traindeck.recipes.shared.federated.owner import gate as gates
from traindeck.recipes.shared.federated.owner import owner, policy
from traindeck.recipes.shared.federated.post import mail, plainfile, wire
from traindeck.recipes.shared.federated.post import syft as adapter
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.scientist.federation import Federation
from traindeck.recipes.shared.federated.scientist.founding import Founding

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SESSION = "a session"
NAME = "owner-1"


class NoJobs:
    """In place of an owner's job server: nothing may run."""

    started: list[str]

    def __init__(self) -> None:
        self.started = []

    def start(self, code: Path, entry: str, facts: dict[str, Any], ports: list[int]) -> Job:
        self.started.append((code / entry).read_text())
        ours, theirs = socket.socketpair()
        theirs.close()
        (code / ".stdout").touch()
        (code / ".stderr").write_text("it was cut off")
        ours.settimeout(60)
        return Job(ours, 2**22 + 1)

    def ended(self, seconds: float | None = None) -> int:
        return 1


@dataclass
class Pair:
    """An owner and a data scientist, in this process: each step is taken when a test says so."""

    root: Path
    scientist: adapter.Site
    owner: owner.Owner
    server: NoJobs
    box: mail.Mailbox

    def befriend(self) -> None:
        self.scientist.ask(self.owner._site.email)
        self.owner._answer_peers()
        assert self.scientist.not_ready([address(NAME)]) == []
        self.scientist.sync()

    def submit(self, script: str | None = None, params: str = "{}", **more: str) -> None:
        name = "a-job"
        code = self.root / f"code-{name}"
        code.mkdir()
        (code / SCRIPT).write_text(script or JOB.read_text())
        (code / PARAMS).write_text(params)
        for file, text in more.items():
            (code / file).write_text(text)
        self.scientist.submit(address(NAME), code, name)

    def consider(self) -> None:
        self.owner._site.sync()
        for request in self.owner._site.requests():
            self.owner._consider(request)

    def answer(self, name: str = "a-job") -> tuple[str, str]:
        self.scientist.sync()
        return self.scientist.answers(name)[address(NAME)]

    def letters(self) -> list[mail.Letter]:
        found = []
        while (letter := self.box.next()) is not None:
            found.append(letter)
        return found

    def told(self) -> dict[str, Any]:
        """What the owner's screen shows."""
        found: dict[str, Any] = json.loads((self.owner.policy.home / "status.json").read_text())
        return found


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with as_before():
        os.umask(0o077)
        yield make(tmp_path)


def make(root: Path, **more: Any) -> Pair:
    home = root / "owners" / NAME
    home.mkdir(parents=True)
    (home / "identity").write_bytes(bytes(32))
    for path, arrays in ((home / "shard.npz", tools.shards(20)[NAME]), (root / "mock", tools.MOCK)):
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    scientist = adapter.Site(address(SCIENTIST), root / "scientist", root / "drive", owner=False)
    rules = policy.Policy(
        name=NAME,
        root=root,
        session=SESSION,
        pins={},
        scientist=scientist.fingerprint(),
        agreed=JOB,
        agreed_params=hashlib.sha256(b"{}").hexdigest(),
        dataset="digits",
        shard=home / "shard.npz",
        mock=root / "mock",
        summary="digits",
        ledgers=root / "ledger",
        run=f"a-run.{NAME}",
        aggregation="transport",
        rounds=9,
    )
    server = NoJobs()
    made = owner.Owner(replace(rules, **more), server)  # type: ignore[arg-type]
    made._data = rules.shard
    box = mail.Mailbox(root / "drive" / "mail", SCIENTIST, scientist, SESSION)
    return Pair(root, scientist, made, server, box)


def pushed(pair: Pair, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]) -> None:
    """What syft sends of a job is changed on its way out."""
    engine = type(pair.scientist._client.sync_engine)
    push = engine.push_job_files

    def tampered(self: Any, folder: Path) -> Any:
        change(Path(folder))
        return push(self, folder)

    monkeypatch.setattr(engine, "push_job_files", tampered)


def swap_run_script(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\ncat ../../private/*\n")


@pytest.mark.parametrize(
    "held", [{"nothing": np.zeros(0)}, {"w1": np.zeros((3, 2)), "b1": np.zeros(2)}]
)
def test_who_holds_no_rows_has_no_samples(
    held: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "shards", lambda rows: {NAME: held})
    with as_before():
        assert make(tmp_path).owner.status.samples == 0


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("run.sh", "its run.sh is not the one that syft writes: it was swapped"),
        ("unknown", "is not the one that was agreed"),
        ("params", "its parameters are not those that were agreed"),
        ("files", "it has the files main.py, more.py, params.json: a script and its parameters"),
    ],
)
def test_a_job_that_is_not_as_agreed_is_refused(
    kind: str, why: str, pair: Pair, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    pair.befriend()
    if kind == "run.sh":
        pushed(pair, monkeypatch, swap_run_script)
    more = {"more.py": "import os"} if kind == "files" else {}
    script = "print('something else')" if kind == "unknown" else None
    pair.submit(script, '{"lr": 9}' if kind == "params" else "{}", **more)
    pair.consider()
    assert pair.server.started == []
    state, reason = pair.answer()
    assert state == "rejected" and why in reason
    [letter] = pair.letters()
    assert letter.type == "refused" and why in letter.facts["why"]
    told = pair.told()
    assert told["state"] == "refused" and why in told["reason"]
    assert told["job"]["decision"] == "refused" and why in told["job"]["reason"]
    assert why in capfd.readouterr().out


@pytest.mark.parametrize("what", ["script", "parameters", "script, through syft"])
def test_what_changes_after_it_was_approved_does_not_run(
    what: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.befriend()
    pair.submit()
    approved = pair.owner._site.approve

    def approve(request: adapter.SyftRequest, how: str, reason: str = "") -> None:
        approved(request, how, reason)
        file = PARAMS if what == "parameters" else SCRIPT
        if what.endswith("syft"):
            path = request.code.relative_to(pair.owner._site.home / address(NAME)) / file
            tools.propose(pair.scientist, address(NAME), str(path), "changed", JOB.read_text())
        else:
            (request.code / file).write_text('{"changed": 1}')

    monkeypatch.setattr(pair.owner._site, "approve", approve)
    pair.consider()
    assert pair.server.started == []
    [code] = pair.owner._site.home.rglob("a-job/code")
    assert "changed" in (code / "main.py").read_text() + (code / "params.json").read_text()
    why = "a-job was refused: it changed after it was approved"
    assert pair.told()["reason"] == why
    assert why in [letter.facts.get("why") for letter in pair.letters()]
    assert pair.answer()[0] == "failed"


def test_what_was_agreed_runs_once(pair: Pair) -> None:
    pair.befriend()
    pair.submit()
    pair.consider()
    pair.consider()
    assert pair.server.started == [JOB.read_text()]
    assert pair.told()["reason"] == "the script ended with 1: it was cut off"
    told = [letter.facts.get("why") for letter in pair.letters()]
    assert "the script ended with 1" in told, "its last words are the owner's alone"


def test_who_is_no_approved_scientist_is_turned_away(pair: Pair) -> None:
    pair.befriend()
    mallory = adapter.Site(address("mallory"), pair.root / "m", pair.root / "drive", owner=False)
    mallory.ask(address(NAME))
    pair.owner._answer_peers()
    why = "mallory@traindeck.invalid was turned away: it is no approved scientist"
    assert pair.told()["reason"] == why
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


class TestByHand:
    """A script that waits for somebody to read it."""

    def decide(self, pair: Pair, **facts: Any) -> Path:
        [folder] = (pair.owner.policy.home / "inbox").iterdir()
        asked = json.loads((folder / "request.json").read_text())
        facts = {"v": 1, "sha256": asked["sha256"], "reason": "", "at": time.time(), **facts}
        (folder / "part").write_text(json.dumps(facts))
        os.replace(folder / "part", folder / "decision.json")
        return folder

    def waits(self, pair: Pair, *decisions: dict[str, Any] | str) -> list[Path]:
        """Run what the owner does; each time it looks, the next of these lies in its inbox."""
        left = list(decisions)
        folders = []

        def wait() -> None:
            assert left, "the decision was not heard"
            decision = left.pop(0)
            if isinstance(decision, str):
                [folder] = (pair.owner.policy.home / "inbox").iterdir()
                (folder / "decision.json").write_text(decision)
            else:
                folders.append(self.decide(pair, **decision))

        pair.owner._waiting = wait  # type: ignore[method-assign]
        pair.consider()
        assert not left
        return folders

    @pytest.fixture
    def pair(self, tmp_path: Path) -> Iterator[Pair]:
        with as_before():
            os.umask(0o077)
            made = make(tmp_path, approval="hand")
            made.befriend()
            yield made

    def test_it_lies_in_the_inbox_as_it_was_sent(self, pair: Pair) -> None:
        script = "print('never agreed, but read')"
        pair.submit(script)
        [folder] = self.waits(pair, {"decision": "approve", "reason": "read it"})
        asked = json.loads((folder / "request.json").read_text())
        assert (folder / "main.py").read_text() == script
        assert (folder / "params.json").read_text() == "{}"
        assert asked["job"] == "a-job" and asked["submitted_by"] == address(SCIENTIST)
        assert asked["agreed"] == str(JOB)
        assert pair.server.started == [script]
        letters = pair.letters()
        assert [letter.type for letter in letters[:2]] == ["asked", "approved"]
        assert "waits for somebody" in letters[0].facts["why"]
        assert pair.told()["job"]["decision"] == "approved"

    def test_a_refusal_and_its_reason_reach_the_scientist(self, pair: Pair) -> None:
        pair.submit()
        self.waits(pair, {"decision": "refuse", "reason": "not on a Sunday"})
        assert pair.answer() == ("rejected", "not on a Sunday")
        assert pair.server.started == []
        assert pair.told()["job"]["reason"] == "not on a Sunday"
        assert "a-job was refused: not on a Sunday" in pair.letters()[-1].facts["why"]

    def test_a_decision_about_another_script_does_not_count(self, pair: Pair) -> None:
        pair.submit()
        other = {"decision": "approve", "sha256": "0" * 64}
        self.waits(pair, other, "{torn", '{"decision": 3}', {"decision": "refuse"})
        assert pair.server.started == []
        assert pair.answer() == ("rejected", "the data owner refused it")

    def test_a_swapped_run_script_is_not_even_shown(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pushed(pair, monkeypatch, swap_run_script)
        pair.submit()
        self.waits(pair)
        assert pair.answer()[0] == "rejected"
        assert not (pair.owner.policy.home / "inbox").exists()


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
        assert made._from_job() and pair.told()["loss"] is None
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
        told = pair.told()
        assert told["state"] == "refused" and "No space left" in told["reason"]
        assert told["bytes_out"]["ciphertext"] == told["bytes_round"].get("ciphertext", 0) == 0
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
        assert "ran out of its" in pair.told()["reason"]


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
