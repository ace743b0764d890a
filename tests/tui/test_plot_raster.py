"""The rasteriser: pictures as text, and what holds for any data."""

from __future__ import annotations

import math
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.tui.plotdata import records, store_of
from traindeck.tui.plot import raster
from traindeck.tui.plot.raster import Frame, draw, with_cursor, with_selection
from traindeck.tui.plot.view import Line, Plot, View, Window


def picture(text: str) -> str:
    return dedent(text).strip("\n")


def shown(
    values: list[float],
    width: int = 40,
    height: int = 8,
    view: View | None = None,
    steps: list[int] | None = None,
    *more: list[float],
) -> Frame:
    series = [values, *more]
    lines = []
    for color, each in enumerate(series):
        store = store_of(records(steps or range(len(each)), each), ["loss"])
        lines.append(Line(store, "loss", "loss", color))
    return Plot("loss", lines).frame(view or View(), width, height)


def test_a_falling_line() -> None:
    assert shown([3.0, 1.0]).text() == picture("""
        3┤⠒⠢⠤⢄⣀┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈
         │     ⠉⠉⠒⠢⠤⢄⣀
         │            ⠉⠉⠒⠢⠤⢄⣀
        2┤┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈⠉⠑⠒⠢⠤⣀⣀┈┈┈┈┈┈┈┈┈┈┈┈
         │                          ⠉⠑⠒⠢⠤⣀⣀
        1┤┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈⠉⠑⠒⠢⠤
         └┬────────────────────────────────────┬
          0                                    1
    """)


def test_gaps_and_marks_for_values_that_are_not_finite() -> None:
    values = [1.0, 2.0, math.nan, 2.0, 1.0, math.inf, 2.0, -math.inf, 1.0]
    frame = shown(values)
    assert frame.axes is not None
    assert (frame.axes.y0, frame.axes.y1) == (pytest.approx(0.97), pytest.approx(2.03))
    assert frame.text() == picture("""
        2┤┈┈┈┈⡰┈┈┈┈┈┈┈┈┈⢆┈┈┈┈┈┈┈┈▲┈┈┈┈•┈┈┈┈┈┈┈┈┈
         │   ⡰⠁         ⠈⢆
         │  ⢠⠃           ⠈⢆
         │ ⢀⠇             ⠈⡆
         │ ⡎               ⠘⡄
        1┤⠜┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈⠘⠄┈┈┈┈┈┈┈┈┈┈┈┈┈▼┈┈┈•
         └┬────────×─────────────┬──────────────
          0                      5
    """)
    alerts = frame.styles == raster.ALERT
    assert sorted(chr(char) for char in frame.cells[alerts]) == ["×", "▲", "▼"]


def test_a_lone_point_can_be_seen() -> None:
    assert shown([2.0], 20, 4, steps=[5]).text() == picture("""
        2.2┤
        2.0┤        •
           │
                    5
    """)


def test_a_constant_lies_in_the_middle() -> None:
    rows = shown([2.0] * 9, 20, 7).text().splitlines()
    assert "⠒" in rows[3] or "⠤" in rows[3] or "⠉" in rows[3]


def test_markers_tell_curves_apart_without_color() -> None:
    frame = shown([1.0, 2.0], 30, 8, None, None, [2.0, 1.0], [1.0, 1.0])
    marks = {char for char in frame.text() if char in raster.MARKERS}
    assert marks == set("●■▲")


def test_markers_that_end_in_one_place_stand_side_by_side() -> None:
    frame = shown([1.0, 2.0], 30, 8, None, None, [1.5, 2.0])
    row = next(row for row in frame.text().splitlines() if "●" in row)
    assert row[-3] == "■" and row[-1] == "●"


def test_log_axis_leaves_out_what_is_not_above_zero_and_says_so() -> None:
    frame = shown([1000.0, 100.0, 0.0, -5.0, 10.0, 1.0], view=View(log=True))
    assert frame.left_out
    assert [tick.label for tick in frame.y_ticks] == ["1", "100"]
    assert not shown([1000.0, 1.0], view=View(log=True)).left_out


def test_words_where_there_is_nothing_to_draw() -> None:
    assert "no data yet" in Plot("loss", []).frame(View(), 30, 5).text()
    assert "no finite values" in shown([math.nan, math.inf]).text()
    assert "no finite values" in shown([math.inf], view=View(log=True)).text()
    assert "nothing above 0" in shown([0.0, -1.0], view=View(log=True)).text()
    far = View(window=Window(100, 200))
    assert "no points here" in shown([1.0, 2.0], view=far).text()


def test_resumed_runs_are_marked() -> None:
    steps = [*range(10), *range(5, 12)]
    store = store_of(records(steps, [1.0] * len(steps)), ["loss"])
    frame = Plot("loss", [Line(store, "loss", "loss")]).frame(View(), 40, 10)
    assert raster.RESUME_MARK in frame.text().splitlines()[8]
    assert "┊" in frame.text()


def test_spikes_survive_decimation() -> None:
    values = [0.0] * 50_000
    values[23_456] = 9.0
    frame = shown(values, 60, 12)
    assert frame.axes is not None and frame.axes.y1 > 9
    top = frame.cells[:2, frame.left :]
    assert ((top > 0x2800) & (top < 0x2900)).any()
    assert raster.FAINT in frame.styles[:2]


def test_smoothing_draws_the_raw_curve_faint_behind() -> None:
    values = np.random.default_rng(0).normal(size=200).tolist()
    plain = shown(values, 60, 12)
    smoothed = shown(values, 60, 12, View(weight=0.9))
    assert (smoothed.styles == raster.FAINT).sum() > (plain.styles == raster.FAINT).sum()
    assert (smoothed.styles & 0xFF == raster.LINE).any()


