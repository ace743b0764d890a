"""What is installed, which recipes have their packages here, and what would mend the rest.

The files that a recipe reads, its data and weights, are looked for when it starts.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.errors import ControlError, TraindeckError
from traindeck.core.base.files import disk_use
from traindeck.core.base.format import counted, size, timespan
from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.catalogue.store import Catalogue, CatalogueError
from traindeck.core.devices.inventory import discover
from traindeck.core.models import aside
from traindeck.core.recipe import isolated
from traindeck.core.recipe.environments import making, place, python
from traindeck.core.recipe.find import shelf
from traindeck.core.recipe.requirements import lacks
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import LIVE, UNREACHABLE

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
    return [
        *_machine(),
        *_home(home),
        *_packages(),
        *_isolated(home),
        *_recipes(home),
        *_converters(home),
    ]


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
        findings.append(Finding("catalogue", True, counted(len(Catalogue(home).all()), "run")))
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


def _converters(home: Home) -> list[Finding]:
    """The environments that some formats are made in: nothing else needs them."""
    findings = []
    for name, what in aside.NEEDED_FOR.items():
        folder = aside.place(home, name)
        there = (folder / "bin" / "python").exists()
        state = str(folder) if there else f"not there, needed only for {what}"
        mend = "" if there else aside.making(home, name)
        findings.append(Finding(f"environment {name}", there, state, mend))
    return findings


def _isolated(home: Home) -> list[Finding]:
    """The environments of single scripts, and what each takes up."""
    findings = []
    for one in isolated.made(home):
        what = f"environment {one.folder.name}"
        taken = size(disk_use(one.folder))
        if one.dependencies is None:
            text = f"half made, {taken}; it is made anew when it is needed"
            findings.append(Finding(what, False, text, "traindeck doctor --remove-unused 0d"))
            continue
        ago = timespan(max(0.0, time.time() - one.used))
        held = ", ".join(one.dependencies) or "no packages"
        findings.append(Finding(what, True, f"{held}; {taken}, last used {ago} ago"))
    return findings


def remove_unused(home: Home, seconds: float) -> list[Path]:
    """Delete environments of single scripts that nobody has used for so long; returns which.

    One that a run goes on in, or waits for, is left, and one that is being made. Raises
    ControlError when one cannot be deleted.
    """
    going_on = [run["id"] for run in Library(home).runs() if run["state"] in (*LIVE, UNREACHABLE)]
    specs = [RunFolder(home.runs / run_id).spec() for run_id in going_on]
    live = {Path(spec.get("python", "")).parent.parent.resolve() for spec in specs if spec}
    gone = []
    for one in isolated.made(home):
        is_new = one.dependencies is not None and time.time() - one.used < seconds
        if is_new or one.folder.resolve() in live:
            continue
        try:
            if isolated.remove(one):
                gone.append(one.folder)
        except OSError as error:
            raise ControlError(f"{one.folder} cannot be deleted: {error.strerror}") from None
    return gone


def _recipes(home: Home) -> list[Finding]:
    usable, broken = shelf(home)
    findings = []
    for recipe in usable:
        what = f"recipe {recipe.name}"
        own = recipe.environment or recipe.parts
        if own and not (folder := place(home, own)).joinpath("bin", "python").exists():
            text = f"needs an environment of its own, {folder}"
            findings.append(Finding(what, False, text, making(recipe, folder)))
            continue
        try:
            lack = lacks(recipe, python(home, recipe) if recipe.dependencies else None)
        except TraindeckError as error:
            findings.append(Finding(what, False, str(error)))
            continue
        mend = lack.mend if lack else ""
        findings.append(Finding(what, not lack, lack.words or "its packages are here", mend))
    for b in broken:
        findings.append(Finding(f"recipe {b.path.name}", False, f"line {b.line}: {b.reason}"))
    return findings
