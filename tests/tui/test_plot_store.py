"""The series store: nothing is lost, whatever arrives and however it is cut into batches."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tui.plotdata import NAMES, START, records, store_of, training
from traindeck.core.run.points import PROGRESS, PointWriter, summarize
from traindeck.tui.plot import store as store_module
from traindeck.tui.plot.buckets import CAPACITY, Points, Series, SeriesSnapshot, live_points
from traindeck.tui.plot.store import DTYPE, SeriesStore

VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324]),
)


def plain(steps: list[int], values: list[float]) -> list[tuple[int, float]]:
    """The points of one series that stand, by the rule of the file format, one by one."""
    kept: list[tuple[int, float]] = []
    for step, value in zip(steps, values, strict=True):
        if kept and step < kept[-1][0]:
            kept = [point for point in kept if point[0] < step]
        kept.append((step, value))
    return kept


def agrees(series: SeriesSnapshot, points: list[tuple[int, float]]) -> None:
    """The buckets hold exactly these points: as many, with the same extremes, in order."""
    assert series.exact
    assert series.points == len(points)
    at = 0
    for bucket in range(len(series)):
        held = points[at : at + int(series.count[bucket])]
        at += len(held)
        finite = [value for _, value in held if math.isfinite(value)]
        assert series.first_step[bucket] == held[0][0]
        assert series.last_step[bucket] == held[-1][0]
        assert series.low[bucket] == min(finite, default=math.inf)
        assert series.high[bucket] == max(finite, default=-math.inf)
        assert series.finite[bucket] == len(finite)
        assert series.nan[bucket] == sum(math.isnan(value) for _, value in held)
        assert series.plus_inf[bucket] == sum(value == math.inf for _, value in held)
        assert np.array_equal(series.last[bucket], held[-1][1], equal_nan=True)
        if finite:
            mean = math.fsum(value / len(finite) for value in finite)
            largest = max(abs(value) for value in finite)
            assert series.mean[bucket] == pytest.approx(
                mean, rel=1e-9, abs=largest * 1e-12 + 1e-320
            )
            assert min(finite) <= series.mean[bucket] <= max(finite)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_point_is_kept_whatever_the_batches(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 120))
    jumps = data.draw(st.lists(st.integers(-30, 12), min_size=count, max_size=count))
    steps = np.maximum(np.cumsum([abs(j) if j > -20 else j for j in jumps]), 0).tolist()
    values = data.draw(st.lists(VALUES, min_size=count, max_size=count))
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=6)))
    capacity = data.draw(st.sampled_from([2, 3, 4, 8, 4096]))
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "CAPACITY", capacity)
        source = Path(folder) / "points.bin"
        raw = records(steps, values)
        source.write_bytes(raw)
        store = SeriesStore(source)
        for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
            store.ingest(raw[start * 28 : stop * 28], ["loss"])
        snapshot = store.snapshot("loss")
        assert snapshot is not None and len(snapshot) <= capacity
        points = plain(steps, values)
        agrees(snapshot, points)
        detail = store.detail(snapshot, 0, len(snapshot))
        assert detail is not None
        agrees(detail, points)
        whole = snapshot.spliced(detail)
        assert whole is not None
        agrees(whole, points)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
    st.one_of(st.none(), st.integers(0, 12)),
)
def test_resumed_points_replace_what_lay_beyond(steps: list[int], before: int | None) -> None:
    count = len(steps)
    points = Points(
        np.array(steps, np.int64), np.zeros(count), np.arange(count) * 1.0, np.arange(count)
    )
    kept, resumes = live_points(points, before)
    assert list(zip(kept.step.tolist(), kept.value.tolist(), strict=True)) == plain(
        steps, [float(number) for number in range(count)]
    )
    places = [resume.step for resume in resumes]
    assert places == sorted(set(places))
    fell = any(b < a for a, b in zip([before or 0, *steps], steps, strict=False))
    assert bool(places) == (fell if before is not None or len(steps) > 1 else False)


def test_the_curve_marks_where_a_run_was_resumed() -> None:
    steps = [*range(100), *range(60, 90), *range(20, 30)]
    store = store_of(records(steps, [1.0] * len(steps)), ["loss"])
    snapshot = store.snapshot("loss")
    assert snapshot is not None
    assert [(each.step, each.time) for each in snapshot.resumes] == [(20, START + 130)]
    assert snapshot.points == 30


def test_without_its_file_a_split_bucket_stays_whole_and_says_so() -> None:
    count = CAPACITY * 4
    store = store_of(records(range(count), [1.0] * count), ["loss"])
    store.ingest(records([count // 2 + 1], [2.0]), ["loss"])
    snapshot = store.snapshot("loss")
    assert snapshot is not None
    assert not snapshot.exact
    assert snapshot.last_step[-1] == count // 2 + 1
    assert (np.diff(snapshot.first_step) > 0).all()


def test_same_numbers_as_the_summary_of_the_file(tmp_path: Path) -> None:
    writer = PointWriter(tmp_path)
    for step in [*range(50), *range(30, 40)]:
        writer.add(step, {"loss": 1.0 / (step + 1), "gap": math.nan if step == 35 else 0.0})
        writer.add(step, {PROGRESS: 50})
    writer.close()
    raw = (tmp_path / "points.bin").read_bytes()
    store = store_of(raw, ["loss", "gap", PROGRESS], tmp_path / "points.bin")
    summary = summarize(tmp_path)
    assert store.names() == ["loss", "gap"]
    for name in store.names():
        snapshot = store.snapshot(name)
        assert snapshot is not None
        assert snapshot.points == summary[name]["count"]
        assert snapshot.low.min() == summary[name]["min"]
        assert snapshot.high.max() == summary[name]["max"]
        assert snapshot.points - snapshot.finite.sum() == summary[name]["nonfinite"]
        assert snapshot.last_step[-1] == summary[name]["step"]


def test_a_million_points_stay_in_bounded_memory() -> None:
    series = Series()
    for start in range(0, 1_000_000, 50_000):
        steps = np.arange(start, start + 50_000)
        series.extend(Points(steps, steps * 1.0, np.sin(steps / 1e4), steps))
    snapshot = series.snapshot("loss", 0, 0)
    assert snapshot.points == 1_000_000
    assert CAPACITY / 2 <= len(snapshot) <= CAPACITY
    assert snapshot.ints.nbytes + snapshot.floats.nbytes < 500_000


def test_numbers_without_a_name_are_passed_over() -> None:
    store = SeriesStore()
    raw = records([1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0], [0, 1, 4_000_000_000, 70_000])
    assert store.ingest(raw, ["loss"]) == 4
    assert store.names() == ["loss"]
    assert store.records == 4
    store.ingest(records([5], [5.0], 1), ["loss", "accuracy"])
    assert store.names() == ["loss", "accuracy"]


def test_a_torn_record_is_refused() -> None:
    with pytest.raises(ValueError, match="buffer size"):
        SeriesStore().ingest(b"\0" * 27, ["loss"])


def test_clear_forgets_everything() -> None:
    store = store_of(training(100))
    before = store.version
    store.clear()
    assert store.version != before
    assert store.names() == [] and store.records == 0
    assert store.last_time is None and store.snapshot("train/loss") is None
    assert store.series_version("train/loss") == -1
    store.ingest(records([0], [1.0]), ["other"])
    assert store.names() == ["other"]


def test_a_series_seen_again_after_clear_counts_as_changed() -> None:
    store = store_of(records([0], [1.0]), ["loss"])
    seen = store.series_version("loss")
    store.clear()
    store.ingest(records([0], [2.0]), ["loss"])
    snapshot = store.snapshot("loss")
    assert store.series_version("loss") != seen
    assert snapshot is not None and snapshot.last[-1] == 2.0


def test_detail_fits_on_as_the_run_goes_on(tmp_path: Path) -> None:
    source = tmp_path / "points.bin"
    count = CAPACITY * 5 + 7
    values = np.random.default_rng(1).normal(size=count)
    raw = records(range(count), values.tolist())
    source.write_bytes(raw)
    store = store_of(raw, ["loss"], source)
    whole = store.snapshot("loss")
    assert whole is not None and whole.width == 8
    detail = store.detail(whole, len(whole) - 3, len(whole))
    assert detail is not None and detail.width == 1
    more = records([count, count + 1], [1.0, 2.0])
    with source.open("ab") as file:
        file.write(more)
    store.ingest(more, ["loss"])
    grown = store.snapshot("loss")
    assert grown is not None
    spliced = grown.spliced(detail)
    assert spliced is not None
    assert spliced.points == count + 2
    assert len(spliced) > len(grown)


def test_detail_is_refused_when_the_file_is_another(tmp_path: Path) -> None:
    source = tmp_path / "points.bin"
    count = CAPACITY * 2
    raw = records(range(count), [1.0] * count)
    store = store_of(raw, ["loss"], source)
    whole = store.snapshot("loss")
    assert whole is not None
    assert store.detail(whole, 0, 10) is None
    source.write_bytes(raw[:28])
    assert store.detail(whole, 0, 10) is None
    source.write_bytes(records(range(count), [1.0] * count, 3))
    assert store.detail(whole, 0, 10) is None
    assert store_of(raw, ["loss"]).detail(whole, 0, 10) is None


def test_snapshots_are_whole_while_another_thread_ingests() -> None:
    store = SeriesStore()
    count = 60_000
    raw = np.frombuffer(records(range(count), np.arange(count).tolist()), DTYPE)
    done = threading.Event()

    def write() -> None:
        for start in range(0, count, 500):
            store.ingest(raw[start : start + 500].tobytes(), ["loss"])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while True:
        finished = done.is_set()
        snapshot = store.snapshot("loss")
        if snapshot is not None:
            # Value and step are equal here, so a torn bucket would show.
            assert (snapshot.first_step == snapshot.low).all()
            assert (snapshot.last_step == snapshot.high).all()
            assert snapshot.points == snapshot.last_step[-1] + 1 >= seen
            seen = snapshot.points
        if finished:
            break
    writer.join()
    assert seen == count


def test_elapsed_time_starts_at_the_earliest_point() -> None:
    store = store_of(records([0, 1, 2], [1.0] * 3, times=[50.0, math.nan, 40.0]), ["loss"])
    assert (store.first_time, store.last_time) == (40.0, 50.0)


def test_names_list() -> None:
    assert store_of(training(100)).names() == NAMES
