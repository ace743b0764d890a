"""What commands say of a sweep: its trials as they end, and all of it as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from traindeck.core.base.errors import FAILED, INTERRUPTED
from traindeck.tui.commands.output import ascii_number, say

if TYPE_CHECKING:
    from traindeck.core.sweeps.study import Design, SweepFolder
    from traindeck.core.sweeps.trials import Trial

LOOK_SECONDS = 0.1


def follow(folder: SweepFolder) -> None:
    """Print each trial as it ends, until the sweep does. Exits 1 when it failed."""
    from traindeck.core.sweeps.space import shown
    from traindeck.core.sweeps.study import RUNNING, STOPPING
    from traindeck.core.sweeps.trials import Runs, trials

    runs = Runs(folder.home, folder.design())
    told_of: set[tuple[int, str]] = set()
    try:
        while True:
            state, reason = folder.state()
            design = folder.design()
            for one in trials(design, runs.update()):
                key = (one.number, one.attempts[-1].run)
                if one.state not in ("running", "waiting") and key not in told_of:
                    told_of.add(key)
                    value = "" if one.value is None else f" {ascii_number(one.value)}"
                    why = f" ({one.reason})" if one.reason else ""
                    print(f"trial {one.number} {one.state}{value}  {shown(one.values)}{why}")
            if state not in (RUNNING, STOPPING):
                break
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        say(f"\nsweep {folder.id} goes on; `traindeck sweeps stop {folder.id}` ends it")
        raise typer.Exit(INTERRUPTED) from None
    say(f"sweep {folder.id} is {state}" + (f": {reason}" if reason else ""))
    if state != "finished":
        raise typer.Exit(FAILED)


def told(folder: SweepFolder) -> dict[str, Any]:
    """All that `--json` says of a sweep."""
    from traindeck.core.sweeps.space import shown
    from traindeck.core.sweeps.trials import best

    design, there = known(folder)
    state, reason = folder.state()
    found = best(design, there)
    return {
        "id": design.id,
        "name": design.name,
        "state": state,
        "reason": reason,
        "recipe": design.script,
        "command": list(design.command),
        "space": dict(design.typed),
        "series": design.series,
        "direction": design.direction,
        "sampler": design.sampler,
        "pruner": design.pruner,
        "select": design.select,
        "seeds": design.seeds,
        "at_once": design.at_once,
        "on": design.on,
        "created": design.created,
        "trials_wanted": design.trials,
        "done": sum(one.state in ("complete", "pruned", "failed") for one in there),
        "best": _trial(found) | {"shown": shown(found.values)} if found else None,
        "importance": folder.said().get("importance") or {},
        "price": design.price,
        "trials": [_trial(one) for one in there],
    }


def tuning_lines(facts: dict[str, Any]) -> list[str]:
    """Whether the search itself is charged, which the best trial's own epsilon does not cover."""
    if facts["price"] is None:
        return []
    from traindeck.core.sweeps.price import Price

    said = tuning(facts["price"], facts["select"]).removeprefix("; ")
    return [said, *Price.from_json(facts["price"]).lines()]


def tuning(price: Mapping[str, Any] | None, select: bool) -> str:
    """In words, behind a semicolon; empty where nothing is accounted for."""
    if price is None:
        return ""
    from traindeck.core.privacy.bounds import at_most
    from traindeck.core.sweeps.price import Price

    costs = Price.from_json(price)
    if select:
        return (
            "; only the best is shown, of a secret number of trials: epsilon"
            f" {at_most(costs.epsilon_geometric)} covers that it was chosen"
        )
    covers = f"epsilon {at_most(costs.epsilon_all)} of all runs covers that the best was chosen"
    if costs.budget:
        return f"; tuning is charged to the budget of {costs.budget}: {covers}"
    return f"; tuning is not charged, {costs.dataset} has no budget: {covers}, its own does not"


def _trial(one: Trial) -> dict[str, Any]:
    return {
        "number": one.number,
        "state": one.state,
        "reason": one.reason,
        "values": dict(one.values),
        "value": one.value,
        "last": one.last,
        "spread": one.spread,
        "runs": [each.run for each in one.attempts],
        "attempts": one.runs,
    }


def known(folder: SweepFolder) -> tuple[Design, list[Trial]]:
    """A sweep's design, and its trials by number."""
    from traindeck.core.sweeps.trials import Runs, trials

    design = folder.design()
    return design, trials(design, Runs(folder.home, design).update())
