"""Run ids: eight characters that sort by when the run was made.

Forty bits in Crockford's base 32 (https://www.crockford.com/base32.html, lower case): units of
1/1024 second since 2024. Each new id is above every id there is, even when the clock was set back.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 8
_CHARACTERS = frozenset(ALPHABET)
EPOCH = 1704067200  # 2024-01-01 UTC
FAR_AHEAD = 5 * 365 * 86400 * 1024  # no clock was that wrong: not an id of ours


def encode(number: int) -> str:
    text = ""
    for _ in range(LENGTH):
        number, digit = divmod(number, 32)
        text = ALPHABET[digit] + text
    return text


def decode(text: str) -> int:
    """The number of an id. Raises ValueError for what is not one."""
    number = 0
    for character in text:
        number = number * 32 + ALPHABET.index(character)
    return number


def is_id(text: str) -> bool:
    return len(text) == LENGTH and _CHARACTERS.issuperset(text)


def new_folder(runs: Path, trash: Path) -> Path:
    """Make the folder of a new run; its name is the run's id. Raises OSError."""
    taken = [name for folder in (runs, trash) for name in os.listdir(folder) if is_id(name)]
    number = int((time.time() - EPOCH) * 1024)
    now = encode(number)
    ahead = [decode(name) for name in taken if name >= now]
    number = max([number, *(other + 1 for other in ahead if other - number < FAR_AHEAD)])
    while True:
        folder = runs / encode(number)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return folder
