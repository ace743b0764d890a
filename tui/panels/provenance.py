"""What a run was launched with: parameters, command, code, packages and machine."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.widgets import Static

from traindeck.core.base.format import size
from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.readers.provenance import Provenance
from traindeck.tui.widgets.rows import Row, rows

LONGEST = 2000
SHOWN = ("params", "state", "reason", "command", "device", "on", "path", "tags", "notes")
"""What of a `RunDoc` the panel shows."""


class ProvenancePanel(VerticalScroll, can_focus=True, inherit_bindings=False):
    """Parameters first, then how to have the same again, then where it came from."""

    BORDER_TITLE = "parameters & provenance"
    BINDING_GROUP_TITLE = "Parameters"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy", id="parameters.copy", tooltip="Copy all of this as text"),
        *SCROLL_KEYS,
    ]
    DEFAULT_CSS = """
    ProvenancePanel > Static { height: auto; margin-bottom: 1; }
    """

    class CopyAsked(Message):
        """The panel's text should be copied."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._given: tuple[object, ...] = ()
        self._sections: list[tuple[str, list[Row]]] = []
        self._exact: list[tuple[str, list[Row]]] = []

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, doc: RunDoc, provenance: Provenance) -> None:
        """Take what is known of a run."""
        given = (*(doc[key] for key in SHOWN), provenance)  # type: ignore[literal-required]
        if given == self._given:
            return
        self._given = given
        self._sections = _sections(doc, provenance, _familiar(provenance.source.get("cwd")))
        self._exact = _sections(doc, provenance, str)
        self._draw()

    def on_resize(self, _: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        parts: list[Content] = []
        for title, lines in self._sections:
            parts.append(Content.styled(title, "bold $text-accent") + "\n" + rows(lines, width))
        self.query_one(Static).update(Content("\n\n").join(parts))

    def text(self) -> str:
        """Everything shown, as plain text; paths and the command exact, to be used elsewhere."""
        return "\n\n".join(
            "\n".join([title, *(f"  {name}: {value}" for name, value in lines)])
            for title, lines in self._exact
        )

    def action_copy(self) -> None:
        self.post_message(self.CopyAsked(self.text()))


def _word(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf, as it is typed; JSON calls it Infinity
    return plain(value if isinstance(value, str) else json.dumps(value, default=str), LONGEST)


def _sections(
    doc: RunDoc, provenance: Provenance, path_text: Callable[[str], str]
) -> list[tuple[str, list[Row]]]:
    """All there is to say, paths as `path_text` has them."""
    source = provenance.source
    sections = [
        ("parameters", _params(doc["params"] or provenance.params, source)),
        ("imported", _imported(source.get("imported"), path_text)),
        ("run", _run(doc, source, path_text)),
        ("code", _code(provenance)),
        ("environment", _named(source.get("environment"), path_text)),
        ("packages", _named(source.get("packages"))),
    ]
    return [(title, lines) for title, lines in sections if lines]


def _familiar(cwd: object) -> Callable[[str], str]:
    """How people know a path: from where the run was launched, or from their home."""
    home = str(Path.home())
    below = f"{cwd.rstrip('/')}/" if isinstance(cwd, str) and len(cwd) > 1 else None

    def path_text(text: str) -> str:
        flag, equals, path = text.partition("=") if text.startswith("-") else ("", "", text)
        if below is not None and path.startswith(below) and path != below:
            path = path.removeprefix(below)
        elif len(home) > 1 and (path == home or path.startswith(f"{home}/")):
            path = f"~{path.removeprefix(home)}"
        return f"{flag}{equals}{path}"

    return path_text


def _command(words: Iterable[object], path_text: Callable[[str], str]) -> str:
    shown = [path_text(str(word)) for word in words]
    # A leading tilde is left bare: quoted it would no longer mean the home.
    return " ".join(
        f"~/{shlex.quote(word[2:])}" if word.startswith("~/") and word[2:] else shlex.quote(word)
        for word in shown
    )


def _params(params: Mapping[str, Any], source: Mapping[str, Any]) -> list[Row]:
    if not params:
        imported = "imported" in source
        why = "none were found" if imported else "this run was launched without parameters"
        return [("none", why)]
    return [(plain(name), _word(value)) for name, value in params.items()]


def _run(doc: RunDoc, source: Mapping[str, Any], path_text: Callable[[str], str]) -> list[Row]:
    python, argv = source.get("python"), source.get("argv")
    where = doc["device"] if doc["device"] == doc["on"] else f"{doc['device']} (--on {doc['on']})"
    facts: list[tuple[str, object]] = [
        (doc["state"], doc["reason"]),
        ("command", _command(doc["command"], path_text)),
        ("process", _command(argv, path_text) if isinstance(argv, list) else None),
        ("interpreter", _interpreter(python, path_text) if isinstance(python, Mapping) else python),
        ("device", where),
        ("seed", doc["params"].get("seed")),
        ("folder", path_text(doc["path"])),
        ("launched from", path_text(str(source["cwd"])) if source.get("cwd") else None),
        ("host", source.get("host")),
        ("platform", source.get("platform")),
        ("tags", ", ".join(doc["tags"])),
        ("notes", doc["notes"]),
    ]
    return [(name, _word(value)) for name, value in facts if value not in (None, "")]


def _interpreter(python: Mapping[str, Any], path_text: Callable[[str], str]) -> str:
    version = str(python.get("version", "")).split(" (")[0]
    executable = str(python.get("executable") or "")
    return " · ".join(str(part) for part in (version, path_text(executable)) if part)


def _imported(origin: object, path_text: Callable[[str], str]) -> list[Row]:
    """Where a run came from that was never launched here."""
    if not isinstance(origin, Mapping):
        return []
    remarks = origin.get("remarks")
    facts = [
        ("from", origin.get("tool")),
        ("place", path_text(str(origin.get("place")))),
        ("its id there", origin.get("part")),
        *(("note", remark) for remark in (remarks if isinstance(remarks, list) else ())),
    ]
    return [(name, _word(value)) for name, value in facts if value]


def _code(provenance: Provenance) -> list[Row]:
    git = provenance.source.get("git")
    if not isinstance(git, Mapping):
        none = provenance.source and "imported" not in provenance.source
        return [("git", "not launched from a git work tree")] if none else []
    facts: list[Row] = [("commit", _word(git.get("commit") or "none yet"))]
    if git.get("branch"):
        facts.append(("branch", _word(git["branch"])))
    if "dirty" not in git:
        return facts
    if git["dirty"]:
        kept = "not kept" if provenance.patch_bytes is None else size(provenance.patch_bytes)
        facts.append(("changes", f"work tree was changed; source/diff.patch: {kept}"))
    else:
        facts.append(("changes", "none: the work tree was clean"))
    return facts


def _named(values: object, path_text: Callable[[str], str] = str) -> list[Row]:
    if not isinstance(values, Mapping):
        return []
    return [
        (plain(str(name)), _word(path_text(value) if isinstance(value, str) else value))
        for name, value in values.items()
    ]
