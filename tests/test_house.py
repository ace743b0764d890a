"""The house rules that tools cannot see: what is imported when, and what the package holds."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "tensorflow", "keras", "sklearn", "syft"}


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
        f"import sys; sys.path.insert(0, {str(ROOT / '.dev')!r});"
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


def test_recipe_folders_are_no_packages() -> None:
    """A script's folder comes first on its path: a package there could hide a library."""
    for folder in ("torch", "tensorflow"):
        assert not (ROOT / "recipes" / folder / "__init__.py").exists()
