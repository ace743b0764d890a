"""Environments of single scripts, made of what their headers ask for and kept in the home.

Each is `envs/isolated-<key>`; the key is of the requirements and the interpreter, so that scripts
that ask for the same share one. `isolated.json` in it is written last: without it an environment
is half made, and is made anew. Who is about to start a run in one holds a shared lock on
`envs/isolated-<key>.lock` for as long as it lives, who makes or removes one an exclusive one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.errors import MissingError
from traindeck.core.base.files import opened, read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.base.interpreter import Interpreter, ask, ours
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.recipe.requirements import accepts, parsed

PREFIX = "isolated-"
MARK = "isolated.json"
NEWEST_MINOR = 30

_held: dict[Path, int] = {}  # locks of environments that this process may start runs in

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Isolated:
    """An environment that was made for scripts; `used` is when a run was last launched in it.

    dependencies  what was installed into it; None when it is half made
    """

    folder: Path
    dependencies: tuple[str, ...] | None
    used: float


def python(home: Home, recipe: Recipe, base: str | None = None, tell: Tell | None = None) -> str:
    """The interpreter of a recipe's own environment, which is made if it is not there.

    `base` names the interpreter that it is made with, `tell` hears how that goes. Until we end
    nobody removes it. Raises MissingError when it cannot be made; nothing of it stays then.
    """
    tell = tell or (lambda words: None)
    requirements = sorted({str(each) for each in parsed(recipe)})
    interpreter = _base(recipe, base)
    folder = home.root / "envs" / f"{PREFIX}{_key(recipe, requirements, interpreter)}"
    found = folder / "bin" / "python"
    if folder not in _held or not _is_whole(folder):
        try:
            _held[folder] = _lock(folder, recipe, requirements, interpreter, tell)
        except OSError as error:
            raise _cannot(recipe, error.strerror or str(error)) from None
    with contextlib.suppress(OSError):
        os.utime(folder / MARK)
    return str(found)


def base_of(python: str) -> str | None:
    """The interpreter that an environment was made with; None where that is not known any more."""
    mark = read_json(Path(python).parent.parent / MARK) or {}
    base = mark.get("python")
    return base if isinstance(base, str) else None


def made(home: Home) -> list[Isolated]:
    """All that are there, half made ones too, the one that was used last first."""
    found = []
    for folder in (home.root / "envs").glob(f"{PREFIX}*"):
        if not folder.is_dir() or folder.is_symlink():
            continue
        mark = read_json(folder / MARK)
        with contextlib.suppress(OSError):
            used = (folder / MARK if mark else folder).stat().st_mtime
            names = tuple(map(str, mark.get("dependencies") or ())) if mark else None
            found.append(Isolated(folder, names, used))
    return sorted(found, key=lambda one: -one.used)


def remove(one: Isolated) -> bool:
    """Delete an environment; False when somebody makes it or is about to start a run in it."""
    descriptor = opened(_lock_of(one.folder), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (one.folder / MARK).unlink(missing_ok=True)
        shutil.rmtree(one.folder)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(
    folder: Path, recipe: Recipe, requirements: list[str], interpreter: Interpreter, tell: Tell
) -> int:
    """A descriptor that holds the shared lock of a whole environment, made if needed."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = opened(_lock_of(folder), os.O_RDWR | os.O_CREAT)
    try:
        while True:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _is_whole(folder):
                return descriptor
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell("somebody else makes this environment; waiting for it")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_whole(folder):
                _make(folder, recipe, requirements, interpreter, tell, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _make(
    folder: Path,
    recipe: Recipe,
    requirements: list[str],
    interpreter: Interpreter,
    tell: Tell,
    lock: int,
) -> None:
    from traindeck.core.recipe.installing import Failed, install

    shutil.rmtree(folder, ignore_errors=True)
    wanted = ", ".join(requirements) or "no packages"
    tell(f"making an environment for {recipe.name}, on Python {interpreter.number}: {wanted}")
    began = time.monotonic()
    try:
        install(folder, interpreter.executable, requirements, tell, lock)
        facts = {"dependencies": requirements, "python": interpreter.executable}
        write_json(folder / MARK, facts)
    except Failed as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _cannot(recipe, str(error)) from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    tell(f"made in {time.monotonic() - began:.1f} s: {folder}")


def _base(recipe: Recipe, base: str | None) -> Interpreter:
    """The interpreter to make it with: as named, or ours, or one on PATH that is allowed."""
    if base is not None:
        try:
            asked = ask(base)
        except (OSError, ValueError) as error:
            raise _cannot(recipe, str(error)) from None
        if not accepts(recipe, asked.number):
            why = f"{recipe.name} needs Python {recipe.requires_python}, and {base} is"
            raise MissingError(f"{why} {asked.number}")
        return asked
    own = ours()
    if accepts(recipe, own.number):
        return own
    for minor in range(NEWEST_MINOR, 6, -1):
        if found := shutil.which(f"python3.{minor}"):
            with contextlib.suppress(OSError, ValueError):
                asked = ask(found)
                if accepts(recipe, asked.number):
                    return asked
    raise MissingError(
        f"{recipe.name} needs Python {recipe.requires_python}: none on PATH is; install one, or"
        " name it by --python"
    )


def _key(recipe: Recipe, requirements: list[str], interpreter: Interpreter) -> str:
    real = os.path.realpath(interpreter.executable)
    facts = [requirements, recipe.requires_python, real, interpreter.version]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _is_whole(folder: Path) -> bool:
    return (folder / MARK).is_file() and shutil.which(folder / "bin" / "python") is not None


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _cannot(recipe: Recipe, why: str) -> MissingError:
    return MissingError(f"an environment for {recipe.name} cannot be made: {why}")
