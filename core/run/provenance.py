"""What was launched: interpreter, packages, git commit and changes, machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from traindeck.core.base.files import read_json, write_atomic, write_json
from traindeck.core.base.installed import installed
from traindeck.core.base.interpreter import ask, ours
from traindeck.core.run import program
from traindeck.core.run.sources import beneath, keep, named
from traindeck.core.run.spec import Spec, identity

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


def record(folder: Path, descendants: Callable[[int], Iterable[int]]) -> None:
    """Write `source/provenance.json` and `source/diff.patch` of a run. Raises OSError.

    The scripts of a command are kept beside them, and what these import if git does not know it.
    Interpreter and packages are those of the command. Where its words do not tell which, the first
    Python among its processes is waited for, and the file is written again.
    """
    spec = read_json(folder / "run.json") or {}
    source = folder / "source"
    git = _code(spec, source)
    found = program.named(spec["argv"], spec["cwd"])
    facts = {
        **_python(found, spec["cwd"]),
        "git": git,
        "argv": spec["argv"],
        "cwd": spec["cwd"],
        "host": spec["host"],
        "platform": platform.platform(),
        "environment": telling_environment(dict(os.environ)),
    }
    write_json(source / "provenance.json", facts)
    child = identity(cast("Spec", spec), "child")
    if found is None and child and (found := program.running(child.pid, descendants)):
        facts.update(_python(found, spec["cwd"]))
        write_json(source / "provenance.json", facts)


def _code(spec: Mapping[str, Any], source: Path) -> dict[str, Any] | None:
    """Keep what ran in `source`; returns what git says of it, as `_git` does."""
    cwd = Path(spec["cwd"])
    scripts = [Path(spec["script"])] if spec.get("script") else named(spec["argv"], cwd)
    where = scripts[0].parent if spec.get("script") else cwd
    if not spec.get("script") and scripts and _run_git(cwd, "rev-parse", "HEAD") is None:
        where = scripts[0].parent
    parts = beneath(scripts, cwd)
    untracked = _untracked(where, [*scripts, *parts])
    for path in scripts:
        keep(path, source, where)
    for path in parts:
        if path in untracked:
            keep(path, source, where)
    git = _git(where, source / "diff.patch")
    if git is not None:
        git["untracked"] = [os.path.relpath(path, where) for path in untracked]
        git["dirty"] = True if untracked else git["dirty"]
    return git


def telling_environment(environment: dict[str, str]) -> dict[str, str]:
    """The variables worth keeping; those that look like secrets never are."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if _TELLING.fullmatch(name) and not _SECRET.search(name)
    }


def _python(python: str | None, cwd: str) -> dict[str, Any]:
    """What an interpreter says of itself and its packages; nothing where there is none."""
    if python is None:
        return {"python": None, "packages": {}}
    try:
        told = ours() if _is_ours(python) else ask(python, cwd)
    except (OSError, ValueError):
        return {"python": {"executable": python, "version": ""}, "packages": {}}
    return {
        "python": {"executable": python, "version": told.version},
        "packages": dict(sorted(installed(told.paths).items())),
    }


def _is_ours(python: str) -> bool:
    """Whether it is our own interpreter, by the name of its environment."""
    return os.path.abspath(python) == os.path.abspath(sys.executable)


def _untracked(where: Path, paths: Sequence[Path]) -> list[Path]:
    """Those of a repository that git does not track, ignored ones too; all, where there is none."""
    told = _run_git(where, "rev-parse", "--show-toplevel")
    if told is None:
        return list(paths)
    top = Path(os.fsdecode(told.rstrip(b"\n")))
    inside = {path: os.path.relpath(path.resolve(), top) for path in paths}
    inside = {path: name for path, name in inside.items() if not name.startswith("..")}
    if not inside:
        return []
    tracked = _run_git(top, "ls-files", "-z", "--", *inside.values()) or b""
    known = set(map(os.fsdecode, tracked.split(b"\0")))
    return [path for path, name in inside.items() if name not in known]


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
