"""Tables: rows of numbers under a header (fastai, YOLO, spaCy, sklearn, CSV), and boxes of names.

A header says what its columns are. It counts only if one of its columns is a step or a metric, and
stands right above its rows; other lines between rows (bars, rules) are no hindrance.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from traindeck.core.exchange.printed.names import is_metric, is_noise, part_of, step_of
from traindeck.core.exchange.printed.numbers import MARK

LOOK_BACK = 2000  # characters above a row
_LINES_BACK = 8

_BAR = re.compile(r":?\s+\d{1,3}%\|.*$|:?\s+\d{1,3}%\s.*[\u2501\u2500].*$", re.DOTALL)
_RULE = re.compile(r"[\s|+:=\-\u2500-\u259f]*")
_BORDER = re.compile(r"^\||(?:^|\s)\|(?:\s|$)|\w\|\w")
_GAP = re.compile(r"\s{2,}|\t")
_BOX = re.compile(r"^\s*[|\u2502\u2503]\s*(?P<name>[^|\u2502\u2503]{1,100}?)\s*[|\u2502\u2503]\s*"
                  rf"(?P<value>{MARK})\s*%?\s*[|\u2502\u2503]\s*$")  # fmt: skip
_SECTION = re.compile(r"[|\u2502\u2503]\s*([\w./-]{1,60})/\s*[|\u2502\u2503]\s*[|\u2502\u2503]")
_CELL = re.compile(r"[-+]?(?:\d[\d.,]*(?:[eE][-+]?\d+)?|\.\d+|nan|NaN|inf)%?")
_FULL = re.compile(r"(?P<done>\d+)/(?P<total>\d+)")
_NO_VALUE = re.compile(r"(?:-+|None|nan|NaN|n/a|N/A|[\d:.]+|\d[\d.]*[a-zA-Z]{1,3}|)")


class Header(NamedTuple):
    """What a table's columns are called; `step` is the column of its step, `label` whether the
    first column holds words."""

    names: tuple[str, ...]
    step: int | None
    label: bool


class Row(NamedTuple):
    """What one row says: its step, of how many, and its values by name."""

    step: int | None
    total: int | None
    word: str
    values: list[tuple[str, float]]


def cells(line: str) -> list[str]:
    """A line's cells, whichever way they are parted."""
    line = _BAR.sub("", line).strip()
    if "\u2502" in line or "\u2503" in line or ("|" in line and _BORDER.search(line)):
        return [cell.strip() for cell in re.split(r"[|\u2502\u2503]", line.strip("|\u2502\u2503"))]
    parted = _GAP.split(line)
    if len(parted) > 2:
        return parted
    if "," in line:
        by_comma = [cell.strip().strip("\"'") for cell in line.split(",")]
        if len(by_comma) > 1:
            return by_comma
    by_space = line.split()
    return parted if len(parted) > 1 and len(by_space) != len(parted) else by_space


def is_row(line: str) -> bool:
    """Whether a line is all numbers but perhaps its first cell."""
    found = cells(line)
    if not 2 <= len(found) <= 60:
        return False
    numbers = sum(bool(_CELL.fullmatch(cell) or _FULL.fullmatch(cell)) for cell in found)
    others = sum(not _CELL.fullmatch(cell) and not _FULL.fullmatch(cell)
                 and not _NO_VALUE.fullmatch(cell) for cell in found[1:])  # fmt: skip
    return numbers >= 2 and (others == 0 or line.lstrip().startswith(("| ", "\u2502 ")))


def box(shape: str) -> tuple[str, int] | None:
    """The name in a box's row, and the place of its number."""
    match = _BOX.match(shape)
    if match is None:
        return None
    return match["name"].replace(MARK, ""), match["name"].count(MARK)


def section(text: str) -> str | None:
    """The last heading in the rows between: `rollout` of ``| rollout/ | |``."""
    found = _SECTION.findall(text)
    return found[-1] if found else None


def header_above(text: str, count: int) -> Header | None:
    """The header right above a row of so many cells."""
    lines = [line for line in text.split("\n") if line.strip()][-_LINES_BACK:]
    for line in reversed(lines):
        if _RULE.fullmatch(line) or is_row(line):
            continue
        header = _header(cells(line), count)
        if header is not None:
            return header
        if "%|" not in line:
            return None
    return None


def _header(names: list[str], count: int) -> Header | None:
    if len(names) != count or not all(re.search(r"[^\W\d]|#", name) for name in names):
        return None
    if any(len(name) > 60 for name in names):
        return None
    steps = [place for place, name in enumerate(names) if name == "#" or step_of(name)]
    metric = any(is_metric(name) for name in names) or (steps[:1] == [0] and count > 2)
    if not metric and not any(part_of(name) for name in names[1:]):
        return None
    label = bool(names[0]) and not steps
    steps.sort(key=lambda place: names[place].lower() == "epoch")
    clean = tuple(re.sub(r"^\w+\(", "", name).strip("() ").replace(" ", "_") for name in names)
    return Header(clean, steps[0] if steps else None, label)


def _is_of_interest(name: str) -> bool:
    if step_of(name) is not None or name == "E":  # spaCy's epoch
        return False
    return len(name) == 1 or not is_noise(name)


def row(line: str, header: Header) -> Row | None:
    """What a row says under its header; None if it is another table's."""
    found = cells(line)
    if len(found) != len(header.names):
        return None
    step, total, word = None, None, "step"
    values: list[tuple[str, float]] = []
    for place, cell in enumerate(found):
        name = header.names[place]
        if place == header.step:
            full = _FULL.fullmatch(cell)
            number = full["done"] if full else cell.replace(",", "")
            word = step_of(name) or "step"
            if not re.fullmatch(r"\d{1,15}(?:\.0*)?", number):
                if not re.fullmatch(r"\d{1,15}\.\d+", number):
                    return None
                values.append((name, float(number)))
                continue
            step, total = int(float(number)), int(full["total"]) if full else None
        elif place == 0 and header.label and not _CELL.fullmatch(cell):
            if cell.lower() != "all":
                return None
        elif _CELL.fullmatch(cell) and _is_of_interest(name):
            try:
                values.append((name, float(cell.rstrip("%").replace(",", ""))))
            except ValueError:
                continue
    return Row(step, total, word, values)
