"""The point format: nothing torn is read, nothing flushed is lost, resumed runs replace."""

from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindeck.core.follow import LineTail, PointTail
from traindeck.core.points import (
    RECORD,
    PointWriter,
    Summarizer,
    last_progress,
    read_points,
    summarize,
)

LOGGED = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(["loss", "acc/uracy", "läng"]),
        st.floats(allow_nan=True, allow_infinity=True),
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> pytest.TempPathFactory:
    return tmp_path_factory


def expected(logged: list[tuple[int, str, float]]) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for step, name, value in logged:
        kept = series.setdefault(name, [])
        if kept and step < kept[-1][0]:
            kept[:] = [point for point in kept if point[0] < step]
        kept.append((step, value))
    return series


@given(LOGGED, st.integers(0, 27))
def test_what_is_read_is_what_was_logged(
    folders: pytest.TempPathFactory, logged: list[tuple[int, str, float]], torn: int
) -> None:
    folder = folders.mktemp("run")
    writer = PointWriter(folder)
    live = Summarizer(folder)
    for number, (step, name, value) in enumerate(logged):
        writer.add(step, {name: value})
        if number % 7 == 0:
            writer.flush()
            live.update()
    writer.close()
    with (folder / "points.bin").open("ab") as file:
        file.write(b"\xff" * torn)
    want = expected(logged)
    points = read_points(folder, set(want))
    found = {name: [(step, value) for _, step, value in points[name]] for name in want}
    assert repr(found) == repr(want)
    summary = summarize(folder)
    assert live.update() == summary
    for name, kept in want.items():
        finite = [value for _, value in kept if math.isfinite(value)]
        assert summary[name]["count"] == len(kept)
        assert summary[name]["min"] == (min(finite) if finite else None)
        assert summary[name]["max"] == (max(finite) if finite else None)
        assert summary[name]["nonfinite"] == len(kept) - len(finite)


def test_a_torn_tail_is_cut_when_writing_goes_on(tmp_path: Path) -> None:
    writer = PointWriter(tmp_path)
    writer.add(1, {"loss": 1.0})
    writer.close()
    with (tmp_path / "points.bin").open("ab") as file:
        file.write(b"torn")
    writer = PointWriter(tmp_path)
    writer.add(2, {"loss": 2.0, "other": 3.0})
    writer.close()
    assert summarize(tmp_path)["loss"]["count"] == 2
    assert summarize(tmp_path)["other"]["last"] == 3.0


def _write_many(folder: Path, name: str) -> None:
    writer = PointWriter(folder)
    for step in range(2000):
        writer.add(step, {name: step, "shared": step})
        if step % 50 == 0:
            writer.flush()
    writer.close()


def test_several_processes_write_one_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(tmp_path, f"worker{n}")) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = summarize(tmp_path)
    assert {name for name in found if name != "shared"} == {"worker0", "worker1", "worker2"}
    assert all(found[f"worker{n}"]["count"] == 2000 for n in range(3))


def test_a_file_that_shrank_is_read_anew(tmp_path: Path) -> None:
    writer = PointWriter(tmp_path)
    tail = PointTail(tmp_path)
    writer.add(1, {"a": 1.0})
    writer.add(2, {"a": 2.0})
    writer.flush()
    assert len(tail.read().data) == 2 * RECORD.size
    (tmp_path / "points.bin").write_bytes((tmp_path / "points.bin").read_bytes()[: RECORD.size])
    again = tail.read()
    assert again.restarted
    assert len(again.data) == RECORD.size


def test_lines_come_whole_and_endless_ones_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    tail = LineTail(path)
    assert tail.read() == []
    path.write_bytes(b"one\ntw")
    assert tail.read() == [b"one"]
    with path.open("ab") as file:
        file.write(b"o\n" + b"x" * (3 << 20))
    assert tail.read() == [b"two"]
    assert sum(len(piece) for _ in range(4) for piece in tail.read()) == 3 << 20


def test_progress_is_found_from_the_end(tmp_path: Path) -> None:
    writer = PointWriter(tmp_path)
    writer.add(3, {"progress": 10.0})
    for step in range(10000):
        writer.add(step, {"loss": 1.0})
    writer.close()
    assert last_progress(tmp_path) == (3, 10.0)
    assert "progress" not in summarize(tmp_path)


def test_two_processes_that_log_one_series_are_summarized_as_fast_as_one(tmp_path: Path) -> None:
    rewinds = 40_000  # a look at all before each of them would take minutes
    records = [
        RECORD.pack(0.0, step - late, 0, 1 / step - late * 1e-9)
        for step in range(1, rewinds)
        for late in (0, 1)
    ]
    (tmp_path / "points.bin").write_bytes(b"".join(records))
    (tmp_path / "points.names").write_text("loss\n")
    began = time.process_time()
    found = summarize(tmp_path)["loss"]
    assert time.process_time() - began < 5
    assert (found["count"], found["max"]) == (rewinds - 1, 1 - 1e-9)
    assert found["min"] == found["last"]
