"""Runs that W&B left on disk (`wandb/offline-run-…/`), read without W&B.

`run-ID.wandb` holds messages of wandb_internal.proto (wandb/proto): of each `Record` the fields

    history = 2   item = 1 { key = 1, nested_key = 2, value_json = 16 }, step = 2 { num = 1 }
    config = 5    update = 1, of the same items
    run = 17      run_id = 1, project = 3, config = 4, run_group = 6, display_name = 8, notes = 9,
                  tags = 10, host = 13, start_time = 17 { seconds = 1 }, git = 20 { commit = 2 }
    exit = 18     exit_code = 1

Older ones hold `wandb-history.jsonl`, with config.yaml and wandb-metadata.json beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traindeck.core.base.files import read_json, reading
from traindeck.core.base.sanitize import printable
from traindeck.core.exchange import jsonl
from traindeck.core.exchange import protobuf as pb
from traindeck.core.exchange.leveldb import Log
from traindeck.core.exchange.params import read_yaml
from traindeck.core.exchange.runs import (
    LONGEST_NAME,
    OutsideRun,
    Points,
    flat,
    instant,
    number,
    numbers,
    texts,
)

HISTORY = "wandb-history.jsonl"
TOOL = "W&B"
_HISTORY, _CONFIG, _RUN, _EXIT = 2, 5, 17, 18
_OWN = frozenset(("_runtime", "_wandb"))


def read(path: Path) -> OutsideRun:
    """The run of a `.wandb` file. Raises Unreadable, OSError."""
    run = OutsideRun(TOOL, path, path.stem.removeprefix("run-"), Points(path))
    run.state, run.reason = "lost", "W&B never recorded its end"
    log = Log(path)
    config: dict[str, Any] = {}
    with reading(path, follow=True) as file:
        for record in log.records(file):
            try:
                _take(run, record, config)
            except pb.Truncated:
                log.problem = f"{path}: a record holds something else than W&B's; the rest is left"
                break
    config.pop("_wandb", None)
    run.params = flat(config)
    if log.problem:
        run.remarks.append(log.problem)
    run.points.sort()
    return run


def _take(run: OutsideRun, record: bytes, config: dict[str, Any]) -> None:
    for number_, kind, at, stop in pb.fields(record, 0, len(record)):
        if kind != pb.BYTES:
            continue
        if number_ == _HISTORY:
            _history(run, record, at, stop)
        elif number_ == _CONFIG:
            for name, value in _items(record, at, stop):
                _put(config, name, value)
        elif number_ == _RUN:
            _about(run, record, at, stop, config)
        elif number_ == _EXIT:
            run.exit_code = pb.integer(record, at, stop, 1)
            run.state = "failed" if run.exit_code else "finished"
            run.reason = "as W&B has it"


def _history(run: OutsideRun, data: bytes, start: int, end: int) -> None:
    step: float | None = None
    values: dict[str, Any] = {}
    at = start
    while at < end:
        stop = _short(data, at, end, values)
        if not stop:
            field, kind, inner, stop = next(pb.fields(data, at, end))
            if (field, kind) == (1, pb.BYTES):
                values |= {"/".join(names): value for names, value in _items(data, at, stop)}
            elif (field, kind) == (2, pb.BYTES):
                step = pb.integer(data, inner, stop, 1)
        at = stop
    logged = number(values.pop("_step", None))
    step = logged if step is None and logged is not None and logged.is_integer() else step
    when = instant(values.pop("_timestamp", None)) or run.started or 0.0
    at_step, add = int(step or 0), run.points.add
    for name, value in values.items():
        if type(value) is float and name not in _OWN and name.isprintable():
            add(name[:LONGEST_NAME], when, at_step, value)
        elif name not in _OWN:
            for inner_name, each in numbers({name: value}):
                add(inner_name[:LONGEST_NAME], when, at_step, each)


def _short(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
    """Take an item of one name and a number, as nearly all are; returns its end, 0 for any other.

    In bytes: 10, size, 10 or 18, size, name, 130 1, size, value; each size below 128.
    """
    if at + 4 > end or data[at] != 10 or data[at + 2] not in (10, 18):
        return 0
    stop, value = at + 2 + data[at + 1], at + 4 + data[at + 3]
    if stop > end or value + 3 > stop or data[value] != 130 or data[value + 1] != 1:
        return 0
    if value + 3 + data[value + 2] != stop or stop - value > 127 or data[at + 1] > 127:
        return 0
    try:
        values[data[at + 4 : value].decode()] = float(data[value + 3 : stop])
    except ValueError:
        return 0
    return stop


def _about(run: OutsideRun, data: bytes, start: int, end: int, config: dict[str, Any]) -> None:
    run.part = pb.text(data, start, end, 1)
    run.name = printable(pb.text(data, start, end, 8) or run.part or run.name)[:LONGEST_NAME]
    run.notes = pb.text(data, start, end, 9)
    tags = [
        data[at:stop].decode("utf-8", "replace") for at, stop in pb.inside(data, start, end, 10)
    ]
    run.tags = texts([*(pb.text(data, start, end, field) for field in (3, 6)), *tags])
    for at, stop in pb.inside(data, start, end, 4):
        for name, value in _items(data, at, stop):
            _put(config, name, value)
    for at, stop in pb.inside(data, start, end, 17):
        run.started = instant(pb.integer(data, at, stop, 1))
    if host := pb.text(data, start, end, 13):
        run.source["host"] = printable(host)
    for at, stop in pb.inside(data, start, end, 20):
        run.source["git"] = {"commit": printable(pb.text(data, at, stop, 2))}


def _items(data: bytes, start: int, end: int) -> Iterator[tuple[list[str], Any]]:
    """Names, nested ones in their order, with values."""
    for field, kind, at, stop in pb.fields(data, start, end):
        if field != 1 or kind != pb.BYTES:
            continue
        key, nested, text = b"", [], b""
        for inner, inner_kind, value_at, value_stop in pb.fields(data, at, stop):
            if inner_kind != pb.BYTES:
                continue
            if inner == 1:
                key = data[value_at:value_stop]
            elif inner == 2:
                nested.append(data[value_at:value_stop].decode("utf-8", "replace"))
            elif inner == 16:
                text = data[value_at:value_stop]
        try:
            value = json.loads(text or "null")
        except (ValueError, RecursionError):
            continue
        yield nested or [key.decode("utf-8", "replace")], value


def _put(config: dict[str, Any], names: list[str], value: Any) -> None:
    *outer, last = names
    for name in outer:
        inner = config.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        config = inner
    config[last] = value


def read_history(path: Path) -> OutsideRun:
    """The run of a `wandb-history.jsonl` and what lies beside it. Raises Unreadable, OSError."""
    folder = path.parent
    run_folder = folder.parent if folder.name == "files" else folder
    run = jsonl.read(path, run_folder.name.rpartition("-")[2] or run_folder.name)
    run.tool, run.part = TOOL, run_folder.name
    about = read_json(folder / "wandb-metadata.json") or {}
    for key, words in (("host", "host"), ("cwd", "root")):
        if isinstance(about.get(words), str):
            run.source[key] = printable(about[words])
    if isinstance(about.get("program"), str):
        args = about.get("args")
        run.source["argv"] = [about["program"], *map(str, args if isinstance(args, list) else [])]
    git = about.get("git")
    if isinstance(git, dict) and isinstance(git.get("commit"), str):
        run.source["git"] = {"commit": printable(git["commit"])}
    run.params = _config(folder / "config.yaml")
    return run


def _config(path: Path) -> dict[str, Any]:
    """W&B's config.yaml has each value under its name, beside a description."""
    said = read_yaml(path).items()
    found = {name: v["value"] for name, v in said if isinstance(v, dict) and "value" in v}
    found.pop("_wandb", None)
    return flat(found)
