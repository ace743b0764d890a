"""Crashes, full disks and many processes: nothing is spent twice, and nothing is forgotten."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import until
from tests.core.privacy.ledger_workers import agrees, settle_the_dead, work, written
from tests.core.privacy.ledgers import RHO, STEPS, imports, is_whole, made, reserve
from traindeck.core.base.errors import BudgetRefused
from traindeck.core.privacy.ledger import chain
from traindeck.core.privacy.ledger.ledger import Ledger

pytestmark = pytest.mark.slow

FORK = multiprocessing.get_context("fork")
WORKERS, KILLS, SCARCE = 8, 50, 1000
CALLS = ("write", "fsync", "replace", "ftruncate")


def state(ledger: Ledger) -> tuple[Any, ...]:
    """All that an account says, without when."""
    account = ledger.account()
    runs = [(run.id, run.reserved, run.committed, run.settled) for run in account.runs]
    return account.rho_spent, account.rho_reserved, runs, [e.run for e in account.exposures]


# One process that dies at a certain moment


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(act: Callable[[], None], moment: int, how: str) -> bool:
    """Do it in a process that dies at its `moment`th call for the disk; whether it came through.

    how  `before` or `after` that call, or `torn`: a write is half done
    """

    def child() -> None:
        left = moment

        def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0 and how == "torn" and real is write:
                    write(given[0], given[1][: len(given[1]) // 2])
                if left == 0 and how != "after":
                    die()
                result = real(*given)
                if left == 0:
                    die()
                return result

            return call

        write = os.write
        for name in CALLS:
            setattr(os, name, wrapped(getattr(os, name)))
        act()
        os._exit(0)

    process = FORK.Process(target=child)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


ACTS: dict[str, Callable[[Ledger], None]] = {
    "reserve": lambda ledger: reserve(ledger, "new", 50),
    "commit": lambda ledger: ledger.commit("open", 20),
    "settle": lambda ledger: ledger.settle("open", "stopped", 9),
    "expose": lambda ledger: ledger.expose("plain", "torch-mnist", "no privacy"),
    "import": imports,
}


@pytest.mark.parametrize("how", ["before", "after", "torn"])
@pytest.mark.parametrize("act", ACTS)
def test_a_crash_at_any_moment_leaves_the_old_or_the_new(
    tmp_path: Path, act: str, how: str
) -> None:
    done = made(tmp_path / "done")
    for ledger in [done, *(made(tmp_path / str(moment)) for moment in range(1, 20))]:
        reserve(ledger, "open", 100)
        ledger.commit("open", 10)
    old = state(done)
    ACTS[act](done)
    new = state(done)
    for moment in range(1, 20):
        ledger = Ledger(tmp_path / str(moment), "mnist")
        acknowledged = dying(lambda ledger=ledger: ACTS[act](ledger), moment, how)  # type: ignore[misc]
        assert is_whole(ledger)
        now = state(ledger)
        assert now == new if acknowledged else now in (old, new)
        ledger.commit("open", 30) if act != "settle" or now == old else reserve(ledger, "x", 1)
        assert ledger.verify() == []
        if acknowledged:
            break
    else:
        pytest.fail("it never came through")


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_crash_while_it_is_made_leaves_a_ledger_or_none(tmp_path: Path, how: str) -> None:
    for moment in range(1, 20):
        folder = tmp_path / str(moment)
        acknowledged = dying(lambda folder=folder: made(folder) and None, moment, how)  # type: ignore[misc]
        ledger = Ledger(folder, "mnist")
        assert ledger.exists or not acknowledged
        if not ledger.exists:
            made(folder)
        assert is_whole(ledger)
        reserve(ledger, "one", STEPS)
        assert ledger.verify() == []
        if acknowledged:
            return
    pytest.fail("it never came through")


def test_a_crash_while_a_torn_end_is_mended_is_mended(tmp_path: Path) -> None:
    for moment in range(1, 20):
        ledger = made(tmp_path / str(moment))
        reserve(ledger, "open", 100)
        with ledger.path.open("ab") as file:
            file.write(b'{"v":1,"n":2,"t"')
        acknowledged = dying(lambda ledger=ledger: ledger.commit("open", 5), moment, "before")  # type: ignore[misc]
        assert is_whole(ledger)
        ledger.commit("open", 6)
        assert ledger.verify() == []
        if acknowledged:
            return
    pytest.fail("it never came through")


# A disk that takes no more


def test_a_disk_that_fills_up_takes_nothing_back_and_nothing_half(tmp_path: Path) -> None:
    """No file may grow beyond some size: the kernel takes as much of a line as fits."""
    ledger = made(tmp_path)
    reserve(ledger, "open", 100)
    whole, before = ledger.path.read_bytes(), state(ledger)

    def child() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        for room in range(0, 200, 9):
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + room, most))
            for act in (lambda: ledger.commit("open", 20), lambda: reserve(ledger, "new", 9)):
                with pytest.raises(OSError):
                    act()
                assert ledger.path.read_bytes() == whole
                assert ledger.verify() == []
        os._exit(0)

    process = FORK.Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert state(ledger) == before
    ledger.commit("open", 20)


@pytest.mark.parametrize("call", ["fsync", "replace", "write_atomic"])
def test_a_disk_that_fails_is_told_and_nothing_is_counted(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = made(tmp_path)
    reserve(ledger, "open", 100)
    before = state(ledger)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(chain if hasattr(chain, call) else os, call, fail)
        with pytest.raises(OSError, match="Input/output"):
            ledger.commit("open", 20)
        with pytest.raises(OSError, match="Input/output"):
            reserve(ledger, "new", 50)
    assert state(ledger) == before
    assert ledger.verify() == []
    ledger.commit("open", 30)
    assert ledger.verify() == []


def test_an_interrupt_never_damages_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C right after the head was replaced: what the head counts must stay."""
    ledger = made(tmp_path)
    reserve(ledger, "open", 100)
    replace = os.replace

    def interrupted(*given: Any) -> None:
        replace(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as busy:
        busy.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ledger.commit("open", 20)
    assert ledger.verify() == []
    assert ledger.account().runs[0].committed == 20


def test_what_is_acknowledged_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line before the head that counts it, and each before the names of what is there."""
    ledger = made(tmp_path)
    reserve(ledger, "open", 100)
    calls: list[str] = []
    with monkeypatch.context() as seen:
        for name in CALLS:
            real = getattr(os, name)

            def call(first: Any, *more: Any, name: str = name, real: Any = real) -> Any:
                where = os.readlink(f"/proc/self/fd/{first}") if type(first) is int else str(first)
                calls.append(f"{name} {Path(where).name.partition('.')[2].partition('.json.')[0]}")
                return real(first, *more)

            seen.setattr(os, name, call)
        ledger.commit("open", 1)
    assert [call.strip() for call in calls] == [
        "write jsonl",
        "fsync jsonl",
        "fsync mnist.head",
        "replace mnist.head",
        "fsync",
    ]


# Many processes


def test_8_processes_killed_at_random_never_lose_or_double_a_step(tmp_path: Path) -> None:
    ledger = made(tmp_path, rho_budget=SCARCE * RHO)
    chance = random.Random(3)
    workers: list[Any] = []
    started = 0

    def start() -> Any:
        nonlocal started
        started += 1
        worker = FORK.Process(target=work, args=(tmp_path, f"w{started}", started), daemon=True)
        worker.start()
        return worker

    def size() -> int:
        return sum(path.stat().st_size for path in tmp_path.glob("*.told"))

    try:
        workers = [start() for _ in range(WORKERS)]
        for _ in range(KILLS):
            enough = size() + chance.randint(0, 1200)
            until(lambda enough=enough: size() >= enough, "more that was told")  # type: ignore[misc]
            victim = workers.pop(chance.randrange(len(workers)))
            time.sleep(chance.uniform(0.0, 0.005))
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
            workers.append(start())
            assert is_whole(ledger)
            assert ledger.account().exact_left >= 0
            settle_the_dead(ledger)
    finally:
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
    account = ledger.account()
    assert is_whole(ledger)
    everything = written(tmp_path)
    acknowledged = sum(agrees(account, words) for words in everything)
    assert acknowledged > 100
    known = {run for words in everything for _, _, run, _ in words}
    assert {run.id for run in account.runs} <= known
    exact = sum(run.reserved if run.open else run.released for run in account.runs)
    assert account.rho_spent + account.rho_reserved == exact * RHO <= SCARCE * RHO
    assert any(word[0] == "refused" for words in everything for word in words)
    ledger.expose("last", "torch-mnist", "no privacy")
    assert ledger.verify() == []
    settle_the_dead(ledger)
    assert all(not run.open for run in ledger.account().runs)


def test_of_many_who_ask_for_the_rest_one_gets_it(tmp_path: Path) -> None:
    ledger = made(tmp_path)
    start, won = FORK.Event(), FORK.Queue()

    def ask(number: int) -> None:
        start.wait()
        with contextlib.suppress(BudgetRefused):
            reserve(ledger, f"run{number}", STEPS // 2 + 1)
            won.put(number)

    asking = [FORK.Process(target=ask, args=(number,)) for number in range(WORKERS)]
    for process in asking:
        process.start()
    start.set()
    for process in asking:
        process.join()
        assert process.exitcode == 0
    [run] = ledger.account().runs
    assert run.id == f"run{won.get(timeout=10)}"
    assert won.empty()
