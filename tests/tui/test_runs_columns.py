"""Columns: what fits is shown, nothing is wider than its place, order is what people expect."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindeck.core.catalogue.document import RunDoc
from traindeck.tui.widgets.columns import ordered
from traindeck.tui.widgets.run_columns import (
    COLUMNS,
    age,
    duration,
    fit,
    fraction,
    number,
    state_text,
)
from traindeck.tui.widgets.run_detail import _panel


def doc(**facts: Any) -> RunDoc:
    run: dict[str, Any] = {
        "id": "1582z401",
        "name": "mnist",
        "recipe": "torch-mnist",
        "framework": "torch",
        "state": "running",
        "reason": "",
        "exit_code": None,
        "on": "cpu",
        "device": "cpu",
        "params": {},
        "command": [],
        "created": 1000.0,
        "started": 1001.0,
        "ended": None,
        "seconds": 10.0,
        "progress": None,
        "metrics": {},
        "headline": None,
        "privacy": None,
        "queue": None,
        "tags": [],
        "notes": "",
        "path": "/",
    }
    return RunDoc(**{**run, **facts})  # type: ignore[typeddict-item]


def column(name: str) -> Any:
    return next(each for each in COLUMNS if each.id == name)


def text(name: str, run: RunDoc, width: int = 30) -> str:
    return "".join(part for part, _ in column(name).parts(run, 1060.0, width)).rstrip()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (7500, "2h05m"),
        (86_400, "1d00h"),
        (86_400 * 400, "400d"),
        (-5, "0s"),
        (math.inf, "—"),
        (math.nan, "—"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0s"), (59, "59s"), (61, "1m"), (7300, "2h"), (86_400 * 3, "3d"), (1e8, "3y")],
)
def test_ages(seconds: float, said: str) -> None:
    assert age(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.98123, "0.9812"),
        (0, "0"),
        (12345.6, "12346"),
        (1.5e9, "1.50e+09"),
        (-3.2e-7, "-3.20e-07"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (math.nan, "nan"),
        (None, "nan"),
    ],
)
def test_numbers(value: float | None, said: str) -> None:
    assert number(value) == said
    assert len(said) <= 9


@given(width=st.integers(1, 400))
def test_columns_fill_the_width_and_never_more(width: int) -> None:
    shown = fit(width)
    used = sum(cells for _, cells in shown) + len(shown) - 1
    assert shown
    assert used <= width
    if width > 220:
        assert [each.id for each, _ in shown] == [each.id for each in COLUMNS]


def test_eighty_columns_have_what_matters() -> None:
    shown = [each.id for each, _ in fit(76)]
    assert shown == ["state", "name", "progress", "eta", "metric", "device", "age"]


def test_forty_columns_have_state_name_and_metric() -> None:
    assert [each.id for each, _ in fit(50)][:2] == ["state", "name"]


@given(done=st.floats(), total=st.floats(), width=st.integers(1, 60))
def test_progress_never_leaves_its_cell(done: float, total: float, width: int) -> None:
    run = doc(progress={"done": done, "total": total, "eta_seconds": None})
    part = fraction(run)
    assert part is None or 0 <= part <= 1
    if width >= 4:
        assert len(text("progress", run, width)) <= width


def test_the_metric_says_its_name() -> None:
    summary = {"last": 0.98765, "min": 0.1, "max": 1.0, "step": 3, "count": 3, "nonfinite": 0}
    run = doc(metrics={"test/accuracy": summary}, headline="test/accuracy")
    assert text("metric", run) == "0.9877 test/accuracy"
    assert text("metric", doc(headline="gone")) == "—"
    lost = {**summary, "last": None}
    assert text("metric", doc(metrics={"loss": lost}, headline="loss")) == "nan    loss"


def test_epsilon_only_where_there_is_one() -> None:
    assert text("epsilon", doc()) == "—"
    assert text("epsilon", doc(privacy={"epsilon": 2.93, "delta": 1e-5})) == "2.93"
    assert text("epsilon", doc(privacy={"epsilon": "?"})) == "—"
    assert text("epsilon", doc(privacy={"epsilon": 2.931, "delta": 1e-5})) == "2.94"


def test_the_panel_rounds_epsilon_up_says_what_speaks_against_it_and_marks_private_series() -> None:
    summary = {"last": 1.0, "min": 1.0, "max": 1.0, "step": 1, "count": 1}
    facts: dict[str, Any] = {"metrics": {"private/loss": summary}, "headline": "private/loss"}
    panel = _panel(doc(privacy={"epsilon": 2.931, "delta": 1e-5}, **facts), 0.0).plain
    assert "2.94 at delta 1e-05" in panel and "private/loss (not in ε)" in panel
    assert "(not in ε)" in text("metric", doc(**facts), 40)
    seeded = {"epsilon": 1.0, "delta": 1e-5, "label": "seeded noise: not private"}
    assert "epsilon  seeded noise: not private" in _panel(doc(privacy=seeded), 0.0).plain


def test_states_have_a_symbol_and_a_word() -> None:
    assert state_text("out_of_memory", 11) == "✗ memory"
    assert state_text("out_of_memory", 20) == "✗ out of memory"
    assert state_text("unheard_of") == "? unheard of"


def test_runs_without_a_value_are_last_either_way() -> None:
    runs = [doc(id=str(n), seconds=seconds) for n, seconds in enumerate([5.0, None, 3.0, 9.0])]
    took = column("took")
    assert [run["id"] for run in ordered(runs, took)] == ["2", "0", "3", "1"]
    assert [run["id"] for run in ordered(runs, took, reverse=True)] == ["3", "0", "2", "1"]


@pytest.mark.parametrize("name", [each.id for each in COLUMNS])
def test_any_two_runs_can_be_compared(name: str) -> None:
    full = doc(
        progress={"done": 1, "total": 2, "eta_seconds": 3.0},
        metrics={"a": {"last": 1.0}},
        headline="a",
        privacy={"epsilon": 1.0},
    )
    bare = doc(recipe=None, seconds=None, name="", device="")
    runs = [full, bare, full, bare]
    assert len(ordered(runs, column(name))) == 4
    assert len(ordered(runs, column(name), reverse=True)) == 4
