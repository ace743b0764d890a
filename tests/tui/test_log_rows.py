"""Which rows wide lines take: each cell of each line is in one, and rows are found by lines."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from traindeck.tui.widgets.log_rows import LogRows, starts_of

TEXT = st.text(st.sampled_from("ab 日é本\U0001f4bb"), max_size=60)


@given(text=TEXT, width=st.integers(2, 20))
def test_rows_of_a_line_hold_all_of_it(text: str, width: int) -> None:
    starts = [*starts_of(text, width), cell_len(text)]
    assert starts[0] == 0 and starts == sorted(starts)
    assert all(end - start <= width for start, end in pairwise(starts))


@given(lines=st.dictionaries(st.integers(0, 50), TEXT, max_size=20), width=st.integers(2, 20))
def test_rows_and_lines_find_each_other(lines: dict[int, str], width: int) -> None:
    rows = LogRows()
    for line, text in lines.items():
        rows.measure(line, text, width)
    told = [rows.at(row) for row in range(51 + rows.extra)]
    whole = [(line, within) for line in range(51) for within in range(len(rows.starts(line)))]
    assert told == whole
    assert [told[rows.row_of(line)] for line in range(51)] == [(line, 0) for line in range(51)]


def test_what_is_measured_anew_or_forgotten_takes_the_rows_it_has_now() -> None:
    rows = LogRows()
    for line in (3, 5):
        rows.measure(line, "x" * 25, 10)
    assert (rows.extra, rows.row_of(9)) == (4, 13)
    rows.measure(3, "short", 10)
    assert (rows.extra, rows.row_of(4)) == (2, 4)
    rows.keep([1])
    assert (rows.extra, rows.row_of(9)) == (0, 9)
