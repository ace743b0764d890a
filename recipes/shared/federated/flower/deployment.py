"""Flower's processes on this machine: one SuperLink, a SuperNode for each owner, one run.

All of them, and what they start in turn, are in one process group, whose leader is a warden that
kills it when its standard input ends: however this process ends, the kernel closes that pipe.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from traindeck.core.base.files import tail
from traindeck.recipes.shared.federated.flower.env import Environment

HOST = "127.0.0.1"
APP = Path(__file__).parent / "app"
SUPEREXEC = Path(__file__).with_name("superexec.py")
START_SECONDS = 120.0
POLL_SECONDS = 0.1  # how often Flower looks for work to start a process for; 1 by default
TAIL_BYTES = 8192
HEAD_BYTES = 65536

_NUMBER = re.compile(rb"SuperNode ID: (\d+)\D")
_WARDEN = "import os, sys; sys.stdin.read(); os.killpg(0, 9)"


class FlowerError(Exception):
    """A process of Flower's has ended that should not have; what it said last."""


class Deployment:
    """Flower for these owners; everything it writes lies below `folder`. A context manager."""

    def __init__(self, environment: Environment, folder: Path, owners: Mapping[str, Path]) -> None:
        """owners: name → folder, where the owner's data.npz lies and its journal is written."""
        self.folder = folder
        self.environment = environment
        self.owners = owners
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.numbers: dict[str, str] = {}  # Flower's number of a node → whose it is
        self._warden: subprocess.Popen[bytes] | None = None
        self._link: subprocess.Popen[bytes] | None = None
        self._run: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Deployment:
        """Start everything. Raises FlowerError, OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._warden = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WARDEN], stdin=subprocess.PIPE, process_group=0
        )
        try:
            self._certify()
            self._put_superexec()
            self._start_link()
            self._start_nodes()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def launch(self, config: Mapping[str, object]) -> None:
        """Hand the app in, with this configuration."""
        home = self._home("aggregator")
        connection = {"address": f"{HOST}:{self._port}", "root-certificates": self._key("ca.pem")}
        (home / "config.toml").write_text(f"[superlink.here]\n{_toml(connection)}")
        given = self.folder / "run.toml"
        given.write_text(_toml(config))
        words = ["run", str(APP), "here", f"--run-config={given}", "--stream"]
        self._run = self._start("run", "flwr", words, home)

    def over(self) -> bool:
        """Whether the run has ended. Raises FlowerError when it or the SuperLink failed."""
        for name, process in (("superlink", self._link), ("run", self._run)):
            if process is not None and process.poll() not in (None, 0):
                raise FlowerError(f"{name}: {self._said(name, process)}")
        if self._link is not None and self._link.poll() is not None:
            raise FlowerError("the SuperLink has ended")
        return self._run is not None and self._run.poll() is not None

    def gone(self) -> dict[str, str]:
        """The owners whose SuperNodes have ended, and what they said last."""
        ended = {name: node for name, node in self.nodes.items() if node.poll() is not None}
        return {name: self._said(name, node) for name, node in ended.items()}

    def missing(self) -> list[str]:
        """The owners whose SuperNodes have not joined yet: the others have logged a number."""
        waited = [name for name in self.nodes if name not in self.numbers.values()]
        for name in waited:
            with (self.folder / f"{name}.log").open("rb") as log:
                if match := _NUMBER.search(log.read(HEAD_BYTES)):
                    self.numbers[match[1].decode()] = name
        return [name for name in waited if name not in self.numbers.values()]

    def said(self, name: str = "run") -> str:
        """The last line of a process's log."""
        return last_line(self.folder / f"{name}.log")

    def close(self) -> None:
        """End all processes at once: what they hold in memory nobody needs any more."""
        warden, self._warden = self._warden, None
        if warden is None:
            return
        assert warden.stdin is not None
        warden.stdin.close()
        for process in (warden, self._link, self._run, *self.nodes.values()):
            if process is not None:
                process.wait()
        for key in (self.folder / "tls").glob("*.key"):
            key.unlink(missing_ok=True)

    def _certify(self) -> None:
        keys = self.folder / "tls"
        keys.mkdir(mode=0o700, exist_ok=True)
        script = Path(__file__).with_name("tls.py")
        words = [str(script), str(keys), "superlink", *self.owners]
        made = subprocess.run([self.environment.python, *words], capture_output=True, text=True)
        if made.returncode:
            raise FlowerError(f"no certificates: {(made.stderr.splitlines() or ['?'])[-1]}")

    def _put_superexec(self) -> None:
        """Ours, where Flower finds it before its own."""
        command = self.folder / "bin" / "flower-superexec"
        command.parent.mkdir(mode=0o700, exist_ok=True)
        words = shlex.join([self.environment.python, str(SUPEREXEC)])
        command.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        command.chmod(0o700)

    def _start_link(self) -> None:
        self._port = _free_port()
        words = [f"--host={HOST}", f"--port={self._port}", *self._identity("superlink")]
        words.append("--disable-runtime-dependency-installation")
        home = self._home("aggregator")
        self._link = self._start("superlink", "flower-superlink", words, home)
        until = time.monotonic() + START_SECONDS
        while not _listens(self._port):
            self.over()
            if time.monotonic() > until:
                raise FlowerError(f"the SuperLink did not start in {START_SECONDS:.0f} s")
            time.sleep(0.1)

    def _start_nodes(self) -> None:
        for name, folder in self.owners.items():
            words = [
                f"--superlink={HOST}:{self._port}",
                f"--root-certificates={self._key('ca.pem')}",
                f"--host={HOST}",
                f"--port={_free_port()}",
                f"--node-config=folder={json.dumps(str(folder))}",
                *self._identity(name),
            ]
            self.nodes[name] = self._start(name, "flower-supernode", words, self._home(name))

    def _identity(self, name: str) -> list[str]:
        return [
            f"--ssl-certfile={self._key(f'{name}.pem')}",
            f"--ssl-keyfile={self._key(f'{name}.key')}",
            f"--ssl-ca-certfile={self._key('ca.pem')}",
        ]

    def _key(self, name: str) -> str:
        return str(self.folder / "tls" / name)

    def _home(self, name: str) -> Path:
        """Flower's own folder of one party."""
        home = self.folder / "homes" / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home

    def _start(
        self, name: str, command: str, words: Sequence[str], home: Path
    ) -> subprocess.Popen[bytes]:
        assert self._warden is not None
        log: IO[bytes]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [self.environment.command(command), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=self._surroundings(home),
                process_group=self._warden.pid,
            )

    def _surroundings(self, home: Path) -> dict[str, str]:
        """All that Flower sees of our environment: nothing of ours gets to an owner by it."""
        kept = {
            name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ
        }
        return kept | {
            "PATH": f"{self.folder / 'bin'}:{self.environment.root / 'bin'}:/usr/bin:/bin",
            "HOME": str(home),
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(POLL_SECONDS),
            "OMP_NUM_THREADS": "1",  # as many processes as owners share the cores
            "PYTHONUNBUFFERED": "1",
        }

    def _said(self, name: str, process: subprocess.Popen[bytes]) -> str:
        code = process.poll() or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        said = self.said(name)
        return f"{how}: {said}" if said else how


def last_line(log: Path) -> str:
    """The last line of a log that has a letter in it; "" if there is none."""
    lines = tail(log, TAIL_BYTES).decode("utf-8", "replace").splitlines()
    newest = (line.strip() for line in reversed(lines))
    return next((line for line in newest if any(map(str.isalpha, line))), "")


def _toml(values: Mapping[str, object]) -> str:
    """Flat values as TOML, which has JSON's strings, numbers and booleans."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
