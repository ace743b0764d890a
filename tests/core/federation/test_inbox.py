"""Scripts that wait for a hand are shown as they are, and answered once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.tui.federated_runs import (
    SCRIPT,
    ask,
    decision,
    federated_run,
    federation_in,
    only_request,
)
from traindeck.core.base.errors import NotFoundError
from traindeck.core.base.home import Home
from traindeck.core.base.sanitize import spelled
from traindeck.core.federation.inbox import (
    APPROVE,
    MAX_SCRIPT,
    REFUSE,
    RunInbox,
    ScriptChanged,
    decide,
)
from traindeck.core.federation.script import read_script


class TestInbox:
    def test_a_request_waits_until_it_is_answered(self, home: Home) -> None:
        folder = federated_run(home)
        inbox = RunInbox(folder)
        assert inbox.read() == ()
        path = ask(folder)
        [request] = inbox.read()
        assert (request.owner, request.job, request.script) == (
            "owner-2",
            "fedavg-1",
            "fedavg_torch.py",
        )
        assert federation_in(folder).waiting == (request,)
        script = read_script(request)
        assert script.data == SCRIPT.encode() and script.warnings == ()
        decide(request, APPROVE, sha256=script.sha256, params_sha256=script.params_sha256)
        answer = decision(path)
        assert answer["decision"] == "approve" and answer["v"] == 1
        assert answer["sha256"] == hashlib.sha256(SCRIPT.encode()).hexdigest()
        assert [each.decision for each in inbox.read()] == ["approve"]
        assert federation_in(folder).waiting == ()

    def test_it_is_answered_once(self, home: Home) -> None:
        folder = federated_run(home)
        path = ask(folder)
        request = only_request(folder)
        decide(request, REFUSE, sha256=request.sha256, reason="not now")
        with pytest.raises(NotFoundError, match="answered already: refuse"):
            decide(request, APPROVE, sha256=request.sha256)
        assert decision(path)["reason"] == "not now"

    def test_a_torn_answer_is_none(self, home: Home) -> None:
        folder = federated_run(home)
        path = ask(folder)
        (path / "decision.json").write_text('{"decision": "appr')
        request = only_request(folder)
        assert request.decision == ""
        decide(request, APPROVE, sha256=request.sha256)
        assert decision(path)["decision"] == "approve"

    @pytest.mark.parametrize("name", ["main.py", "params.json"])
    def test_what_changed_since_it_was_read_is_not_approved(self, home: Home, name: str) -> None:
        folder = federated_run(home)
        path = ask(folder)
        request = only_request(folder)
        script = read_script(request)
        (path / name).write_text("print('other')")
        assert only_request(folder).stamps != request.stamps
        with pytest.raises(ScriptChanged, match="changed since"):
            decide(request, APPROVE, sha256=script.sha256, params_sha256=script.params_sha256)
        assert not (path / "decision.json").exists()

    def test_a_script_that_is_not_the_one_asked_for(self, home: Home) -> None:
        folder = federated_run(home)
        ask(folder, sha256="0" * 64)
        script = read_script(only_request(folder))
        assert "not the script that was asked for" in script.warnings[0]
        with pytest.raises(ScriptChanged, match="not the script that was asked for"):
            decide(script.request, APPROVE, sha256=script.sha256)

    def test_the_difference_to_the_agreed_script(self, home: Home, tmp_path: Path) -> None:
        folder = federated_run(home)
        agreed = tmp_path / "agreed.py"
        agreed.write_text(SCRIPT)
        ask(folder, 1, script=SCRIPT.replace("0.05  # agreed", "5.0"), agreed=agreed)
        ask(folder, 2, agreed=agreed)
        ask(folder, 3, agreed=tmp_path / "gone.py")
        first, second, third = map(read_script, RunInbox(folder).read())
        assert first.diff is not None and "-RATE = 0.05  # agreed" in first.diff
        assert "+RATE = 5.0" in first.diff
        assert second.diff == ()
        assert third.diff is None and "cannot be read" in third.note

    def test_a_script_that_could_deceive_says_so(self, home: Home) -> None:
        folder = federated_run(home)
        deceiving = "# coding: utf-7\n# +AAo-import os\nx = 1 # \u202e\u200b \x1b[8m\r\nеval(x)\n"
        ask(folder, script=deceiving)
        script = read_script(only_request(folder))
        assert any("utf-7" in each for each in script.warnings)
        assert any("3 of them" in each for each in script.warnings)
        assert any("line 3, 4" in each for each in script.warnings)
        assert "‹U+202E›‹U+200B› ‹U+001B›[8m␍\nеval" in script.text

    def test_a_script_too_long_to_be_read(self, home: Home) -> None:
        folder = federated_run(home)
        path = ask(folder)
        (path / "main.py").write_bytes(b"#" * (MAX_SCRIPT + 1))
        with pytest.raises(OSError, match="longer"):
            read_script(only_request(folder))


def test_text_to_be_judged_leaves_nothing_out() -> None:
    assert spelled("a\tb\n") == "a       b\n"
    assert spelled("safe()\revil()") == "safe()␍\nevil()"
    assert spelled("x\x00\x7f\x9b\u2028e\u0301\U000e0041") == (
        "x‹U+0000›‹U+007F›‹U+009B›‹U+2028›e‹U+0301›‹U+E0041›"
    )
    assert spelled("größe = 1") == "größe = 1"
