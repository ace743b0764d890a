"""The query language finds the runs it says, and says what it does not understand."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from traindeck.core.catalogue.query import FIELDS, STATES, QueryError, parse

NOW = datetime(2025, 3, 31, 18, 30).timestamp()


def run(**changes: Any) -> dict[str, Any]:
    doc: dict[str, Any] = {
        "id": "01JQKZ8A",
        "name": "Brave Otter",
        "recipe": "torch-mnist",
        "framework": "torch",
        "state": "running",
        "reason": "",
        "exit_code": None,
        "on": "cpu*2",
        "device": "cpu:0-1",
        "params": {"lr": 0.25, "epochs": 5, "mode": "eager", "augment": True, "resume": None},
        "command": [],
        "created": NOW - 7200,
        "started": NOW - 7200,
        "ended": None,
        "progress": {"done": 30, "total": 60, "eta_seconds": 10.0},
        "metrics": {
            name: {"last": last, "min": None, "max": None, "step": 9, "count": 10, "nonfinite": 0}
            for name, last in {
                "train/loss": 0.05,
                "test/loss": 0.07,
                "train/accuracy": 0.999,
                "test/accuracy": 0.985,
                "step_seconds": 0.01,
                "grad_norm": None,
            }.items()
        },
        "headline": "test/accuracy",
        "privacy": {"epsilon": 3.0, "delta": 1e-5},
        "queue": None,
        "tags": ["dp", "Baseline"],
        "notes": "the first one that worked",
        "path": "/tmp/x",
    }
    return doc | changes


def matches(text: str, **changes: Any) -> bool:
    return parse(text, clock=lambda: NOW).matches(run(**changes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "state:running",
        "state:RUN*",
        "STATE:running",
        "state=running",
        "state!=failed",
        "-state:failed",
        "id:01JQ",
        "id:01jqkz8a",
        "id:*8A",
        "name:'brave otter'",
        'name:"Brave*"',
        "name:*otter",
        "recipe:torch*",
        "recipe:torch-mnist",
        "recipe:[s-u]orch-*",
        "framework:torch",
        "device:cpu:0-1",
        "device:cpu*",
        "device:'cpu[*]2'",
        "tag:dp",
        "tag:baseline",
        "-tag:gpu",
        "accuracy>0.98",
        "accuracy > 98%",
        "accuracy<.99",
        "test/accuracy>=0.985",
        "train/accuracy>0.99",
        "accuracy=0.985",
        "accuracy!=0.9",
        "loss<0.06",
        "loss>0.06",
        "-loss>0.1",
        "step_seconds<=1e-2",
        '"test/loss"<0.1',
        "grad_norm=nan",
        "-grad_norm>0",
        "-grad_norm<0",
        "lr<=0.25",
        "lr=2.5e-1",
        "lr==0.25",
        "mode=eager",
        "mode=e*",
        "mode!=graph",
        "augment=true",
        "resume=none",
        "epsilon<=3",
        "epsilon>1",
        "progress>=50%",
        "progress<0.6",
        "-exit_code=0",
        "age<3h",
        "age>1h59m",
        "age>=7200s",
        "age<1w",
        "created>=today",
        "created<2026",
        "created=2025-03",
        "created>yesterday",
        "created=2025-03-31T16:30",
        "created>2025-03-31T16:29:59",
        "created!=2025-03-30",
        "otter",
        "OTTER brave",
        "mnist",
        "01jq",
        "basel",
        '"first one"',
        "tmn",
        "brot",
        "-nothing",
        "-'\"'",
        "state:running recipe:torch* accuracy>0.98 lr<=0.3 tag:dp -name:foo worked",
    ],
)
def test_terms_that_fit(text: str) -> None:
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "state:failed",
        "-state:running",
        "state!=running",
        "id:1JQ",
        "name:brave",
        "name:otter",
        "recipe:mnist",
        "device:gpu*",
        "tag:d",
        "tag:gpu",
        "accuracy>0.99",
        "accuracy>0.98 lr>1",
        "-accuracy>0.98",
        "test/accuracy>0.985",
        "acc>0",
        "nothing<5",
        "nothing!=5",
        "grad_norm>0",
        "mode=graph",
        "mode>3",
        "augment=1",
        "augment>0",
        "resume>0",
        "epsilon>3",
        "progress>1",
        "exit_code=0",
        "exit_code!=0",
        "age>1d",
        "created>today",
        "created<today",
        "created>=2026",
        "created!=2025",
        "otter nothing",
        "-otter",
        "rtr",
        "tnm",
        "ott-er",
    ],
)
def test_terms_that_do_not_fit(text: str) -> None:
    assert not matches(text)


def test_the_headline_says_which_of_several_metrics_is_meant() -> None:
    assert not matches("accuracy>0.99")
    assert matches("accuracy>0.99", headline=None)
    assert matches("accuracy>0.99", headline="train/accuracy")
    assert matches("loss>0.06", headline="test/accuracy")


def test_a_metric_goes_before_a_parameter_and_a_parameter_before_a_metrics_ending() -> None:
    metric = {"last": 1.0}
    assert matches("lr=1", metrics={"lr": metric})
    assert matches("lr=0.25", metrics={"optimizer/lr": metric})


@pytest.mark.parametrize("state", STATES)
def test_every_state_can_be_asked_for(state: str) -> None:
    assert matches(f"state:{state}", state=state)


def test_runs_of_which_little_is_known_are_no_trouble() -> None:
    texts = [f"{field}:x" for field in FIELDS if field != "state"]
    texts += ["state:lost", "a>1", "epsilon>1", "progress>1", "exit_code=1", "age<1d", "word"]
    bare = run(recipe=None, privacy=None, progress=None, metrics={}, params={}, headline=None)
    for text in texts:
        assert not parse(text).matches(bare | {"created": 0.0})
        assert not parse(text).matches({})
    assert not matches("progress>0", progress={"done": 1, "total": 0, "eta_seconds": None})


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("colour:red", 0, "there is no field 'colour'; fields are id, name, recipe, framework"),
        ("ok -colour:red", 4, "there is no field"),
        ("see http://x", 4, "quote a text that has a colon"),
        ("state:", 6, "nothing follows state:"),
        ("state:runing", 6, "states are queued, starting, running, stopping, finished"),
        ("lr<=", 4, "nothing follows lr<="),
        ("lr<=abc", 4, "lr<= wants a number such as 0.98, 1e-3 or 98%, not 'abc'"),
        (">3", 0, "a name is missing before '>'"),
        ("a >", 3, "nothing follows a>"),
        ("!=3", 0, "a name is missing before '!'"),
        ("name>3", 0, "name is text and has no order: write name:pattern"),
        ('say "hello', 4, 'the quotation that begins with " has no end'),
        ("name:'x", 5, "has no end"),
        ('""', 0, "say what to look for"),
        ("age<soon", 4, "age<2h; units are s, m, h, d and w"),
        ("age=2h", 4, "an age is compared as in age<2h"),
        ("created>2h", 8, "write age<2h"),
        ("created>2025-02-30", 8, "wants a day such as today"),
        ("created>9999", 8, "wants a day"),
    ],
)
def test_what_is_not_understood_is_said_with_its_place(text: str, position: int, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text, clock=lambda: NOW)
    assert says in str(caught.value)
    assert caught.value.position == position
    assert f"at character {position + 1}" in str(caught.value)


PIECES = st.sampled_from(
    [
        *(*FIELDS, "age", "created", "lr", "state:running", "2025-13", "1h", "nan", "98%", "today"),
        *(
            ":",
            ">",
            "<=",
            "!=",
            "=",
            "-",
            " ",
            '"',
            "'",
            "\\",
            "*",
            "[",
            "[a-",
            "!",
            "?",
            "ſ",
            "１",
        ),
    ]
)


@settings(deadline=None, max_examples=500)
@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
@example("age<1ſ")
@example("tag:[z-a]")
@example("created=0001-01-01")
@example("accuracy>1e999")
def test_any_text_parses_or_is_a_query_error(text: str) -> None:
    try:
        query = parse(text)
    except QueryError as error:
        assert 0 <= error.position <= len(text)
    else:
        assert query.matches(run()) in (True, False)
        assert query.matches({}) in (True, False)


@settings(deadline=None)
@given(st.text(min_size=1))
def test_any_quoted_text_is_found(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert parse(quoted).matches(run(notes=f"before {text} after"))
    assert not parse(f"-{quoted}").matches(run(notes=text))


@pytest.mark.parametrize(
    "text",
    [
        "state:running recipe:torch* accuracy>0.98 lr<=0.3 tag:dp -name:foo worked",
        "tmst",
        "loss<0.06 age<1d",
        "nothing>3",
        "a" * 50,
    ],
)
@pytest.mark.slow
def test_ten_thousand_runs_are_filtered_in_a_blink(text: str) -> None:
    docs = [run(id=f"{number:08d}", name=f"run {number}") for number in range(10_000)]
    query = parse(text)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        for doc in docs:
            query.matches(doc)
        seconds.append(time.process_time() - start)
    print(f"{text[:40]}: {min(seconds) * 1e3:.0f} ms")
    assert min(seconds) < 0.15  # 0.05 on a quiet machine
