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


def test_jsons_words_for_what_is_not_finite_are_numbers() -> None:
    for word in ("NaN", "Infinity", "-Infinity"):
        assert repr(metrics_of(f'{{"loss": {word}}}')) == repr([(0, "loss", float(word))])


def test_a_json_line_gives_its_numbers_at_its_step() -> None:
    assert metrics_of('{"step": 10, "loss": 0.3, "val": {"acc": 0.9, "n": 5}}') == [
        (10, "loss", 0.3),
        (10, "val/acc", 0.9),
        (10, "val/n", 5.0),
    ]


def test_lists_and_deeper_objects_are_kept_where_they_hold_numbers() -> None:
    line = '{"step": 1, "lrs": [0.1, 0.2], "val": {"loss": {"ce": 0.3, "l2": 0.1}}, "one": [5]}'
    assert (
        metrics_of(line)
        == metrics_of(line.replace('"', "'"))
        == [
            (1, "lrs/0", 0.1),
            (1, "lrs/1", 0.2),
            (1, "val/loss/ce", 0.3),
            (1, "val/loss/l2", 0.1),
            (1, "one", 5.0),
        ]
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{'step': 1, 'loss': Array(0.3, dtype=float32)}", [(1, "loss", 0.3)]),
        (
            "{'step': 1, 'loss': <tf.Tensor: shape=(), dtype=float32, numpy=0.3>}",
            [(1, "loss", 0.3)],
        ),
        ("{'step': 1, 'loss': tensor([0.3])}", [(1, "loss", 0.3)]),
        ("{'step': 1, 'loss': tensor(0.3, grad_fn=<NllLossBackward0>)}", [(1, "loss", 0.3)]),
        (
            "{'step': 1, 'loss': 0.3, 'at': datetime.datetime(2024, 1, 2, 3, 4)}",
            [(1, "loss", 0.3)],
        ),
        ("{'step': 1, 'loss': 0.3, 'file': PosixPath('x')}", [(1, "loss", 0.3)]),
        ("{'step': 1, 'loss': 0.3, 'shape': (3, 4)}", [(1, "loss", 0.3)]),
        ("{'step': 1, 'loss': Decimal('0.3')}", [(1, "loss", 0.3)]),
        (
            "{'step': 1, 'per_class': {0: 0.9, 1: 0.8}}",
            [(1, "per_class/0", 0.9), (1, "per_class/1", 0.8)],
        ),
        ("{0: 0.9, 1: 0.8}", [(0, "0", 0.9), (0, "1", 0.8)]),
        ('{"step": 1, "loss": 1e999}', [(1, "loss", math.inf)]),
        ('{"step": -5, "loss": 0.3}', [(-5, "loss", 0.3)]),
        ('{"Step": 1, "Loss": 0.3}', [(1, "Loss", 0.3)]),
        ('{"_step": 7, "loss": 0.3}', [(7, "loss", 0.3)]),
        ('{"train_step": 7, "loss": 0.3}', [(7, "loss", 0.3)]),
        ('[rank0]: {"step": 1, "loss": 0.3}', [(1, "loss", 0.3)]),
        ('[default1]:{"step": 1, "loss": 0.3}', [(1, "rank1/loss", 0.3)]),
        ('{"step": 1, "rank": 2, "loss": 0.3}', [(1, "rank2/loss", 0.3)]),
        ('2026-11-28 19:00:00,123 INFO {"step": 1, "loss": 0.3}', [(1, "loss", 0.3)]),
        ('done {"loss": 1} {"acc": 2}, next', [(0, "loss", 1.0), (0, "acc", 2.0)]),
    ],
)
def test_whatever_is_printed_of_an_object_is_read(line: str, expected: list[Metric]) -> None:
    assert metrics_of(line) == expected


