"""The data scientist's side of a federation that has come about: its rounds, or its results.

    with Founding(run, script, ...) as federation:
        outcome = federation.round(1, weights)      # rounds of federated learning
        results = federation.results()              # or what each job gave as its result

Whatever is waited for has a time limit, and the screen names who is waited for. An owner that is
lost is left out: with secagg the round is recovered from the others' shares if enough are left. One
that was only late is asked again once it is heard of.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from traindeck.recipes.shared.federated.errors import (
    Failed,
    FederationOverBudget,
    Refused,
    Unrecoverable,
)
from traindeck.recipes.shared.federated.hiding.modes import AggregatorSide
from traindeck.recipes.shared.federated.scientist.dialogue import Dialogue


@dataclass(frozen=True)
class Outcome:
    """One round: mean update (d,) weighted by examples, from how many, and who was lost.

    count  where the clipping norm moves, the noisy sum of what owners add to its count: 1/2 each
           whose update was not clipped, -1/2 each whose was
    """

    update: npt.NDArray[np.float64]
    examples: int
    lost: list[str]
    seconds: float
    count: float = 0.0


class Federation:
    """Owners that have agreed on a job and on keys, and the data scientist that asks them.

    mode       how the aggregator comes by the mean of their updates
    size       parameters of the model; 0 for a job without rounds
    threshold  how many owners must answer in a round
    """

    def __init__(
        self, dialogue: Dialogue, mode: AggregatorSide, *, size: int, threshold: int
    ) -> None:
        self.options = dialogue.options
        self.owners = dialogue.roster.owners
        self.root = dialogue.root
        self.status = dialogue.status
        self._dialogue = dialogue
        self._mode = mode
        self._roster = dialogue.roster
        self._size = size
        self._threshold = threshold

    def round(
        self, number: int, weights: npt.NDArray[np.float32], clipping_norm: float = 0.0
    ) -> Outcome:
        """One round from the model's weights (d,). Raises Failed when it cannot be completed.

        clipping_norm: what updates are clipped to in this round, where that moves: owners then send
        their updates over it, and the count's coordinate behind.
        """
        began = time.monotonic()
        dialogue, roster = self._dialogue, self._roster
        self.status.round = number
        alive = roster.begin(number)
        for name in alive:
            self.status.owner(name, "training")
        self.status.enter("training", alive)
        body = np.ascontiguousarray(weights, "<f4").tobytes()
        facts: dict[str, Any] = {"type": "round", "number": number}
        counts = self.options.count_noise is not None
        if counts:
            facts["clipping_norm"] = clipping_norm
        for name in alive:
            dialogue.post(name, facts, body)
        updates = dialogue.collect(
            alive,
            lambda letter: letter.type == "update" and letter.facts.get("number") == number,
        )
        for name in updates:
            self.status.owner(name, "sent")
        lost = [name for name in self.owners if name not in updates]
        for name in lost:
            roster.miss(name, f"no update in {self.options.round_seconds:g} s")
        try:
            if len(updates) < self._threshold:
                raise Unrecoverable(
                    f"round {number}: {len(updates)} of {len(self.owners)} owners answered,"
                    f" {self._threshold} are needed"
                )
            update, examples = self._mode.mean(number, updates, self.owners, dialogue.ask)
        except (Unrecoverable, Refused, ValueError, KeyError, TypeError) as error:
            had_they_paid = len(updates) + len(roster.over_budget)
            kind = (
                FederationOverBudget if len(updates) < self._threshold <= had_they_paid else Failed
            )
            dialogue.give_up(f"{error}{roster.reasons()}", kind)
        if update.shape != (self._size + counts,) or not np.isfinite(update).all():
            dialogue.give_up(f"round {number}: the sum is not of the model, or not finite")
        seconds = time.monotonic() - began
        if not counts:
            return Outcome(update, examples, lost, seconds)
        mean, count = update[:-1] * clipping_norm, float(update[-1]) * examples
        return Outcome(mean, examples, lost, seconds, count)

    def tell(self, number: int, outcome: Outcome, **facts: float) -> None:
        """Show a finished round: its seconds, who was lost, and facts such as the accuracy."""
        states = {owner["name"]: owner["state"] for owner in self.status.owners}
        finished = {"seconds": round(outcome.seconds, 4), "lost": outcome.lost, **facts}
        self.status.rounds.append({"number": number, **finished, "states": states})
        self.status.enter("training")
        self._dialogue.run.round(number, **finished)

    def named(self, lost: list[str]) -> str:
        """These owners, for a line of the log; the first time with the reason for each."""
        return self._roster.named(lost)

    def end_rounds(self) -> None:
        """Tell the owners that the last round is over, and let their jobs come to an end."""
        alive = self._roster.alive()
        for name in alive:
            self._dialogue.post(name, {"type": "end"})
        self._dialogue.collect(alive, lambda letter: letter.type == "ended")

    def results(self, seconds: float | None = None) -> dict[str, dict[str, Any]]:
        """What each owner's job gave as its result, by owner. Raises Failed when one gave none."""
        dialogue = self._dialogue
        until = time.monotonic() + (seconds or self.options.round_seconds)
        self.status.round = 0
        for name in self._roster.alive():
            self.status.owner(name, "training")
        while True:
            for letter in dialogue.letters():
                dialogue.hear(letter)
            answers, outputs = dialogue.answers(), dialogue.outputs()
            results = {}
            for name in self.owners:
                state, reason = answers[name]
                if state == "failed" or name in self._roster.lost:
                    dialogue.blame(name, reason or "its job failed")
                path = outputs.get(name, Path()) / "result.json"
                if state == "done" and path.exists():
                    try:
                        results[name] = dict(json.loads(path.read_text()))
                    except (ValueError, TypeError, RecursionError) as error:
                        dialogue.give_up(f"{name}: its result is malformed: {error!r:.200}")
                    self.status.owner(name, "sent")
            waited = [name for name in self.owners if name not in results]
            if not waited:
                return results
            dialogue.wait("training", waited, until)
