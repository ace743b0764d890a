"""What goes wrong in a federation, on purpose or not, and what each side says of it.

Whatever happens, a round is recovered from those that are left, or the run ends with who and why.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import traindeck.recipes
from tests.conftest import until
from tests.federated import federated_tools as tools
from traindeck.recipes.shared.federated.errors import Failed, Refused, Unrecoverable
from traindeck.recipes.shared.federated.hiding import modes
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, Letter, address
from traindeck.recipes.shared.federated.scientist.federation import Federation, Outcome

SYFT = Path(traindeck.recipes.__file__).parent / "syft"
PATIENCE = 240.0
SKEW = "tests.federated.federated_skew"  # its name alone: who imports it has another clock

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def processes(root: Path, name: str) -> list[psutil.Process]:
    """An owner's process, its job server and its job."""
    with contextlib.suppress(psutil.Error, OSError, ValueError, KeyError):
        own = psutil.Process(
            json.loads((root / "owners" / name / "status.json").read_text())["pid"]
        )
        return [own, *own.children(recursive=True)]
    return []


def ours() -> list[psutil.Process]:
    """What these tests have started: there may be a helper of multiprocessing's from others."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if process not in EARLIER]


def alive(found: list[psutil.Process]) -> list[int]:
    return [p.pid for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


EARLIER: list[psutil.Process] = []


@dataclass
class Course:
    """What became of a federation: its rounds, and how it failed."""

    root: Path
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    models: dict[int, Any] = field(default_factory=dict)
    failure: str = ""
    processes: list[psutil.Process] = field(default_factory=list)
    killed: list[psutil.Process] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    waited: list[list[str]] = field(default_factory=list)

    def round(self, federation: Federation, number: int) -> Outcome:
        model = tools.first() if number == 1 else self.models[number - 1]
        if number > 1:
            model = np.asarray(model + self.outcomes[number - 1].update, np.float32)
        self.models[number] = model
        self.outcomes[number] = federation.round(number, model)
        federation.tell(number, self.outcomes[number])
        return self.outcomes[number]


class Flipping:
    """Seals as another does, and flips a bit of the first letter to one party."""

    def __init__(self, seal: Any, to: str) -> None:
        self.unseal, self._seal, self._to = seal.unseal, seal.seal, address(to)

    def seal(self, to: str, data: bytes) -> bytes:
        sealed = bytearray(self._seal(to, data))
        if to == self._to:
            self._to = ""
            sealed[-50] ^= 4
        return bytes(sealed)


class TestFaults:
    """Five owners of whom three must answer, each with another year on its clock.

    Round 2: one is killed. Round 3: another stands still, and goes on after it. Round 5: a byte of
    a third's letter flips on its way. Round 6: one more is killed while a third can write no more.
    """

    OWNED = tools.shards(20, 30, 10, 25, 15)
    ONE_ROUND = 6.0  # seconds: those that are well need far fewer, on a busy machine too
    LONG = 120.0  # for the rounds whose end is not that of their time

    @pytest.fixture(scope="class")
    def course(self, tmp_path_factory: pytest.TempPathFactory) -> Course:
        folder = tmp_path_factory.mktemp("faults")
        course = Course(folder / "federation")
        tricks = {"owner-5": {"2": {"sleep": 60}}}
        try:
            with tools.federation(
                folder,
                self.OWNED,
                tricks=tricks,
                rounds=6,
                keep=True,
                preload=("syft_rds", "numpy", SKEW),
                round_seconds=self.LONG,
            ) as federation:
                self.live(course, federation)
        except Failed as error:
            course.failure = str(error)
        course.notes = tools.notes(course.root)
        return course

    def live(self, course: Course, federation: Federation) -> None:
        root = course.root
        course.processes = ours()
        course.round(federation, 1)

        def kill() -> None:
            until(lambda: tools.status(root, "owner-5")["round"] == 2, "round 2 of owner-5")
            course.killed = processes(root, "owner-5")
            os.kill(course.killed[0].pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        course.round(federation, 2)
        killer.join()

        federation.options.round_seconds = self.ONE_ROUND
        slow = processes(root, "owner-4")[0]
        slow.suspend()
        watcher = threading.Thread(target=lambda: course.waited.append(self.waited(root)))
        watcher.start()
        course.round(federation, 3)
        watcher.join()
        slow.resume()
        federation.options.round_seconds = self.LONG
        box = root / "drive" / "mail" / SCIENTIST
        until(lambda: list(box.glob("*-owner-4")), "the late update of owner-4")
        course.round(federation, 4)
        seal = federation._dialogue.mail._seal
        federation._dialogue.mail._seal = Flipping(seal, "owner-3")
        federation.options.round_seconds = self.ONE_ROUND
        course.round(federation, 5)
        federation._dialogue.mail._seal = seal

        os.kill(slow.pid, signal.SIGKILL)
        third = psutil.Process(processes(root, "owner-3")[0].pid)
        third.rlimit(psutil.RLIMIT_FSIZE, (4000, 4000))
        course.round(federation, 6)

    def waited(self, root: Path) -> list[str]:
        """Who is shown to be waited for, once it is one alone."""

        def alone() -> list[str]:
            told = tools.shown(root)
            return told["waiting_for"] if len(told["waiting_for"]) == 1 else []

        found: list[str] = until(alone, "one that is waited for")
        return found

    def test_a_round_without_faults_is_the_mean_of_all(self, course: Course) -> None:
        outcome = course.outcomes[1]
        expected = tools.mean(course.models[1], self.OWNED, self.OWNED)
        assert outcome.lost == [] and outcome.examples == 100
        np.testing.assert_allclose(outcome.update, expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("number", "lost"), [(2, "5"), (3, "45"), (4, "45"), (5, "35")], ids=str
    )
    def test_a_round_that_loses_owners_is_the_mean_of_the_others(
        self, number: int, lost: str, course: Course
    ) -> None:
        outcome = course.outcomes[number]
        left = [name for name in self.OWNED if name[-1] not in lost]
        expected = tools.mean(course.models[number], self.OWNED, left)
        assert outcome.lost == [f"owner-{k}" for k in lost]
        assert outcome.examples == sum(len(self.OWNED[name]["x"]) for name in left)
        np.testing.assert_allclose(outcome.update, expected, rtol=0, atol=1e-5)

    def test_one_that_was_killed_is_noticed_before_its_time_is_over(self, course: Course) -> None:
        assert "owner-5 is lost: its process was ended by signal 9" in course.notes
        assert course.outcomes[2].seconds < self.LONG
        assert not alive(course.killed), "its job server and its job end with it"
        assert len(course.killed) == 3

    def test_one_that_is_slow_is_waited_for_as_long_as_said(self, course: Course) -> None:
        assert course.outcomes[3].seconds >= self.ONE_ROUND
        assert f"owner-4 is lost: no update in {self.ONE_ROUND:g} s" in course.notes
        assert course.waited == [["owner-4"]]

    def test_one_that_was_late_is_asked_again_once_it_is_heard_of(self, course: Course) -> None:
        assert course.outcomes[4].seconds < self.LONG  # nobody waits for it meanwhile
        assert "owner-4 is back: it is asked again from round 5 on" in course.notes
        states = [one["states"]["owner-4"] for one in tools.shown(course.root)["rounds"]]
        assert states == ["sent", "sent", "lost", "lost", "sent"]

    def test_one_flipped_byte_costs_a_round_and_is_said(self, course: Course) -> None:
        """The owner never learns of the round; it says what came, and has part in the next one."""
        why = "a message in the name of scientist was refused: it is not as scientist sealed it"
        assert why in tools.log(course.root, "owner-3")
        assert [note for note in course.notes if note.startswith(f"owner-3: {why}")]
        assert "owner-3 is back: it is asked again from round 6 on" in course.notes
        assert course.outcomes[5].seconds >= self.ONE_ROUND

    def test_below_the_threshold_it_ends_with_who_and_why(self, course: Course) -> None:
        assert 6 not in course.outcomes
        assert course.failure.startswith("round 6: ")
        for why in (
            "owner-5: its process was ended by signal 9",
            "owner-4: its process was ended by signal 9",
            "owner-3: ",  # it gave up, or its time was over
        ):
            assert why in course.failure
        told = tools.shown(course.root)
        assert told["phase"] == "failed" and told["reason"] == course.failure
        assert [one["number"] for one in told["rounds"]] == [1, 2, 3, 4, 5]
        states = {one["name"]: one["state"] for one in told["owners"]}
        assert [states[f"owner-{k}"] for k in (3, 4, 5)] == ["lost"] * 3
        assert told["rounds"][1]["states"]["owner-5"] == "lost"

    def test_an_owner_that_can_write_no_more_says_so_at_home(self, course: Course) -> None:
        told = tools.status(course.root, "owner-3")
        assert told["state"] in ("refused", "lost") and "File too large" in told["reason"]
        assert "the data scientist could not be told" in tools.log(course.root, "owner-3")

    def test_what_is_half_written_is_not_left(self, course: Course) -> None:
        drive = course.root / "drive"
        left = [p.name for p in drive.rglob(".*") if p.name != ".lock"]
        assert left == []

    def test_no_update_is_shown_whatever_went_wrong(self, course: Course) -> None:
        found = tools.crossed(course.root / "drive")
        for name in self.OWNED:
            kept = np.fromfile(course.root / "owners" / name / "work" / "tmp" / "updates")
            for update in kept.reshape(-1, tools.SIZE):
                assert not found.where(tools.spellings(update[-42:]))
                for sender, facts, body in letters(course.root):
                    if sender == name and facts["type"] == "update":
                        guess = np.frombuffer(body, "<i8")[:-1].astype(float)
                        assert abs(tools.cosine(guess, update)) < 0.1

    def test_nobody_is_left_behind(self, course: Course) -> None:
        assert len(course.processes) >= 1 + 5 * 3
        until(lambda: not alive(course.processes), "the end of all processes")


_LETTERS: dict[Path, list[Any]] = {}


def letters(root: Path) -> list[Any]:
    if root not in _LETTERS:
        _LETTERS[root] = list(tools.opened(root))
    return _LETTERS[root]


class TestMalice:
    """Five owners again: scripts that try what they must not, letters that are none.

    Round 1: owner-1 gives bad updates, owner-2 reaches for owner-3's data by C. Round 2: owner-2
    opens it in Python. Round 3: bad letters lie in the boxes. Then bad rounds are begun.
    """

    OWNED = tools.shards(12, 10, 11, 13, 14)

    @pytest.fixture(scope="class")
    def course(self, tmp_path_factory: pytest.TempPathFactory) -> Course:
        folder = tmp_path_factory.mktemp("malice")
        course = Course(folder / "federation")
        data = course.root / "owners/owner-3/syft/owner-3@traindeck.invalid/private/syft_datasets"
        secret = str(data / "digits" / "shard.npz")
        tricks = {
            "owner-1": {"1": {"bad": True}},
            "owner-2": {"1": {"reach": secret, "loss": float("nan")}, "2": {"open": secret}},
        }
        try:
            with tools.federation(
                folder, self.OWNED, tricks=tricks, rounds=6, keep=True
            ) as federation:
                assert Path(secret).exists()
                course.round(federation, 1)
                course.round(federation, 2)
                self.put_bad_letters(course.root)
                course.round(federation, 3)
                post = federation._dialogue.mail.send
                model = course.models[3].tobytes()
                post("owner-5", {"type": "round", "number": 2}, model)
                post("owner-4", {"type": "round"}, model)
                post("owner-3", {"type": "round", "number": 4}, model[:-2])
                federation.round(4, np.full(tools.SIZE, np.nan, np.float32))
        except Failed as error:
            course.failure = str(error)
        course.notes = tools.notes(course.root)
        return course

    def put(self, path: Path, letter: bytes) -> None:
        """Lay a letter into a box whole: its owner takes it out at once."""
        part = path.with_name(f".{path.name}")
        part.write_bytes(letter)
        part.rename(path)

    def put_bad_letters(self, root: Path) -> None:
        mail = root / "drive" / "mail"
        [*_, last] = sorted(mail.glob("kept/owner-4-*-scientist"))
        flipped = bytearray(last.read_bytes())
        flipped[-100] ^= 1
        self.put(mail / "owner-4" / "0000009001-scientist", flipped)
        [*_, last] = sorted(mail.glob("kept/owner-5-*-scientist"))
        self.put(mail / "owner-5" / "0000009001-scientist", last.read_bytes())
        (mail / "owner-3" / "0000000000-scientist").symlink_to("/dev/zero")
        (mail / "owner-3" / "0000000001-owner-1").mkdir()
        [*_, last] = sorted(mail.glob(f"kept/{SCIENTIST}-*-owner-3"))
        first = mail / SCIENTIST / "0000000000-owner-3"  # to be opened
        self.put(first, last.read_bytes())

    def test_each_bad_update_is_refused_with_the_reason(self, course: Course) -> None:
        said = tools.log(course.root, "owner-1")
        told = {
            "round 1: the update has values that are not finite": "",
            "round 1: 2409 values came, the model has 2410": "is not as long as the model",
            "round 1: 3410 values came, the model has 2410": "is not as long as the model",
            "round 1: 0 examples of 12": "is not of the owner's number of examples",
            "round 1: 13 examples of 12": "is not of the owner's number of examples",
            "round 1: 'many' examples of 12": "is not of the owner's number of examples",
        }
        for why, less in told.items():
            assert why in said
            assert f"owner-1: {why if not less else f'round 1: the update {less}'}" in course.notes
        assert not [note for note in course.notes if "of 12" in note], "its number of examples"
        assert said.count("not finite") == 2
        assert tools.status(course.root, "owner-1")["facts"]["refused"] == 7

    def test_the_round_is_that_of_the_others(self, course: Course) -> None:
        for number, lost in ((1, 1), (2, 2), (3, 2)):
            left = [name for name in self.OWNED if int(name[-1]) > lost]
            outcome = course.outcomes[number]
            assert outcome.lost == [f"owner-{k}" for k in range(1, lost + 1)]
            expected = tools.mean(course.models[number], self.OWNED, left)
            np.testing.assert_allclose(outcome.update, expected, rtol=0, atol=1e-5)

    def test_a_script_reaches_nothing_but_its_data(self, course: Course) -> None:
        told = tools.status(course.root, "owner-2")
        if not told["sandbox"].startswith("Landlock"):
            pytest.skip(told["sandbox"])
        tried = told["facts"]
        assert tried["read"] == tried["write"] == tried["denied"]
        assert tried["connect"] == tried["listen"] == tried["denied"]
        if "no other sockets" in told["sandbox"]:  # the filter that keeps modes, too, is in force
            assert tried["chmod"] == errno.EPERM
        assert not list((course.root / "owners" / "owner-3").rglob("*.made"))

    def test_a_script_that_opens_what_is_not_its_own_is_ended(self, course: Course) -> None:
        told = tools.status(course.root, "owner-2")
        assert told["state"] == "refused"
        assert "the script reached for" in told["reason"]
        assert "shard.npz, which is outside its data set" in told["reason"]
        less = "the script reached for a file which is outside its data set"
        assert f"owner-2: {less}" in course.notes
        states = {one["name"]: one for one in tools.shown(course.root)["owners"]}
        assert states["owner-2"]["state"] == "refused"
        assert states["owner-2"]["reason"] == less

    def test_a_number_that_is_none_does_not_spoil_what_is_shown(self, course: Course) -> None:
        assert tools.status(course.root, "owner-2")["loss"] is None

    def test_bad_letters_are_left_aside_and_nobody_is_lost(self, course: Course) -> None:
        """One flipped byte, one shown again, a link and a folder: said, and no more."""
        assert course.outcomes[3].lost == ["owner-1", "owner-2"]
        for name, why in (
            ("owner-4", "it is not as scientist sealed it"),
            ("owner-5", "came before: it is shown again"),
            ("owner-3", "in the name of scientist was refused: it is no letter"),
            ("owner-3", "in the name of owner-1 was refused: it is no letter"),
        ):
            assert why in tools.log(course.root, name)
            assert [note for note in course.notes if note.startswith(f"{name}: ") and why in note]
        mine = [note for note in course.notes if note.startswith("a message in the name of")]
        assert len(mine) == 1 and "owner-3 was refused: number" in mine[0]

    def test_a_round_that_is_shown_again_or_is_none_is_refused(self, course: Course) -> None:
        for name, why in (
            ("owner-5", "round 2 came before: it is shown again"),
            ("owner-4", "a message 'round' is malformed: KeyError('number')"),
            ("owner-3", "a message 'round' is malformed: ValueError("),
        ):
            assert why in tools.log(course.root, name)
            assert [note for note in course.notes if note.startswith(f"{name}: {why}")]

    def test_who_refused_is_in_the_reason_of_the_end(self, course: Course) -> None:
        assert course.failure.startswith("round 4: ")
        assert "owner-5: round 2 came before: it is shown again" in course.failure
        assert tools.shown(course.root)["reason"] == course.failure


@dataclass
class Talk:
    """An aggregator and three owners in one of the modes, without letters: each asks and answers.

    silent: who does not answer what; others: who answers a question in an owner's place.
    """

    owners: dict[str, modes.OwnerSide]
    silent: set[tuple[str, str]] = field(default_factory=set)
    others: dict[tuple[str, str], modes.OwnerSide] = field(default_factory=dict)

    def __call__(
        self, to: list[str], facts: Any, own: Any = None, body: bytes = b""
    ) -> dict[str, Letter]:
        told = {}
        for name in to or list(self.owners):
            asked = facts["type"], name
            if asked not in self.silent:
                who = self.others.get(asked, self.owners[name])
                letter = Letter(SCIENTIST, {**facts, **(own or {}).get(name, {})}, body)
                told[name] = Letter(name, *who.answer(letter))
        return told


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


def train(recipe: str, folder: Path, *flags: object) -> subprocess.Popen[str]:
    words = [sys.executable, str(SYFT / recipe), "--dataset=digits", f"--run-folder={folder}"]
    return subprocess.Popen(
        [*words, *map(str, flags)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """All that a recipe has printed, once it has ended."""
    try:
        text, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, text
    assert "Traceback" not in text
    return text


def decide(folder: Path, decision: str, reason: str, names: list[str]) -> None:
    """Answer for these owners, once their inboxes ask."""
    for name in names:
        inbox = folder / "federation" / "owners" / name / "inbox"
        [request] = until(lambda inbox=inbox: list(inbox.glob("*/request.json")), f"{name}'s inbox")
        asked = json.loads(request.read_text())
        assert asked["script"] == "fedavg_torch.py"
        facts = {"v": 1, "decision": decision, "sha256": asked["sha256"], "reason": reason, "at": 0}
        part = request.parent / "part"
        part.write_text(json.dumps(facts))
        os.replace(part, request.parent / "decision.json")


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TRAINDECK_RUN_FOLDER", "TRAINDECK_DEVICE", "TRAINDECK_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.framework
class TestRecipe:
    def test_an_aggregator_that_is_killed_takes_all_along_and_is_resumed(
        self, tmp_path: Path
    ) -> None:
        first = tmp_path / "first"

        def checkpoints() -> list[Path]:
            return list(first.glob("artifacts/checkpoint-*.npz"))

        began = train("fedavg.py", first, "--rounds=100", "--approval=hand")
        try:
            decide(first, "approve", "read", ["owner-1", "owner-2", "owner-3"])
            until(checkpoints, "a checkpoint")
            children = psutil.Process(began.pid).children(recursive=True)
        finally:
            began.kill()
        began.communicate()
        assert len(children) == 1 + 3 * 3
        _, left = psutil.wait_procs(children, timeout=PATIENCE)
        assert not alive(left)
        done = max(int(path.stem.rpartition("-")[2]) for path in checkpoints())
        resumed = tmp_path / "resumed"
        text = ended(train("fedavg.py", resumed, f"--rounds={done + 2}", f"--resume={first}"))
        rounds = [one["number"] for one in tools.shown(resumed / "federation")["rounds"]]
        assert rounds == [done + 1, done + 2]
        assert f"round {done + 2}/{done + 2}" in text

    def test_a_refusal_by_hand_ends_the_run_with_the_reason(self, tmp_path: Path) -> None:
        began = train("fedavg.py", tmp_path / "run", "--approval=hand")
        decide(tmp_path / "run", "refuse", "who are you?", ["owner-2"])
        text = ended(began, code=1)
        assert "error: owner-2 has refused the job: who are you?" in text
        assert text.count("waits for approval by hand at owner-1, owner-2, owner-3: ") == 1
        told = tools.shown(tmp_path / "run" / "federation")
        assert told["phase"] == "failed" and "who are you?" in told["reason"]
        assert {one["name"]: one["state"] for one in told["owners"]}["owner-2"] == "refused"

    def test_owners_train_with_tensorflow(self, tmp_path: Path) -> None:
        text = ended(train("fedavg_tf.py", tmp_path / "run", "--rounds=2"))
        assert "round 2/2" in text
        for k in (1, 2, 3):
            told = tools.status(tmp_path / "run" / "federation", f"owner-{k}")
            assert told["state"] == "ended" and told["round"] == 2
            assert told["bytes_out"]["masked"] > 0 and told["bytes_out"]["raw"] == 0


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    EARLIER[:] = psutil.Process().children(recursive=True)
    yield
    until(lambda: not alive(ours()), "the end of all children")
