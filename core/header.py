"""The header of a script: inline metadata in TOML, and where each key of it stands.

It is read as text, never by importing or running the script
(https://peps.python.org/pep-0723/).
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from traindeck.core.errors import UsageError

_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_OPENING = re.compile(r"(?m)^# /// script\s*$")


class HeaderError(UsageError):
    """A recipe's header cannot be used."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class Header:
    """The header block of one script: its TOML and where each key of it stands."""

    def __init__(self, path: Path, first_line: int, content: str) -> None:
        self.path = path
        self.first_line = first_line
        self.lines = [
            line[2:] if line.startswith("# ") else line[1:] for line in content.split("\n")
        ]
        try:
            self.toml = tomllib.loads("\n".join(self.lines))
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+), column \d+\)", str(error))
            line = first_line + int(at[1]) - 1 if at else first_line
            reason = re.sub(r" \(at .*\)", "", str(error))
            raise HeaderError(path, line, f"the header is not valid TOML: {reason}") from None

    @classmethod
    def find(cls, path: Path, text: str) -> Header | None:
        blocks = list(_BLOCK.finditer(text))
        if not blocks:
            opening = _OPENING.search(text)
            if opening:
                line = text.count("\n", 0, opening.start()) + 1
                raise HeaderError(
                    path,
                    line,
                    "the header is not closed: its lines begin with '# ' and the last is '# ///'",
                )
            return None
        lines = [text.count("\n", 0, block.start()) + 1 for block in blocks]
        if len(blocks) > 1:
            raise HeaderError(path, lines[1], f"a second header; the first is at line {lines[0]}")
        return cls(path, lines[0] + 1, blocks[0]["content"].rstrip("\n"))

    @property
    def table(self) -> dict[str, Any] | None:
        tool = self.toml.get("tool")
        table = tool.get("traindeck") if isinstance(tool, dict) else None
        return table if isinstance(table, dict) else None

    def line(self, key: str, param: str | None = None) -> int:
        """The file's line where a key of [tool.traindeck] (or of one parameter) stands."""
        table = "tool.traindeck" + (f".params.{param}" if param else "")
        here, at = "", self.first_line
        for offset, text in enumerate(self.lines):
            heading = re.fullmatch(r"\s*\[([^\]]+)\]\s*(#.*)?", text)
            if heading:
                here = heading[1].strip().replace('"', "").replace("'", "")
                if here == table:
                    at = self.first_line + offset
            elif here == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", text):
                return self.first_line + offset
        return at

    def error(self, key: str, reason: str, param: str | None = None) -> HeaderError:
        return HeaderError(self.path, self.line(key, param), reason)
