"""Whatever runs print, what is shown are characters that only show themselves."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traindeck.core.base.sanitize import WIDTH_LIMIT, clean, plain


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain ASCII [red]\\[bold]", "plain ASCII [red]\\[bold]"),
        ("Zürich 東京 עברית 🙂", "Zürich 東京 עברית 🙂"),
        ("two\nlines\n", "two\nlines\n"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b[38;2;1;2;3mrgb\x1b[K \x1b[?25l\x1b[2J\x1b[1;1Hhome", "rgb home"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;cm0gLXJmIC8=\x07text", "text"),
        ("\x1bP1;2|17/ab\x1b\\text \x9d0;title\x9ctext", "text text"),
        ("\x1b_Gf=24;AAAA\x1b\\ \x1b^pm\x1b\\\x1bXsos\x1b\\x", " x"),
        ("\x1b(B\x1b=\x1b7\x1bctext", "text"),
        ("\x1b]0;no end\nnext line", "0;no end\nnext line"),
        ("\x1b\x1b[31m[32mtext\x1b", "[32mtext"),
        ("bell\x07 back\x08\x08", "bell back"),
        ("\x00nul\x0b\x0c\x1c\x7f", "␀nul␋␌␜␡"),
        ("\x85\x8d", "��"),
        ("line\u2028para\u2029end", "line para end"),
        ("access \u202eexe.gnp\u202c \u2066x\u2069\u200f", "access exe.gnp x"),
        ("zero\u200bwidth\ufeff\u2060\u00adjoin\u200ders", "zerowidthjoiners"),
        ("tags\U000e0041\U000e0042 and selectors\ufe0f", "tags and selectors"),
        ("lone \ud800 surrogate", "lone � surrogate"),
        ("e\u0301 is fine, e" + "\u0301" * 50, "e\u0301 is fine, e" + "\u0301" * 4),
        ("a\tb\n\tc", "a       b\n        c"),
    ],
)
def test_what_is_printed_and_what_is_shown(printed: str, shown: str) -> None:
    assert clean(printed) == shown
    assert clean(printed.encode("utf-8", "surrogatepass")) == shown or "\ud800" in printed


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (" 10%\r 20%\r 30%\n", " 30%\n"),
        (" 10%\r 20%\r\n", " 20%\n"),
        ("dos\r\nlines\r\n", "dos\nlines\n"),
        ("bar\r     \rtext\n", "text\n"),
        ("bar\r\x1b[K\r\n", "bar\n"),
        ("1/2 [=>..]\x08\x08\x08\x08\r2/2 [====]\n", "2/2 [====]\n"),
        ("\r\r\r", ""),
    ],
)
def test_progress_bars_leave_their_last_state(printed: str, shown: str) -> None:
    assert clean(printed) == shown


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert clean(b"caf\xe9 \xff\xfe ok \xed\xa0\x80") == "caf� �� ok ���"


def test_long_lines_say_how_much_is_left_out() -> None:
    assert clean("x" * 12, width_limit=10) == "xxxxxxxxxx… [+2 bytes]"
    assert clean("x" * 10, width_limit=10) == "x" * 10
    assert clean("ab\nééééé\ncd", width_limit=3) == "ab\nééé… [+4 bytes]\ncd"
    assert clean(b"x" * (WIDTH_LIMIT + 1)).endswith("x… [+1 bytes]")
    assert clean("\x1b[31m" * 1000 + "short", width_limit=10) == "short"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  name  ", "name"),
        ("two\nlines\tand\r\nmore", "two lines and more"),
        (b"\x1b[31mred\x1b[0m\x00", "red␀"),
        ("x" * 300, "x" * 199 + "…"),
        ("", ""),
    ],
)
def test_single_fields_are_one_line(text: str | bytes, shown: str) -> None:
    assert plain(text) == shown


PIECES = (
    b"\x1b [ ] \x1b[3 \x1b]52;c; \x07 \x1b\\ \r P \xc2\x9b \xc2\x9d \xc2\x9c \xe2\x80\xae 0;1m \x08"
).split(b" ")
HOSTILE = st.lists(
    st.one_of(
        st.binary(max_size=10),
        st.text(max_size=10).map(lambda text: text.encode("utf-8", "replace")),
        st.sampled_from([*PIECES, b"\n", b"\t"]),
    )
).map(b"".join)
# Signs that number or enclose what follows: of the format category, but seen.
SEEN = set("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")


@settings(deadline=None, max_examples=500)
@given(HOSTILE, st.integers(1, 50))
def test_only_harmless_characters_come_out(data: bytes, limit: int) -> None:
    for shown in (clean(data, limit), clean(data), plain(data), clean(data.decode("latin-1"))):
        kinds = {unicodedata.category(c) for c in shown if c != "\n" and c not in SEEN}
        assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        shown.encode()
    assert "\n" not in plain(data)
    assert len(plain(data)) <= 200


@settings(deadline=None)
@given(HOSTILE)
def test_lines_stay_lines_and_what_is_clean_stays_as_it_is(data: bytes) -> None:
    shown = clean(data)
    assert shown.count("\n") == data.count(b"\n")
    assert clean(shown) == shown
    assert shown == "\n".join(clean(line) for line in data.split(b"\n"))


@pytest.mark.parametrize(
    "unit",
    [
        *(b"\x1b", b"\x1b[", b"\x1b]", b"\x1b]8;;", b"\xc2\x9d", b"\x1b[31mx", b"\x1b]0;x\x07"),
        *(b"\xff", b"\xe2\x80\x8b", b"\xcc\x81", b"a\r", b"\r", b"\x00", b"\t", b"\n"),
    ],
    ids=repr,
)
def test_the_time_it_takes_is_linear(unit: bytes) -> None:
    line = unit * (2_000_000 // len(unit))
    start = time.process_time()
    clean(line)
    assert time.process_time() - start < 10  # seconds; quadratic would be hours


def test_ten_megabytes_on_one_line_take_a_moment() -> None:
    start = time.process_time()
    assert len(clean(b"x" * 10_000_000)) < WIDTH_LIMIT + 100
    assert time.process_time() - start < 2


def test_short_lines_are_quick() -> None:
    line = b"\x1b[32mepoch 3\x1b[0m loss 0.1234 accuracy 0.9876"
    seconds = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(20_000):
            clean(line)
        seconds.append(time.process_time() - start)
    assert 20_000 / min(seconds) > 30_000  # lines a second; over 100,000 on a quiet machine
