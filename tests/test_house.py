"""The house rules: what may import what, what is imported when, and what the package holds."""

from __future__ import annotations

import graphlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import grimp
import pytest

import traindeck

ROOT = Path(__file__).parent.parent
WINGS = ("core", "tui", "recipes")
HEAVY = {"torch", "tensorflow", "keras", "sklearn", "syft"}
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
SCRIPTS = {
    "recipes/deploy",
    "recipes/flower",
    "recipes/shared/federated/flower/app",
    "recipes/syft",
    "recipes/syft/jobs",
    "recipes/tensorflow",
    "recipes/torch",
}
"""A script's folder comes first on its path: a package there could hide a library."""

MOST_LINES = 400


def sources() -> list[Path]:
    return sorted(path for wing in WINGS for path in (ROOT / wing).rglob("*.py"))


def module(path: Path) -> str:
    name = ".".join(["traindeck", *path.relative_to(ROOT).with_suffix("").parts])
    return name.removesuffix(".__init__")


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """What each module imports, in functions and for types alone as well."""
    graph = grimp.build_graph(*CONTRACT["root_packages"], cache_dir=None)
    return {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}


def test_every_folder_is_a_package_or_one_of_scripts() -> None:
    folders = {path.parent for path in sources()}
    scripts = {folder for folder in folders if not (folder / "__init__.py").exists()}
    assert {folder.relative_to(ROOT).as_posix() for folder in scripts} == SCRIPTS


def test_the_contract_sees_every_file(imports: dict[str, set[str]]) -> None:
    folders = {"traindeck." + folder.replace("/", ".") for folder in SCRIPTS}
    assert imports.keys() - folders == {"traindeck", *map(module, sources())}


def test_every_room_has_its_floor(imports: dict[str, set[str]]) -> None:
    floors = CONTRACT["contracts"][0]["layers"]
    rooms = {room for floor in floors for room in floor.split(" | ")}
    halls = {
        ".".join(room.split(".")[:end]) for room in rooms for end in range(1, room.count(".") + 1)
    }
    homeless = {
        name
        for name in imports.keys() - halls
        if not any(f"{name}.".startswith(f"{room}.") for room in rooms)
    }
    assert not homeless


def test_no_files_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the files


def test_a_forbidden_import_is_seen_wherever_it_stands(tmp_path: Path) -> None:
    copy = tmp_path / "traindeck"
    for wing in WINGS:
        shutil.copytree(ROOT / wing, copy / wing, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = set()
    for folder in sorted({path.parent for path in sources()}):
        room = folder.relative_to(ROOT)
        [*_, last] = sorted((copy / room).glob("*.py"))
        target = "recipes.shared.training.needs" if room.parts[0] == "tui" else "tui.cli"
        with last.open("a") as file:
            file.write(f"\ndef planted():\n    import traindeck.{target}\n")
        planted.add((module(ROOT / room / last.name), f"traindeck.{target}"))
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; lint_imports_command()", "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    reported = set(re.findall(r"(traindeck[\w.]*) ->\s+(traindeck[\w.]*)", done.stdout))
    assert planted <= reported


def test_no_file_is_too_long_to_be_read() -> None:
    texts = [path for wing in (*WINGS, "tests") for path in (ROOT / wing).rglob("*")]
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in [*texts, *ROOT.glob("*.md"), *ROOT.glob(".github/*.md")]
        if path.suffix in (".py", ".tcss", ".md", ".c")
        and (lines := path.read_text().count("\n")) > MOST_LINES
    }
    assert not long


def test_only_the_packaging_knows_how_an_installation_finds_the_package() -> None:
    """`.dev` holds links to the wings, for installations from a work tree."""
    knowing = [
        path.relative_to(ROOT).as_posix()
        for path in [*sources(), *(ROOT / "tests").rglob("*.py"), ROOT / "screenshots/make.py"]
        if re.search(r"(?<!\w)\.dev\b", path.read_text()) and path != Path(__file__)
    ]
    assert not knowing


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import traindeck.tui.cli", HEAVY | {"textual", "numpy", "rich", "tinydb", "orjson"}),
        (
            "import traindeck.core.catalogue.library",
            HEAVY | {"textual", "numpy", "rich", "typer", "psutil"},
        ),
        ("import traindeck.core.track", HEAVY | {"textual", "numpy", "rich", "typer", "tinydb"}),
        ("import traindeck.tui.app, traindeck.tui.screens.runs", HEAVY | {"numpy", "psutil"}),
        ("import traindeck.tui.screens.run.screen, traindeck.tui.screens.recipes.screen", HEAVY),
    ],
)
def test_nothing_heavy_is_imported(statement: str, never: set[str]) -> None:
    assert not imported_by(statement) & never


def test_the_supervisor_needs_the_standard_library_alone() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(traindeck.__file__).parent.parent)!r});"
        "import traindeck.core.supervisor.main, traindeck.core.supervisor.intake,"
        " traindeck.core.exchange.printed, traindeck.core.exchange.tensorboard.events,"
        " traindeck.core.base.sanitize"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_the_wheel_holds_the_whole_house(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("core", "tui", "recipes"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".tcss"):
                assert f"traindeck/{path.relative_to(ROOT).as_posix()}" in packed
    assert "traindeck/__init__.py" in packed
    assert "traindeck/py.typed" in packed
    assert not any(name.startswith(("core/", "tui/", "recipes/", "tests/")) for name in packed)


def test_what_no_test_runs_imports_what_is_there() -> None:
    """Benches and the pictures' script run for minutes: that they still start is seen here."""
    gone = []
    for path in [*(ROOT / "tests/bench").glob("*.py"), ROOT / "screenshots/make.py"]:
        for module_name, names in re.findall(
            r"^ *from traindeck\.([\w.]+) import (\([^)]*\)|.*)$", path.read_text(), re.MULTILINE
        ):
            place = ROOT / module_name.replace(".", "/")
            source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            text = source.read_text() if source.exists() else ""
            for name in re.findall(r"\w+", re.sub(r" as \w+|#.*", "", names)):
                there = re.search(
                    rf"^(?:class|def|async def) {name}\b|^(?:\w+, )*{name}\b(?:, \w+)* *[:=]",
                    text,
                    re.M,
                )
                if not there and not (place / f"{name}.py").exists():
                    gone.append(f"{path.name}: {module_name} {name}")
    assert gone == []
