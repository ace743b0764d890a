"""The process that an approved script runs in: shut in first, then the script, then its end."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import runpy
import signal
import socket
import sys
import tempfile
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from traindeck.recipes.shared.federated.job import job, kernel, namespaces, rights, sandbox
from traindeck.recipes.shared.federated.job.namespaces import Made
from traindeck.recipes.shared.federated.post import wire

KEPT: tuple[str, ...] = (
    *("PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_CPP_MIN_LOG_LEVEL"),
    "CUDA_VISIBLE_DEVICES",
)
"""Of the environment, what a job sees."""

OUTSIDE = 77
"""Exit code of a job that reached for what is not its own."""

TEMPORARY = "tmp"  # folder that a job may write to

MOST_FILE = 1 << 30  # bytes of a file that a job writes, what it prints among them


def die_with_parent() -> None:
    """Be killed when the process that started this one ends, however it ends (Linux)."""
    if sys.platform == "linux":
        kernel.prctl(kernel.DEATH_SIGNAL, signal.SIGKILL)


def no_core() -> None:
    """Leave no memory behind on a crash: it holds keys and private data."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def readable(order: dict[str, Any]) -> list[Path]:
    """What a job may read: libraries, its folder and its data."""
    return [*sandbox.libraries(), Path(order["code"]), Path(order["data"])]


def writable(order: dict[str, Any]) -> list[Path]:
    """Where it may write."""
    return [Path(order["code"]) / TEMPORARY, Path(os.devnull)]


def run(
    order: dict[str, Any],
    descriptor: int,
    line: socket.socket,
    made: Made,
    number: int,
) -> NoReturn:
    """Be the job. See `warden`, which starts it.

    line    to its warden: what confines the job, and the listener; closed before the script starts
    number  one that no other job of this machine has
    """
    code = 1
    try:
        os.setsid()
        no_core()
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE, MOST_FILE))
        folder = Path(order["code"])
        (folder / TEMPORARY).mkdir(exist_ok=True)
        read, write = readable(order), writable(order)
        user, why = rights.hand_over(number, read[-2:], write[:1])
        _streams(folder, (descriptor, line.fileno()))
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        os.environ.clear()
        os.environ.update(kept, HOME=str(folder), TMPDIR=str(folder / TEMPORARY))
        tempfile.tempdir = str(folder / TEMPORARY)
        os.environ[job.SOCKET] = str(descriptor)

        def denied(path: str) -> None:
            tell = socket.socket(fileno=os.dup(descriptor))
            with contextlib.suppress(wire.Closed):
                wire.send(tell, {"type": "outside", "path": path})
            os._exit(OUTSIDE)

        left = _lessen(order, read, write, made, user, why)
        os.chdir(folder)
        die_with_parent()  # again: whoever becomes another is let off
        report, listener = sandbox.confine(read, write, order["ports"], denied, made, left)
        said = json.dumps(asdict(report)).encode()
        socket.send_fds(line, [said], [] if listener is None else [listener])
        line.close()
        if listener is not None:
            os.close(listener)
        reach = [path.resolve() for path in read]
        sys.path[:] = [each for each in sys.path if _within(each, reach)]
        sys.argv = [order["entry"]]
        runpy.run_path(str(folder / order["entry"]), run_name="__main__")
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _within(place: str, reach: list[Path]) -> bool:
    """Whether modules can be looked for there: what is not there any more would be asked for."""
    path = Path(place).resolve()
    return any(path.is_relative_to(each) for each in reach)


def _streams(folder: Path, kept: tuple[int, int]) -> None:
    """Print into the job's folder, and keep no descriptor but those."""
    for output, name in ((1, "stdout"), (2, "stderr")):
        log = os.open(folder / f".{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, output)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    first, last = sorted(kept)
    os.closerange(3, first)
    os.closerange(first + 1, last)
    os.closerange(last + 1, 4096)


def _lessen(
    order: dict[str, Any], read: list[Path], write: list[Path], made: Made, user: int, why: str
) -> dict[str, str]:
    """Take a root of the job's own, another user, and no capabilities, as far as may be.

    Gives what could not be, and why.
    """
    if sys.platform != "linux":
        return {}
    if not order["ports"]:
        namespaces.leave_network(made)
    if "mount" in made.names:
        try:
            namespaces.root(platform.machine(), read, write)
        except OSError as error:
            made.names.remove("mount")
            made.failed["mount"] = error.strerror or str(error)
    rights.bound()
    if user:
        needed = [Path(order["data"]), Path(order["code"]) / order["entry"]]
        needed += [Path(place) for place in (sys.executable, os.__file__, job.__file__)]
        why = rights.become(user, needed, write[:1])
    rights.drop(platform.machine())
    return {"files of root": why} if os.getuid() == 0 and why else {}
