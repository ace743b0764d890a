"""What goes wrong in a federation, on purpose or not, and what each side says of it.

Whatever happens, a round is recovered from those that are left, or the run ends with who and why.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import traindeck.recipes
from tests.conftest import until
from tests.recipes import federated_skew
from tests.recipes import federated_tools as tools
from traindeck.recipes.shared.federated import coordinator, modes
from traindeck.recipes.shared.federated.mail import SCIENTIST

SYFT = Path(traindeck.recipes.__file__).parent / "syft"
PATIENCE = 240.0

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def processes(root: Path, name: str) -> list[psutil.Process]:
    """An owner's process, its job server and its job."""
    with contextlib.suppress(psutil.Error, OSError, ValueError, KeyError):
        own = psutil.Process(
            json.loads((root / "owners" / name / "status.json").read_text())["pid"]
        )
        return [own, *own.children(recursive=True)]
    return []


def alive(found: list[psutil.Process]) -> list[int]:
    return [p.pid for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@dataclass
class Course:
    """What became of a federation: its rounds, and how it failed."""

    root: Path
    outcomes: dict[int, coordinator.Outcome] = field(default_factory=dict)
    models: dict[int, Any] = field(default_factory=dict)
    failure: str = ""
    processes: list[psutil.Process] = field(default_factory=list)
    killed: list[psutil.Process] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    waited: list[list[str]] = field(default_factory=list)

    def round(self, federation: coordinator.Federation, number: int) -> coordinator.Outcome:
        model = tools.first() if number == 1 else self.models[number - 1]
        if number > 1:
            model = np.asarray(model + self.outcomes[number - 1].update, np.float32)
        self.models[number] = model
        self.outcomes[number] = federation.round(number, model)
        federation.tell(number, self.outcomes[number])
        return self.outcomes[number]


class TestFaults:
    """Five owners of whom three must answer, each with another year on its clock.

    Round 2: one is killed. Round 3: another stands still, and goes on after it. Round 6: that one
    is killed while a third can write no more.
    """

    OWNED = tools.shards(20, 30, 10, 25, 15)
    ONE_ROUND = 1.5  # seconds

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
                preload=("syft_rds", "numpy", federated_skew.__name__),
                round_seconds=20.0,
            ) as federation:
                self.live(course, federation)
        except coordinator.Failed as error:
            course.failure = str(error)
        course.notes = tools.notes(course.root)
        return course

    def live(self, course: Course, federation: coordinator.Federation) -> None:
        root = course.root
        course.processes = psutil.Process().children(recursive=True)
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
        box = root / "drive" / "mail" / SCIENTIST
        until(lambda: list(box.glob("*-owner-4")), "the late update of owner-4")
        course.round(federation, 4)
        course.round(federation, 5)

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
        ("number", "lost"), [(2, "5"), (3, "45"), (4, "45"), (5, "5")], ids=str
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
        assert course.outcomes[2].seconds < 15
        assert "owner-5 is lost: its process was ended by signal 9" in course.notes
        assert not alive(course.killed), "its job server and its job end with it"
        assert len(course.killed) == 3

    def test_one_that_is_slow_is_waited_for_as_long_as_said(self, course: Course) -> None:
        assert self.ONE_ROUND <= course.outcomes[3].seconds < self.ONE_ROUND + 5
        assert "owner-4 is lost: no update in 1.5 s" in course.notes
        assert course.waited == [["owner-4"]]

    def test_one_that_was_late_is_asked_again_once_it_is_heard_of(self, course: Course) -> None:
        assert course.outcomes[4].seconds < self.ONE_ROUND  # nobody waits for it meanwhile
        assert "owner-4 is back: it is asked again from round 5 on" in course.notes
        states = [one["states"]["owner-4"] for one in tools.shown(course.root)["rounds"]]
        assert states == ["sent", "sent", "lost", "lost", "sent"]

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
                folder, self.OWNED, tricks=tricks, rounds=6, keep=True, round_seconds=20.0
            ) as federation:
                assert Path(secret).exists()
                course.round(federation, 1)
                course.round(federation, 2)
                self.put_bad_letters(course.root)
                course.round(federation, 3)
                post = federation._mail.send
                model = course.models[3].tobytes()
                post("owner-5", {"type": "round", "number": 2}, model)
                post("owner-4", {"type": "round"}, model)
                post("owner-3", {"type": "round", "number": 4}, model[:-2])
                federation.round(4, np.full(tools.SIZE, np.nan, np.float32))
        except coordinator.Failed as error:
            course.failure = str(error)
        course.notes = tools.notes(course.root)
        return course

    def put_bad_letters(self, root: Path) -> None:
        mail = root / "drive" / "mail"
        [*_, last] = sorted(mail.glob("kept/owner-4-*-scientist"))
        flipped = bytearray(last.read_bytes())
        flipped[-100] ^= 1
        (mail / "owner-4" / "0000009001-scientist").write_bytes(flipped)
        [*_, last] = sorted(mail.glob("kept/owner-5-*-scientist"))
        shutil.copy(last, mail / "owner-5" / "0000009001-scientist")
        (mail / "owner-3" / "0000000000-scientist").symlink_to("/dev/zero")
        (mail / "owner-3" / "0000000001-owner-1").mkdir()
        [*_, last] = sorted(mail.glob(f"kept/{SCIENTIST}-*-owner-3"))
        shutil.copy(last, mail / SCIENTIST / "0000009001-owner-3")

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


