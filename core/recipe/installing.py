"""Making a Python environment: by uv where it is on PATH, else by venv and pip.

Index, constraints and certificates are those that pip is configured with, for uv too.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from traindeck.core.base.installed import normal, package_folder

WORDS = 300  # of what an installer said, in an error
_STEP = re.compile(r"(Collecting|Downloading|Building|Installing|Resolved|Prepared|Installed)\b")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_OWN = "traindeck"
# pip's settings and the flags of `uv pip install` that mean the same.
_AS_UV = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}


class Failed(Exception):
    """What an installer said when it could not."""


def install(
    folder: Path, base: str, requirements: Sequence[str], tell: Callable[[str], None], lock: int
) -> None:
    """Make an environment with the interpreter `base` and install into it.

    traindeck itself, where it is required, is a link to the package that runs now: `track` needs
    nothing else. The descriptor `lock` is the installers' too: if we are killed, it is held until
    they have ended. Raises Failed with the installer's words.
    """

    def do(command: list[str]) -> None:
        _do(command, tell, lock)

    own = [each for each in requirements if _is_own(each)]
    wanted = [each for each in requirements if each not in own]
    python = str(folder / "bin" / "python")
    if uv := shutil.which("uv"):
        do([uv, "venv", "--python", base, str(folder)])
        if wanted:
            do([uv, "pip", "install", "--python", python, *_as_uv(), "--", *wanted])
    elif importlib.util.find_spec("pip"):
        do([base, "-m", "venv", "--without-pip", str(folder)])
        if wanted:
            pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
            do([*pip, "install", "--no-input", "--progress-bar=off", "--", *wanted])
    else:
        do([base, "-m", "venv", str(folder)])
        if wanted:
            do([python, "-m", "pip", "install", "--no-input", "--", *wanted])
    for place in folder.glob("lib/python3*/site-packages") if own else ():
        (place / _OWN).symlink_to(package_folder(), target_is_directory=True)


def _do(command: list[str], tell: Callable[[str], None], lock: int) -> None:
    """Run a command, telling its steps. It ends with us, whatever ends us politely."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=(lock,),
        )
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    said: list[str] = []
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said = [*said[-20:], line.strip()]
                if _STEP.match(line.strip()):
                    tell(f"  {line.strip()[:WORDS]}")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise Failed(_why(said) or f"{command[0]} ended with {process.returncode}")


def _why(said: Sequence[str]) -> str:
    """The line of an installer's words that says what is wrong."""
    errors = [line for line in said if line.startswith(("ERROR: ", "error: "))]
    told = errors[-1:] or [line.lstrip("×╰─▶ ") for line in said if line][-3:]
    return " ".join(line.removeprefix("ERROR: ") for line in told)[:WORDS]


def _as_uv() -> list[str]:
    """What pip is configured with, as flags of uv, which does not read that."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    flags = ["--index-strategy", "unsafe-best-match"]  # pip takes the best of all indexes
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        try:
            words = str(ast.literal_eval(value)).split()
        except (ValueError, SyntaxError):
            continue
        if key == "no-index" and words in (["true"], ["yes"], ["on"], ["1"]):
            flags.append("--no-index")
        elif key == "cert":
            os.environ.setdefault("SSL_CERT_FILE", " ".join(words))
        flags += [word for each in words if key in _AS_UV for word in (_AS_UV[key], each)]
    return flags


def _is_own(requirement: str) -> bool:
    name = _NAME.match(requirement)
    return name is not None and normal(name[0]) == _OWN
