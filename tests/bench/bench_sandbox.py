"""What a hostile script is denied, as owners run it; and how soon a job begins.

    sudo python tests/bench/bench_sandbox.py         # without root: the rows of a user alone
    python tests/bench/bench_sandbox.py --start torch,tensorflow [--jobs N]

The first prints the table of the chapter on federations: probes denied of those asked, by their
kind and by what the kernel lacks. The second prints milliseconds from an owner's order to the first
word of a job, with such libraries loaded.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.federated import sandbox_probes
from traindeck.recipes.shared.federated.job.server import JobServer
from traindeck.recipes.shared.federated.post import wire

IDLE = 0.4  # seconds
SCRIPT = """
from traindeck.recipes.shared.federated.job import job
with job.session() as here:
    here.log(ready=1)
"""


def start(library: str, jobs: int) -> None:
    """Print how long jobs take that do nothing."""
    importlib.import_module(library)
    waits = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, x=np.arange(3))
        for number in range(jobs):
            code = Path(folder) / str(number)
            code.mkdir()
            (code / "main.py").write_text(SCRIPT)
            (code / "params.json").write_text("{}")
            facts = {"owner": "owner-1", "owners": ["owner-1"], "data": str(data)}
            server = JobServer()  # one a job, as owners have, who are long at other things first
            time.sleep(IDLE)
            began = time.perf_counter()
            job = server.start(code, "main.py", facts, [])
            wire.receive(job.wire)
            waits.append(time.perf_counter() - began)
            if server.ended():
                raise SystemExit((code / ".stderr").read_text())
            server.close()
    print(
        f"{library}: {1000 * statistics.median(waits):.0f} ms to its first word (median of {jobs}; "
        f"best {1000 * min(waits):.0f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", help="libraries, with commas between")
    parser.add_argument("--jobs", type=int, default=20)
    asked = parser.parse_args()
    if asked.start:
        libraries = asked.start.split(",")
        for library in libraries[1:]:  # each in a process of its own: it is to be alone in memory
            words = [sys.executable, __file__, f"--start={library}", f"--jobs={asked.jobs}"]
            subprocess.run(words, check=True)
        start(libraries[0], asked.jobs)
        return
    modes = [mode for mode in sandbox_probes.LACKING if sandbox_probes.possible(mode)]
    print(sandbox_probes.table(sandbox_probes.probe(mode) for mode in modes))


if __name__ == "__main__":
    main()
