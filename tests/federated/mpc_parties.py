"""Jobs of several owners as processes of their own, and what crosses between them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import traindeck.recipes
from traindeck.recipes.shared.federated.mpc.party import HOST

JOBS = Path(traindeck.recipes.__file__).parent / "syft" / "jobs"
PATIENCE = 60.0  # seconds that a party may take on a busy machine
OWNERS = ["owner-1", "owner-2", "owner-3"]


class Parties:
    """The owners' jobs: one script, run in a folder of each owner. Killed at the end."""

    def __init__(self, root: Path, script: Path, data: Mapping[str, Mapping[str, Any]]) -> None:
        self._script = script
        self._root = root
        self.owners = list(data)
        self.processes: dict[str, subprocess.Popen[str]] = {}
        for owner, arrays in data.items():
            folder = root / owner
            folder.mkdir(parents=True)
            np.savez(folder / "data.npz", allow_pickle=False, **arrays)
            facts = {"owner": owner, "owners": self.owners, "data": str(folder / "data.npz")}
            (folder / "job.json").write_text(json.dumps(facts))

    def start(self, owner: str, params: Mapping[str, Any]) -> subprocess.Popen[str]:
        folder = self._root / owner
        parties = {**params["parties"]}
        facts = json.loads((folder / "job.json").read_text())
        (folder / "job.json").write_text(json.dumps({**facts, "tls": parties.pop("tls", None)}))
        (folder / "params.json").write_text(json.dumps({**params, "parties": parties}))
        self.processes[owner] = subprocess.Popen(
            [sys.executable, str(self._script)],
            cwd=folder,
            env={**os.environ, "TRAINDECK_JOB": str(folder), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.processes[owner]

    def results(self) -> dict[str, dict[str, Any]]:
        """What each gave as its result, once all have ended well."""
        results = {}
        for owner, process in self.processes.items():
            _, complaint = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, f"{owner}: {complaint}"
            results[owner] = json.loads((self._root / owner / "result.json").read_text())
        return results

    def complaint(self, owner: str) -> str:
        """The last line that a party, which must have failed, printed."""
        _, complaint = self.processes[owner].communicate(timeout=PATIENCE)
        assert self.processes[owner].returncode, f"{owner} has not failed"
        return complaint.strip().splitlines()[-1]

    def reported_sent(self, owner: str) -> int:
        """The bytes that a party has told its owner of."""
        return sum(map(int, (self._root / owner / "sent.jsonl").read_text().split()))

    def logged(self, owner: str) -> list[dict[str, float]]:
        """The owner's own numbers so far."""
        with contextlib.suppress(OSError):
            lines = (self._root / owner / "log.jsonl").read_text().splitlines()
            return [json.loads(line) for line in lines]
        return []

    def __enter__(self) -> Parties:
        return self

    def __exit__(self, *ending: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.communicate()


def meeting(
    ports: Sequence[int], tls: dict[str, str] | None = None, patience: float = PATIENCE
) -> dict[str, Any]:
    """How the parties find each other: the parameter `parties` of the jobs."""
    return {"ports": list(ports), "tls": tls, "patience": patience, "limit": PATIENCE}


class Wiretap:
    """Stands before ports and keeps all that passes; `ports` are those to connect to instead."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._heard: list[bytearray] = []
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._servers = [socket.create_server((HOST, 0)) for _ in ports]
        self.ports = [int(server.getsockname()[1]) for server in self._servers]
        for server, port in zip(self._servers, ports, strict=True):
            self._begin(self._accept, server, port)

    def _begin(self, what: Callable[..., None], *given: Any) -> None:
        self._threads.append(threading.Thread(target=what, args=given, daemon=True))
        self._threads[-1].start()

    @property
    def heard(self) -> bytes:
        """Everything so far; each direction of each link is one piece."""
        return b"\n".join(map(bytes, self._heard))

    def _accept(self, server: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = server.accept()[0]
                self._links.append(near)
                self._begin(self._join, near, port)

    def _join(self, near: socket.socket, port: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._closing:  # who is called may not listen yet
            try:
                far = socket.create_connection((HOST, port), 5)
            except OSError:
                time.sleep(0.05)
                continue
            self._links.append(far)
            far.settimeout(None)
            self._begin(self._pass, far, near)
            self._pass(near, far)
            return

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        kept = bytearray()
        self._heard.append(kept)
        with contextlib.suppress(OSError):
            while part := near.recv(1 << 16):
                kept += part
                far.sendall(part)
        for end in (near, far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closing = True
        sockets = [*self._servers, *self._links]
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for each in [*sockets, *self._links]:
            each.close()


@contextlib.contextmanager
def wiretap(ports: Sequence[int]) -> Iterator[Wiretap]:
    """A wiretap before these ports, for a while."""
    tap = Wiretap(ports)
    try:
        yield tap
    finally:
        tap.close()


def through(tap: Wiretap, ports: Sequence[int], index: int) -> list[int]:
    """The ports as party `index` is told them: its own, and for the others' the tap's."""
    return [port if at == index else tap.ports[at] for at, port in enumerate(ports)]


def forms(rows: np.ndarray, scale: float, fraction: int) -> list[bytes]:
    """Forms that rows (n, d) could cross in: two values in a row as floats, one as text, and one as
    a fixed-point number of so many bits of fraction, bare or times scale, in ten bytes.
    """
    forms: list[bytes] = []
    for row in rows:
        for at in range(len(row) - 1):
            pair = np.asarray(row[at : at + 2])
            forms += [pair.astype(kind).tobytes() for kind in ("<f8", ">f8", "<f4", ">f4")]
        for value in map(float, row):
            forms += [repr(value)[:9].encode(), repr(float(np.float32(value)))[:9].encode()]
            for number in (value, value * scale):
                fixed = round(number * 2**fraction)
                if fixed > 2**16:
                    forms += [fixed.to_bytes(10, "little"), fixed.to_bytes(10, "big")]
    return forms
