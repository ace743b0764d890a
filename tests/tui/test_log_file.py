"""Logs of any size and any content are read by position, a budget at a time."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from traindeck.tui.readers.log import CELL_BYTES, SHOWN_BYTES, LogFile, LogSearch


def index(log: LogFile) -> None:
    """Read all there is, in small slices."""
    while log.update(1 << 20, time.monotonic()):
        pass


def search(log: LogFile, needle: str) -> LogSearch:
    text_search = LogSearch(needle)
    while text_search.step(log, 1 << 20, time.monotonic()):
        pass
    return text_search


def hits(text_search: LogSearch) -> list[int]:
    lines, line = [], text_search.after(-1)
    while line is not None:
        lines.append(line)
        line = text_search.after(line)
    return lines


def texts(log: LogFile, first: int = 0, count: int = 1 << 20) -> list[str]:
    return [line.text for line in log.read(first, count)]


class TestLines:
    def test_there_are_none_before_the_file_is(self, tmp_path: Path) -> None:
        log = LogFile(tmp_path / "output.log")
        index(log)
        assert (log.lines, log.missing, log.read(0, 10)) == (0, True, [])

    def test_a_last_line_that_goes_on_is_a_line(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"one\ntw")
        log = LogFile(path)
        index(log)
        assert texts(log) == ["one", "tw"]
        with path.open("ab") as file:
            file.write(b"o\nthree\n")
        index(log)
        assert texts(log) == ["one", "two", "three"]

    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        bursts=st.lists(
            st.lists(
                st.sampled_from([0, 1, 7, 80, SHOWN_BYTES, CELL_BYTES - 1, CELL_BYTES, 300_000]),
                max_size=12,
            ),
            min_size=1,
            max_size=4,
        ),
        torn=st.booleans(),
        seed=st.integers(0, 1 << 16),
    )
    def test_any_line_is_found_by_its_number(
        self, tmp_path: Path, bursts: list[list[int]], torn: bool, seed: int
    ) -> None:
        path = tmp_path / "output.log"
        path.unlink(missing_ok=True)
        rng = random.Random(seed)
        log = LogFile(path)
        written = b""
        for lengths in bursts:
            burst = b"".join(rng.randbytes(n).hex()[:n].encode() + b"\n" for n in lengths)
            if torn:
                burst = burst[:-1]
            with path.open("ab") as file:
                file.write(burst)
            written += burst
            index(log)
            expected = written.split(b"\n")
            if not expected[-1]:
                expected.pop()
            assert log.lines == len(expected)
            for line in log.read(0, len(expected)):
                assert line.text.encode() == expected[line.number][:SHOWN_BYTES]
                assert line.hidden == max(0, len(expected[line.number]) - SHOWN_BYTES)
            for number in rng.sample(range(len(expected)), min(5, len(expected))):
                assert texts(log, number, 2) == [
                    text[:SHOWN_BYTES].decode() for text in expected[number : number + 2]
                ]
        assert hits(search(log, "AB1")) == [n for n, text in enumerate(expected) if b"ab1" in text]
        log.close()

    def test_a_file_that_shrank_or_was_replaced_starts_over(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"old\n" * 100)
        log = LogFile(path)
        index(log)
        path.write_bytes(b"new\n")
        index(log)
        assert (texts(log), log.restarts) == (["new"], 1)
        other = tmp_path / "other"
        other.write_bytes(b"a longer file than it was before\nyes\n")
        other.rename(path)
        index(log)
        assert (log.lines, log.restarts) == (2, 2)

    def test_a_deleted_file_stays_readable(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"still here\n")
        log = LogFile(path)
        index(log)
        path.unlink()
        index(log)
        assert (log.missing, texts(log)) == (True, ["still here"])

    def test_a_file_that_cannot_be_read_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "output.log").mkdir()
        log = LogFile(tmp_path / "output.log")
        index(log)
        assert log.error is not None and "output.log" in log.error


class TestHostileBytes:
    @pytest.mark.parametrize(
        ("printed", "shown"),
        [
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"[bold red]not markup[/]", "[bold red]not markup[/]"),
            (b"10 %\r20 %\r30 %", "30 %"),
            (b"windows line\r", "windows line"),
        ],
    )
    def test_what_a_terminal_would_show_is_left(
        self, tmp_path: Path, printed: bytes, shown: str
    ) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(printed + b"\n")
        log = LogFile(path)
        index(log)
        assert texts(log) == [shown]

    def test_nothing_that_moves_a_cursor_is_left(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(random.Random(3).randbytes(1 << 20))
        log = LogFile(path)
        index(log)
        for text in texts(log):
            assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text)

    def test_a_progress_bar_of_megabytes_shows_its_last_state(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"".join(b"\r%d of 200000" % n for n in range(200_000)) + b"\nnext\n")
        log = LogFile(path)
        index(log)
        assert texts(log) == ["199999 of 200000", "next"]

    def test_a_line_of_ten_megabytes_costs_no_more_than_its_head(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"x" * 10_000_000 + b"\nafter\n")
        log = LogFile(path)
        index(log)
        begun = time.thread_time()
        long, after = log.read(0, 2)
        assert time.thread_time() - begun < 0.1
        assert (len(long.text), long.hidden) == (SHOWN_BYTES, 10_000_000 - SHOWN_BYTES)
        assert after.text == "after"


class TestBudgets:
    def test_no_call_reads_more_than_it_may(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"0123456789abcde\n" * (1 << 18))
        log = LogFile(path)
        assert log.update(100_000, time.monotonic() + 60)
        assert log.indexed == 100_000

    def test_a_million_lines_are_indexed_in_little_time_and_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"".join(b"line %d of a million\n" % n for n in range(1_000_000)))
        log = LogFile(path)
        begun = time.thread_time()
        index(log)
        assert time.thread_time() - begun < 1.0  # 0.05 s of an idle machine
        assert log.lines == 1_000_000
        assert len(log._entry_lines) * 16 < 100_000
        assert texts(log, 765_432, 1) == ["line 765432 of a million"]


class TestSearch:
    def test_letters_match_in_either_case_and_nothing_is_a_pattern(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"Loss: 3.1\nnothing\nloss: 341\nLOSS: 3.1 and loss: 3.1\n")
        log = LogFile(path)
        index(log)
        assert hits(search(log, "loss: 3.1")) == [0, 3]

    def test_goes_on_with_what_is_appended_to_the_middle_of_a_match(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"one\nneed")
        log = LogFile(path)
        index(log)
        lines = search(log, "needle")
        assert lines.count == 0
        with path.open("ab") as file:
            file.write(b"le\nneedle\n")
        index(log)
        while lines.step(log, 1 << 20, time.monotonic()):
            pass
        assert hits(lines) == [1, 2]
        assert (lines.before(2), lines.after(1), lines.after(2), lines.rank(2)) == (1, 2, None, 2)

    def test_does_not_find_what_is_not_seen(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(b"\x1b[31mwarm\n" + b"31m gone\rhere\n" + b"31m\n")
        log = LogFile(path)
        index(log)
        assert hits(search(log, "31m")) == [2]

    def test_stays_within_its_budget(self, tmp_path: Path) -> None:
        path = tmp_path / "output.log"
        path.write_bytes(os.urandom(1 << 12).hex().encode() * 1024)
        log = LogFile(path)
        index(log)
        absent = LogSearch("not there")
        assert absent.step(log, 1 << 18, time.monotonic() + 60)
        assert absent.scanned < 1 << 19
