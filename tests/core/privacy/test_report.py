"""What a run has spent is one value, whether it comes from its folder or from its document."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.tui.private_runs import AUDIT, private_run
from traindeck.core.base.home import Home
from traindeck.core.privacy.audit.result import AuditResult
from traindeck.core.privacy.report import RunPrivacy, epsilon_of, in_short, report


@pytest.fixture(autouse=True)
def folders(home: Home) -> None:
    home.make()


def spent(home: Home, **given: Any) -> RunPrivacy:
    privacy = report(home.runs / private_run(home, **given), "mnist")
    assert privacy is not None
    return privacy


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "2.93"),
        ({"steps": 400, "epsilon": 2.4123, "audit": AUDIT}, "2.42"),
        ({"steps": 0}, "0"),
        ({"seeded": True}, "infinite"),
        ({"planned": None, "epsilon": math.inf}, "infinite"),
        ({"audit": AUDIT | {"claimed": None, "verdict": "violated"}}, "violated"),
    ],
)
def test_it_is_read_as_it_was_written(home: Home, given: dict[str, Any], said: str) -> None:
    privacy = spent(home, **given)
    data = json.loads(json.dumps(privacy.to_json(), allow_nan=False))
    assert RunPrivacy.from_json(data) == privacy
    assert in_short(privacy) == said
    assert epsilon_of(data) == privacy.epsilon


def test_a_document_of_an_earlier_version_lacks_what_came_later(home: Home) -> None:
    data = spent(home).to_json()
    for name in ("inherited", "exposed", "risk", "records"):
        del data[name]
    privacy = RunPrivacy.from_json(data)
    assert privacy is not None and privacy.reliable and privacy.epsilon == 2.93
    assert (privacy.inherited, privacy.exposed, privacy.risk.sentence) == (0, "", "")


def test_what_is_no_number_promises_nothing(home: Home) -> None:
    data = spent(home).to_json() | {"epsilon": "2.93", "events": [{"steps": 1}], "audit": "ok"}
    privacy = RunPrivacy.from_json(data)
    assert privacy is not None and math.isinf(privacy.epsilon)
    assert privacy.events == () and privacy.audit is None
    assert RunPrivacy.from_json(None) is RunPrivacy.from_json([1]) is None
    assert epsilon_of(None) is epsilon_of({}) is None


def test_a_verdict_is_kept_whatever_else_of_an_audit_is_missing() -> None:
    result = AuditResult.from_json({"verdict": "violated"})
    assert result is not None and result.violated and math.isinf(result.claimed)
