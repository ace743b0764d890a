"""A run as plain lines while it goes on: for pipes, CI and screen readers."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from traindeck.core.base.format import percent
from traindeck.core.base.sanitize import WHOLE, plain
from traindeck.core.engines.choose import verdict
from traindeck.core.privacy.plan import Plan
from traindeck.core.privacy.telemetry import is_private
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.follow import LineTail, PointTail
from traindeck.core.run.points import PROGRESS, RECORD
from traindeck.core.run.state import ENDED, exit_code
from traindeck.tui.commands.output import ascii_number, duration, print_json_line, say

POLL_SECONDS = 0.1
LINE_SECONDS = 1.0
EPSILON = "epsilon"
"""The series of what a private run has spent."""


def follow(
    folder: Path, *, to_stderr: bool = False, as_json: bool = False, private: bool = False
) -> int:
    """Print states, events and metrics as they come, at most a line of metrics a second.

    Series of private training data are left out unless `private` asks for them.

    As JSON each line is an object: {"type": "state", "id", "state", "reason"}, {"type": "metrics",
    "step", "progress": 0 to 1 or null, "metrics": {name: {"step", "value"}}}, or an event as it
    stands in events.jsonl.

    Returns the exit code of a command that waited for the run.
    """
    return _Follower(folder, to_stderr, as_json, private).follow()


class _Follower:
    def __init__(self, folder: Path, to_stderr: bool, as_json: bool, private: bool) -> None:
        self._run = RunFolder(folder)
        self._points = PointTail(folder)
        self._events = LineTail(folder / "events.jsonl")
        self._to_stderr = to_stderr
        self._as_json = as_json
        self._private = private
        self._left_out = False
        self._latest: dict[str, tuple[int, float]] = {}
        self._progress: tuple[float, float] | None = None
        self._begun = time.monotonic()
        self._printed = 0.0
        self._fresh = False
        self._of: str | None = None

    def follow(self) -> int:
        shown: tuple[str, str] | None = None
        while True:
            known = verdict(self._run)
            state, reason = known.state, known.reason
            over = state in ENDED
            if not over and (state, reason) != shown:
                self._print_state(state, reason)
                shown = (state, reason)
            self._read()
            if over or time.monotonic() - self._printed > LINE_SECONDS:
                self._print_metrics()
            if over:  # told last: all that it left has been read
                self._print_state(state, reason)
                spec = self._run.spec()
                recipe = spec.get("recipe") if spec else None
                return exit_code(known, recipe=recipe is not None)
            time.sleep(POLL_SECONDS)

    def _read(self) -> None:
        while data := self._points.read().data:
            for _, step, number, value in RECORD.iter_unpack(data):
                name = self._points.names[number] if number < len(self._points.names) else None
                if name == PROGRESS:
                    self._progress = (step, value)
                elif name is not None and (self._private or not is_private(name)):
                    self._latest[name] = (step, value)
                    self._fresh = True
                elif name is not None and not self._left_out:
                    self._left_out = True
                    say(
                        "private series left out: no epsilon covers them;"
                        " `traindeck watch --private` gives them too"
                    )
        for line in self._events.read():
            event = events.parse(line)
            if event is None or event["type"] == "state":  # states are told as they are now
                continue
            if self._as_json:
                print_json_line(event)
            elif event["type"] == "artifact":
                self._say(f"{plain(event['kind'])}: {plain(str(event['path']))}")
            elif event["type"] in ("note", "error"):
                self._say(f"{event['type']}: {plain(str(event['text']), WHOLE)}")

    def _print_state(self, state: str, reason: str) -> None:
        if self._as_json:
            print_json_line({"type": "state", "id": self._run.id, "state": state, "reason": reason})
        else:
            text = plain(f"{state}: {reason}" if reason else state, WHOLE)
            self._say(f"{self._run.id}  {text}")

    def _print_metrics(self) -> None:
        if not self._fresh:
            return
        self._fresh = False
        self._printed = time.monotonic()
        step = max(step for step, _ in self._latest.values())
        share = None
        if self._progress and self._progress[1] > 0:
            share = min(self._progress[0] / self._progress[1], 1.0)
        if self._as_json:
            latest = {name: {"step": at, "value": v} for name, (at, v) in self._latest.items()}
            print_json_line({"type": "metrics", "step": step, "progress": share, "metrics": latest})
            return
        values = "  ".join(
            f"{plain(name)} {ascii_number(v)}{self._terms() if name == EPSILON else ''}"
            for name, (_, v) in self._latest.items()
        )
        done = "" if share is None else f"{percent(share, 1)}%  "
        self._say(f"{duration(time.monotonic() - self._begun):>6}  {done}step {step}  {values}")

    def _terms(self) -> str:
        """What the run's epsilon is for; nothing where it has no plan that says so."""
        if self._of is None:
            plan = Plan.read(self._run.path)
            self._of = f" at delta {plan.delta:g} per {plan.unit}" if plan else ""
        return self._of

    def _say(self, text: str) -> None:
        typer.echo(text, err=self._to_stderr)
