"""Names that no run has yet, found without reading ten thousand documents."""

from __future__ import annotations

import contextlib
import heapq
import mmap
import os
import re
from collections.abc import Iterator

import orjson

from traindeck.core.base.files import read_json
from traindeck.core.base.home import Home
from traindeck.core.base.ids import is_id
from traindeck.core.run.names import next_name

NEWEST = 32
"""So many runs may have been launched and not be in the catalogue yet."""
_NUMBERS = re.compile(r"(-\d{1,6})+\Z")


def free_name(home: Home, name: str) -> str:
    """A name that no run has: this one, or numbered; itself where the runs cannot be read."""
    stem = _NUMBERS.sub("", name)
    try:
        return next_name(name, {*_recorded(home, stem), *_newest(home)})
    except OSError:
        return name


def _recorded(home: Home, stem: str) -> Iterator[str]:
    """Names in the catalogue that begin so: its bytes are searched, which takes milliseconds.

    Now and then a parameter that is called `name` too: then a number is left out.
    """
    start = b'"name":' + orjson.dumps(stem.encode("utf-8", "replace").decode())[:-1]
    with contextlib.suppress(FileNotFoundError), home.catalogue.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(start)
            while at >= 0:
                end = data.find(b'"', at + len(start))
                with contextlib.suppress(orjson.JSONDecodeError):  # another's, a quote in it
                    yield orjson.loads(data[at + len(b'"name":') : end + 1])
                at = data.find(start, at + len(start))


def _newest(home: Home) -> Iterator[str]:
    """The names that the newest runs were launched by."""
    for run_id in heapq.nlargest(NEWEST, filter(is_id, os.listdir(home.runs))):
        said = read_json(home.runs / run_id / "run.json")
        if isinstance(said, dict) and isinstance(said.get("name"), str):
            yield said["name"]
