"""Event files are read live, and nothing that is damaged is ever believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from tests.core.exchange.tensorboard.event_files import (
    NAME,
    event,
    put,
    read_all,
    record,
    short,
    simple,
    tensor,
)
from traindeck.core.exchange.tensorboard import events as tfevents
from traindeck.core.exchange.tensorboard.events import EventFile


def some_events() -> list[bytes]:
    events = [event(step, simple("loss", step / 7), simple("b", step)) for step in range(3)]
    events += [event(step, tensor("accuracy", step / 9)) for step in range(3)]
    events += [event(step, simple("loss", step / 7)) for step in range(200, 203)]
    return [*events, event(9, Summary.Value(tag="i", image=Summary.Image(height=3)))]


def test_cut_anywhere_it_gives_whole_records_and_then_the_rest(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, *some_events())
    whole = path.read_bytes()
    expected = EventFile(path).read()
    assert len(expected) == 12
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        file = EventFile(path)
        first = read_all(file)
        assert first == expected[: len(first)]
        assert file.problem is None
        with path.open("ab") as more:
            more.write(whole[cut:])
        assert first + read_all(file) == expected


def test_a_flipped_bit_anywhere_gives_no_wrong_point_and_is_reported(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, *some_events())
    whole = bytearray(path.read_bytes())
    expected = EventFile(path).read()
    for place in range(len(whole)):
        whole[place] ^= 1 << place % 7
        path.write_bytes(whole)
        whole[place] ^= 1 << place % 7
        file = EventFile(path)
        points = read_all(file)
        assert points == expected[: len(points)]
        assert file.problem is not None
        assert str(path) in file.problem
        assert len(points) < len(expected) or place > len(whole) - 60


@settings(max_examples=200, deadline=None)
@given(st.data())
@pytest.mark.slow
def test_damage_of_any_kind_gives_no_wrong_point(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = put(tmp_path_factory.getbasetemp() / "damage" / NAME, *some_events() * 8)
    whole = path.read_bytes()
    expected = EventFile(path).read()
    start = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, 100))
    path.write_bytes(whole[:start] + data.draw(st.binary(max_size=100)) + whole[start + length :])
    points = read_all(EventFile(path), data.draw(st.integers(1, 5000)))
    # Records cut out cleanly are not missed by anyone; what is there must be what was written.
    assert set(points) <= set(expected)


def test_a_damaged_record_is_located_and_reading_ends_there(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, event(0, simple("loss", 1.0)), event(1, simple("loss", 2.0)))
    whole = bytearray(path.read_bytes())
    second = len(whole) - len(record(event(1, simple("loss", 2.0))))
    whole[-6] ^= 1
    path.write_bytes(whole)
    file = EventFile(path)
    assert [value for *_, value in file.read()] == [1.0]
    assert f"at byte {second} is damaged" in (file.problem or "")
    with path.open("ab") as more:
        more.write(record(event(2, simple("loss", 3.0))))
    assert file.read() == []
    assert not file.behind


def test_a_sound_record_of_something_else_is_reported_too(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, event(0, simple("loss", 1.0)), b"\xff" * 30)
    file = EventFile(path)
    assert len(file.read()) == 1
    assert "does not hold a TensorBoard event" in (file.problem or "")


def test_a_file_that_shrank_or_was_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, *[event(step, simple("loss", step)) for step in range(5)])
    file = EventFile(path)
    assert len(file.read()) == 5
    put(path, event(0, simple("loss", 7.0)))
    assert short(file.read()) == [(0, "loss", 7.0)]
    other = Event(wall_time=1.8e9, file_version="brain.Event:2").SerializeToString()
    events = [event(step, simple("loss", -step)) for step in range(9)]
    path.write_bytes(b"".join(map(record, (other, *events))))
    assert len(file.read()) == 9
    path.unlink()
    assert file.read() == []


def test_a_file_that_grew_while_it_was_copied_over_is_continued(tmp_path: Path) -> None:
    path = put(tmp_path / NAME, *[event(step, simple("loss", step)) for step in range(5)])
    file = EventFile(path)
    file.read()
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes() + record(event(5, simple("loss", 5.0))))
    copy.rename(path)
    assert short(file.read()) == [(5, "loss", 5.0)]


@pytest.mark.parametrize("max_bytes", [1, 13, 100, 1 << 20])
def test_reads_are_bounded_and_nothing_is_lost_between_them(tmp_path: Path, max_bytes: int) -> None:
    image = Summary.Value(tag="i", image=Summary.Image(encoded_image_string=bytes(5000)))
    events = [event(step, simple("loss", step), *([image] * (step % 3))) for step in range(50)]
    file = EventFile(put(tmp_path / NAME, *events))
    assert [step for _, step, *_ in read_all(file, max_bytes)] == list(range(50))


def test_a_huge_record_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfevents, "MAX_RECORD", 10_000)
    image = Summary.Value(tag="i", image=Summary.Image(encoded_image_string=bytes(20_000)))
    path = put(
        tmp_path / NAME,
        event(0, simple("loss", 1.0)),
        event(0, image),
        event(1, simple("loss", 2.0)),
    )
    whole = path.read_bytes()
    path.write_bytes(whole[:9000])
    file = EventFile(path)
    first = read_all(file, 1000)
    path.write_bytes(whole)
    assert short(first + read_all(file, 1000)) == [(0, "loss", 1.0), (1, "loss", 2.0)]


def test_tags_are_made_fit_for_one_line(tmp_path: Path) -> None:
    events = [event(0, simple("a\nb\x1b[31m", 1.0)), event(0, simple("", 2.0))]
    file = EventFile(put(tmp_path / NAME, *events, event(0, simple("x" * 5000, 3.0))))
    names = [name for *_, name, _ in file.read()]
    assert names == ["a\ufffdb\ufffd[31m", "untagged", "x" * 300]


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    assert file.read() == []
    assert "cannot be read" in (file.problem or "")
    os.mkfifo(tmp_path / "pipe")
    assert EventFile(tmp_path / "pipe").read() == []
