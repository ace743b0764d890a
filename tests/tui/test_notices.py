"""Whoever looks elsewhere is told when runs end or fail, a hand is wanted, a budget runs low."""

from __future__ import annotations

import contextlib
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tui.homes import NOW, make_run
from tests.tui.pilots import notices, until, until_shown
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc, document
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.run.folder import RunFolder
from traindeck.tui.app import TraindeckApp
from traindeck.tui.notices import (
    NoticeSettings,
    Notifier,
    desktop_sequence,
    post,
    run_command,
    title_sequence,
)
from traindeck.tui.readers.notices import Limit, Notice, RunNotices, running_low, waits

NOTICE = Notice("failed", "mnist: failed", "exit code 1", ("1582z401",))


class Told:
    """A host that keeps what it is told."""

    def __init__(self) -> None:
        self.toasts: list[str] = []
        self.bells = 0

    def notify(self, text: str, *, title: str, **_: Any) -> None:
        self.toasts.append(f"{title} {text}".strip())

    def bell(self) -> None:
        self.bells += 1

    def in_background(self, what: str, action: Any) -> None:
        action()


def finish(home: Home, run_id: str, state: str, reason: str = "") -> None:
    code = 0 if state == "finished" else 1
    verdict = {"state": state, "reason": reason, "exit_code": code, "ended": NOW, "seconds": 5}
    (home.runs / run_id / "exit.json").write_text(json.dumps(verdict))
    Catalogue(home).sync(home.runs / run_id)


def docs(home: Home) -> dict[str, RunDoc]:
    found = [document(RunFolder(folder)) for folder in home.runs.iterdir()]
    return {doc["id"]: doc for doc in found if doc is not None}


class TestWhatIsTold:
    def test_runs_that_end_are_told_once_and_together(self, home: Home) -> None:
        make_run(home, 1, name="old")
        ids = [make_run(home, n, state="running", metric=0.9, name=f"run-{n}") for n in (2, 3, 4)]
        watch = RunNotices()
        assert watch.take(docs(home)) == []
        for run_id in ids[:2]:
            finish(home, run_id, "finished")
        finish(home, ids[2], "failed", "it diverged")
        ended, failed = watch.take(docs(home))
        assert ended.title == "run-2, run-3 finished"
        assert ended.text == "test/accuracy 0.9, test/accuracy 0.9"
        assert (failed.title, failed.text) == ("run-4: failed", "it diverged")
        assert watch.take(docs(home)) == []

    def test_a_run_that_came_and_went_unseen_is_told_too(self, home: Home) -> None:
        watch = RunNotices()
        watch.take(docs(home))
        make_run(home, 1, name="quick")
        assert [notice.title for notice in watch.take(docs(home))] == ["quick finished"]

    def test_a_run_that_comes_back_is_no_end(self, home: Home) -> None:
        watch = RunNotices()
        make_run(home, 1, name="back")
        there = docs(home)
        watch.take(there)
        assert watch.take({}) == [] == watch.take(there)
        ids = [make_run(home, n, name=f"run-{n}") for n in (2, 3)]
        [first, last] = sorted(docs(home)[each]["ended"] or 0.0 for each in ids)
        assert first < last
        watch = RunNotices(since=last)
        watch.take(there)
        assert [notice.title for notice in watch.take(docs(home))] == ["run-3 finished"]

    def test_a_hand_is_asked_for_once(self) -> None:
        request: Any = SimpleNamespace(run="1582z401", owner="clinic", job="j1")
        notice = waits([request], set())
        assert notice is not None and notice.title == "a script waits at clinic"
        assert waits([request], {("1582z401", "clinic", "j1")}) is None

    def test_a_budget_is_told_when_it_runs_low_and_at_each_halving(self) -> None:
        host: Any = Told()
        notifier = Notifier(host, NoticeSettings(every=0.0), lambda text: None)
        for left in (0.5, 0.09, 0.08, 0.04, 0.03, 0.5, 0.05):
            notifier.budget("mnist", left)
        assert [toast.split()[-6] for toast in host.toasts] == ["9.0", "4.0", "5.0"]
        assert running_low("mnist", 0.1, 0.1) is None


