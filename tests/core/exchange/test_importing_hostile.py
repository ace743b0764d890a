"""What cannot be taken in is told in one line; no run is half made, and nothing is executed."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.core.exchange.outside import (
    mlflow_database,
    mlflow_run,
    put,
    take,
    values,
    wandb_file,
    wandb_records,
)
from tests.core.exchange.tensorboard import event_files as tb
from traindeck.core.base.errors import NotFoundError
from traindeck.core.base.home import Home
from traindeck.core.exchange import csv, runs
from traindeck.core.exchange.find import find
from traindeck.core.exchange.making import Maker
from traindeck.core.exchange.plain_yaml import load
from traindeck.core.exchange.runs import Unreadable

Command = Callable[..., subprocess.CompletedProcess[str]]


def no_runs(home: Home) -> bool:
    return os.listdir(home.runs) == []


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("fit.csv", "", "is empty"),
        ("fit.csv", "step,loss\n", "no column of numbers"),
        ("fit.csv", "step,loss\n" + "1" * (2 << 20), "more than 1,048,576 characters"),
        ("fit.csv", 'step,loss\n0,"' + "x\n" * 200_000, "field larger than"),
        ("fit.csv", ",".join(f"c{n}" for n in range(6000)) + "\n", "5,000"),
        ("fit.csv", b"\0\xff\xfe" * 100, "no column of numbers"),
        ("fit.jsonl", "[" * 100_000 + "\n", "no line holds"),
        ("fit.jsonl", "x" * (5 << 20), "more than 4,194,304 bytes"),
        ("train.log", "hello\n" * 100, "no line of it is understood"),
        ("run.wandb", "not one", "no file of W&B's"),
        ("events.out.tfevents.1.host", b"\xff" * 1000, "is damaged"),
        ("events.out.tfevents.1.host", b"", "neither a metric nor a parameter"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line(
    home: Home, tmp_path: Path, name: str, text: str | bytes, why: str
) -> None:
    path = put(tmp_path / "in" / name, text)
    with pytest.raises(Unreadable, match=why) as told:
        take(home, path)
    assert str(path) in str(told.value)
    assert no_runs(home)


def test_pipes_and_links_are_never_waited_for_nor_followed(home: Home, tmp_path: Path) -> None:
    secret = put(tmp_path / "secret/metrics.csv", "step,loss\n0,0.5\n")
    folder = tmp_path / "in"
    mlflow_run(folder / "mlruns")
    os.mkfifo(folder / "events.out.tfevents.1.pipe")
    os.mkfifo(folder / "metrics.csv")
    os.symlink(secret, folder / "link.csv")
    os.symlink(secret.parent, folder / "linked")
    os.symlink(folder, folder / "loop")
    run = next((folder / "mlruns/1").glob("a*"))
    os.mkfifo(run / "params/pipe")
    os.symlink("/etc/passwd", run / "params/passwd")
    os.symlink("/etc/passwd", run / "tags/mlflow.note.content2")
    [found] = find(folder)
    read = found.read()
    assert set(read.params) == {"lr", "nested/layers", "flag"}
    with pytest.raises(Unreadable, match="neither a file nor a folder"):
        find(folder / "metrics.csv")
    assert take(home, folder / "link.csv")[0].new  # by its own name it is meant


def test_a_torn_file_gives_what_is_whole_of_it(home: Home, tmp_path: Path) -> None:
    path = tb.put(tmp_path / "in" / tb.NAME, *(tb.event(s, tb.simple("l", s)) for s in range(9)))
    put(path, path.read_bytes()[:-5])
    [made] = take(home, path)
    assert len(values(home, made, "l")) == 8
    data = bytearray(wandb_file(tmp_path / "w/a.wandb", wandb_records(1000)).read_bytes())
    data[len(data) // 2] ^= 1
    [made] = take(home, put(tmp_path / "w/a.wandb", bytes(data)))
    assert 400 < len(values(home, made, "loss")) < 600
    [run] = [each.read() for each in find(tmp_path / "w/a.wandb")]
    assert "damaged" in run.remarks[0]
    assert run.state == "lost"


def test_so_many_points_or_series_are_none(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_POINTS", 10)
    path = put(tmp_path / "bomb.csv", "step,loss\n" + "".join(f"{n},1\n" for n in range(20)))
    with pytest.raises(Unreadable, match="more than 10 points"):
        take(home, path)
    monkeypatch.setattr(runs, "MOST_SERIES", 3)
    path = put(tmp_path / "wide.csv", "step,a,b,c,d\n0,1,2,3,4\n")
    with pytest.raises(Unreadable, match="more than 3 series"):
        take(home, path)
    assert no_runs(home)


def test_a_yaml_that_unfolds_without_end_does_not(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &x [*a, *a]\n" for n in range(20))
    assert len(str(load(bomb))) < 10_000
    assert load("a:\n" + "".join(" " * n + "b:\n" for n in range(1, 3000)))
    assert load("k" * 100_000 + " " * 100_000 + ":" * 1000) is not None


def test_names_with_escapes_are_harmless_wherever_they_are_shown(
    home: Home, tmp_path: Path, traindeck: Command
) -> None:
    odd = "\x1b]0;owned\x07\x1b[31m"
    path = put(tmp_path / "in/fit.csv", f'step,"lo{odd}ss\n"\n0,0.5\n')
    run = mlflow_run(tmp_path / "in/mlruns", name="n\\e[31m")
    put(run / "tags" / "mlflow.note.content", odd)
    put(run / "params" / f"p{odd}", odd)
    told = traindeck("import", str(tmp_path / "in"), "--name", "ignored")
    told_again = traindeck("import", str(path))
    for id_ in [line.split()[0] for line in told.stdout.splitlines()]:
        shown = traindeck("show", id_)
        assert "\x1b" not in shown.stdout + shown.stderr + told.stdout + told_again.stderr
        names = (home.runs / id_ / "points.names").read_text()
        assert all(line.isprintable() for line in names.split("\n"))


def test_a_step_that_is_none_of_a_training_is_told(home: Home, tmp_path: Path) -> None:
    event = tb.event(2**62, tb.simple("loss", 1))
    with pytest.raises(Unreadable, match="no step of a training"):
        take(home, tb.put(tmp_path / "in" / tb.NAME, event))
    path = put(tmp_path / "fit.csv", "step,loss\n1e300,1\nnan,1\n-3,1\n")
    assert values(home, take(home, path)[0], "loss") == [(-3, 1.0)]


def test_what_cannot_be_written_leaves_no_run(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = put(tmp_path / "fit.csv", "step,loss\n0,0.5\n")
    monkeypatch.setattr("traindeck.core.exchange.making._write_points", full)
    with pytest.raises(OSError, match="No space"):
        take(home, path)
    assert no_runs(home)


def test_what_a_killed_import_left_is_swept_by_the_next(home: Home, tmp_path: Path) -> None:
    put(home.runs / ".import-4711/points.bin", b"x")
    [made] = take(home, put(tmp_path / "fit.csv", "step,loss\n0,0.5\n"))
    assert os.listdir(home.runs) == [made.id]


def test_an_mlflow_status_of_tomorrow_and_a_bad_line_are_no_error(
    home: Home, tmp_path: Path
) -> None:
    run = mlflow_run(tmp_path / "mlruns", status=99)
    put(run / "metrics/loss", "torn\n1 nan 3\n" + struct.pack("<d", 1.0).hex() + "\n")
    [made] = take(home, tmp_path / "mlruns")
    assert len(values(home, made, "loss")) == 1


def test_a_database_is_asked_for_tables_only(home: Home, tmp_path: Path) -> None:
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS key FROM n"
    )
    path = mlflow_database(tmp_path / "mlflow.db", runs=[("r", "x", "FINISHED", 1, 2, "active", 1)])
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE metrics")
        database.execute(f"CREATE VIEW metrics AS {endless}")
    with pytest.raises(Unreadable, match="none of MLflow's"):
        take(home, path)
    put(path, b"SQLite format 3\0" + b"\xff" * 5000)
    for place in (path, tmp_path):
        with pytest.raises(Unreadable, match="cannot be read as MLflow's database"):
            take(home, place)
    assert no_runs(home)


def test_exit_codes_tell_what_went_wrong(tmp_path: Path, traindeck: Command) -> None:
    good = put(tmp_path / "fit.csv", "step,loss\n0,0.5\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no such file" in traindeck("import", str(tmp_path / "gone"), code=3).stderr
    assert "holds no run" in traindeck("import", str(empty), code=1).stderr
    done = traindeck("import", str(empty), str(good), code=1)
    assert "1 point of 1 series" in done.stdout  # the rest is done all the same
    assert "was imported before" in traindeck("import", str(good)).stdout
    traindeck("import", code=2)
    assert traindeck("ls").stdout.count("fit") == 1


def test_a_folder_with_a_column_of_settings_only_is_none(tmp_path: Path) -> None:
    put(tmp_path / "in/people.csv", "name,age\nx,3\n")
    assert not csv.claims(tmp_path / "in/people.csv")
    with pytest.raises(Unreadable, match="holds no run"):
        find(tmp_path / "in")
    with pytest.raises(NotFoundError):
        find(tmp_path / "in/gone")


def test_one_import_knows_what_it_has_made_itself(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "fit.csv", "step,loss\n0,0.5\n")
    [found] = find(path)
    with Maker(home) as maker:
        assert maker.make(found.read()).new
        assert not maker.make(found.read()).new
