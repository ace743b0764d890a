"""Whatever of a sweep is killed, no trial is lost and none is done twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import until
from tests.core.sweeps.searched import asked, driver_pid, ended, known, searched, tiny
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity
from traindeck.core.sweeps import driver, study
from traindeck.core.sweeps.study import SweepFolder
from traindeck.core.sweeps.trials import COMPLETE, LOST, Attempt, Runs

pytestmark = pytest.mark.slow


def kill_something(folder: SweepFolder, chance: random.Random) -> str:
    """Kill the driver, or a running trial's supervisor, keeper or process; says which."""
    targets: list[tuple[str, int]] = []
    for one in Runs(folder.home, folder.design()).update():
        spec = RunFolder(folder.home.runs / one.run).spec() if one.live else None
        for who in ("supervisor", "keeper", "child"):
            process = identity(spec, who) if spec else None  # type: ignore[arg-type]
            if process and process.alive():
                targets.append((who, process.pid))
    if not targets:  # a driver that is killed before it starts a trial teaches nothing
        return ""
    if pid := driver_pid(folder):
        targets += [("driver", pid)] * (1 + len(targets) // 3)
    who, pid = chance.choice(targets)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return who


def killed_at_random(home: Home, recipe_folder: Path, trials: int, kills: int) -> Counter[str]:
    """Drive a sweep of so many trials, four at once, through so many kills; checks what came of
    it."""
    chance = random.Random(trials)
    request = asked(tiny(recipe_folder), trials=trials, at_once=4, typed={"seconds": "0.1"})
    folder = study.create(home, request)
    driver.start(folder)
    done: Counter[str] = Counter()
    while sum(done.values()) < kills and folder.state()[0] != study.FINISHED:
        time.sleep(chance.uniform(0.05, 0.4))
        if who := kill_something(folder, chance):
            done[who] += 1
        driver.tend(home)
        driver.start(folder)
    deadline = time.monotonic() + 60 + trials
    while folder.state()[0] != study.FINISHED and time.monotonic() < deadline:
        if not folder.driven():
            driver.start(folder)
        time.sleep(0.1)
    assert folder.state() == (study.FINISHED, "")
    attempts = Runs(home, folder.design()).update()
    check_once_each(attempts, trials)
    return done


def check_once_each(attempts: list[Attempt], trials: int) -> None:
    complete = Counter(one.trial for one in attempts if one.state == COMPLETE)
    assert sorted(complete) == list(range(trials)), "lost"
    assert set(complete.values()) == {1}, "done twice"
    assert {one.state for one in attempts} <= {COMPLETE, LOST}
    values = {one.trial: one.values for one in attempts}
    assert all(one.values == values[one.trial] for one in attempts), "redone with other values"


def test_random_kills_lose_and_double_nothing(home: Home, tmp_path: Path) -> None:
    killed_at_random(home, tmp_path, trials=12, kills=8)


def test_a_driver_that_is_killed_is_started_again_by_whoever_looks(
    home: Home, tmp_path: Path
) -> None:
    folder = study.create(home, asked(tiny(tmp_path), trials=6, typed={"seconds": "0.1"}))
    driver.start(folder)
    pid = until(lambda: driver_pid(folder), "the driver")
    until(lambda: known(folder), "a trial")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not folder.driven())
    assert folder.state()[0] == study.INTERRUPTED
    driver.tend(home)
    assert folder.state()[0] == study.RUNNING
    assert [one.state for one in ended(folder)] == [COMPLETE] * 6


def test_there_is_one_driver_at_a_time(home: Home, tmp_path: Path) -> None:
    folder = study.create(home, asked(tiny(tmp_path)))
    assert [driver.start(folder), driver.start(folder), driver.start(folder)].count(True) == 1
    assert len(ended(folder)) == 4


def test_a_killed_trial_is_done_again_and_a_failed_one_is_not(home: Home, tmp_path: Path) -> None:
    request = asked(tiny(tmp_path), trials=1, at_once=1, typed={"seconds": "0.5"})
    folder = study.create(home, request)
    driver.start(folder)

    def child() -> int | None:
        for one in known(folder):
            spec = RunFolder(home.runs / one.attempts[0].run).spec()
            process = identity(spec, "child") if spec else None
            if process and process.alive():
                return process.pid
        return None

    os.kill(until(child, "the trial's process"), signal.SIGKILL)
    [trial] = ended(folder)
    assert trial.state == COMPLETE
    assert trial.runs == 2

    failing = searched(home, asked(tiny(tmp_path), trials=2, typed={"fails": "true"}))
    assert [(one.state, one.runs) for one in known(failing)] == [("failed", 1)] * 2


if __name__ == "__main__":  # python -m tests.core.sweeps.test_survival HOME TRIALS KILLS
    place = Home(Path(sys.argv[1]))
    place.make()
    counts = killed_at_random(place, place.root.parent, int(sys.argv[2]), int(sys.argv[3]))
    print("0 lost, 0 done twice; killed:", dict(counts))
