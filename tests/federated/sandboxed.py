"""Scripts as an owner runs them, and what became of each."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HOST = """
import json, os, sys, time
from dataclasses import asdict
from pathlib import Path
from traindeck.recipes.shared.federated.post import wire
from traindeck.recipes.shared.federated.job.server import JobServer
told = json.loads(sys.argv[1])
server = JobServer()
os.environ["A_SECRET"] = "of the owner's"
opened = open(told["secret"])  # a descriptor that a job must not find
facts = {"owner": "owner-1", "owners": ["owner-1"], "data": told["data"]}
results = []
for code in told["codes"]:
    job = server.start(Path(code), "main.py", facts, told["ports"])
    job.wire.settimeout(60)
    heard = []
    try:
        while True:
            frame, _ = wire.receive(job.wire)
            heard.append(frame)
            if frame["type"] == "stop":
                job.stop()
            if frame["type"] == "result":
                wire.send(job.wire, {})
    except wire.Closed:
        pass
    confined = {**asdict(job.report), "words": job.report.words()} if job.report else {}
    results.append({"exit": server.ended(), "heard": heard, "pid": job.pid, "confined": confined})
server.close()
print(json.dumps(results))
"""


@dataclass
class Ran:
    """How a script ended, what it told its owner, what confined it, and its owner's log."""

    exit: int
    heard: list[dict[str, Any]]
    pid: int
    confined: dict[str, Any]
    folder: Path
    log: str

    @property
    def result(self) -> dict[str, Any]:
        [result] = [frame["result"] for frame in self.heard if frame["type"] == "result"]
        return dict(result)

    @property
    def output(self) -> str:
        return (self.folder / ".stdout").read_text()

    @property
    def errors(self) -> str:
        return (self.folder / ".stderr").read_text()


def run(root: Path, *scripts: str, ports: tuple[int, ...] = ()) -> list[Ran]:
    """Run scripts one after the other, each in a folder of its own, from one job server."""
    root.mkdir(exist_ok=True)
    np.savez(root / "data.npz", allow_pickle=False, x=np.arange(3))
    (root / "secret").write_text("another's")
    folders = []
    for number, script in enumerate(scripts):
        folder = root / f"work-{number}"
        folder.mkdir()
        (folder / "main.py").write_text(textwrap.dedent(script))
        (folder / "params.json").write_text("{}")
        folders.append(folder)
    order = {
        "codes": [str(folder) for folder in folders],
        "data": str(root / "data.npz"),
        "secret": str(root / "secret"),
        "ports": ports,
    }
    done = subprocess.run(
        [sys.executable, "-c", HOST, json.dumps(order)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    pairs = zip(results, folders, strict=True)
    return [Ran(**one, folder=folder, log=done.stderr) for one, folder in pairs]


IN_SESSION = """
from traindeck.recipes.shared.federated.job import job
with job.session() as here:
    here.result(**try_it(here))
"""
BY_C = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    return ctypes.get_errno() if getattr(libc, name)(*args) < 0 else 0
"""
