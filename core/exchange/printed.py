"""Metrics that a command prints: JSON lines, and the dictionaries trainers print.

    {"step": 10, "loss": 0.3, "val": {"acc": 0.9}}            → step 10: loss, val/acc
    {'loss': 0.3, 'grad_norm': nan, 'epoch': 0.5}             → what Hugging Face's Trainer prints
    {'loss': np.float32(0.3), 'acc': tensor(0.9)}

A line counts if it is one such object from end to end (spaces, carriage returns and escape
sequences around it aside) of at most MAX_LINE bytes, with at least one number.

- Metrics are its numbers, NaN and infinities included; numbers written as text ('0.31', as newer
  Trainers do) too, true and false not. One level of nesting is joined with a slash. Names of times
  and of process facts (NOT_METRICS) are no metrics.
- The step is that of the first of STEPS that has a whole number; without one, the step after the
  last. `epoch` counts as the step only while all of the stream's are whole: Hugging Face's are
  not. Where it is not the step it is a metric.
- Steps that begin again where their series began are those of the next epoch: they are counted on
  from the highest so far. Steps that go back less far are a rewind, and stay as they are.
- A line of a structured log ({"level": "info", "msg": …}) counts only if it names its step.

Standard library only: this runs in the small process beside each run, on whatever is printed.
"""

from __future__ import annotations

import json
import re
from typing import Any

from traindeck.core.base.sanitize import printable

Metric = tuple[int, str, float]
"""Step, name, value."""

MAX_LINE = 1 << 16  # bytes
MAX_METRICS = 200  # of one line
MAX_NAME = 200  # characters

STEPS = ("step", "global_step", "iteration", "iter", "epoch")
NOT_METRICS = frozenset((
    "time", "timestamp", "ts", "date", "datetime", "wall_time", "created", "pid", "tid", "process",
    "thread", "rank", "local_rank", "world_size", "seed", "version", "port", "line", "lineno", "id",
))  # fmt: skip
LOG_RECORD = frozenset(("level", "levelname", "severity", "msg", "message", "logger"))

# Codes that color text or move the cursor may stand around the object.
_AROUND = re.compile(rb"(?:[ \t]|\x1b\[[0-9;?]{0,16}[A-Za-z]){0,100}")
_DECIMAL = r"[-+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,4})?"
_NUMBER = rf"{_DECIMAL}|[-+]?(?i:nan|inf|infinity)"
_IS_NUMBER = re.compile(_NUMBER)
# An item of a printed dict, up to the comma or brace behind it (or the brace of a dict inside).
_ITEM = re.compile(
    rf"""\s*(?: '(?P<key>[^'\\]{{1,{MAX_NAME}}})' | "(?P<quoted>[^"\\]{{1,{MAX_NAME}}})" )\s*:\s*
    (?: (?: (?P<number>{_NUMBER})
          | (?:np|numpy)\.[a-z0-9]+\( (?P<numpy>{_NUMBER}) \)
          | tensor\( (?P<tensor>{_NUMBER}) (?:,[^()]{{0,200}})? \)
          | '(?P<text>[^'\\]*)' | "[^"\\]*" | True | False | None
        ) \s* (?P<end>[,}}])
      | (?P<inside>\{{)
    )""",
    re.VERBOSE,
)
_AFTER_INSIDE = re.compile(r"\s*([,}])")


