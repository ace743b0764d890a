"""What goes wrong in a federation on purpose: bad updates, bad letters, scripts that reach out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.federated import federated_tools as tools
from tests.federated.courses import Course, nothing_left
from traindeck.recipes.shared.federated.errors import Failed
from traindeck.recipes.shared.federated.post.mail import SCIENTIST

pytestmark = [pytest.mark.framework, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


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
        reasons = {
            "round 1: the update has values that are not finite": "",
            "round 1: 2409 values came, the model has 2410": "is not as long as the model",
            "round 1: 3410 values came, the model has 2410": "is not as long as the model",
            "round 1: 0 examples of 12": "is not of the owner's number of examples",
            "round 1: 13 examples of 12": "is not of the owner's number of examples",
            "round 1: 'many' examples of 12": "is not of the owner's number of examples",
        }
        for why, less in reasons.items():
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
        status = tools.status(course.root, "owner-2")
        if not status["sandbox"].startswith("Landlock"):
            pytest.skip(status["sandbox"])
        tried = status["facts"]
        # where its files are all there is, another's are not there
        assert {tried["read"], tried["write"]} <= {tried["denied"], errno.ENOENT}
        assert tried["connect"] == tried["listen"] == tried["denied"]
        if "no other sockets" in status["sandbox"]:  # the filter that keeps modes, too, is in force
            assert tried["chmod"] == errno.EPERM
        assert not list((course.root / "owners" / "owner-3").rglob("*.made"))

    def test_a_script_that_opens_what_is_not_its_own_is_ended(self, course: Course) -> None:
        status = tools.status(course.root, "owner-2")
        assert status["state"] == "refused"
        assert "the script reached for" in status["reason"]
        assert "shard.npz, which is outside its data set" in status["reason"]
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


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    with nothing_left():
        yield
