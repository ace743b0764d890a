"""Metrics are found in what commands print, and nothing that is printed does harm."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from traindeck.core.exchange.printed import LOG_RECORD, MAX_LINE, Metric, StdoutMetrics


def metrics_of(*lines: str) -> list[Metric]:
    return StdoutMetrics().feed("".join(f"{line}\n" for line in lines).encode())


def test_a_json_line_gives_its_numbers_at_its_step() -> None:
    assert metrics_of('{"step": 10, "loss": 0.3, "val": {"acc": 0.9, "n": 5}}') == [
        (10, "loss", 0.3),
        (10, "val/acc", 0.9),
        (10, "val/n", 5.0),
    ]


def test_not_a_number_and_the_infinities_are_metrics() -> None:
    values = [value for *_, value in metrics_of('{"a": NaN, "b": Infinity, "c": -Infinity}')]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_truths_texts_lists_times_and_process_facts_are_not_metrics() -> None:
    line = {
        "step": 1,
        "ok": True,
        "model": "cnn",
        "sizes": [1, 2],
        "none": None,
        "time": 1.7e9,
        "Timestamp": 1.7e9,
        "pid": 12,
        "deep": {"er": {"x": 1}, "ts": 5},
        "loss": 0.5,
    }
    assert metrics_of(json.dumps(line)) == [(1, "loss", 0.5)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"step": 3, "epoch": 1, "loss": 1}', [(3, "epoch", 1.0), (3, "loss", 1.0)]),
        ('{"global_step": 4, "loss": 1}', [(4, "loss", 1.0)]),
        ('{"iteration": 5.0, "loss": 1}', [(5, "loss", 1.0)]),
        ('{"iter": "6", "loss": 1}', [(6, "loss", 1.0)]),
        ('{"epoch": 7, "loss": 1}', [(7, "loss", 1.0)]),
        ('{"step": "six", "epoch": 7, "loss": 1}', [(7, "loss", 1.0)]),
        ('{"step": true, "loss": 1}', [(0, "loss", 1.0)]),
        ('{"step": 1e300, "loss": 1}', [(0, "loss", 1.0)]),
        ('{"loss": 1}', [(0, "loss", 1.0)]),
    ],
)
def test_where_the_step_comes_from(line: str, expected: list[Metric]) -> None:
    assert metrics_of(line) == expected


def test_without_a_step_it_is_the_one_after_the_last() -> None:
    lines = ['{"loss": 3}', '{"loss": 2}', '{"step": 100, "loss": 1}', '{"accuracy": 0.5}']
    assert [step for step, *_ in metrics_of(*lines)] == [0, 1, 100, 101]


def test_what_hugging_face_prints() -> None:
    metrics = metrics_of(
        "{'loss': 0.6931, 'grad_norm': nan, 'learning_rate': 5e-05, 'epoch': 0.5}",
        "{'eval_loss': 0.5, 'eval_runtime': 1.2, 'epoch': 1.0}",
        "{'loss': '0.4321', 'learning_rate': '4e-05', 'epoch': '1.5'}",
        "{'train_runtime': 12.5, 'train_loss': 0.42, 'epoch': 2.0}",
    )
    assert [name for step, name, _ in metrics if step == 1] == [
        "eval_loss",
        "eval_runtime",
        "epoch",
    ]
    assert [(step, value) for step, name, value in metrics if name == "loss"] == [
        (0, 0.6931),
        (2, 0.4321),
    ]
    assert [value for _, name, value in metrics if name == "epoch"] == [0.5, 1.0, 1.5, 2.0]


def test_steps_that_begin_again_are_those_of_the_next_epoch() -> None:
    lines = []
    for epoch in (1, 2, 3):
        lines += [f'{{"step": {step}, "loss": 1, "epoch": {epoch}}}' for step in (0, 10, 20)]
        lines.append(f'{{"step": 20, "val_loss": {epoch}}}')
    metrics = metrics_of(*lines)
    assert [step for step, name, _ in metrics if name == "loss"] == list(range(0, 90, 10))
    assert [step for step, name, _ in metrics if name == "val_loss"] == [20, 50, 80]


def test_a_step_back_that_is_no_new_epoch_is_a_rewind() -> None:
    lines = [f'{{"step": {step}, "loss": 1}}' for step in (1, 2, 3, 2, 3, 4, 1, 2)]
    assert [step for step, *_ in metrics_of(*lines)] == [1, 2, 3, 2, 3, 4, 5, 6]


def test_whole_epochs_are_steps() -> None:
    lines = ["{'loss': 0.5, 'epoch': 1.0}", "{'loss': 0.4, 'epoch': 2.0}"]
    assert metrics_of(*lines) == [(1, "loss", 0.5), (2, "loss", 0.4)]


def test_printed_dicts_may_hold_numpy_and_tensors_and_one_dict_more() -> None:
    line = (
        "{'step': np.int64(3), \"it's\": np.float32(0.5), 'acc': tensor(0.25, device='cuda:0'), "
        "'val': {'loss': -inf, 'ok': True}, 'name': 'x, y: {z}', 'none': None}"
    )
    assert metrics_of(line) == [
        (3, "it's", 0.5),
        (3, "acc", 0.25),
        (3, "val/loss", -math.inf),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "loss 0.5",
        '[{"loss": 1}]',
        '{"loss": 1} done',
        'done {"loss": 1}',
        '{"loss": 1',
        '"loss": 1}',
        "{'loss': 1",
        "{'loss': 1,}",
        "{'loss': 1} }",
        "{'loss': __import__('os')}",
        "{'a': {'b': {'c': 1}}}",
        "{'a': {'b': 1}",
        "{1, 2}",
        "{}",
        '{"": 1}',
        '{"level": "info", "msg": "listening", "workers": 8080}',
        '{"loss": ' + "1" * 5000 + "}",
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        "{" * 50_000,
        "{'" * 30_000,
        "{'a': " + "-" * 50_000 + "1}",
        "{'a': " + "1" * 60_000 + "x}",
        '{"loss": 1, "pad": "' + "x" * MAX_LINE + '"}',
    ],
    ids=lambda line: line[:40],
)
def test_what_does_not_count(line: str) -> None:
    assert metrics_of(line) == []


def test_a_log_record_that_names_its_step_counts() -> None:
    assert metrics_of('{"level": "info", "step": 3, "loss": 0.5}') == [(3, "loss", 0.5)]


def test_progress_bars_and_colors_around_it_are_no_hindrance() -> None:
    printed = b"\r 50%|###   | 1/2\r        \r\x1b[32m {'loss': 1.0} \x1b[0m\r\n 60%|####"
    assert StdoutMetrics().feed(printed) == [(0, "loss", 1.0)]


def test_names_are_made_fit_for_one_line() -> None:
    assert metrics_of(r'{"a\nb": 1, "' + "x" * 300 + '": 2}') == [(0, "a\ufffdb", 1.0)]


def test_a_last_line_without_an_end_is_read_at_the_end() -> None:
    reader = StdoutMetrics()
    assert reader.feed(b'{"loss": 1}') == []
    assert reader.finish() == [(0, "loss", 1.0)]
    assert reader.finish() == []


LINES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b'{"loss": 1.5}\n',
            b'{"step": 7, "loss": 1.5}\r\n',
            b"{'loss': 2.5, 'epoch': 0.5}\n",
            b"\x1b[1m{'loss': 2.5}\x1b[0m\n",
            b"{" + b" " * (MAX_LINE - 12) + b'"loss": 1}\n',
            b"{" + b" " * MAX_LINE + b'"loss": 1}\n',
            b"x" * (3 * MAX_LINE),
            b"\r",
            b"\n",
        ]
    ),
)


@settings(deadline=None)
@given(st.lists(LINES, max_size=8).map(b"".join), st.data())
@example(b'{"loss": 1}\r{"loss": 2}\n', None)
def test_how_output_is_cut_into_chunks_does_not_matter(
    output: bytes, data: st.DataObject | None
) -> None:
    whole = StdoutMetrics()
    expected = whole.feed(output) + whole.finish()
    places = st.lists(st.integers(0, len(output)), max_size=6)
    cuts = sorted(data.draw(places) if data else range(len(output)))
    reader = StdoutMetrics()
    got: list[Metric] = []
    for start, end in zip([0, *cuts], [*cuts, len(output)], strict=True):
        got += reader.feed(output[start:end])
    assert repr(got + reader.finish()) == repr(expected)


@settings(deadline=None)
@given(st.one_of(st.binary(), st.text("{}'\":,.0eNainf \\\r\n[]-").map(str.encode)))
def test_no_bytes_are_too_odd(output: bytes) -> None:
    reader = StdoutMetrics()
    for step, name, value in reader.feed(output) + reader.finish():
        assert isinstance(step, int)
        assert name.isprintable()
        assert isinstance(value, float)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(min_codepoint=48, max_codepoint=122), min_size=1)
        .map("m".__add__)
        .filter(lambda name: name.lower() not in LOG_RECORD),
        st.floats() | st.integers(-(1 << 40), 1 << 40),
        min_size=1,
    )
)
def test_json_and_python_say_the_same(metrics: dict[str, float]) -> None:
    expected = repr([(0, name, float(value)) for name, value in metrics.items()])
    assert repr(metrics_of(json.dumps(metrics))) == expected
    if not any("\\" in name for name in metrics):
        assert repr(metrics_of(repr(metrics))) == expected


@pytest.mark.parametrize(
    "output",
    [
        b"x" * 10_000_000,
        b"{" * 10_000_000,
        b" " * 10_000_000,
        b"{}" * 5_000_000,
        b"\x1b[0m" * 2_500_000,
        b"}\n" * 1_000_000,
        (b"{" * 60_000 + b"\n") * 50,
        (b"{" + b"}  " * 20_000 + b"x\n") * 50,
        (b"{'a': 1" * 8000 + b"\n") * 50,
        b"epoch 3 loss {0.5} x\n" * 300_000,
    ],
    ids=lambda output: repr(output[:8]),
)
def test_hostile_output_costs_little(output: bytes) -> None:
    reader = StdoutMetrics()
    start = time.process_time()
    for at in range(0, len(output), 1 << 16):
        assert reader.feed(output[at : at + (1 << 16)]) == []
    assert time.process_time() - start < 3  # seconds; quadratic would be minutes
