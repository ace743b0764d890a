"""What was launched: interpreter, packages, git commit and changes, machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindeck.core.base.files import read_json, write_atomic, write_json
from traindeck.core.base.installed import installed

MAX_DIFF = 4 << 20
MAX_ANSWER = 1 << 20
READ_BYTES = 1 << 16
WAIT_SECONDS = 20
# Only variables that decide how training behaves; never one that looks like a secret.
_TELLING = re.compile(
    r"(CUDA|HIP|ROCR|OMP|MKL|OPENBLAS|TF|XLA|TORCH|PYTORCH|NCCL|KERAS|JAX|TRAINDECK)_\w+"
    r"|PYTHONPATH|PYTHONHASHSEED|VIRTUAL_ENV|CONDA_DEFAULT_ENV|LD_LIBRARY_PATH"
)
_SECRET = re.compile(
    r"(?i)key|token|secret|passw|passphrase|credential|auth|cookie|private|session"
)
_DIFF = ("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
_ASK = "import json, sys; print(json.dumps([sys.version, sys.path]))"


def record(folder: Path) -> None:
    """Write `source/provenance.json` and `source/diff.patch` of a run. Raises OSError."""
    spec = read_json(folder / "run.json") or {}
    version, packages = _packages(spec["python"])
    where = Path(spec["script"]).parent if spec.get("script") else Path(spec["cwd"])
    write_json(
        folder / "source" / "provenance.json",
        {
            "python": {"executable": spec["python"], "version": version},
            "packages": packages,
            "git": _git(where, folder / "source" / "diff.patch"),
            "argv": spec["argv"],
            "cwd": spec["cwd"],
            "host": spec["host"],
            "platform": platform.platform(),
            "environment": telling_environment(dict(os.environ)),
        },
    )


def telling_environment(environment: dict[str, str]) -> dict[str, str]:
    """The variables worth keeping; those that look like secrets never are."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if _TELLING.fullmatch(name) and not _SECRET.search(name)
    }


def _packages(python: str) -> tuple[str, dict[str, str]]:
    """An interpreter's version and what is installed for it."""
    version, paths = sys.version, sys.path
    if python != sys.executable:
        try:
            command = [python, "-c", _ASK]
            answer = subprocess.run(command, capture_output=True, timeout=WAIT_SECONDS, check=True)
            version, paths = json.loads(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            return "", {}
    return version, dict(sorted(installed(paths).items()))


def _git(where: Path, diff_path: Path) -> dict[str, Any] | None:
    """Commit and changes; None for what git did not tell, and for all of it where there is none."""
    commit = _run_git(where, "rev-parse", "HEAD")
    if commit is None:
        return None
    branch = _run_git(where, "rev-parse", "--abbrev-ref", "HEAD") or b""
    status = _run_git(where, "status", "--porcelain", "--untracked-files=no")
    diff, diff_bytes = _run(where, _DIFF, MAX_DIFF) or (b"", None)
    if diff:
        write_atomic(diff_path, diff)
    return {
        "commit": commit.decode().strip(),
        "branch": branch.decode("utf-8", "replace").strip(),
        "dirty": None if status is None else bool(status.strip()),
        "diff_bytes": diff_bytes,
        "diff_cut": (diff_bytes or 0) > MAX_DIFF,
    }


def _run_git(where: Path, *words: str) -> bytes | None:
    done = _run(where, words, MAX_ANSWER)
    return done[0] if done else None


def _run(where: Path, words: Sequence[str], most: int) -> tuple[bytes, int] | None:
    """The first `most` bytes that git printed and how many there were; None when it failed.

    What our environment says of another repository (GIT_DIR, as in a hook) is not for this one.
    """
    command = ["git", "-C", str(where), "--no-optional-locks", *words]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    with process:
        assert process.stdout is not None
        deadline = threading.Timer(WAIT_SECONDS, process.kill)
        deadline.start()
        kept = bytearray()
        size = 0
        while block := process.stdout.read(READ_BYTES):
            size += len(block)
            kept += block[: max(0, most - len(kept))]
        code = process.wait()
        deadline.cancel()
    return (bytes(kept), size) if code == 0 else None
