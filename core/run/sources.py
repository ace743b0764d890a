"""The scripts that a run consists of: those that its command names, and what of these is imported.

Found by reading, never by running: words of the command and of shell scripts that are files, `-m`
modules, and imports that lie beside the script or below the working folder.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from traindeck.core.base.files import read_bounded, write_atomic
from traindeck.core.base.syntax import syntax_tree

MOST_FILES = 200
MOST_BYTES = 1 << 20  # of one
SUFFIXES = (".py", ".sh", ".bash", ".zsh", ".R", ".r", ".jl", ".pl", ".rb", ".lua", ".js", ".ipynb")
_SHELL = (".sh", ".bash", ".zsh")
_SHELL_HEAD = re.compile(rb"#!.*sh\b")
_WORD = re.compile(r"[^\s;&|()<>'\"`=]+")


def named(argv: Sequence[str], cwd: Path) -> list[Path]:
    """The scripts that a command names, in its order."""
    found: dict[Path, None] = {}
    for at, word in enumerate(argv):
        before = argv[at - 1] if at else ""
        words = _WORD.findall(word) if before == "-c" else [word]
        if before == "-m":
            found.update(dict.fromkeys(_modules(word, [cwd], whole=True)))
        for name in words:
            path = _path(cwd, name)
            if path and (path.suffix in SUFFIXES or (at == 0 and _is_own_program(path))):
                found[path] = None
    return list(found)


def beneath(scripts: Sequence[Path], cwd: Path) -> list[Path]:
    """The scripts that these run or import, and so on, as far as they lie in their folders."""
    found = dict.fromkeys(scripts)
    waiting = list(scripts)
    roots = list(dict.fromkeys([*(script.parent for script in scripts), cwd]))
    for script in waiting:  # grows while it is walked
        for path in _used(script, roots, cwd):
            if path not in found and len(found) < MOST_FILES:
                found[path] = None
                waiting.append(path)
    return [path for path in found if path not in scripts]


def keep(path: Path, folder: Path, base: Path) -> None:
    """Copy a script into a folder, under its name below `base`; what is there already stays."""
    name = path.relative_to(base) if path.is_relative_to(base) else Path(path.name)
    copy = folder / name
    with contextlib.suppress(OSError):
        if not os.path.lexists(copy):
            data = read_bounded(path, MOST_BYTES, follow=True)
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(copy, data)


def _used(script: Path, roots: Sequence[Path], cwd: Path) -> Iterator[Path]:
    try:
        text = read_bounded(script, MOST_BYTES, follow=True)
    except OSError:
        return
    if script.suffix in _SHELL or _SHELL_HEAD.match(text):
        for word in _WORD.findall(text.decode("utf-8", "replace")):
            path = _path(cwd, word) or _path(script.parent, word)
            if path and path.suffix in SUFFIXES:
                yield path
    elif script.suffix == ".py":
        yield from _imported(script, text, roots)


def _imported(script: Path, text: bytes, roots: Sequence[Path]) -> Iterator[Path]:
    tree = syntax_tree(text)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(alias.name, roots)
        elif isinstance(node, ast.ImportFrom):
            above = roots if not node.level else [script.parents[min(node.level, 8) - 1]]
            stem = f"{node.module}." if node.module else ""
            for alias in node.names:
                yield from _modules(stem + alias.name, above)


def _modules(name: str, roots: Sequence[Path], *, whole: bool = False) -> Iterator[Path]:
    """The files of a module and of the packages around it; `whole`: what `python -m` runs of it."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return
    for root in roots:
        for count in range(1, len(parts) + 1):
            stem = root.joinpath(*parts[:count])
            ends = (stem.with_name(f"{stem.name}.py"), stem / "__init__.py")
            yield from (path for path in ends if _is_file(path))
        if whole and _is_file(main := root.joinpath(*parts, "__main__.py")):
            yield main


def _path(folder: Path, word: str) -> Path | None:
    if not word or word.startswith("-") or len(word) > 4096 or "\0" in word:
        return None
    path = Path(os.path.normpath(folder / word))
    return path if _is_file(path) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _is_own_program(path: Path) -> bool:
    """Whether it is a script by its first line, and of no Python environment."""
    if os.path.lexists(path.parent.parent / "pyvenv.cfg") or path.parts[1:2] in (
        ("usr",),
        ("bin",),
    ):
        return False
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
