"""What is outside the ledger's folder knows of lines that are cut off together with the head."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.privacy.ledgers import charged, made, reserve
from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.home import Home, witnesses_of
from traindeck.core.privacy.ledger.book import LedgerDamaged
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import ledgers
from traindeck.core.privacy.ledger.witness import PAID

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ledger(home: Home) -> Ledger:
    """Run a0 spent ten steps and ended, run b0 goes on: six lines."""
    ledger = made(home.ledger)
    for run in ("a0", "b0"):
        (home.runs / run).mkdir()
        reserve(ledger, run, 100)
        ledger.commit(run, 10)
    ledger.settle("a0", "finished")
    return ledger


def cut(ledger: Ledger, lines: int) -> None:
    """Take lines off the end, and the head with them."""
    kept = ledger.path.read_bytes().splitlines(keepends=True)[:-lines]
    ledger.path.write_bytes(b"".join(kept))
    ledger._chain.head.unlink()


def forget(home: Home) -> None:
    """Take away what the home knows of its ledgers."""
    shutil.rmtree(witnesses_of(home.ledger))


def unpaid(home: Home) -> None:
    """Take away what the runs know."""
    for run in home.runs.iterdir():
        shutil.rmtree(run / PAID)


def acts(ledger: Ledger) -> dict[str, Callable[[], object]]:
    return {
        "commit": lambda: ledger.commit("b0", 20),
        "reserve": lambda: reserve(ledger, "c0", 1),
        "settle": lambda: ledger.settle("b0", "stopped"),
        "account": ledger.account,
        "expose": lambda: ledger.expose("d0", "plain", "no privacy"),
    }


class TestCut:
    def test_lines_cut_together_with_the_head_are_missed(self, ledger: Ledger) -> None:
        assert ledger.verify() == []
        cut(ledger, 2)
        problems = [one for one in ledger.verify() if not one.mendable]
        assert [str(one) for one in problems] == [
            "line 5: 2 of 6 entries are missing at the end: the home's witness, run a0, run b0"
            " knew them"
        ]
        before = ledger.path.read_bytes()
        for what, act in acts(ledger).items():
            with pytest.raises(LedgerDamaged) as refused:
                act()
            assert "2 of 6 entries are missing" in str(refused.value), what
            assert refused.value.exit_code == 5
        assert ledger.path.read_bytes() == before

    def test_also_when_an_older_head_is_put_with_them(self, home: Home, ledger: Ledger) -> None:
        aside = home.root / "aside"
        shutil.copytree(home.ledger, aside)
        ledger.commit("b0", 20)
        shutil.rmtree(home.ledger)
        shutil.copytree(aside, home.ledger)
        for what, act in acts(ledger).items():
            with pytest.raises(LedgerDamaged, match="1 of 7 entries are missing"):
                pytest.fail(f"{what}: {act()}")

    def test_the_runs_know_when_the_home_does_not(self, home: Home, ledger: Ledger) -> None:
        cut(ledger, 1)
        forget(home)
        [problem] = [one for one in ledger.verify() if not one.mendable]
        assert problem.what == "1 of 6 entries are missing at the end: run a0 knew them"
        with pytest.raises(LedgerDamaged):
            ledger.account(everyone=True)

    def test_a_run_in_the_trash_knows_too(self, home: Home, ledger: Ledger) -> None:
        (home.runs / "a0").rename(home.trash / "a0")
        cut(ledger, 1)
        forget(home)
        assert "run a0" in str([one for one in ledger.verify() if not one.mendable])

    def test_the_home_knows_when_the_runs_do_not(self, home: Home, ledger: Ledger) -> None:
        unpaid(home)
        cut(ledger, 1)
        assert "the home's witness" in str(ledger.verify())

    def test_another_history_of_the_same_length_is_missed(self, home: Home, ledger: Ledger) -> None:
        for path in home.ledger.iterdir():
            path.unlink()
        witness = witnesses_of(home.ledger) / "mnist.json"
        known = witness.read_bytes()
        forget(home)
        unpaid(home)
        other = made(home.ledger)
        for number in range(5):
            reserve(other, f"x{number}", 1)
        witness.write_bytes(known)
        with pytest.raises(LedgerDamaged, match="line 6: it is not the line that the home's"):
            other.account()


class TestGone:
    def test_a_ledger_that_is_taken_away_whole_is_missed(self, home: Home, ledger: Ledger) -> None:
        shutil.rmtree(home.ledger)
        assert [one.name for one in ledgers(home.ledger)] == ["mnist"]
        with pytest.raises(BudgetRefused, match="has a privacy budget already"):
            made(home.ledger)
        assert [str(one) for one in ledger.verify()] == ["the file is gone"]
        assert not ledger.path.exists()

    def test_also_by_the_runs_alone(self, home: Home, ledger: Ledger) -> None:
        shutil.rmtree(home.ledger)
        forget(home)
        assert [one.name for one in ledgers(home.ledger, of_runs=True)] == ["mnist"]
        with pytest.raises(LedgerDamaged, match="the file is gone"):
            made(home.ledger)

    def test_one_that_was_never_used_can_be_taken_back_and_made_again(self, home: Home) -> None:
        made(home.ledger).remove()
        assert charged(made(home.ledger)) == (0, 0)


class TestHonest:
    def test_a_ledger_of_before_is_believed_until_it_is_written(
        self, home: Home, ledger: Ledger
    ) -> None:
        forget(home)
        unpaid(home)
        assert ledger.verify() == []
        ledger.commit("b0", 20)
        cut(ledger, 1)
        assert "1 of 7" in str(ledger.verify())

    def test_a_witness_that_counts_fewer_is_one_of_before_a_crash(
        self, home: Home, ledger: Ledger
    ) -> None:
        witness = witnesses_of(home.ledger) / "mnist.json"
        known = witness.read_bytes()
        ledger.commit("b0", 20)
        witness.write_bytes(known)
        assert ledger.verify() == []
        ledger.commit("b0", 30)

    @pytest.mark.parametrize("said", ["", "[]", '{"entries": 99}', "[" * 1000, "x" * 5000])
    def test_what_a_run_or_a_stranger_puts_there_is_no_witness(
        self, home: Home, ledger: Ledger, said: str
    ) -> None:
        known = json.loads((home.runs / "a0" / PAID / "mnist.json").read_text())
        forged = said or json.dumps({**known, "entries": 99})
        (home.runs / "a0" / PAID / "mnist.json").write_text(forged)
        os.mkfifo(home.runs / "a0" / PAID / "other.json")
        (home.runs / "a0" / PAID / "odd\x1b.json").mkdir()
        assert ledger.verify() == []
        reserve(ledger, "c0", 1)
        assert {one.name for one in ledgers(home.ledger, of_runs=True)} == {"mnist"}

    def test_nothing_is_written_behind_a_link(self, home: Home, ledger: Ledger) -> None:
        outside = home.root / "outside"
        outside.mkdir()
        shutil.rmtree(home.runs / "b0" / PAID)
        (home.runs / "b0" / PAID).symlink_to(outside)
        ledger.commit("b0", 20)
        assert list(outside.iterdir()) == []

    def test_it_tells_nothing_of_the_line(self, home: Home, ledger: Ledger) -> None:
        text = (home.runs / "a0" / PAID / "mnist.json").read_text()
        assert not any(entry["hash"] in text for entry in ledger.history())

    def test_a_strangers_run_bears_no_witness(self, home: Home, ledger: Ledger) -> None:
        other = Home(home.root.parent / "other")
        other.make()
        shutil.copytree(home.runs / "a0", other.runs / "a0")
        mine = made(other.ledger)
        assert mine.verify() == []
        reserve(mine, "c0", 1)


class TestCommands:
    @pytest.fixture
    def paid(self, traindeck: Command, home: Home, recipes: Path, budget: Ledger) -> str:
        run = traindeck("run", "private", "-p", "epsilon=2", "--wait").stdout
        assert "finished" in run
        return next(home.runs.iterdir()).name

    def test_half_of_the_lines_cut_with_the_head(
        self, traindeck: Command, home: Home, budget: Ledger, paid: str
    ) -> None:
        cut(budget, len(budget.path.read_bytes().splitlines()) // 2)
        said = traindeck("budget", "verify", code=1).stderr
        assert "entries are missing at the end" in said
        assert f"run {paid}" in said
        again = traindeck("run", "private", "-p", "epsilon=2", code=5).stderr
        assert "are missing at the end" in again
        assert len(list(home.runs.iterdir())) == 1

    def test_the_whole_folder_removed_and_what_the_home_knows(
        self, traindeck: Command, home: Home, budget: Ledger, paid: str
    ) -> None:
        shutil.rmtree(home.ledger)
        forget(home)
        assert "the file is gone" in traindeck("budget", "verify", code=1).stderr
        assert "the file is gone" in traindeck("budget", "verify", "toy", code=1).stderr
        traindeck("run", "private", "-p", "epsilon=2", code=5)
        again = ("budget", "create", "toy", "--epsilon", "3", "--delta", "1e-5")
        traindeck(*again, code=5)

    @pytest.mark.parametrize("what", ["fifo", "folder", "link to /dev/null", "dangling link"])
    def test_something_else_in_its_place_is_refused_at_once(
        self, traindeck: Command, home: Home, budget: Ledger, paid: str, what: str
    ) -> None:
        budget.path.unlink()
        if what == "fifo":
            os.mkfifo(budget.path)
        elif what == "folder":
            budget.path.mkdir()
        else:
            budget.path.symlink_to("/dev/null" if what == "link to /dev/null" else "/nowhere")
        for words, code in (
            (("budget", "verify"), 1),
            (("budget", "show", "toy"), 5),
            (("run", "private"), 5),
            (("budget", "set", "toy", "--epsilon", "2"), 5),
            (("budget", "ls"), 0),
        ):
            done = traindeck(*words, code=code)
            assert str(budget.path) in done.stderr or "toy: " in done.stderr, words


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_disk_that_takes_nothing_is_told_with_the_file(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = ledger.path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(OSError, match=r"mnist\.(head\.json|jsonl)") as failed:
            ledger.commit("b0", 20)
    assert failed.value.errno == errno.ENOSPC
    assert ledger.path.read_bytes() == before
    assert ledger.verify() == []
    ledger.commit("b0", 20)
