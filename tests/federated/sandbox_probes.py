"""Runs `probing_job` as owners run scripts: as root, as a user, and where a kernel lacks a wall."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.federated import probing_job

LACKING = {
    "root": (),
    "root, no namespaces": ("namespaces",),
    "user": (),
    "user, no namespaces": ("namespaces",),
    "user, no Landlock": ("landlock",),
    "user, neither": ("namespaces", "landlock"),
}
"""What the kernel lacks in each mode."""
USER = 64123
DENIED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOENT, errno.ESRCH}
DENIED |= {errno.EOPNOTSUPP, errno.EROFS, errno.EXDEV}
"""What a call is refused by: not permitted, not there, nobody there."""

NAMED = {
    "sched_getparam VICTIM,SPACE": "pid",
    "sched_getscheduler VICTIM": "pid",
    "stat /etc/shadow": "mount",
    "stat SECRET": "mount",
    "mounts of the machine": "mount",
    "connections of the machine": "net",
    "linkat HERE,SECRET,HERE,MADE,0": "files of this user",
    "/proc/kallsyms": "/proc",
    "/proc/keys": "/proc",
    "/proc/key-users": "/proc",
    "/proc/interrupts": "/proc",
    "/proc/sys/vm/mmap_min_addr": "/proc",
    "/proc/self/uid_map": "/proc",
    "/proc/self/oom_score_adj": "/proc",
}
"""What may be granted, and what in a report's `left` must name it then."""

HOST = """
import json, os, platform, sys
from dataclasses import asdict
from pathlib import Path
from traindeck.recipes.shared.federated.job import kernel, namespaces, sandbox
from traindeck.recipes.shared.federated.job.server import JobServer
from traindeck.recipes.shared.federated.post import wire
order = json.loads(sys.argv[1])
root = Path(order["root"])
if order["user"]:
    seen = [path for path in Path("/").iterdir() if path.name not in ("root", "proc", "mnt")]
    kernel.unshare(namespaces.FLAGS["mount"])
    null = Path("/dev/null")
    read = [*seen, *sandbox.libraries()]
    namespaces.root(platform.machine(), read, [root, null])
    for path in (root, *root.rglob("*")):
        os.chown(path, order["user"], order["user"])
    os.setgroups([])
    os.setresgid(*[order["user"]] * 3)
    os.setresuid(*[order["user"]] * 3)
    kernel.prctl(kernel.DUMPABLE, 1)
    os.chdir(root)
if "namespaces" in order["lacks"]:
    def refused(flags):
        raise PermissionError(1, "Operation not permitted")
    kernel.unshare = refused
if "landlock" in order["lacks"]:
    sandbox.version = lambda: 0
victim = os.fork()
if not victim:
    os.execvp("sleep", ["sleep", "600"])
code = root / "work"
(code / "params.json").write_text(json.dumps({"victim": victim, "secret": str(root / "secret")}))
server = JobServer()
facts = {"owner": "owner-1", "owners": ["owner-1"], "data": str(root / "data.npz")}
job = server.start(code, "main.py", facts, [])
job.wire.settimeout(60)
answers = []
try:
    while True:
        frame, _ = wire.receive(job.wire)
        if frame["type"] == "result":
            answers = frame["result"]["answers"]
            wire.send(job.wire, {})
except wire.Closed:
    pass
ended = server.ended()
alive = not os.waitpid(victim, os.WNOHANG)[0]
os.kill(victim, 9)
said = {"report": asdict(job.report), "words": job.report.words()}
print(json.dumps({"exit": ended, "alive": alive, "answers": answers, **said}))
"""


@dataclass(frozen=True)
class Probed:
    """What a job was answered in a mode.

    granted: kind and words of what it got; report and words: what the owner was told before
    """

    mode: str
    answers: list[tuple[str, str, int]]
    report: dict[str, Any]
    words: str
    log: str
    alive: bool

    @property
    def granted(self) -> list[tuple[str, str, int]]:
        return [each for each in self.answers if each[2] not in DENIED]

    @property
    def unnamed(self) -> list[tuple[str, str, int]]:
        """What it got without its owner's having been told that this is not shut out."""
        left, files = self.report["left"], ("files read", "files written")
        return [
            each
            for each in self.granted
            if NAMED.get(each[1]) not in left
            and not ("files of this user" in left and each[0] in files)
        ]


def possible(mode: str) -> bool:
    """Whether this process can play it."""
    return os.getuid() == 0 or mode.startswith("user")


def probe(mode: str) -> Probed:
    """Run all probes in one job of a mode."""
    with tempfile.TemporaryDirectory() as root:  # which another user can come to
        return _probe(Path(root), mode)


def _probe(root: Path, mode: str) -> Probed:
    (root / "work").mkdir()
    np.savez(root / "data.npz", allow_pickle=False, x=np.arange(3))
    (root / "secret").write_text("another's")
    (root / "work" / "main.py").write_text(Path(probing_job.__file__).read_text())
    order = {
        "root": str(root),
        "user": USER if os.getuid() == 0 and mode.startswith("user") else 0,
        "lacks": LACKING[mode],
    }
    done = subprocess.run(
        [sys.executable, "-c", HOST, json.dumps(order)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    errors = (root / "work" / ".stderr").read_text()
    assert said["exit"] == 0, errors + done.stderr
    return Probed(
        mode,
        [tuple(each) for each in said["answers"]],
        said["report"],
        said["words"],
        done.stderr,
        said["alive"],
    )


def table(probed: Iterable[Probed]) -> str:
    """By kind of probe and mode how many were denied of how many; the others are named."""
    results = list(probed)
    kinds = list(dict.fromkeys(kind for kind, _, _ in results[0].answers))
    head = ["asked for", *(each.mode for each in results)]
    lines = [head, ["---"] * len(head)]
    for kind in kinds:
        cells = [kind]
        for each in results:
            asked = Counter(one[0] for one in each.answers)[kind]
            got = Counter(one[0] for one in each.granted)[kind]
            cells.append(f"{asked - got} of {asked}" + (", named" if got else ""))
        lines.append(cells)
    totals = [f"{len(e.answers) - len(e.granted)} of {len(e.answers)}" for e in results]
    lines.append(["all", *totals])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
