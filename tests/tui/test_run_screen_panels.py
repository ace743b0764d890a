"""What the panels beside the curves say of a run's devices, sources and events."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult

from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.run_screens import finished, open_run
from traindeck.core.base.format import size
from traindeck.core.base.home import Home
from traindeck.core.run.follow import Batch, PointTail
from traindeck.core.run.points import RECORD, PointWriter
from traindeck.tui.app import TraindeckApp
from traindeck.tui.panels import events as events_panel
from traindeck.tui.panels.events import SLACK, EventsPanel, event_line
from traindeck.tui.panels.provenance import _familiar
from traindeck.tui.panels.run_devices import RunDevicesPanel
from traindeck.tui.readers.device_history import RECENT, DeviceCollector
from traindeck.tui.readers.picture import MAX_EVENTS, EventsState, RunState
from traindeck.tui.readers.provenance import Provenance, read_provenance
from traindeck.tui.screens.run.picture import labels
from traindeck.tui.widgets.rows import rows, shorten, sparkline


class TestDeviceHistory:
    def test_keeps_the_end_and_the_peaks_of_a_long_one(self, tmp_path: Path) -> None:
        writer = PointWriter(tmp_path, "device")
        for sample in range(5000):
            writer.add(sample, {"cpu_percent": 300.0 if sample == 7 else 50.0, "threads": 4.0})
        writer.close()
        collector, tail = DeviceCollector(), PointTail(tmp_path, "device")
        while (batch := tail.read(1 << 16)).data:
            collector.take(batch, tail.names)
        history = collector.history()
        cpu = history.measures["cpu_percent"]
        assert (cpu.last, cpu.peak, len(cpu.recent)) == (50.0, 300.0, RECENT)
        assert history.samples == 5000

    def test_counts_of_bytes_become_rates_across_batches(self) -> None:
        collector = DeviceCollector()
        for second, total in enumerate([0.0, 1000.0, 4000.0, 4000.0]):
            collector.take(Batch(RECORD.pack(100.0 + second, second, 0, total)), ["io_read_bytes"])
        measures = collector.history().measures
        assert measures["io_read_bytes"].last == 4000.0
        assert measures["io_read_rate"].recent == (1000.0, 3000.0, 0.0)

    def test_a_file_that_starts_over_and_values_without_a_name_are_no_trouble(self) -> None:
        collector = DeviceCollector()
        collector.take(Batch(RECORD.pack(1.0, 0, 0, math.nan)), ["cpu_percent"])
        collector.take(Batch(RECORD.pack(2.0, 1, 9, 5.0)), ["cpu_percent"])
        assert math.isnan(collector.history().measures["cpu_percent"].last)
        assert collector.take(Batch(b"", restarted=True), [])
        assert collector.history().measures == {}

    async def test_what_a_run_used_is_told_of_its_last_moment_alive(self) -> None:
        collector = DeviceCollector()
        names = ["cpu_percent", "memory_pss_bytes", "threads", "processes", "io_read_bytes"]
        rows = [(90.0, 2e8, 4.0, 2.0, 1e6), (80.0, 1e8, 3.0, 1.0, 2e6), *2 * [(5.0, 0, 0, 0, 3e6)]]
        for second, values in enumerate(rows):
            for series, value in enumerate(values):
                collector.take(Batch(RECORD.pack(100.0 + second, second, series, value)), names)
        history = collector.history()

        class Panel(App[None]):
            def compose(self) -> ComposeResult:
                yield RunDevicesPanel()

        async with Panel().run_test(size=(80, 24)) as pilot:
            panel = pilot.app.query_one(RunDevicesPanel)
            panel.show(history, device="cpu", live=True, now=104.0)
            await until_shown(pilot, "0 B  peak 200 MB")
            panel.show(history, device="cpu", live=False, now=104.0)
            await until_shown(pilot, "100 MB  peak 200 MB")
            text = " ".join(shown(pilot).split())
            for each in ("CPU 80 %", "threads 3 peak 4", "processes 1 peak 2", "3 MB in all"):
                assert each in text, text


class TestProvenance:
    def test_what_is_missing_or_damaged_is_left_out(self, tmp_path: Path) -> None:
        assert read_provenance(tmp_path) == Provenance()
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "provenance.json").write_bytes(b"\xff{ not json")
        (tmp_path / "params.json").write_text("[1, 2]")
        (tmp_path / "source" / "diff.patch").write_bytes(b"")
        assert read_provenance(tmp_path) == Provenance(patch_bytes=0)

    def test_paths_are_told_as_people_know_them(self) -> None:
        known = _familiar("/lab/project")
        assert known("/lab/project/.venv/bin/python") == ".venv/bin/python"
        assert known("/lab/project/recipes/torch/mnist.py") == "recipes/torch/mnist.py"
        assert known(f"--data-dir={Path.home()}/data") == "--data-dir=~/data"
        assert known("/lab/projects/x") == "/lab/projects/x"


class TestFigures:
    @pytest.mark.parametrize(
        ("amount", "text"),
        [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_250_000, "1.25 MB"), (3.4e11, "340 GB")],
    )
    def test_sizes(self, amount: float, text: str) -> None:
        assert size(amount) == text

    def test_a_sparkline_fits_and_leaves_gaps(self) -> None:
        assert sparkline([0.0, 50.0, 100.0, math.nan], 6, 100.0) == "  ▁▄▇ "
        assert sparkline([1.0] * 9, 3, 1.0) == "▇▇▇"

    def test_long_values_wrap_beside_their_names(self) -> None:
        lines = rows([("name", "one two three four"), ("b", "x")], 16).plain.split("\n")
        assert lines == ["name  one two", "      three four", "b     x"]
        assert shorten("日本語日本語", 5) == "日本…"


class TestEvents:
    def test_any_object_is_one_line(self) -> None:
        line = event_line({"t": "soon", "type": 7, "text": "a\nb\x1b[2J", "round": {"n": 1}})
        assert line.startswith("--:--:--  7") and "\n" not in line and "\x1b" not in line
        assert 'round={"n": 1}' in line

    def test_an_artifact_is_told_from_the_run_folder_its_kind_first(self, tmp_path: Path) -> None:
        path = str(tmp_path / "artifacts" / "checkpoint-000938.pt")
        line = event_line({"type": "artifact", "path": path, "kind": "checkpoint"}, tmp_path)
        assert line.endswith("artifact  checkpoint  artifacts/checkpoint-000938.pt")

    @pytest.mark.slow
    async def test_a_long_note_is_read_to_its_end(self) -> None:
        class Deck(App[None]):
            def compose(self) -> ComposeResult:
                yield EventsPanel()

        text = " ".join(f"word{n}" for n in range(60)) + " at-its-end"
        async with Deck().run_test(size=(80, 24)) as pilot:
            note = {"t": 0.0, "type": "note", "text": text}
            pilot.app.query_one(EventsPanel).show(EventsState((note,), 1))
            await pilot.pause(0.1)
            assert "at-its-end" in shown(pilot)

    @pytest.mark.slow
    async def test_only_new_events_are_made_into_lines(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[str] = []

        def counted(event: dict[str, Any], folder: Path | None = None) -> str:
            made.append(event["text"])
            return event_line(event, folder)

        monkeypatch.setattr(events_panel, "event_line", counted)
        every = [{"t": 0.0, "type": "note", "text": f"n{n}"} for n in range(20_000)]

        class Deck(App[None]):
            def compose(self) -> ComposeResult:
                yield EventsPanel()

        async with Deck().run_test(size=(80, 24)) as pilot:
            panel = pilot.app.query_one(EventsPanel)
            anew = 0
            for count in (3, 5000, *range(5100, 9000, 100)):
                made.clear()
                panel.show(EventsState(tuple(every[:count][-MAX_EVENTS:]), count))
                assert made[-1] == f"n{count - 1}"
                await pilot.pause()
                assert f"n{count - 1} " in shown(pilot)
                if count > 5000 and len(made) > 100:
                    anew += 1
                    assert panel.view.line_count == MAX_EVENTS
            # From 5000 to 9000 events the oldest went every thousand.
            assert anew in (3, 4)
            assert panel.view.line_count < MAX_EVENTS + SLACK + 1
            await pilot.press("home")
            panel.show(EventsState(tuple(every[-MAX_EVENTS:]), 20_000))
            assert panel.view.line_count == MAX_EVENTS
            await pilot.pause()
            assert "20,000 events; the last 5,000 are shown" in shown(pilot)


def test_runs_of_one_name_are_told_apart_by_their_ids() -> None:
    assert labels([RunState("aaaa"), RunState("bbbb")]) == ["aaaa", "bbbb"]


@pytest.mark.parametrize("count", [1, 2])
async def test_keys_of_panels_that_are_not_there_say_why(
    app: TraindeckApp, home: Home, count: int
) -> None:
    ids = [finished(home, number) for number in range(1, count + 1)]
    async with app.run_test(size=(120, 30)) as pilot:
        await open_run(pilot, *ids)
        await pilot.press("M", "F")
        said = (
            ("No media: the run has kept no picture", "Not federated: the run has no owners")
            if count == 1
            else ("Media is shown of one run", "Federation is shown of one run")
        )
        for each in said:
            await until(pilot, lambda each=each: each in notices(pilot))  # type: ignore[misc]
