"""One truth from many writers: whose a file is, which file a point is of, whose a name is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.core.exchange.tensorboard.event_files import event, put, record, simple
from traindeck.core.exchange.merging import Merged, Point
from traindeck.core.run import events
from traindeck.core.run.points import PROGRESS, PointWriter, read_points, summarize
from traindeck.core.run.progress import last_progress
from traindeck.core.supervisor.intake import SILENT_LINES, Intake
from traindeck.core.supervisor.naming import Naming

NAME = "events.out.tfevents.1700000000.host"


def follow(folder: Path, cwd: Path, created: float = 2.0, parse: list[str] | None = None) -> Intake:
    spec = {"follow": True, "cwd": str(cwd), "created": created, "parse": parse or []}
    return Intake(folder, spec, os.getpid(), os.getpid())


def notes(folder: Path) -> list[str]:
    try:
        lines = (folder / "events.jsonl").read_bytes().splitlines()
    except OSError:
        return []
    return [str((events.parse(line) or {}).get("text")) for line in lines]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


def append(path: Path, step: int, value: float, when: float) -> None:
    with path.open("ab") as file:
        file.write(record(event(step, simple("loss", value), time=when)))


def test_two_event_files_in_turn_are_one_series(folder: Path, work: Path) -> None:
    files = [put(work / f"{NAME}.worker{n}") for n in range(2)]
    taking = follow(folder, work)
    for step in range(20):
        append(files[step % 2], step, float(step), 1.7e9 + step)
        if step % 7 == 0:
            taking.take()
    taking.close()
    points = read_points(folder, {"loss"})["loss"]
    assert [(step, value) for _, step, value in points] == [(n, float(n)) for n in range(20)]


def test_a_copy_beside_a_live_file_adds_and_takes_nothing(folder: Path, work: Path) -> None:
    live, copy = put(work / f"{NAME}.a"), put(work / f"{NAME}.b")
    for step in range(5):
        for path in (live, copy):
            append(path, step, float(step), 1.7e9 + step)
    taking = follow(folder, work)
    taking.take()
    for step in range(5, 10):
        append(live, step, float(step), 1.7e9 + step)
        taking.take()
    taking.close()
    assert [step for _, step, _ in read_points(folder, {"loss"})["loss"]] == list(range(10))
    assert notes(folder) == []


def test_a_resumed_writer_replaces_what_lay_beyond() -> None:
    written: list[Point] = []
    merged = Merged("first", lambda: list(written))
    written += merged.take("first", [(float(n), n, 1.0) for n in range(10)])
    new = merged.take("second", [(100.0 + n, n, 2.0) for n in range(5, 8)])
    assert [(step, value) for _, step, value in new] == [(5, 2.0), (6, 2.0), (7, 2.0)]
    # the first goes on after all: both are workers, and what it wrote counts again
    again = merged.take("first", [(200.0, 10, 1.0)])
    assert [(step, value) for _, step, value in again] == [(n, 1.0) for n in range(5, 11)]
    assert merged.conflict == 5


def test_files_with_other_values_at_the_same_steps_say_so(folder: Path, work: Path) -> None:
    for worker, start in ((0, 1.7e9), (1, 1.7e9 + 0.5)):
        path = put(work / f"{NAME}.w{worker}")
        for step in range(5):
            append(path, step, step + worker / 2, start + step)
    follow(folder, work).close()
    points = read_points(folder, {"loss"})["loss"]
    assert [value for _, _, value in points] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert "several event files have step" in notes(folder)[0]


def test_a_file_that_was_begun_before_the_run_is_left_out_and_told_of(
    folder: Path, work: Path
) -> None:
    path = put(work / f"{NAME}.4711.0")
    append(path, 1, 0.99, 1.7e9)
    follow(folder, work, created=time.time() - 60).close()
    assert summarize(folder) == {}
    assert "before the run began" in notes(folder)[0]


def test_whoever_holds_a_file_open_owns_it_however_old_it_is(folder: Path, work: Path) -> None:
    path = work / f"{NAME}"
    put(path)
    append(path, 1, 0.5, 1.7e9)
    hold = f"import sys; file = open({str(path)!r}, 'ab'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        ours = follow(
            folder, work, created=time.time() - 60
        )  # too old, but a child of ours holds it
        ours.take()
        assert summarize(folder)["loss"]["count"] == 1
        holder.kill()
    ours.close()


def test_another_process_that_holds_a_file_open_keeps_it(folder: Path, work: Path) -> None:
    path = work / f"{NAME}"
    put(path)
    append(path, 1, 0.5, 1.7e9)
    with path.open("ab"), subprocess.Popen(["sleep", "60"]) as child:
        spec = {"follow": True, "cwd": str(work), "created": 2.0}
        taking = Intake(folder, spec, child.pid, child.pid)
        taking._owners._ours.discard(os.getpid())
        taking.close()
        child.kill()
    assert summarize(folder) == {}
    assert "holds it open" in notes(folder)[0]


def test_a_csv_file_that_grows_is_read_and_an_old_one_is_not(folder: Path, work: Path) -> None:
    (work / "old.csv").write_text("epoch,loss\n1,9\n")
    os.utime(work / "old.csv", (1.0, 1.0))
    taking = follow(folder, work, created=time.time() - 1)
    logs = work / "lightning_logs" / "version_0"
    logs.mkdir(parents=True)
    (logs / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n0,9,0.5,\n0,9,,0.6\n")
    taking._tree.look()
    taking.take()
    with (logs / "metrics.csv").open("a") as file:
        file.write("1,19,0.4,\n1,19,,0.5\n1,29,0.3")
    taking.close()
    found = summarize(folder)
    assert {name: (found[name]["step"], found[name]["last"]) for name in found} == {
        "epoch": (19, 1.0),
        "train_loss": (19, 0.4),
        "val_loss": (19, 0.5),
    }


def test_a_csv_file_without_a_step_is_none_of_metrics(folder: Path, work: Path) -> None:
    taking = follow(folder, work)
    (work / "data.csv").write_text("id,width,height\n1,2,3\n4,5,6\n")
    taking.close()
    assert summarize(folder) == {}


def test_what_is_printed_and_what_is_in_a_file_stay_apart(folder: Path, work: Path) -> None:
    (folder / "output.log").write_text("step 1 loss 0.5\n")
    taking = follow(folder, work)
    taking.take()
    append(put(work / f"{NAME}.x"), 1, 0.25, 1.7e9)
    taking.close()
    found = summarize(folder)
    assert (found["loss"]["last"], found["events/loss"]["last"]) == (0.5, 0.25)


def test_a_run_that_logs_by_itself_is_not_read_besides(folder: Path, work: Path) -> None:
    writer = PointWriter(folder)
    taking = follow(folder, work)
    writer.add(1, {"loss": 0.5})
    writer.flush()
    (folder / "output.log").write_text("step 1 loss 0.75\nepoch 3 acc 0.5\n")
    taking.close()
    assert summarize(folder)["loss"]["count"] == 1
    assert list(summarize(folder)) == ["loss"]


def test_a_bar_is_the_runs_progress(folder: Path, work: Path) -> None:
    (folder / "output.log").write_text(" 50%|#####     | 50/100 [00:10<00:10,  5.0it/s]\n")
    follow(folder, work).close()
    assert (last_progress(folder) or ())[1:] == (50, 100.0)


@pytest.mark.parametrize(("lines", "told"), [(0, 0), (3, 1), (SILENT_LINES + 5, 1)])
def test_a_run_of_which_nothing_is_understood_is_told_how(
    folder: Path, work: Path, lines: int, told: int
) -> None:
    (folder / "output.log").write_text("what a day\n" * lines)
    taking = follow(folder, work)
    taking.take()
    taking.close()
    found = [note for note in notes(folder) if "traindeck parse" in note]
    assert bool(found) == bool(told)


def test_the_users_expressions_come_first(folder: Path, work: Path) -> None:
    (folder / "output.log").write_text("it 7 L=0.5 loss=9\n")
    follow(folder, work, parse=[r"it (?P<step>\d+) L=(?P<loss>\S+)"]).close()
    assert summarize(folder)["loss"]["last"] == 0.5
    assert summarize(folder)["loss"]["step"] == 7


def test_metrics_may_be_called_progress_and_long_names_stay_apart(tmp_path: Path) -> None:
    long = "grad_norm/" + "layer." * 60
    writer = PointWriter(tmp_path)
    writer.add(1, {"progress": 0.5, PROGRESS: 10.0, f"{long}a": 1.0, f"{long}b": 2.0})
    writer.close()
    found = summarize(tmp_path)
    assert found["progress"]["last"] == 0.5
    assert (last_progress(tmp_path) or ())[1:] == (1, 10.0)
    assert len(found) == 3
    assert max(map(len, found)) == 200


def test_a_name_is_one_writers() -> None:
    naming = Naming(())
    assert naming.name("printed", "loss") == "loss"
    assert naming.name("events", "loss") == "events/loss"
    assert naming.name("printed", "loss") == "loss"
    assert "several sources" in naming.told()[0]


EXACT = [0.612345, 0.4711111, 0.30009]


@pytest.mark.parametrize("first", ["printed", "file", "together"])
def test_what_is_printed_and_in_a_file_too_is_one_series_the_files(
    folder: Path, work: Path, first: str
) -> None:
    """As Lightning's bar says val_loss to three digits, again and again, and its CSV has it."""
    log, table = folder / "output.log", work / "metrics.csv"
    taking = follow(folder, work)
    table.write_text("step,val_loss\n")
    taking.take()
    for epoch, value in enumerate(EXACT):
        shown = f"{value:.3g}"
        bars = "".join(f"step {epoch * 20 + 20 + n} val_loss={shown}\n" for n in range(4))
        row = f"{epoch * 20 + 19},{value}\n"
        for kind in ("file", "printed") if first == "file" else ("printed", "file"):
            path, text = (log, bars) if kind == "printed" else (table, row)
            with path.open("a") as file:
                file.write(text)
            if first != "together":
                taking.take()
    taking.close()
    points = read_points(folder, summarize(folder))
    assert set(points) == {"val_loss"}
    expected = [(19 + 20 * n, value) for n, value in enumerate(EXACT)]
    assert [(step, value) for _, step, value in points["val_loss"]] == expected
    assert any("printed and written to a file as well" in note for note in notes(folder))


def test_what_differs_from_what_is_in_a_file_stays_apart(folder: Path, work: Path) -> None:
    taking = follow(folder, work)
    (work / "metrics.csv").write_text("step,loss\n")
    taking.take()
    (folder / "output.log").write_text("".join(f"step {n} loss={0.9 - n / 10}\n" for n in range(5)))
    with (work / "metrics.csv").open("a") as file:
        file.write("0,0.91\n4,0.52\n")
    taking.close()
    assert set(summarize(folder)) == {"loss", "metrics/loss"}
