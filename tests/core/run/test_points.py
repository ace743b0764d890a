"""The point format: nothing torn is read, nothing flushed is lost, resumed runs replace."""

from __future__ import annotations

import math
import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindeck.core.run.follow import LineTail, PointTail
from traindeck.core.run.points import (
    RECORD,
    PointWriter,
    Summarizer,
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
    read = {name: [(step, value) for _, step, value in points[name]] for name in want}
    assert repr(read) == repr(want)
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
    summary = summarize(tmp_path)
    assert {name for name in summary if name != "shared"} == {"worker0", "worker1", "worker2"}
    assert all(summary[f"worker{n}"]["count"] == 2000 for n in range(3))


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
    summary = summarize(tmp_path)["loss"]
    assert time.process_time() - began < 5
    assert (summary["count"], summary["max"]) == (rewinds - 1, 1 - 1e-9)
    assert summary["min"] == summary["last"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_writers_on_a_disk_that_fills_up_never_shift_each_others_records(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", tmp_path], check=True)
    try:
        writers = [PointWriter(tmp_path), PointWriter(tmp_path)]
        filler = tmp_path / "filler"
        filler.write_bytes(b"x" * (176 << 10))
        for step in range(1000):
            for writer in writers:
                writer.add(step, {"loss": 0.5})
        for writer in writers:
            with pytest.raises(OSError, match="No space"):
                writer.flush()
            assert (tmp_path / "points.bin").stat().st_size % RECORD.size == 0
        with pytest.raises(OSError, match="No space"):
            for number in range(5000):
                writers[0].add(0, {f"name {number}": 1.0})
        assert (tmp_path / "points.names").read_bytes().endswith(b"\n")
        filler.unlink()
        for writer in writers[::-1]:
            writer.add(1000, {"last": 1.0})
            writer.close()
        records = list(RECORD.iter_unpack((tmp_path / "points.bin").read_bytes()))
        steps = [record[1] for record in records if record[2] == 0]
        assert sorted(steps) == sorted([*range(1000), *range(1000)])
        assert {record[3] for record in records if record[2] == 0} == {0.5}
        assert summarize(tmp_path)["last"]["count"] == 2
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_torn_name_is_not_glued_to_the_next(tmp_path: Path) -> None:
    first = PointWriter(tmp_path)
    first.add(1, {"loss": 1.0})
    with (tmp_path / "points.names").open("ab") as file:
        file.write(b"accu")
    first.add(1, {"accuracy": 1.0})
    first.close()
    assert (tmp_path / "points.names").read_bytes() == b"loss\naccuracy\n"
    assert summarize(tmp_path)["accuracy"]["count"] == 1


def test_a_new_name_costs_the_same_however_many_there_are(tmp_path: Path) -> None:
    read = 0

    def count(file: int, size: int, offset: int) -> bytes:
        nonlocal read
        data = pread(file, size, offset)
        read += len(data)
        return data

    pread, os.pread = os.pread, count
    try:
        writer = PointWriter(tmp_path)
        for number in range(2000):
            writer.add(1, {f"series {number:06}": 1.0})
        writer.close()
    finally:
        os.pread = pread
    assert read == (tmp_path / "points.names").stat().st_size
    assert len(summarize(tmp_path)) == 2000
