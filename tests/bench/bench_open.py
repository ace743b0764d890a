"""Open a run of a million points to its drawn curves, as the run screen does.

    python tests/bench/bench_open.py [--points 1000000] [--series 4] [--ingest]

Prints seconds and peak memory beside the figures to reach. The clock starts in an app that is
already painted, when a run is opened: the import of numpy and of the plots, reading the file in a
thread, and drawing all count. `--ingest` instead prints what following 16 live runs costs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

from textual.app import App

from traindeck.core.run.points import RECORD

NAMES = ["train/loss", "train/accuracy", "test/loss", "test/accuracy"]


def write_run(folder: Path, points: int, series: int) -> None:
    """A run folder's points, in a child: making them must not count as memory of the app."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit("the points could not be written")
        return
    import numpy as np

    from traindeck.tui.plot.store import DTYPE

    names = (NAMES + [f"extra/{number}" for number in range(series)])[:series]
    (folder / "points.names").write_text("".join(f"{name}\n" for name in names))
    records = np.zeros(points, DTYPE)
    number = np.arange(points)
    records["time"] = time.time() - (points - number) * 1e-3
    records["step"] = number // series
    records["series"] = number % series
    noise = np.random.default_rng(0).normal(size=points)
    records["value"] = np.exp(-number / points * 6) + 0.05 * noise
    (folder / "points.bin").write_bytes(records.tobytes())
    os._exit(0)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def open_run(folder: Path) -> tuple[float, float, int]:
    """Seconds until the curve of all points is painted, seconds of CPU, points drawn."""
    app: App[None] = App()
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        began, cpu = time.perf_counter(), time.process_time()
        from traindeck.core.run.follow import PointTail
        from traindeck.tui.panels.curves import CurvesPanel
        from traindeck.tui.plot.store import SeriesStore

        tail, store = PointTail(folder), SeriesStore(folder / "points.bin")
        done = threading.Event()

        def read() -> None:
            while data := tail.read().data:
                store.ingest(data, tail.names)
            done.set()

        threading.Thread(target=read).start()
        panel = CurvesPanel()
        await app.mount(panel)
        panel.add_source("run", store)
        whole = (folder / "points.bin").stat().st_size // RECORD.size
        while True:
            finished = done.is_set()
            panel.refresh_data()
            await pilot.pause()
            drawn = sum(cell.plot.points(panel.view)[0] for cell in panel.charts.cells_in_sight())
            if finished and drawn == whole:
                break
            # As the screen does: at most ten times a second, and at once when all is read.
            await asyncio.to_thread(done.wait, 0.1)
        app.screen._compositor.render_strips(app.size)
        return time.perf_counter() - began, time.process_time() - cpu, drawn


def ingest_cost(runs: int = 16, rate: int = 1000, hertz: int = 10, seconds: int = 5) -> float:
    """Share of a core that taking in `runs` live runs costs, each of 4 series."""
    from tests.tui.plotdata import NAMES as names
    from tests.tui.plotdata import records
    from traindeck.tui.plot.store import SeriesStore

    stores = [SeriesStore() for _ in range(runs)]
    size = rate // hertz
    batches = [
        records(
            [(start + place) // 4 for place in range(size)],
            [1.0 / (start + place + 1) for place in range(size)],
            [place % 4 for place in range(size)],
        )
        for start in range(0, rate * seconds, size)
    ]
    began = time.process_time()
    for batch in batches:
        for store in stores:
            store.ingest(batch, names)
    return (time.process_time() - began) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--series", type=int, default=4)
    parser.add_argument("--ingest", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if options.ingest:
        sys.path.insert(0, str(Path(__file__).parents[2]))
        print(f"taking in 16 runs at 1,000 points/s each: {ingest_cost():.1%} of a core")
        print(f"load average {load:.1f} on {os.cpu_count()} cores")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder, options.points, options.series)
        seconds, cpu, drawn = asyncio.run(open_run(folder))
    print(f"open {drawn:,} points to drawn curves   {seconds:.2f} s   (reach 0.5; LEET 23.5)")
    print(f"  of it CPU                             {cpu:.2f} s")
    print(
        f"peak memory of the app                  {peak_megabytes():.0f} MB   (reach 150; LEET 190)"
    )
    print(f"load average {load:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
