"""What a header asks for, held against an interpreter."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from traindeck.core.base import interpreter
from traindeck.core.recipe import requirements
from traindeck.core.recipe.header import HeaderError
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.recipe.requirements import Lack, lacks


def script(folder: Path, header: str, *, encoding: str = "utf-8", end: str = "\n") -> Path:
    path = folder / "mine.py"
    lines = ["# /// script", *(f"# {line}" for line in header.splitlines()), "# ///", "print(1)"]
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def recipe(folder: Path, header: str) -> Recipe:
    read = read_recipe(script(folder, header), bare=True)
    assert read is not None
    return read


def installed_there(folder: Path, name: str, version: str, requires: str = "") -> None:
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    (place / "METADATA").write_text(metadata)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all our interpreter has."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    own = interpreter.Interpreter("/a b/python", sys.version, (str(folder),), {})
    monkeypatch.setattr(requirements, "ours", lambda: own)
    return folder


@pytest.mark.parametrize(
    ("dependencies", "missing"),
    [
        (["alpha"], ()),
        (["Alpha"], ()),
        (["alpha>=2,<3"], ()),
        (["alpha>=3"], ("alpha>=3",)),
        (["alpha==2.*", "beta"], ("beta",)),
        (["beta; sys_platform == 'win32'"], ()),
        (["beta>=1; python_version < '3.2'"], ()),
        (["beta>=1; python_version >= '3.2'"], ("beta>=1",)),
        (["alpha @ https://example.org/alpha.whl"], ()),
        (["alpha[fast]"], ("alpha[fast]",)),
        (["alpha[small]"], ()),
        (["gamma>=1.0rc1"], ()),
        (["old"], ()),
    ],
)
def test_markers_extras_and_bounds_are_looked_at(
    tmp_path: Path, packages: Path, dependencies: list[str], missing: tuple[str, ...]
) -> None:
    installed_there(
        packages,
        "alpha",
        "2.5",
        "Requires-Dist: beta>=1; extra == 'fast'\nRequires-Dist: gamma; extra == 'small'\n",
    )
    installed_there(packages, "gamma", "1.0rc2")
    (packages / "old-1.0-py3.11.egg-info").mkdir()
    found = lacks(recipe(tmp_path, f"dependencies = {dependencies!r}"))
    assert found.missing == missing
    assert bool(found) == bool(missing)


def test_the_mend_can_be_pasted(tmp_path: Path, packages: Path) -> None:
    mend = lacks(recipe(tmp_path, """dependencies = ["a>=2; os_name != 'x'", "b[c]"]""")).mend
    assert shlex.split(mend) == ["/a b/python", "-m", "pip", "install", "a>=2", "b[c]"]


@pytest.mark.parametrize(("wanted", "fits"), [(">=3.11", True), (">=3.99", False), ("<3", False)])
def test_requires_python_is_looked_at(tmp_path: Path, wanted: str, fits: bool) -> None:
    found = lacks(recipe(tmp_path, f'requires-python = "{wanted}"'))
    assert bool(found) is not fits
    assert fits or found.words.startswith(f"needs Python {wanted}, and ")


def test_another_interpreter_is_asked(tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    python = str(other / "bin" / "python")
    mine = recipe(tmp_path, 'requires-python = ">=3.11"\ndependencies = ["numpy"]')
    assert not lacks(mine)
    assert lacks(mine, python) == Lack("mine", python, "", ("numpy",))


@pytest.mark.parametrize(
    ("header", "line", "reason"),
    [
        ('# nothing\ndependencies = ["numpy >"]', 3, "'numpy >' is no requirement"),
        ('requires-python = "three"', 2, "'three' is no version specifier"),
    ],
)
def test_what_is_no_requirement_is_named_with_its_line(
    tmp_path: Path, header: str, line: int, reason: str
) -> None:
    with pytest.raises(HeaderError) as caught:
        lacks(recipe(tmp_path, header))
    assert (caught.value.line, reason in caught.value.reason) == (line, True)


@pytest.mark.parametrize(("encoding", "end"), [("utf-8-sig", "\n"), ("utf-8-sig", "\r\n")])
def test_byte_order_mark_and_carriage_returns(tmp_path: Path, encoding: str, end: str) -> None:
    header = '[tool.traindeck]\nname = "toy"\ndescription = """two\nlines"""'
    read = read_recipe(script(tmp_path, header, encoding=encoding, end=end))
    assert read is not None
    assert (read.name, read.description) == ("toy", "two\nlines")


def test_the_last_closing_line_closes_the_header(tmp_path: Path) -> None:
    header = '[tool.traindeck]\ndescription = """\n/// <summary>\n///\n"""\nname = "toy"'
    read = read_recipe(script(tmp_path, header))
    assert read is not None
    assert (read.name, read.description) == ("toy", "/// <summary>\n///\n")


def test_a_header_without_our_table_says_what_it_needs(tmp_path: Path) -> None:
    read = recipe(tmp_path, 'dependencies = ["no-such"]\nrequires-python = ">=3.9"')
    assert (read.dependencies, read.requires_python) == (("no-such",), ">=3.9")
