"""The header of a script: inline metadata in TOML, and where each key of it stands.

It is read as text, never by importing or running the script
(https://peps.python.org/pep-0723/).
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import UsageError

MOST_PARTS = 64  # of a key
_PART = re.compile(r"""[ \t]*[\w"'-]+[ \t]*""")
_OPEN, _CLOSE = "# /// script", "# ///"


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
        for number, text in enumerate(self.lines):
            if _dotted(text) > MOST_PARTS:  # tomllib takes minutes for thousands
                reason = f"a key has more than {MOST_PARTS} dotted parts"
                raise HeaderError(path, first_line + number, reason)
        try:
            self.toml = tomllib.loads("\n".join(self.lines))
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+), column \d+\)", str(error))
            line = first_line + int(at[1]) - 1 if at else first_line
            reason = re.sub(r" \(at .*\)", "", str(error))
            raise HeaderError(path, line, f"the header is not valid TOML: {reason}") from None
        except (ValueError, RecursionError) as error:
            reason = f"the header cannot be read: {type(error).__name__}"
            raise HeaderError(path, first_line, reason) from None

    @classmethod
    def find(cls, path: Path, text: str) -> Header | None:
        """The header of a script, or None. Raises HeaderError for one that cannot be read."""
        lines = [line.rstrip() for line in text.split("\n")]
        opened = [number for number, line in enumerate(lines) if line == _OPEN]
        if not opened:
            return None
        first = opened[0]
        end = first + 1
        while end < len(lines) and _is_inside(lines[end]):
            end += 1
        # The last one closes it: another may stand in a text of several lines.
        closed = [number for number in range(first + 1, end) if lines[number] == _CLOSE]
        last = closed[-1] if closed else 0
        if not closed:
            reason = "the header is not closed: its lines begin with '# ' and the last is '# ///'"
            raise HeaderError(path, first + 1, reason)
        again = [number for number in opened if number > last]
        if again:
            reason = f"a second header; the first is at line {first + 1}"
            raise HeaderError(path, again[0] + 1, reason)
        return cls(path, first + 2, "\n".join(lines[first + 1 : last]))

    @property
    def table(self) -> dict[str, Any] | None:
        tool = self.toml.get("tool")
        table = tool.get("traindeck") if isinstance(tool, dict) else None
        return table if isinstance(table, dict) else None

    def line(self, key: str, where: str = "") -> int:
        """The file's line where a key of [tool.traindeck] stands, or of a table within it."""
        table = "tool.traindeck" + (f".{where}" if where else "")
        here, at = "", self.first_line
        for offset, text in enumerate(self.lines):
            heading = re.fullmatch(r"\s*\[([^\]]+)\]\s*(#.*)?", text)
            if heading:
                here = heading[1].strip().replace('"', "").replace("'", "")
                if here == table or (
                    here.startswith(f"{table}.") and where and at == self.first_line
                ):
                    at = self.first_line + offset
            elif here == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", text):
                return self.first_line + offset
        if where and at == self.first_line:  # an inline table, if anything
            outer, _, name = where.rpartition(".")
            return self.line(name, outer)
        return at

    def error(self, key: str, reason: str, where: str = "") -> HeaderError:
        return HeaderError(self.path, self.line(key, where), reason)


def _is_inside(line: str) -> bool:
    return line == "#" or line.startswith("# ")


def _dotted(line: str) -> int:
    """The most words in a row of a line that have nothing but dots between them."""
    most = run = 1
    for part in line.split(".")[1:-1]:
        run = run + 1 if _PART.fullmatch(part) else 1
        most = max(most, run + 1)
    return most