class TestKeys:
    """An aggregator that changes what owners tell each other, in the modes' own words."""

    @pytest.mark.parametrize("mode", ["secagg", "ckks"])
    def test_an_owners_key_that_was_swapped_is_refused(self, mode: str, tmp_path: Path) -> None:
        owners = _sides(mode, tmp_path / "owners")
        others = _sides(mode, tmp_path / "others")  # whose keys nobody has pinned
        side: modes.AggregatorSide = (
            modes.SecAggAggregator(8, 2) if mode == "secagg" else modes.CkksAggregator(8)
        )

        def ask(to: Any, facts: Any, own: Any = None, body: bytes = b"") -> Any:
            told = {}
            for name in to or list(owners):
                letter = tools.mail.Letter(SCIENTIST, {**facts, **(own or {}).get(name, {})}, body)
                who = others if facts["type"] == "keys" and name == "owner-2" else owners
                answer, sent = who[name].answer(letter)
                told[name] = tools.mail.Letter(name, answer, sent)
            return told

        why = {
            "secagg": "owner-2: its key is not the one pinned",
            "ckks": "owner-2: its box is not signed by the key that is pinned",
        }[mode]
        with pytest.raises(modes.Refused, match=why):
            side.keys(ask)


def _sides(mode: str, folder: Path) -> dict[str, modes.OwnerSide]:
    names = [f"owner-{k}" for k in (1, 2, 3)]
    keys = {name: modes.Ed25519PrivateKey.generate() for name in names}
    raw = {name: key.public_key().public_bytes_raw() for name, key in keys.items()}
    made: dict[str, modes.OwnerSide] = {}
    folder.mkdir()
    for name in names:
        pins = {other: key for other, key in raw.items() if other != name}
        if mode == "secagg":
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
        began = train("fedavg.py", first, "--rounds=100", "--approval=hand")
        try:
            decide(first, "approve", "read", ["owner-1", "owner-2", "owner-3"])
            until(lambda: list(first.glob("artifacts/*.npz")), "a checkpoint")
            children = psutil.Process(began.pid).children(recursive=True)
        finally:
            began.kill()
        began.communicate()
        assert len(children) == 1 + 3 * 3
        _, left = psutil.wait_procs(children, timeout=5)
        assert not alive(left)
        done = max(int(path.stem.rpartition("-")[2]) for path in first.glob("artifacts/*.npz"))
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


def test_two_owners_cannot_hide_from_each_other(tmp_path: Path) -> None:
    text = ended(train("fedavg.py", tmp_path / "run", "--owners=2"), code=1)
    assert "secagg needs 3 owners: of two, each knows the other's part" in text


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    began = time.monotonic()
    yield
    until(lambda: not alive(psutil.Process().children(recursive=True)), "the end of all children")
    assert time.monotonic() - began < 10 * PATIENCE
