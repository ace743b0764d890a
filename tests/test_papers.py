"""The documentation holds together: what it points at is there, and its keys do what it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)
OUTSIDE = ("http://", "https://", "mailto:")


def papers() -> list[Path]:
    """Every Markdown file of the house, tracked or not yet."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:  # not a clone
        return [path for path in ROOT.rglob("*.md") if ".venv" not in path.parts]
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def prose(paper: Path) -> str:
    """Its text without blocks of code, in which `#` and brackets mean something else."""
    return FENCE.sub("", paper.read_text(encoding="utf-8"))


def anchors(paper: Path) -> set[str]:
    """The names that GitHub gives its headings: what no word holds goes, spaces become dashes."""
    names: dict[str, int] = {}
    result = set()
    for heading in HEADING.findall(prose(paper)):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = names.get(name, 0)
        names[name] = count + 1
        result.add(f"{name}-{count}" if count else name)
    return result


def broken_links(paper: Path) -> Iterator[str]:
    for target in LINK.findall(CODE.sub("", prose(paper))):
        if target.startswith(OUTSIDE):
            continue
        place, _, anchor = target.partition("#")
        path = (paper.parent / place).resolve() if place else paper
        if not path.exists():
            yield f"{target}: there is no {path}"
        elif place and not path.is_relative_to(ROOT):
            yield f"{target}: leaves the house"
        elif anchor and anchor not in anchors(path):
            yield f"{target}: {path.name} has no such heading"


@pytest.mark.parametrize("paper", papers(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_and_picture_is_there(paper: Path) -> None:
    assert list(broken_links(paper)) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    paper = tmp_path / "paper.md"
    paper.write_text(
        "# One `two`, three\n[a](#one-two-three) [b](#four) [c](gone.md) `[d](gone)`\n"
        "```\n# Five\n[e](gone)\n```\n[f](#five)\n"
    )
    assert [problem.partition(":")[0] for problem in broken_links(paper)] == [
        "#four",
        "gone.md",
        "#five",
    ]


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_chapter_is_on_the_first_page() -> None:
    linked = {(ROOT / link).resolve() for link in LINK.findall(prose(ROOT / "README.md"))}
    rooms = [path for path in papers() if path.name == "README.md" and path.parent != ROOT]
    assert [path for path in rooms if path not in linked] == []


def test_every_bench_is_named_in_the_tests_readme() -> None:
    text = (ROOT / "tests/README.md").read_text()
    benches = sorted(path.name for path in (ROOT / "tests/bench").glob("bench_*.py"))
    assert benches == sorted(set(re.findall(r"bench_\w+\.py", text)))


def test_every_bench_finds_the_tests_when_it_is_started_by_its_path() -> None:
    for bench in sorted((ROOT / "tests/bench").glob("bench_*.py")):
        head, uses, _ = bench.read_text().partition("\nfrom tests")
        assert not uses or "sys.path.insert(0" in head, bench.name


def test_a_readme_that_lists_its_room_lists_all_of_it() -> None:
    missing = []
    for paper in papers():
        title, _, listed = paper.read_text().partition("\n## What the room holds\n")
        for path in paper.parent.glob("*.py") if listed else ():
            if path.name != "__init__.py" and f"`{path.name}`" not in listed:
                missing.append(f"{title.splitlines()[0]}: {path.name}")
    assert missing == []


def test_the_files_and_names_in_contributing_are_there() -> None:
    """Files may be called by the end of their path, as `owner/gate.py`."""
    text = (ROOT / ".github/CONTRIBUTING.md").read_text()
    before, _, later = text.partition("\nRooms that have a place and are made")
    text = before + later.partition("\n## ")[2]
    house = [path for wing in WINGS for path in (ROOT / wing).rglob("*.py")]
    wrong = []
    for name, called in re.findall(NAMED, text):
        files = [path for path in house if f"/{path.relative_to(ROOT)}".endswith(f"/{name}")]
        if not files:
            wrong.append(name)
        last = called.rpartition(".")[2]
        if last and not any(re.search(rf"\b{last}\b", path.read_text()) for path in files):
            wrong.append(f"{name} {called}")
    assert wrong == []


WINGS = ("core", "recipes", "tui", "tests", "screenshots")
NAMED = r"`([\w/]+\.py)`(?:\s`([\w.]+)`)?"
PLACES = {
    "everywhere": ("app.",),
    "recipes": ("recipes.",),
    "devices": ("devices.",),
    "runs": ("runs.", "sort."),
    "a run": ("run.",),
    "curves": ("curves.",),
    "log": ("log.", "run.search"),
    "privacy": ("privacy.",),
    "models": ("models.",),
    "inbox": ("inbox.",),
    "sweeps": ("sweeps.",),
    "versus": ("versus.",),
}
NAMES = {
    "/": "slash",
    "?": "question_mark",
    "+": "plus",
    "-": "minus",
    "&": "ampersand",
    ";": "semicolon",
    "esc": "escape",
}


def keys_in_the_readme() -> list[tuple[str, str]]:
    chapter = (ROOT / "tui/README.md").read_text().partition("\n## Keys")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([\w ]+?) \| (.*) \|$", chapter, re.MULTILINE)
    return [(place, key) for place, keys in rows for key in re.findall(r"`(.+?)`", keys)]


def test_the_keys_in_the_readme_do_something_there() -> None:
    import importlib

    from textual.binding import Binding
    from textual.dom import DOMNode

    from traindeck.tui import app  # noqa: F401 - its bindings
    from traindeck.tui.key_checks import SCREENS

    for screen in SCREENS:
        importlib.import_module(f"traindeck.tui.screens.{screen}")
    keys: set[tuple[str, str]] = set()
    classes: list[type[DOMNode]] = [DOMNode]
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        if cls.__module__.startswith("traindeck."):
            for binding in Binding.make_bindings(cls.__dict__.get("BINDINGS", ())):
                keys.update((binding.id or "", key) for key in binding.key.split(","))
    listed = keys_in_the_readme()
    assert {place for place, _ in listed} == PLACES.keys()
    for place, key in listed:
        name = NAMES.get(key, key)
        assert any(had == name and id.startswith(PLACES[place]) for id, had in keys), (place, key)
