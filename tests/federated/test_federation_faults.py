"""What goes wrong in a federation by itself, and what each side says of it.

Whatever happens, a round is recovered from those that are left, or the run ends with who and why.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import until
from tests.federated import federated_tools as tools
from tests.federated.courses import Course, alive, letters, nothing_left, ours, processes
from traindeck.recipes.shared.federated.errors import Failed
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.scientist.federation import Federation

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
SKEW = "tests.federated.federated_skew"  # its name alone: who imports it has another clock


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
            shown = tools.shown(root)
            return shown["waiting_for"] if len(shown["waiting_for"]) == 1 else []

        waited: list[str] = until(alone, "one that is waited for")
        return waited

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
        confined = tools.status(course.root, "owner-5")["sandbox"]
        assert len(course.killed) == tools.processes_of_a_job(confined) + 2

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
        shown = tools.shown(course.root)
        assert shown["phase"] == "failed" and shown["reason"] == course.failure
        assert [one["number"] for one in shown["rounds"]] == [1, 2, 3, 4, 5]
        states = {one["name"]: one["state"] for one in shown["owners"]}
        assert [states[f"owner-{k}"] for k in (3, 4, 5)] == ["lost"] * 3
        assert shown["rounds"][1]["states"]["owner-5"] == "lost"

    def test_an_owner_that_can_write_no_more_says_so_at_home(self, course: Course) -> None:
        status = tools.status(course.root, "owner-3")
        assert status["state"] in ("refused", "lost") and "File too large" in status["reason"]
        assert "the data scientist could not be told" in tools.log(course.root, "owner-3")

    def test_what_is_half_written_is_not_left(self, course: Course) -> None:
        drive = course.root / "drive"
        left = [p.name for p in drive.rglob(".*") if p.name != ".lock"]
        assert left == []

    def test_no_update_is_shown_whatever_went_wrong(self, course: Course) -> None:
        crossed = tools.crossed(course.root / "drive")
        for name in self.OWNED:
            kept = np.fromfile(course.root / "owners" / name / "work" / "tmp" / "updates")
            for update in kept.reshape(-1, tools.SIZE):
                assert not crossed.where(tools.spellings(update[-42:]))
                for sender, facts, body in letters(course.root):
                    if sender == name and facts["type"] == "update":
                        guess = np.frombuffer(body, "<i8")[:-1].astype(float)
                        assert abs(tools.cosine(guess, update)) < 0.1

    def test_nobody_is_left_behind(self, course: Course) -> None:
        assert len(course.processes) >= 1 + 5 * 3
        until(lambda: not alive(course.processes), "the end of all processes")


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    with nothing_left():
        yield