class StdoutMetrics:
    """Finds the metrics in what a command prints, in whatever pieces that arrives."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of the line that has not ended
        self._rest_size = 0
        self._too_long = False  # that line, so far
        self._next_step = 0
        self._epochs_are_steps = True
        self._counters: dict[str | None, _Counter] = {}

    def feed(self, chunk: bytes) -> list[Metric]:
        """The metrics of the lines that ``chunk`` ends, in order. Never raises."""
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if not end:
            self._keep(chunk)
            return []
        lines = b"".join((*self._rest, chunk[:end]))
        if self._too_long:
            lines = lines[1 + min(i for i in (lines.find(b"\n"), lines.find(b"\r")) if i >= 0) :]
        self._rest, self._rest_size, self._too_long = [], 0, False
        self._keep(chunk[end:])
        return self._metrics(lines)

    def finish(self) -> list[Metric]:
        """The metrics of a last line that nothing ended."""
        return self.feed(b"\n")

    def _keep(self, part: bytes) -> None:
        self._rest_size += len(part)
        if self._rest_size > MAX_LINE:
            self._too_long, self._rest = True, []
        elif part:
            self._rest.append(part)

    def _metrics(self, lines: bytes) -> list[Metric]:
        if b"\r" in lines:  # a progress bar redraws its line after it: that ends a line, too
            lines = lines.replace(b"\r", b"\n")
        metrics: list[Metric] = []
        end = 0
        while (brace := lines.find(b"{", end)) >= 0:
            start = lines.rfind(b"\n", end, brace) + 1 or end
            end = lines.find(b"\n", brace)
            if end - start <= MAX_LINE and _AROUND.fullmatch(lines, start, brace):
                last = lines.rfind(b"}", brace, end) + 1
                if last and _AROUND.fullmatch(lines, last, end):
                    metrics += self._of_object(lines[brace:last].decode("utf-8", "replace"))
        return metrics

    def _of_object(self, text: str) -> list[Metric]:
        first = text[1:].lstrip()[:1]
        try:
            record: Any = json.loads(text) if first == '"' else _printed_dict(text)
        except (ValueError, RecursionError):
            record = _printed_dict(text)
        if not record:
            return []
        step_key, step = self._step_of(record)
        if step_key is None and any(key.lower() in LOG_RECORD for key in record):
            return []
        names: list[tuple[str, float]] = []
        for key, value in record.items():
            if key in STEPS and (key == step_key or key != "epoch"):
                continue
            inner = value if isinstance(value, dict) else {"": value}
            for inner_key, inner_value in inner.items():
                name = f"{key}/{inner_key}" if inner_key else key
                number = _number(inner_value)
                excluded = (inner_key or key).lower() in NOT_METRICS
                if number is not None and not excluded and 0 < len(name) <= MAX_NAME:
                    names.append((printable(name), number))
        if not names:
            return []
        names = names[:MAX_METRICS]
        if step_key is not None:
            counter = self._counters.setdefault(step_key, _Counter())
            step = counter.count([name for name, _ in names], step)
        self._next_step = step + 1
        return [(step, name, number) for name, number in names]

    def _step_of(self, record: dict[str, Any]) -> tuple[str | None, int]:
        for key in STEPS:
            number = _number(record.get(key))
            if number is None:
                continue
            whole = number.is_integer() and abs(number) < 1 << 53
            if key == "epoch":
                self._epochs_are_steps &= whole
                whole = self._epochs_are_steps
            if whole:
                return key, int(number)
        return None, self._next_step


class _Counter:
    """Turns steps that may begin again in each epoch into steps that go on."""

    def __init__(self) -> None:
        self._epoch = 0
        self._offset = 0
        self._highest = 0
        self._seen: dict[str, tuple[int, int, int, int]] = {}
        """Of each series: its first step, its last step and stride, and in which epoch that was."""

    def count(self, names: list[str], step: int) -> int:
        for name in names:
            first, last, stride, epoch = self._seen.get(name, (step, step, 1, self._epoch))
            if epoch == self._epoch and step < last and step <= first:
                self._epoch += 1
                self._offset = self._highest + stride - first
            if step > last:
                stride = step - last
            self._seen[name] = (first, step, stride, self._epoch)
        going_on = step + self._offset
        self._highest = max(self._highest, going_on)
        return going_on


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return float(value) if len(value) < 100 and _IS_NUMBER.fullmatch(value) else None
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def _printed_dict(text: str) -> dict[str, Any] | None:
    """What Python's ``print`` made of a dict of numbers; None if it is anything else.

    Not `ast.literal_eval`: it knows no nan, and deep nesting in hostile input can crash it.
    """
    result: dict[str, Any] = {}
    inside: dict[str, Any] | None = None
    at = 1
    while item := _ITEM.match(text, at):
        at = item.end()
        target = result if inside is None else inside
        key = item["key"] or item["quoted"]
        if item["inside"]:
            if inside is not None:
                return None
            inside = target[key] = {}
            continue
        number = item["number"] or item["numpy"] or item["tensor"]
        target[key] = item["text"] if number is None else float(number)
        if item["end"] == "}":
            if inside is None:
                return result if at == len(text) else None
            inside = None
            after = _AFTER_INSIDE.match(text, at)
            if after is None:
                return None
            at = after.end()
            if after[1] == "}":
                return result if at == len(text) else None
    return None
