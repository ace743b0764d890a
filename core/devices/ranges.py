"""Sets of numbers written as the kernel writes them: "0-3,8"."""

from __future__ import annotations

from collections.abc import Iterable

_HIGHEST = 65535


def parse_ranges(text: str) -> tuple[int, ...]:
    """ "0-2,5" to (0, 1, 2, 5): sorted, each once. Raises ValueError saying which part is wrong."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise ValueError(f'"{part.strip()}" is neither a number nor a range such as 0-3')
        low = int(first)
        high = int(last) if dash else low
        if high < low:
            raise ValueError(f'"{part.strip()}" runs backwards')
        if high > _HIGHEST:
            raise ValueError(f"{high} is too high: the highest number is {_HIGHEST}")
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def format_ranges(numbers: Iterable[int]) -> str:
    """(0, 1, 2, 5) to "0-2,5"."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
