"""`traindeck models` as people type it, over bundles that nothing had to be trained for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from tests.tui.models_home import make_bundle, private
from traindeck.core.base.home import Home

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_label_is_rolled_back_and_a_version_restored(traindeck: Run, home: Home) -> None:
    for number in (1, 2):
        make_bundle(home, "digits", number)
    assert "was on no other version" in traindeck("models", "rollback", "digits", code=3).stderr
    traindeck("models", "label", "digits", "stable", "1")
    traindeck("models", "label", "digits", "stable", "2")
    assert "stable is digits/1 again" in traindeck("models", "rollback", "digits").stderr
    said = json.loads(traindeck("models", "rollback", "digits", "--json").stdout)
    assert said == {"name": "digits", "labels": {"stable": 2}}

    traindeck("models", "rm", "digits/1")
    assert json.loads(traindeck("models", "restore", "--json").stdout) == ["digits/1"]
    assert "digits/1" in traindeck("models", "restore").stdout
    wrong = traindeck("models", "restore", "digits/stable", code=2).stderr
    assert "the number is said, such as digits/1" in wrong
    back = json.loads(traindeck("models", "restore", "digits/1", "--json").stdout)
    assert back == {"name": "digits", "restored": [1]}
    assert "in it: nothing" in traindeck("models", "restore", "digits", code=3).stderr


def test_privacy_and_figures_are_told_in_words(traindeck: Run, home: Home) -> None:
    make_bundle(home, "patients", 1, privacy=private(2.93))
    assert "epsilon 2.93 at delta 1e-05" in traindeck("models").stdout
    shown = traindeck("models", "show", "patients").stdout
    assert "SAME DECISION" in shown and "2.4e-07" in shown and "image" in shown
