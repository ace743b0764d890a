"""A folder of event files becomes one set of series, whose names never change later."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.core.exchange.tensorboard.event_files import (
    NAME,
    grow,
    read_all,
    short,
)
from traindeck.core.exchange.tensorboard import events as tfevents
from traindeck.core.exchange.tensorboard.events import EventTree
from traindeck.core.exchange.tensorboard.origin import writer_pid


def names_of(tree: EventTree) -> list[str]:
    tree.look()
    return sorted({name for *_, name, _ in read_all(tree)})


def test_a_single_folder_has_no_prefix_however_deep(tmp_path: Path) -> None:
    grow(tmp_path / "runs/Nov23_host" / NAME, 0)
    assert names_of(EventTree(tmp_path)) == ["loss"]


def test_keras_folders_become_prefixes_from_the_first_point_on(tmp_path: Path) -> None:
    tree = EventTree(tmp_path)
    grow(tmp_path / "logs/train" / NAME, 0)
    assert names_of(tree) == ["train/loss"]
    grow(tmp_path / "logs/validation" / NAME, 0)
    grow(tmp_path / "logs/train" / NAME, 1)
    assert names_of(tree) == ["train/loss", "validation/loss"]
    grow(tmp_path / "logs" / NAME, 0)
    assert names_of(tree) == ["loss"]


def test_folders_found_later_are_prefixed_and_rename_nothing(tmp_path: Path) -> None:
    tree = EventTree(tmp_path)
    grow(tmp_path / "runs/one" / NAME, 0)
    assert names_of(tree) == ["loss"]
    grow(tmp_path / "runs/one/eval" / NAME, 0)
    grow(tmp_path / "runs/two" / NAME, 0)
    grow(tmp_path / "runs/one/two" / NAME, 0)
    grow(tmp_path / "runs" / NAME, 0)
    grow(tmp_path / NAME, 0)
    grow(tmp_path / "runs/one" / NAME, 1)
    assert names_of(tree) == sorted(
        [
            "loss",
            "eval/loss",
            "two/loss",
            "runs/one/two/loss",
            "runs/loss",
            f"{tmp_path.name}/loss",
        ]
    )


def test_several_files_of_one_folder_are_one_set_of_series(tmp_path: Path) -> None:
    grow(tmp_path / NAME, 0)
    grow(tmp_path / f"{NAME}.v2", 1)
    points = read_all(EventTree(tmp_path))
    assert sorted(short(points)) == [(0, "loss", 1.0), (1, "loss", 1.0)]


def test_files_of_earlier_runs_are_left_alone(tmp_path: Path) -> None:
    grow(tmp_path / "old" / NAME, 0)
    os.utime(tmp_path / "old" / NAME, (1000, 1000))
    grow(tmp_path / "new" / NAME, 0)
    tree = EventTree(tmp_path, since=2000)
    assert len(read_all(tree)) == 1


def test_files_written_after_the_clock_was_set_back_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    grow(tmp_path / "old" / NAME, 0)
    os.utime(tmp_path / "old" / NAME, (began - 1800, began - 1800))
    grow(tmp_path / "goes-on" / NAME, 1)
    os.utime(tmp_path / "goes-on" / NAME, (began - 1800, began - 1800))
    tree = EventTree(tmp_path, since=began)
    assert read_all(tree) == []
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    grow(tmp_path / "new" / NAME, 2)
    grow(tmp_path / "goes-on" / NAME, 3)
    for folder in ("new", "goes-on"):
        os.utime(tmp_path / folder / NAME, (began - 3500, began - 3500))
    tree.look()
    assert sorted(step for _, step, _, _ in read_all(tree)) == [1, 2, 3]


def test_files_of_other_processes_can_be_left_alone(tmp_path: Path) -> None:
    grow(tmp_path / NAME, 0)
    grow(tmp_path / NAME.replace("4711", "4712"), 1)
    tree = EventTree(tmp_path, accept=lambda path: writer_pid(path) == 4712)
    assert short(read_all(tree)) == [(1, "loss", 1.0)]
    assert writer_pid(Path("events.out.tfevents.1700000000.a.b.c.99.0.v2")) == 99
    assert writer_pid(Path("events.out.tfevents.1700000000.host")) is None


def test_links_are_followed_once(tmp_path: Path) -> None:
    grow(tmp_path / "runs/one" / NAME, 0)
    (tmp_path / "runs/up").symlink_to(tmp_path)
    (tmp_path / "runs/self").symlink_to("self")
    tree = EventTree(tmp_path)
    assert len(read_all(tree)) == 1
    (tmp_path / "latest").symlink_to(tmp_path / "runs/one")
    tree.look()
    assert read_all(tree) == []
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "runs")
    assert len(read_all(EventTree(linked))) == 1


def test_one_damaged_file_is_reported_once_and_the_others_go_on(tmp_path: Path) -> None:
    grow(tmp_path / "a" / NAME, 0)
    grow(tmp_path / "b" / NAME, 0)
    whole = bytearray((tmp_path / "a" / NAME).read_bytes())
    whole[-6] ^= 1
    (tmp_path / "a" / NAME).write_bytes(whole)
    tree = EventTree(tmp_path)
    assert len(read_all(tree)) == 1
    grow(tmp_path / "a" / NAME, 1)
    grow(tmp_path / "b" / NAME, 1)
    assert len(read_all(tree)) == 1
    assert len(tree.problems) == 1
    assert str(tmp_path / "a" / NAME) in tree.problems[0]


def test_new_files_are_found_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfevents, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(tfevents, "_LOOK_SHARE", 1e9)
    monkeypatch.setattr(tfevents, "_LOOK_SECONDS", 60.0)
    (tmp_path / "runs").mkdir()
    tree = EventTree(tmp_path)
    assert tree.read() == []
    for number in range(5):
        grow(tmp_path / f"runs/{number}" / NAME, number)
        assert [step for _, step, *_ in tree.read()] == [number]


def test_big_trees_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfevents, "MAX_FOLDERS", 20)
    monkeypatch.setattr(tfevents, "MAX_FILES", 3)
    for number in range(30):
        (tmp_path / f"pictures/{number}").mkdir(parents=True)
    for number in range(5):
        grow(tmp_path / f"{NAME}{number}", 0)
    deep = tmp_path.joinpath(*"abcdefghijkl")
    grow(deep / NAME, 7)
    tree = EventTree(tmp_path)
    assert [step for _, step, *_ in read_all(tree)] == [0, 0, 0]
    assert sorted(problem.split(":")[1].split(";")[0] for problem in tree.problems) == [
        " more than 20 folders",
        " more than 3 TensorBoard files",
    ]


def test_a_vanished_folder_is_no_trouble(tmp_path: Path) -> None:
    tree = EventTree(tmp_path / "gone")
    assert tree.read() == []
    assert tree.problems == []