def test_a_fractional_step_is_kept_and_counted() -> None:
    lines = ['{"step": 0.5, "loss": 3}', '{"step": 1.0, "loss": 2}', '{"step": 1.5, "loss": 1}']
    assert metrics_of(*lines) == [
        (0, "step", 0.5),
        (0, "loss", 3.0),
        (1, "loss", 2.0),
        (2, "step", 1.5),
        (2, "loss", 1.0),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "{'lr': 0.01, 'epochs': 10, 'batch_size': 64, 'seed': 1}",
        "Namespace(lr=0.01, epochs=3, batch_size=64, seed=1)",
        "2026-11-28 19:00:00,123 INFO torch 2.1.0+cu118, cuda:0, /data/run-3/x_5.bin",
        "Total optimization steps = 1,000",
        "Peak memory: 1234.5 MB, took 12.3 s",
        "ETA: 0:12:00  speed: 12.3 it/s",
        "GET /items?page=2 HTTP/1.1 200",
    ],
)
def test_what_is_said_about_a_run_is_no_metric(line: str) -> None:
    assert metrics_of(*[line] * 5) == []


def test_not_a_number_and_the_infinities_are_metrics() -> None:
    values = [value for *_, value in metrics_of('{"a": NaN, "b": Infinity, "c": -Infinity}')]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_truths_texts_times_and_process_facts_are_not_metrics() -> None:
    line = {
        "step": 1,
        "ok": True,
        "model": "cnn",
        "none": None,
        "time": 1.7e9,
        "Timestamp": 1.7e9,
        "pid": 12,
        "deep": {"er": {"pid": 1}, "ts": 5},
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
        '{"loss": 1',
        '"loss": 1}',
        "{'loss': 1",
        "{'loss': 1,}",
        "{'loss': __import__('os')}",
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
    long = "x" * 3000
    assert metrics_of(r'{"a\nb": 1, "' + long + '": 2}') == [(0, "a\ufffdb", 1.0)]


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


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("epoch 3 loss=0.5 acc: 91.2%", [(3, "loss", 0.5), (3, "acc", 91.2)]),
        ("Train Epoch: 1 [640/60000 (1%)]\tLoss: 0.3", [(640, "train/Loss", 0.3)]),
        ("[Epoch 3/10] [Train] loss: 0.5", [(3, "train/loss", 0.5)]),
        ("Epoch 3 train: loss=0.5 val: loss=0.4", [(3, "train/loss", 0.5), (3, "val/loss", 0.4)]),
        ("epoch 2 train: 0.5, val: 0.6", [(2, "train", 0.5), (2, "val", 0.6)]),
        ("[1,  2000] loss: 2.214", [(2000, "loss", 2.214)]),
        ("Accuracy of the network on the 10000 test images: 55 %", [(0, "Accuracy", 55.0)]),
        ("Best accuracy so far: 0.912 (epoch 7)", [(7, "Best_accuracy", 0.912)]),
        ("Done. Final accuracy 91.8%", [(0, "Final_accuracy", 91.8)]),
        ("Finished training. Test loss: 0.3", [(0, "Test_loss", 0.3)]),
        ("Avg. loss: 0.3", [(0, "Avg_loss", 0.3)]),
        (
            "Final accuracy: 91.8%  (best 92.1% at epoch 3)",
            [(0, "Final_accuracy", 91.8)],
        ),
        ("epoch 4: loss 0.3 (best 0.2 at epoch 3)", [(4, "loss", 0.3)]),
        ("[rank1]: step 3 loss 0.5", [(3, "rank1/loss", 0.5)]),
        ("12.5 ms, v1.2.3, 2026-11-28 step=3 loss=nan", [(3, "loss", math.nan)]),
    ],
)
def test_names_and_values_in_running_text(line: str, expected: list[Metric]) -> None:
    assert repr(metrics_of(line)) == repr(expected)


def test_names_that_nobody_knows_count_once_they_recur_with_other_values() -> None:
    lines = ["wobble: 0.9", "wobble: 0.8", "wobble: 0.6", "worker: 1", "worker: 2", "worker: 3"]
    assert metrics_of(*lines) == [(0, "wobble", 0.9), (1, "wobble", 0.8), (2, "wobble", 0.6)]


def test_a_bar_says_how_far_it_is_and_which_step_a_dict_is_of() -> None:
    reader = StdoutMetrics()
    bar = b"\r 10%|#    | 50/500 [00:10<01:30,  5.00it/s]"
    assert reader.feed(bar + b"{'loss': 0.7, 'epoch': 0.1}\n") == [
        (50, "loss", 0.7),
        (50, "epoch", 0.1),
    ]
    assert reader.progress == (50, 500)
