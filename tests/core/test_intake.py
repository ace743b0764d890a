"""What a bare command prints and writes becomes points: its own, and not without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from traindeck.core import events
from traindeck.core.points import summarize
from traindeck.core.supervisor import intake
from traindeck.core.supervisor.intake import Intake


def test_names_made_anew_at_every_step_are_recorded_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MAX_SERIES", 5)
    log = tmp_path / "output.log"
    log.write_text("".join(f'{{"step": 1, "n{number}": 1}}\n' for number in range(9)))
    taking = Intake(tmp_path, {"follow": True, "cwd": str(tmp_path), "started": 0.0}, os.getpid())
    taking.take()
    with log.open("a") as file:
        file.write('{"step": 2, "n3": 2, "n8": 2}\n')
    taking.close()
    found = summarize(tmp_path)
    assert list(found) == ["n0", "n1", "n2", "n3", "n4"]
    assert found["n3"]["count"] == 2
    [note] = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert "more than 5 series" in (events.parse(note) or {})["text"]
