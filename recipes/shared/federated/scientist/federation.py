"""The data scientist's side: starts the owners, asks them for a job, aggregates their updates.

    with Federation(run, script, shards, mock, options) as federation:
        outcome = federation.round(1, weights)      # rounds of federated learning
        results = federation.results()              # or what each job gave as its result

Whatever is waited for has a time limit, and the screen names who is waited for. An owner that is
lost is left out: with secagg the round is recovered from the others' shares if enough are left. One
that was only late is asked again once it is heard of.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from traindeck.core.base.sanitize import plain
from traindeck.recipes.shared.federated.errors import (
    Failed,
    FederationOverBudget,
    Refused,
    Stopped,
    Unrecoverable,
)
from traindeck.recipes.shared.federated.job.leftovers import forget, remove
from traindeck.recipes.shared.federated.post.mail import address
from traindeck.recipes.shared.federated.scientist.founding import Founding


@dataclass(frozen=True)
class Outcome:
    """One round: mean update (d,) weighted by examples, from how many, and who was lost."""

    update: npt.NDArray[np.float64]
    examples: int
    lost: list[str]
    seconds: float


class Federation(Founding):
    """Owners as processes of this machine, and the data scientist that asks them.

    script    the job; it is agreed beforehand, by its hash
    dataset   what owners call their data set; shards: each owner's private arrays, by its name,
              mock: public ones of the same form; params: told to the job
    size      parameters of the model; 0 for a job without rounds

    Raises Failed. Owners end with this object, and with this process however it ends.
    """

    def __enter__(self) -> Self:
        try:
            self.found()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            if isinstance(error, OSError):  # of syft, from a folder that is full or gone
                raise Failed(f"the folder of the drive cannot be used: {error}") from error
            raise
        return self

    # Rounds

    def round(self, number: int, weights: npt.NDArray[np.float32]) -> Outcome:
        """One round from the model's weights (d,). Raises Failed when it cannot be completed."""
        began = time.monotonic()
        self.status.round = number
        for name in sorted(self._late & self._heard):
            self._late.remove(name)
            del self._lost[name]
            self._run.note(f"{name} is back: it is asked again from round {number} on")
            self.status.owner(name, "waiting", "it was late")
        self._heard.clear()
        alive = self._alive()
        for name in alive:
            self.status.owner(name, "training")
        self.status.enter("training", alive)
        body = np.ascontiguousarray(weights, "<f4").tobytes()
        for name in alive:
            self._post(name, {"type": "round", "number": number}, body)
        updates = self._collect(
            alive,
            lambda letter: letter.type == "update" and letter.facts.get("number") == number,
        )
        for name in updates:
            self.status.owner(name, "sent")
        lost = [name for name in self.owners if name not in updates]
        for name in lost:
            if name not in self._lost:
                self._lose(name, f"no update in {self.options.round_seconds:g} s")
                self._late.add(name)
        try:
            if len(updates) < self._threshold:
                raise Unrecoverable(
                    f"round {number}: {len(updates)} of {len(self.owners)} owners answered,"
                    f" {self._threshold} are needed"
                )
            update, examples = self._mode.mean(number, updates, self.owners, self._ask)
        except (Unrecoverable, Refused, ValueError, KeyError, TypeError) as error:
            had_they_paid = len(updates) + len(self._over_budget)
            kind = (
                FederationOverBudget if len(updates) < self._threshold <= had_they_paid else Failed
            )
            self._give_up(f"{error}{self._who_is_lost()}", kind)
        if update.shape != (self._size,) or not np.isfinite(update).all():
            self._give_up(f"round {number}: the sum is not of the model, or not finite")
        return Outcome(update, examples, lost, time.monotonic() - began)

    def tell(self, number: int, outcome: Outcome, **facts: float) -> None:
        """Show a finished round: its seconds, who was lost, and facts such as the accuracy."""
        states = {owner["name"]: owner["state"] for owner in self.status.owners}
        told = {"seconds": round(outcome.seconds, 4), "lost": outcome.lost, **facts}
        self.status.rounds.append({"number": number, **told, "states": states})
        self.status.enter("training")
        self._run.round(number, **told)

    def named(self, lost: list[str]) -> str:
        """These owners, for a line of the log; the first time with the reason for each."""
        told = []
        for name in lost:
            why = self._lost.get(name, "")
            told.append(
                f"{name} ({plain(why, 400)})" if why and self._told.get(name) != why else name
            )
            self._told[name] = why
        return ", ".join(told)

    def end_rounds(self) -> None:
        """Tell the owners that the last round is over, and let their jobs come to an end."""
        alive = self._alive()
        for name in alive:
            self._post(name, {"type": "end"})
        self._collect(alive, lambda letter: letter.type == "ended")

    def results(self, seconds: float | None = None) -> dict[str, dict[str, Any]]:
        """What each owner's job gave as its result, by owner. Raises Failed when one gave none."""
        until = time.monotonic() + (seconds or self.options.round_seconds)
        self.status.round = 0
        for name in self._alive():
            self.status.owner(name, "training")
        while True:
            for letter in self._letters():
                self._hear(letter)
            with self._quiet():
                self._site.sync()
                answers, outputs = self._site.answers(self._job), self._site.outputs(self._job)
            found = {}
            for name in self.owners:
                state, reason = answers.get(address(name), ("", ""))
                if state == "failed" or name in self._lost:
                    self._blame(name, reason or "its job failed")
                path = outputs.get(address(name), Path()) / "result.json"
                if state == "done" and path.exists():
                    try:
                        found[name] = dict(json.loads(path.read_text()))
                    except (ValueError, TypeError, RecursionError) as error:
                        self._give_up(f"{name}: its result is malformed: {error!r:.200}")
                    self.status.owner(name, "sent")
            waited = [name for name in self.owners if name not in found]
            if not waited:
                return found
            self._wait("training", waited, until)

    # Ending

    def __exit__(
        self,
        type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._warm is not None:
            if error is None:
                for name in self._alive():
                    self.status.owner(name, "ended")
                total = self.status.rounds_total
                why = f"stopped on request after round {self.status.round} of {total}"
                self.status.enter("done", reason=why if self.status.round < total else "")
            elif self.status.phase != "failed":
                stopped = isinstance(error, Stopped)
                why = "stopped on request" if stopped else str(error) or error.__class__.__name__
                self.status.enter("failed", reason=why)
            assert self._warm.stdin is not None and self._warm.stdout is not None
            with contextlib.suppress(OSError):
                self._warm.stdin.close()
            try:
                self._warm.wait(10)
            except subprocess.TimeoutExpired:
                self._warm.kill()
                self._warm.wait()
            self._warm.stdout.close()
            self._log.close()
        remove(self.root / "job")
        if not self.options.keep and (left := forget(self.root)):
            warning = f"keys or data could not be removed: {', '.join(map(str, left))}"
            print(f"warning: {warning}", flush=True)
            self._run.note(warning)
        if self._temporary:
            remove(Path(self._temporary))
