"""What a bare command prints and writes becomes points: its own, and not without end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.core.exchange.tensorboard.event_files import grow
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.run import events
from traindeck.core.run.points import summarize
from traindeck.core.run.spec import new_spec
from traindeck.core.supervisor import intake, ownership
from traindeck.core.supervisor.intake import Intake


def follow(folder: Path, cwd: Path | None = None) -> Intake:
    """As the supervisor of a run whose only process has ended would."""
    spec = {"follow": True, "cwd": str(cwd or folder), "created": 2.0}
    return Intake(folder, spec, os.getpid(), os.getpid())


def test_names_made_anew_at_every_step_are_recorded_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MAX_SERIES", 5)
    log = tmp_path / "output.log"
    log.write_text("".join(f'{{"step": 1, "n{number}": 1}}\n' for number in range(9)))
    taking = follow(tmp_path)
    taking.take()
    with log.open("a") as file:
        file.write('{"step": 2, "n3": 2, "n8": 2}\n')
    taking.close()
    summary = summarize(tmp_path)
    assert list(summary) == ["n0", "n1", "n2", "n3", "n4"]
    assert summary["n3"]["count"] == 2
    [note] = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert "more than 5 series" in (events.parse(note) or {})["text"]


DEAD = 4_999_999  # no pid is that high


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder that runs work in."""
    made = tmp_path / "work"
    made.mkdir()
    return made


def make_run(home: Home, name: str, cwd: Path, state: str, ended: float | None = None) -> Path:
    """A run's folder; one that goes on has this very process as its supervisor."""
    folder = home.runs / name
    folder.mkdir()
    spec = new_spec(
        name=name, framework="other", state=state, on="cpu", params={}, command=[], argv=[],
        cwd=str(cwd), grace=1.0, claim={}, ended=ended,
    )  # fmt: skip
    write_json(folder / "run.json", spec)
    return folder


def write_event(folder: Path, pid: int, points: int = 1) -> None:
    grow(folder / f"events.out.tfevents.1700000000.host.{pid}.0", points)


def test_a_file_whose_writer_lived_outside_the_run_never_becomes_its_own(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking = follow(tmp_path, work)
    write_event(work, 1)
    taking._tree.look()
    monkeypatch.setattr(ownership, "start_ticks", lambda pid: None)  # it ends
    taking.close()
    assert summarize(tmp_path) == {}


def test_a_file_of_a_process_that_ended_at_once_is_the_runs_own(tmp_path: Path, work: Path) -> None:
    taking = follow(tmp_path, work)
    write_event(work, DEAD)
    taking.close()
    assert summarize(tmp_path)["loss"]["count"] == 1


@pytest.mark.parametrize(
    ("state", "ended", "where", "taken"),
    [
        ("running", None, "", False),
        ("running", None, "below", False),
        ("running", None, "../elsewhere", True),
        ("finished", 1e11, "", False),  # ends long from now
        ("finished", 1.0, "", True),
    ],
)
def test_in_a_shared_folder_only_processes_that_were_seen_are_the_runs_own(
    home: Home, work: Path, state: str, ended: float | None, where: str, taken: bool
) -> None:
    make_run(home, "2bbbbbbb", (work / where).resolve(), state, ended)
    folder = make_run(home, "2aaaaaaa", work, "running")
    taking = follow(folder, work)
    with subprocess.Popen(["sleep", "60"]) as process:
        taking.take()
        process.kill()
    write_event(work, process.pid)
    write_event(work, DEAD, points=2)
    taking.close()
    assert summarize(folder)["loss"]["count"] == 1 + taken


@pytest.mark.parametrize("early", ["step,loss\n1,0.5\n", ""])
def test_the_last_rows_of_a_table_that_the_run_held_open_are_its_own_in_a_shared_folder(
    home: Home, work: Path, early: str
) -> None:
    make_run(home, "2bbbbbbb", work, "running")
    folder = make_run(home, "2aaaaaaa", work, "running")
    taking = follow(folder, work)
    with (work / "history.csv").open("w") as file:
        file.write(early)
        file.flush()
        taking.take()
        file.write("2,0.4\n3,0.3\n" if early else "step,loss\n1,0.5\n2,0.4\n3,0.3\n")
    (work / "unknown.csv").write_text("step,other\n1,0.5\n")
    taking.close()
    summary = summarize(folder)
    assert list(summary) == ["loss"]
    assert summary["loss"]["count"] == 3
    [note] = (folder / "events.jsonl").read_bytes().splitlines()
    assert "unknown.csv is left out" in (events.parse(note) or {})["text"]
