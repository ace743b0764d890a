"""The feed reads on its own thread, only what changed, and never lets a failure pass unseen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import PATIENCE
from tests.tui.homes import make_run
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.library import Library
from traindeck.tui.readers.feed import Feed, RunsSnapshot, newest


def wait(seen: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (answer := seen()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return answer


class Source:
    """A library that counts what it is asked."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.asked = self.read = self.count = 0

    def version(self) -> object:
        self.asked += 1
        return self.library.version()

    def runs(self) -> list[RunDoc]:
        self.read += 1
        runs = self.library.runs()
        self.count = len(runs)
        return runs

    def tend(self) -> None:
        self.library.tend()


def feed_of(source: Any, **options: Any) -> Feed:
    defaults = {"interval": 0.02, "ready": lambda: None, "failed": lambda trouble, error: None}
    return Feed(source, **{**defaults, **options})


def test_what_does_not_change_is_read_once(home: Home) -> None:
    make_run(home, 1)
    source = Source(Library(home))
    feed = feed_of(source)
    feed.start()
    wait(lambda: source.asked > 10)
    feed.stop()
    assert source.read == 1
    snapshot = feed.take()
    assert snapshot is not None
    assert [run["name"] for run in snapshot.runs] == ["mnist-1"]
    assert feed.take() is None


def test_changes_are_handed_over_newest_first_and_counted(home: Home) -> None:
    make_run(home, 1)
    feed = feed_of(Library(home))
    feed.start()
    wait(feed.take)
    make_run(home, 2, state="running")
    make_run(home, 3, state="queued")
    seen: list[RunsSnapshot] = []

    def all_three() -> bool:
        snapshot = feed.take()
        if snapshot is not None:
            seen.append(snapshot)
        return bool(seen) and len(seen[-1].runs) == 3

    wait(all_three)
    feed.stop()
    assert [run["name"] for run in seen[-1].runs] == ["mnist-3", "mnist-2", "mnist-1"]
    assert (seen[-1].live, seen[-1].queued) == (2, 1)
    assert set(seen[-1].by_id) == {run["id"] for run in seen[-1].runs}


def test_a_slow_screen_gets_the_newest_and_is_called_once(home: Home) -> None:
    make_run(home, 1)
    calls: list[int] = []
    source = Source(Library(home))
    feed = feed_of(source, ready=lambda: calls.append(1))
    feed.start()
    wait(lambda: source.count == 1)
    for number in range(2, 5):
        make_run(home, number)
        wait(lambda number=number: source.count == number)
    feed.stop(PATIENCE)  # what was found is handed over before its end
    assert len(calls) == 1
    snapshot = feed.take()
    assert snapshot is not None
    assert len(snapshot.runs) == 4


def test_a_live_run_is_asked_about_though_no_file_changes(home: Home) -> None:
    """A supervisor that is killed writes nothing: only asking again shows that it has gone."""
    make_run(home, 1, state="running")
    source = Source(Library(home))
    feed = feed_of(source)
    feed.start()
    wait(lambda: source.read >= 2)
    feed.stop()


def test_the_same_failure_is_told_once_and_recovery_is_seen(home: Home) -> None:
    make_run(home, 1)
    errors: list[tuple[str, str]] = []
    broken = threading.Event()
    broken.set()

    class Fragile(Source):
        def version(self) -> object:
            self.asked += 1
            if broken.is_set():
                raise OSError("gone")
            return self.library.version()

    source = Fragile(Library(home))
    feed = feed_of(source, failed=lambda *failure: errors.append((failure[0], str(failure[1]))))
    feed.start()
    wait(lambda: source.asked >= 4)
    assert errors == [("The runs cannot be read", "gone")]
    broken.clear()
    feed.poke()
    wait(feed.take)
    feed.stop()


def test_stopping_does_not_wait_for_a_file_that_never_answers() -> None:
    class Stuck:
        def version(self) -> object:
            time.sleep(30)
            return 1

        def runs(self) -> list[RunDoc]:
            return []

        def tend(self) -> None: ...

    feed = feed_of(Stuck())
    feed.start()
    start = time.monotonic()
    feed.stop(timeout=0.1)
    assert time.monotonic() - start < 10


def test_ends_that_nobody_recorded_are_mended(home: Home) -> None:
    tended = threading.Event()

    class Tended(Source):
        def tend(self) -> None:
            tended.set()

    feed = feed_of(Tended(Library(home)))
    feed.start()
    assert tended.wait(20)
    feed.stop()


def test_of_very_many_runs_the_newest_are_shown_first(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        make_run(home, number, metric=0.5)
    monkeypatch.setattr("traindeck.tui.readers.feed.MANY", 5)
    monkeypatch.setattr("traindeck.tui.readers.feed.FIRST", 2)
    source = Source(Library(home))
    feed = feed_of(source, first=lambda: newest(home))
    feed.start()
    first: RunsSnapshot = wait(feed.take)
    assert source.read == 0
    assert [run["name"] for run in first.runs] == ["mnist-4", "mnist-3"]
    assert not first.whole
    feed.shown()
    whole: RunsSnapshot = wait(feed.take)
    feed.stop()
    assert whole.whole
    assert len(whole.runs) == 5


def test_a_screen_that_never_shows_the_first_look_does_not_keep_the_rest_away(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(home, 1)
    monkeypatch.setattr("traindeck.tui.readers.feed.MANY", 1)
    source = Source(Library(home))
    feed = feed_of(source, first=lambda: newest(home))
    feed.start()
    wait(lambda: source.read)
    feed.stop()