class TestWays:
    def test_each_has_a_rate_and_tells_how_many_it_held_back(self) -> None:
        now = [0.0]
        limit = Limit(10, lambda: now[0])
        assert [limit.allows() for _ in range(3)] == [True, False, False]
        now[0] = 10.0
        assert limit.allows() and limit.take_held() == 2

    def test_held_back_notices_are_counted_in_the_next(self) -> None:
        host: Any = Told()
        notifier = Notifier(host, NoticeSettings(every=0.0), lambda text: None)
        now = [0.0]
        notifier._limits["toast"] = Limit(10, lambda: now[0])
        for _ in range(3):
            notifier.tell(NOTICE)
        now[0] = 11.0
        notifier.tell(NOTICE)
        assert host.toasts == [
            "mnist: failed exit code 1",
            "mnist: failed exit code 1; and 2 more before",
        ]
        assert host.bells == 4

    @pytest.mark.parametrize(
        ("way", "environment", "begins"),
        [
            ("osc9", {}, "\x1b]9;mnist: failed: exit code 1\x1b\\"),
            ("osc777", {}, "\x1b]777;notify;mnist: failed;exit code 1\x1b\\"),
            ("auto", {"TERM_PROGRAM": "WezTerm"}, "\x1b]9;"),
            ("auto", {"TERM": "foot"}, "\x1b]777;"),
            ("auto", {"TERM": "xterm-256color"}, ""),
            ("osc9", {"TMUX": "/tmp/x"}, "\x1bPtmux;\x1b\x1b]9;"),
        ],
    )
    def test_the_desktop_is_told_by_what_the_terminal_knows(
        self, way: str, environment: dict[str, str], begins: str
    ) -> None:
        sequence = desktop_sequence(NOTICE, way, environment)
        assert sequence.startswith(begins) and bool(sequence) == bool(begins)

    def test_what_runs_say_cannot_write_to_the_terminal(self) -> None:
        evil = Notice("failed", "a\x1b]52;c;x\x07b", "\x1b[2J\n", ())
        for text in (desktop_sequence(evil, "osc777", {}), title_sequence(1, evil)):
            assert text.count("\x1b") == 2 and "\x07" not in text

    def test_a_command_is_given_title_text_and_json(self, tmp_path: Path) -> None:
        out = tmp_path / "told.json"
        code = (
            "import json,os,sys;"
            f"json.dump([sys.argv[1:], os.environ['TRAINDECK_NOTICE']], open({str(out)!r}, 'w'))"
        )
        run_command(f"{sys.executable} -c {json.dumps(code)}", NOTICE)
        words, whole = json.loads(out.read_text())
        assert words == ["mnist: failed", "exit code 1"]
        assert json.loads(whole)["runs"] == ["1582z401"]

    def test_a_webhook_is_sent_json(self) -> None:
        with hook() as (port, taken):
            post(f"http://127.0.0.1:{port}/", NOTICE)
        assert json.loads(taken[0])["title"] == "mnist: failed"

    def test_other_addresses_go_by_apprise(self) -> None:
        pytest.importorskip("apprise")
        with hook() as (port, taken):
            post(f"json://user:secret@127.0.0.1:{port}/", NOTICE)
        said = json.loads(taken[0])
        assert (said["title"], said["message"]) == ("mnist: failed", "exit code 1")
        with hook(500) as (port, _), pytest.raises(OSError, match="did not take it") as refused:
            post(f"json://user:secret@127.0.0.1:{port}/", NOTICE)
        assert "secret" not in str(refused.value)
        with pytest.raises(OSError, match="knows no service of this address") as unknown:
            post("nonsense://user:secret@x", NOTICE)
        assert "secret" not in str(unknown.value)


@contextlib.contextmanager
def hook(status: int = 204) -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one POST: its port, and the body once it is left."""
    taken: list[bytes] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_port, taken
        thread.join()


class TestSettings:
    def test_what_cannot_be_used_is_said(self) -> None:
        table = {
            "toast": False,
            "bell": ["failed"],
            "desktop": "osc9",
            "every": 5,
            "webhook": "nowhere",
            "low": 2,
            "title": 1,
            "command": "'",
            "colour": 1,
        }
        settings, problems = NoticeSettings.read(table, "settings.toml")
        assert settings.toast == frozenset() and settings.bell == {"failed"}
        assert (settings.desktop, settings.every, settings.webhook) == ("osc9", 5.0, "")
        assert len(problems) == 5
        assert all(problem.startswith("settings.toml: notices: ") for problem in problems)

    def test_without_apprise_it_is_said_what_installs_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "apprise", None)
        monkeypatch.setattr("traindeck.tui.notices.find_spec", lambda name: None)
        _, problems = NoticeSettings.read({"webhook": "slack://a/b/c"}, "settings.toml")
        assert problems == [
            "settings.toml: notices: a webhook of slack:// needs pip install 'traindeck[notices]'"
        ]


async def test_a_run_that_ends_is_told_on_the_screen(home: Home) -> None:
    home.settings.write_text("[notices]\nbell = 3\n")
    app = TraindeckApp(home, clock=lambda: NOW)
    run_id = make_run(home, 1, state="running", name="watched")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "watched")
        await until(pilot, lambda: "notices: bell is true, false or" in notices(pilot))
        finish(home, run_id, "failed", "it diverged")
        await until(pilot, lambda: "watched: failed it diverged" in notices(pilot))


async def test_a_run_that_is_undeleted_is_not_told_to_have_ended(home: Home) -> None:
    app = TraindeckApp(home, clock=lambda: NOW)
    make_run(home, 1, name="kept")
    make_run(home, 2, name="gone")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "gone")
        await pilot.press("d")
        await until_shown(pilot, "Delete")
        await pilot.press("y")
        await until(pilot, lambda: app.snapshot and len(app.snapshot.by_id) == 1)
        await pilot.press("u")
        await until(pilot, lambda: app.snapshot and len(app.snapshot.by_id) == 2)
        await until(pilot, lambda: "is back" in notices(pilot))
        await pilot.pause(0.1)
        assert "finished" not in notices(pilot)
