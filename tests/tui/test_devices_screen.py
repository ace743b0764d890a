"""The Devices screen shows this machine live, and looks only while it is looked at."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from tests.conftest import until as eventually
from tests.tui.homes import make_run
from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.snapshot import Svg, screenshot
from tests.tui.test_devices_lines import with_gpus
from traindeck.core.base.home import Home
from traindeck.core.run.points import PointWriter
from traindeck.tui.app import TraindeckApp
from traindeck.tui.readers.device_history import DeviceHistory, Measure
from traindeck.tui.readers.machine import Machine, MachineReader
from traindeck.tui.screens.devices import DevicesScreen
from traindeck.tui.screens.run.screen import RunScreen

SIZES = [(80, 24), (120, 30), (200, 50)]


def sampled(home: Home, run_id: str, seconds: int = 3) -> None:
    """What the run's supervisor would have written."""
    writer = PointWriter(home.runs / run_id, "device")
    for sample in range(seconds):
        figures = {"cpu_percent": 93.0, "memory_pss_bytes": 216e6, "threads": 5, "processes": 2}
        writer.add(sample, figures | {"io_read_bytes": 0.0, "io_write_bytes": 4096.0 * sample})
    writer.close()


def some_runs(home: Home) -> str:
    """One that runs, one that waits, one that has ended."""
    make_run(home, 1, name="over")
    running = make_run(home, 2, state="running", name="training", device="cpu:0")
    sampled(home, running)
    waiting = {"place": 1, "reason": "cpu:0 is taken by " + running}
    make_run(home, 3, state="queued", name="patient", on="cpu:0", queue=waiting)
    return running


def screen(pilot: Pilot[Any]) -> DevicesScreen:
    shown_screen = pilot.app.screen
    assert isinstance(shown_screen, DevicesScreen)
    return shown_screen


def watchers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "machine watch"]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_sizes(
    app: TraindeckApp, home: Home, size: tuple[int, int], snapshot: SnapshotAssertion
) -> None:
    running = some_runs(home)
    fixed = with_gpus()
    measures = {
        "cpu_percent": Measure(93.0, 96.0, (20.0, 96.0, 93.0)),
        "memory_pss_bytes": Measure(216e6, 216e6, (216e6,)),
    }
    use = {running: DeviceHistory(measures, 0.0, 3)}
    machine = Machine(fixed.inventory, fixed.now, fixed.loads, fixed.taken, use)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.snapshot and app.snapshot.runs)
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, DevicesScreen))
        screen(pilot)._end()  # the same machine everywhere
        screen(pilot)._machine = machine
        screen(pilot)._show()
        await pilot.pause()
        assert await screenshot(pilot) == snapshot.use_extension(Svg)


async def test_this_machine_live(app: TraindeckApp, home: Home) -> None:
    some_runs(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "core 0")
        await until_shown(pilot, "216 MB PSS")
        line = next(line for line in shown(pilot).splitlines() if "216 MB PSS" in line)
        assert line.split()[0] == "training" and " 93% " in line and "/s" in line
        assert "over" not in shown(pilot)
        assert "1  patient" in shown(pilot) and "cpu:0 is taken by" in shown(pilot)
        first = screen(pilot)._machine
        await until(pilot, lambda: screen(pilot)._machine is not first)
        assert notices(pilot) == ""


async def test_nothing_is_read_while_nobody_looks(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1)
    async with app.run_test(size=(120, 30)) as pilot:
        assert not watchers()
        await pilot.press("3")
        await until_shown(pilot, "core 0")
        assert len(watchers()) == 1
        await pilot.press("1")
        await until(pilot, lambda: not watchers())
        await pilot.press("3")
        await until(pilot, watchers)
        await pilot.press("question_mark")
        await until(pilot, lambda: not watchers())
        await pilot.press("escape")
        await until(pilot, watchers)
        await pilot.press("f5", "f5")
        await until(pilot, lambda: len(watchers()) == 1)
    eventually(lambda: not watchers())


async def test_a_run_is_one_key_away(app: TraindeckApp, home: Home) -> None:
    running = some_runs(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "216 MB PSS")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("escape")
        await until_shown(pilot, "216 MB PSS")
        await pilot.press("tab", "tab", "enter")  # past the running ones, to who waits
        await until_shown(pilot, "patient")
        assert isinstance(app.screen, RunScreen)
        assert running in {each["id"] for each in app.snapshot.runs}  # type: ignore[union-attr]


@pytest.mark.slow
async def test_without_runs(app: TraindeckApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "none running")
        await pilot.press("enter")
        await until(pilot, lambda: "No run goes on" in notices(pilot))
        for size in ((40, 10), (20, 5), (200, 50), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await until_shown(pilot, "core 0")


async def test_what_goes_wrong_is_told_once(
    app: TraindeckApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: MachineReader, runs: object) -> Machine:
        raise OSError("the bus is on fire [/]")

    monkeypatch.setattr(MachineReader, "read", fail)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until(
            pilot, lambda: "The devices cannot be read the bus is on fire" in notices(pilot)
        )
        await pilot.pause(1.5)
        assert notices(pilot).count("on fire") == 1


def test_the_reader_follows_runs_as_they_come_and_go(home: Home) -> None:
    from traindeck.core.catalogue.library import Library

    running = some_runs(home)
    reader = MachineReader(home, history=2)
    try:
        runs = [run for run in Library(home).runs() if run["id"] == running]
        use = reader.read(runs).use[running]
        assert use.measures["cpu_percent"].last == 93.0
        sampled(home, running, 5)
        assert reader.read(runs).use[running].samples == 5
        machine = reader.read([])
        assert machine.use == {}
        assert all(len(loads) <= 2 for loads in machine.loads.values())
        assert "cpu" in machine.loads and "cpu-0" in machine.loads
    finally:
        reader.close()
