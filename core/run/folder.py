"""A run's folder and what it says.

    run.json       what was launched and its state; the supervisor is the only writer once it lives
    exit.json      the verdict; its room is taken at the start, so a full disk cannot lose it
    user.json      name, tags and notes: what people may change at any time
    params.json    the parameters, for the recipe and for people
    points.bin, points.names, device.bin, device.names    see `points`
    events.jsonl   see `events`
    output.log     what the run printed, as bytes
    source/        the script as launched, git commit and diff, packages
    artifacts/     what the run made

Standard library only: the supervisor imports this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from traindeck.core.base.errors import UsageError
from traindeck.core.base.files import is_held, read_json, sweep_of
from traindeck.core.base.process import boot_id
from traindeck.core.run.spec import END, SPEC, USER, End, Spec, User, identity, is_elsewhere
from traindeck.core.run.state import LIVE, Verdict
from traindeck.core.run.verdict import true_state

EXIT_ROOM = 2048
LONGEST_NAME, MOST_TAGS, LONGEST_NOTES = 1000, 100, 100_000
DAMAGED = "run.json is missing or damaged"


class RunFolder:
    """Reads one run's folder; every read gives what is known now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    def spec(self) -> Spec | None:
        """run.json, or None when there is none (yet) or it is damaged."""
        data = read_json(self.path / "run.json")
        if not SPEC.fits(data):
            return None
        spec = cast("Spec", data)
        if spec["state"] in LIVE and "child" not in spec:
            self._add_started(spec)
        return spec

    def exit(self) -> End | None:
        """exit.json, or None while the run has not ended."""
        end = read_json(self.path / "exit.json")
        if end is None or not END.fits(end) or end.keys().isdisjoint(("status", "error", "state")):
            return None
        return cast("End", end)

    def state(self) -> tuple[str, str]:
        """The state and its reason."""
        verdict = self.verdict()
        return verdict.state, verdict.reason

    def verdict(self) -> Verdict:
        """The state, its reason and the exit code, as known now."""
        spec = self.spec()
        if spec is None:
            return Verdict("lost", DAMAGED, None)
        return true_state(spec, self.exit(), deserted=self.deserted(spec))

    def deserted(self, spec: Spec) -> bool:
        """Whether a run of another container of this boot has no supervisor and no keeper left.

        They hold a lock on exit.json, which the kernel frees when they die.
        """
        here = spec["boot_id"] == boot_id()
        return here and is_elsewhere(spec) and not is_held(self.path / "exit.json")

    def _add_started(self, spec: Spec) -> None:
        """Who was started, which the keeper writes down before its supervisor can."""
        known = read_json(self.path / "exit.json") or {}
        if "keeper" in known:
            spec["keeper"] = known["keeper"]
        if "scribe" in known:
            spec["scribe"] = known["scribe"]
            spec["pipe"] = str(known.get("pipe"))
        if "child" in known:
            spec["child"] = known["child"]
            spec["state"] = "running"

    def needs_supervisor(self) -> bool:
        """Whether its supervisor was killed before it could record how the run ended."""
        spec = self.spec()
        if spec is None or is_elsewhere(spec) or "state" in (self.exit() or {}):
            return False
        supervisor = identity(spec, "supervisor")
        return supervisor is not None and spec["state"] in LIVE and not supervisor.alive()

    def tidy(self) -> None:
        """Remove what its supervisor was writing if that was killed."""
        spec = self.spec()
        supervisor = identity(spec, "supervisor") if spec and not is_elsewhere(spec) else None
        if supervisor and not supervisor.alive():
            sweep_of(self.path, supervisor.pid)

    def ledger(self) -> str | None:
        """The privacy ledger that the run is paid from; None where it is from none."""
        spec = self.spec()
        return spec.get("ledger") if spec else None

    def tags(self) -> list[str]:
        """The tags that people gave it."""
        return list(self.user().get("tags", []))

    def user(self) -> User:
        """user.json: what of it is sound."""
        return cast("User", USER.sound(read_json(self.path / "user.json") or {}))


def encode_exit(record: dict[str, Any]) -> bytes:
    """A verdict for exit.json, padded to the room that was taken for it; long texts are cut."""
    for room in (EXIT_ROOM, 1000, 200):
        cut = {
            key: value.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
            if isinstance(value, str)
            else value
            for key, value in record.items()
        }
        data = json.dumps(cut, ensure_ascii=False).encode()
        if len(data) <= EXIT_ROOM:
            break
    return data.ljust(EXIT_ROOM)


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Tags as they are kept: without space around them, none twice, sorted."""
    return sorted({word.strip() for word in tags} - {""})


def check_words(*, name: str | None = None, tags: Iterable[str] = (), notes: str = "") -> None:
    """Raises UsageError for what people may not write to a run: every list would carry it."""
    if name is not None and name.strip().startswith("@"):
        raise UsageError(f"name {name!r}: what begins with @ stands for a run, as @last does")
    tags = list(tags)
    longest = max(map(len, tags), default=0)
    for what, is_long, most in (
        ("name", len(name or ""), LONGEST_NAME),
        ("tag", longest, LONGEST_NAME),
        ("tags", len(tags), MOST_TAGS),
        ("notes", len(notes), LONGEST_NOTES),
    ):
        if is_long > most:
            unit = "" if what == "tags" else " characters"
            raise UsageError(f"{what}: {is_long:,}{unit} are more than the {most:,} that are kept")
