"""A ledger cannot be wrong unnoticed: what was changed, lost or added is found and named."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.core.privacy.ledgers import (
    BUDGET,
    DATA,
    ME,
    OTHER,
    RHO,
    charged,
    flip,
    imports,
    made,
    reserve,
    sealed,
    unwitnessed,
)
from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.files import locked
from traindeck.core.privacy.ledger.book import LedgerDamaged
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import derive, ledgers, pin
from traindeck.core.privacy.ledger.lines import Problem
from traindeck.core.privacy.mechanism import Mechanism


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return made(tmp_path / "ledger")


APPENDS: list[Callable[[Ledger], None]] = [
    lambda ledger: reserve(ledger, "new", 1),
    lambda ledger: ledger.commit("open", 9),
    lambda ledger: ledger.settle("open", "finished"),
    imports,
    lambda ledger: ledger.expose("new", "torch-mnist", "no privacy"),
    lambda ledger: ledger.quarantine("open", "?"),
    lambda ledger: pin(ledger, OTHER),
    lambda ledger: derive(ledger, "new", "subset"),
    lambda ledger: ledger.set_budget(2.0, 0.5),
]


class TestDamage:
    @pytest.fixture
    def ledger(self, ledger: Ledger) -> Ledger:
        """One with an entry of every kind but mend."""
        reserve(ledger, "open", 10, who=ME)
        derive(ledger, "half", "subset")
        pin(ledger, DATA)
        ledger.commit("open", 5)
        reserve(ledger, "ended", 10)
        ledger.settle("ended", "finished", 10)
        ledger.quarantine("ended", "too good")
        ledger.expose("plain", "torch-mnist", "no privacy")
        ledger.set_budget(3.0, BUDGET)
        assert ledger.verify() == []
        return ledger

    def refused(self, ledger: Ledger, problem: str) -> list[Problem]:
        """The ledger is damaged: it says so, and neither gives nor takes anything."""
        before = ledger.path.read_bytes()
        for act in (ledger.account, ledger.history, *APPENDS):
            with pytest.raises(LedgerDamaged, match=problem):
                act(ledger) if act in APPENDS else act()  # type: ignore[call-arg]
        assert ledger.path.read_bytes() == before
        return ledger.verify()

    def test_every_flipped_bit_is_found(self, ledger: Ledger) -> None:
        whole = ledger.path.read_bytes()
        for place in range(len(whole)):
            flip(ledger.path, place, place % 8)
            problems = ledger.verify()
            line = whole.count(b"\n", 0, place) + 1
            assert problems and problems[0].line == line, place
            assert not problems[0].mendable, place
            flip(ledger.path, place, place % 8)
        assert ledger.verify() == []

    def test_a_flipped_bit_is_named_and_nothing_is_spent(self, ledger: Ledger) -> None:
        where = ledger.path.read_bytes().index(b'"run":"open","steps":5') + 21
        flip(ledger.path, where, bit=1)
        [problem] = self.refused(ledger, r"mnist\.jsonl: line 5: it was changed")
        assert (problem.line, problem.what) == (5, "it was changed")

    def test_a_bit_that_flips_by_itself_is_found_before_more_is_reserved(
        self, ledger: Ledger
    ) -> None:
        """Nobody wrote: the file's time and size are those of the last entry."""
        times = ledger.path.stat()
        flip(ledger.path, 700)
        os.utime(ledger.path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert ledger._chain.summary() is not None
        for act in (APPENDS[0], *APPENDS[3:]):
            with pytest.raises(LedgerDamaged, match="it was changed"):
                act(ledger)

    def test_each_damaged_line_is_named(self, ledger: Ledger) -> None:
        lines = ledger.path.read_bytes().splitlines(keepends=True)
        flip(ledger.path, len(lines[0]) + 50)
        flip(ledger.path, sum(map(len, lines[:6])) + 50)
        assert [problem.line for problem in ledger.verify()] == [2, 7]

    def test_every_truncation_is_found(self, ledger: Ledger) -> None:
        whole = ledger.path.read_bytes()
        for size in reversed(range(len(whole))):
            os.truncate(ledger.path, size)
            [problem] = ledger.verify()
            assert not problem.mendable
            assert problem.line == whole.count(b"\n", 0, size) + 1
        self.refused(ledger, "line 1: 10 of 10 entries are missing")

    def test_every_missing_repeated_or_moved_line_is_found(self, ledger: Ledger) -> None:
        lines = ledger.path.read_bytes().splitlines(keepends=True)
        last = len(lines) - 1
        for number, line in enumerate(lines):
            ledger.path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
            [problem] = ledger.verify()
            missing = "1 of 10 entries are missing at the end" if number == last else "missing"
            assert problem.line == number + 1 and missing in problem.what
            ledger.path.write_bytes(b"".join([*lines[: number + 1], *lines[number:]]))
            problems = ledger.verify()
            assert [one.line for one in problems] == [number + 2]
            if number < last:
                swapped = [*lines[:number], lines[number + 1], line, *lines[number + 2 :]]
                ledger.path.write_bytes(b"".join(swapped))
                assert ledger.verify()[0].line == number + 1
        ledger.path.write_bytes(b"".join(lines[:4]))
        self.refused(ledger, "line 5: 6 of 10 entries are missing at the end")

    def test_a_ledger_that_was_taken_away_is_missed(self, ledger: Ledger) -> None:
        ledger.path.unlink()
        assert ledger.exists
        with pytest.raises(LedgerDamaged, match="the file is gone: its head counts 10 entries"):
            ledger.commit("open", 6)
        assert [str(problem) for problem in ledger.verify()] == [
            "the file is gone: its head counts 10 entries"
        ]
        assert [one.name for one in ledgers(ledger.folder)] == ["mnist"]
        with pytest.raises(BudgetRefused):
            made(ledger.folder)

    def test_another_ledgers_file_is_not_believed(self, ledger: Ledger) -> None:
        for end in ("jsonl", "head.json"):
            shutil.copy(ledger.folder / f"mnist.{end}", ledger.folder / f"digits.{end}")
        [problem] = Ledger(ledger.folder, "digits").verify()
        assert str(problem) == "line 1: it is the ledger of mnist, not of digits"

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"type": "commit", "run": "open", "steps": 11}, "has reserved 10 steps"),
            ({"type": "commit", "run": "open", "steps": 4}, "cannot follow"),
            ({"type": "commit", "run": "ended", "steps": 10}, "was settled"),
            ({"type": "commit", "run": "open", "steps": -1}, "steps cannot be -1"),
            ({"type": "commit", "run": "open", "steps": True}, "steps cannot be True"),
            ({"type": "commit", "run": "open"}, "steps unknown or missing"),
            ({"type": "commit", "run": "open", "steps": 6, "x": 0}, "x unknown or missing"),
            ({"type": "refund", "run": "open"}, "type 'refund'"),
            ({"type": ["commit"]}, "not one that a ledger has"),
            ({"type": "set", "epsilon": 3.0, "rho_budget": math.inf}, "rho_budget cannot be inf"),
            ({"type": "set", "epsilon": 3.0, "rho_budget": 10**400}, "rho_budget cannot be"),
            (
                {"type": "settle", "run": "open", "steps": 11, "state": "x"},
                "reserved 10 steps, not 11",
            ),
            ({"type": "create"}, "unknown or missing"),
            ({"type": "pin", "dataset": "mnist", "fingerprint": OTHER}, "that of other data"),
            ({"type": "pin", "dataset": "cifar", "fingerprint": OTHER}, "cifar does not spend"),
            ({"v": 2, "type": "set", "epsilon": 3.0, "rho_budget": 1.0}, "version 2"),
            ({"t": "now", "type": "set", "epsilon": 3.0, "rho_budget": 1.0}, "not a time"),
            ({"n": 99, "type": "set", "epsilon": 3.0, "rho_budget": 1.0}, "89 of the entries"),
            ({"prev": "0" * 64, "type": "set"}, "not the one that it was written after"),
            (
                {
                    "type": "reserve",
                    "run": "new",
                    "recipe": "x",
                    "dataset": "mnist",
                    "mechanism": {**Mechanism(1.0, 0.5, 1).to_json(), "mechanism": "os.system"},
                    "rho": RHO,
                    "epsilon": 1.0,
                    "who": None,
                },
                "'os.system' is not one",
            ),
            (
                {
                    "type": "reserve",
                    "run": "new",
                    "recipe": "x",
                    "dataset": "mnist",
                    "mechanism": Mechanism(1.0, 0.5, 1025).to_json(),
                    "rho": RHO,
                    "epsilon": 1.0,
                    "who": None,
                },
                "costs 1.001",
            ),
        ],
    )
    def test_a_well_made_line_that_no_rule_admits_is_not_believed(
        self, ledger: Ledger, fields: dict[str, Any], why: str
    ) -> None:
        last = ledger.history()[-1]
        line = {"v": 1, "n": last["n"] + 1, "t": last["t"], "prev": last["hash"]} | fields
        line["prev"] = line.pop("prev")
        with ledger.path.open("ab") as file:
            file.write(sealed(line))
        [problem] = self.refused(ledger, "line 11")[-1:]
        assert why in problem.what

    def test_a_well_made_line_that_is_no_json_is_not_believed(self, ledger: Ledger) -> None:
        body = b'{"v":1,oops,"prev":"%b"}' % ledger.account().head.encode()
        with ledger.path.open("ab") as file:
            file.write(b'%b,"hash":"%b"}\n' % (body[:-1], sha256(body).hexdigest().encode()))
        [problem] = self.refused(ledger, "line 11: it is not one JSON object")
        assert problem.line == 11

    def test_a_torn_end_is_cut_off_and_recorded(self, ledger: Ledger) -> None:
        whole, head = ledger.path.read_bytes(), ledger._chain.head.read_bytes()
        ledger.commit("open", 6)
        line = ledger.path.read_bytes()[len(whole) :]
        ledger._chain.head.write_bytes(head)
        unwitnessed(ledger)  # the crash was before anybody knew
        for size in reversed(range(1, len(line))):
            os.truncate(ledger.path, len(whole) + size)
            [problem] = ledger.verify()
            assert problem.mendable
            assert (problem.line, problem.what.split()[0]) == (11, str(size))
            assert ledger.account().runs[0].committed == 5
        ledger.commit("open", 7)
        assert ledger.verify() == []
        mend, commit = ledger.history()[-2:]
        assert (mend["type"], mend["dropped"]) == ("mend", 1)
        assert (commit["type"], commit["steps"]) == ("commit", 7)

    def test_a_write_that_goes_on_is_not_taken_for_a_torn_end(self, ledger: Ledger) -> None:
        before = len(ledger.path.read_bytes()), ledger._chain.head.read_bytes()
        ledger.commit("open", 6)
        line, head = ledger.path.read_bytes()[before[0] :], ledger._chain.head.read_bytes()
        os.truncate(ledger.path, before[0] + 20)
        ledger._chain.head.write_bytes(before[1])
        with ThreadPoolExecutor() as others:
            with locked(ledger.folder / "mnist.lock"):
                problems = others.submit(ledger.verify)
                wait([problems], timeout=0.2)
                with ledger.path.open("ab") as file:
                    file.write(line[20:])
                ledger._chain.head.write_bytes(head)
            assert problems.result() == []

    @pytest.mark.parametrize("garbage", [b"\0" * 4096, b"\n\n\n", b"{}\n{}\n", b"\xff"])
    def test_whatever_a_crash_left_beyond_the_head_is_a_torn_end(
        self, ledger: Ledger, garbage: bytes
    ) -> None:
        with ledger.path.open("ab") as file:
            file.write(garbage)
        assert [problem.mendable for problem in ledger.verify()] == [True]
        ledger.commit("open", 7)
        assert ledger.history()[-2]["dropped"] == len(garbage)

    def test_what_was_written_but_not_acknowledged_counts(self, ledger: Ledger) -> None:
        """The process died between the line and the head: it may have thought it was charged."""
        head = ledger._chain.head.read_bytes()
        reserve(ledger, "unheard", 100)
        ledger._chain.head.write_bytes(head)
        assert ledger.verify() == []
        assert charged(ledger) == (15, 105)
        ledger.commit("open", 6)
        assert charged(ledger) == (16, 104)

    def test_a_damaged_or_missing_head_is_made_anew_and_that_is_recorded(
        self, ledger: Ledger
    ) -> None:
        head = ledger._chain.head
        whole, before = head.read_bytes(), ledger.account()
        for place in range(len(whole) - 1):
            flip(head, place, place % 8)
            assert [problem.mendable for problem in ledger.verify()] == [True], place
            assert ledger.account() == before
            flip(head, place, place % 8)
        head.unlink()
        assert "would not be missed" in ledger.verify()[0].what
        ledger.commit("open", 6)
        assert ledger.verify() == []
        assert ledger.history()[-2]["type"] == "mend"

    def test_a_head_that_does_not_belong_to_the_file_is_damage(
        self, ledger: Ledger, tmp_path: Path
    ) -> None:
        other = made(tmp_path / "other")
        reserve(other, "open", 10)
        shutil.copy(other._chain.head, ledger._chain.head)
        self.refused(ledger, "line 2: it is not the line that the head knows")

    def test_a_head_that_says_something_else_than_the_entries_is_damage(
        self, ledger: Ledger
    ) -> None:
        head = json.loads(ledger._chain.head.read_bytes())
        del head["hash"]
        head["summary"]["charged"] = "0x0"
        ledger._chain.head.write_bytes(sealed(head))
        [problem] = ledger.verify()
        assert str(problem) == "its head says something else than its entries"
        with pytest.raises(LedgerDamaged):
            ledger.account()

    def test_an_empty_file_is_not_an_unspent_budget(self, tmp_path: Path) -> None:
        (tmp_path / "mnist.jsonl").touch()
        assert [str(problem) for problem in Ledger(tmp_path, "mnist").verify()] == [
            "there is nothing in it"
        ]
        with pytest.raises(BudgetRefused):
            made(tmp_path)
