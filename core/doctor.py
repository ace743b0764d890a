"""What is installed, which recipes can run here, and what would mend the rest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.home import Home
from traindeck.core.catalogue.store import Catalogue, CatalogueError
from traindeck.core.devices.inventory import discover
from traindeck.core.recipe.find import missing_dependencies, shelf
from traindeck.core.recipe.recipe import Recipe

PACKAGES = ("torch", "tensorflow", "scikit-learn", "dp-accounting")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `mend` is what to do about it."""

    what: str
    ok: bool
    state: str
    mend: str = ""


def examine(home: Home) -> list[Finding]:
    """Look at everything; slow things (devices) included. Raises nothing."""
    return [*_machine(), *_home(home), *_packages(), *_recipes(home)]


def _machine() -> list[Finding]:
    inventory = discover()
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    git = shutil.which("git")
    findings = [
        Finding("python", True, f"{platform.python_version()} ({sys.executable})"),
        Finding("system", True, platform.platform()),
        Finding("cpu", True, f"{inventory.cpu.model}, {len(inventory.cpu.usable_cores)} cores"),
        Finding(
            "C++ compiler",
            compiler is not None,
            compiler or "none: torch recipes cannot use mode=graph",
            "" if compiler else "install g++ (Debian: apt-get install g++)",
        ),
        Finding("git", git is not None, git or "none: runs will not record their commit"),
    ]
    findings += [Finding(g.label, True, g.name) for g in (*inventory.gpus, *inventory.tpus)]
    findings += [Finding("devices", True, note) for note in inventory.notes]
    return findings


def _home(home: Home) -> list[Finding]:
    try:
        home.make()
        writable = os.access(home.root, os.W_OK)
        text = str(home.root) if writable else f"{home.root} is read-only"
    except OSError as error:
        writable, text = False, f"{home.root}: {error.strerror}"
    mend = "" if writable else "make it writable, or set TRAINDECK_HOME to a folder that is"
    findings = [Finding("home", writable, text, mend)]
    try:
        findings.append(Finding("catalogue", True, f"{len(Catalogue(home).all())} runs"))
    except CatalogueError as error:
        findings.append(Finding("catalogue", False, str(error), "traindeck reindex"))
    return findings


def _packages() -> list[Finding]:
    findings = []
    for name in PACKAGES:
        try:
            findings.append(Finding(name, True, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            mend = f"{sys.executable} -m pip install {name}"
            findings.append(Finding(name, False, "not installed", mend))
    return findings


def _environment(home: Home, recipe: Recipe) -> Path | None:
    if not recipe.environment:
        return None
    named = os.environ.get(f"TRAINDECK_{recipe.environment.upper()}")
    return Path(named).expanduser() if named else home.root / "envs" / recipe.environment


def _making(recipe: Recipe, place: Path) -> str:
    if not recipe.packages:
        return f"traindeck run {recipe.name} says how to make it"
    folder, packages = shlex.quote(str(place)), " ".join(map(shlex.quote, recipe.packages))
    return f"python3 -m venv {folder} && {folder}/bin/pip install {packages}"


def _recipes(home: Home) -> list[Finding]:
    usable, broken = shelf(home)
    findings = []
    for recipe in usable:
        place = _environment(home, recipe)
        if place is not None and not (place / "bin" / "python").exists():
            text = f"needs an environment of its own, {place}"
            mend = _making(recipe, place)
            findings.append(Finding(f"recipe {recipe.name}", False, text, mend))
            continue
        missing = missing_dependencies(recipe)
        wanted = " ".join(f"'{requirement}'" for requirement in missing)
        findings.append(
            Finding(
                f"recipe {recipe.name}",
                not missing,
                f"needs {', '.join(missing)}" if missing else "can run",
                f"pip install {wanted}" if missing else "",
            )
        )
    for b in broken:
        findings.append(Finding(f"recipe {b.path.name}", False, f"line {b.line}: {b.reason}"))
    return findings