def test_elapsed_time_axis() -> None:
    frame = shown([1.0, 2.0] * 60, 60, 10, View(elapsed=True))
    assert [tick.label for tick in frame.x_ticks][:3] == ["0s", "30s", "1m"]


def test_cursor_and_selection_leave_the_picture_beneath() -> None:
    frame = shown([3.0, 1.0])
    pointed = with_cursor(frame, 20, "1,234")
    assert " 1,234 " in pointed.text().splitlines()[-1]
    assert chr(pointed.cells[0, 20]) == "│"
    assert (pointed.cells[:, 21:][:6] == frame.cells[:, 21:][:6]).all()
    marked = with_selection(frame, 30, 10)
    assert (marked.cells == frame.cells).all()
    assert (marked.styles[0, 10:31] & raster.SELECTED).all()
    assert not (marked.styles[0, 31:] & raster.SELECTED).any()


def test_the_label_of_the_cursor_leaves_no_half_number_beside_it() -> None:
    frame = shown([1.0] * 1000, 60, 10)
    for column in range(frame.left, 60):
        words = with_cursor(frame, column, "123").text().splitlines()[-1].split()
        assert set(words) - {"123"} <= {tick.label for tick in frame.x_ticks}


def test_columns_and_places_agree() -> None:
    frame = shown([3.0, 1.0] * 50, 50, 10)
    for column in range(frame.left, 50):
        x = frame.x_of(column)
        assert x is not None
        assert frame.column_of(x) == column
    assert frame.x_of(frame.left - 1) is None
    assert frame.column_of(1e9) is None


def test_nothing_is_drawn_twice() -> None:
    store = store_of(records(range(100), [1.0] * 100), ["loss"])
    plot = Plot("loss", [Line(store, "loss", "loss")])
    first = plot.frame(View(), 40, 10)
    assert plot.frame(View(), 40, 10) is first
    assert plot.frame(View(cursor=5.0), 40, 10) is not first
    store.ingest(records([100], [2.0]), ["loss"])
    assert plot.frame(View(), 40, 10) is not first


VALUES = st.one_of(
    st.floats(width=64),
    st.floats(-10, 10),
    st.sampled_from([0.0, math.nan, math.inf, -math.inf, 1.7e308, -1.7e308, 5e-324, 1e-300]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-(2**62), 2**62), VALUES), min_size=1, max_size=60),
    st.lists(VALUES, max_size=20),
    st.integers(1, 90),
    st.integers(1, 25),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.6, 0.99]),
    st.one_of(st.none(), st.tuples(st.floats(-1e3, 1e3), st.floats(1e-6, 1e6))),
)
@example([(0, 1e-300), (1, 1e300)], [], 40, 8, True, False, 0.0, None)
@example([(0, -1.7e308), (1, 1.7e308)], [], 40, 8, False, False, 0.6, None)
@example([(-1, 2.9e180), (0, 3e-128), (2, 0.0)], [], 1, 1, False, False, 0.6, (0.0, 1.0))
@example([(0, 1.0), (2**62, 1.0)], [], 40, 8, False, True, 0.6, None)
def test_any_data_is_drawn_within_the_picture(
    points: list[tuple[int, float]],
    second: list[float],
    width: int,
    height: int,
    log: bool,
    elapsed: bool,
    weight: float,
    window: tuple[float, float] | None,
) -> None:
    steps, values = zip(*sorted(points, key=lambda each: each[0]), strict=True)
    lines = [Line(store_of(records(steps, values), ["loss"]), "loss", "a", 0)]
    if second:
        other = store_of(records(range(len(second)), second), ["loss"])
        lines.append(Line(other, "loss", "b", 1))
    part = None if window is None else Window(window[0], window[0] + window[1])
    view = View(log, weight, elapsed, part, cursor=0.0)
    plot = Plot("loss", lines)
    frame = plot.frame(view, width, height)
    assert frame.cells.shape == frame.styles.shape == (height, width)
    assert (frame.cells >= ord(" ")).all()
    area = frame.cells[: frame.rows, frame.left :]
    inked = (frame.cells > 0x2800) & (frame.cells < 0x2900)
    assert inked.sum() == ((area > 0x2800) & (area < 0x2900)).sum()
    if frame.axes is None or window is not None:
        return
    low, high = frame.axes.y0, frame.axes.y1
    assert low < high
    for value in (*values, *second):
        if math.isfinite(value) and (value > 0 or not log):
            assert low <= value <= high
    assert math.isfinite(low) and math.isfinite(high)


def test_every_cell_of_a_dense_curve_is_joined() -> None:
    values = np.cumsum(np.random.default_rng(2).normal(size=500)).tolist()
    frame = shown(values, 80, 20)
    area = frame.cells[: frame.rows, frame.left :]
    columns = ((area > 0x2800) & (area < 0x2900)).any(axis=0)
    assert columns.all()


def test_an_empty_picture() -> None:
    assert draw([], None, 0, 0).cells.shape == (1, 1)


def test_many_curves_are_drawn_as_lines_alone() -> None:
    noise = np.random.default_rng(0).normal(size=(6, 2000))
    few = shown(noise[0].tolist(), 60, 12, None, None, *noise[1:4].tolist())
    many = shown(noise[0].tolist(), 60, 12, None, None, *noise[1:].tolist())
    faint = range(raster.FAINT, raster.FAINT + 6)
    assert np.isin(few.styles, faint).any()
    assert not np.isin(many.styles, faint).any()
