"""What a recipe that begins may spend: by hand it is reserved here; launched, that was done before.

Standard library only until the run ends: recipes import this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import read_json
from traindeck.core.base.process import Identity
from traindeck.core.privacy import gate
from traindeck.core.privacy.origin import inherited
from traindeck.core.privacy.plan import Plan, make
from traindeck.core.privacy.spending import Spending, Tell
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run.ranks import Rank


class Begun(NamedTuple):
    """What a run has begun with.

    run       what ledgers know it by
    plan      what it may release; None without privacy
    spending  likewise
    use       without privacy: is told the data's fingerprint, and refuses data that has a budget
    """

    run: str
    plan: Plan | None
    spending: Spending | None
    use: Callable[[str], None] | None


def begin(
    recipe: Recipe,
    params: Mapping[str, Any],
    ledgers: Path,
    run: str,
    tell: Tell,
    *,
    managed: Path | None,
    accept: bool,
    rank: Rank | None = None,
) -> Begun:
    """Reserve what a recipe may spend, or take up what was reserved when it was launched.

    run      its id where it was started by hand
    managed  the folder of the launched run: a recipe that a launched command starts was never
             asked, and counts as started by hand
    accept   whether no privacy is accepted on budgeted data, where it was not launched
    rank     of several processes the first alone spends, and what their starter has reserved

    Raises BudgetRefused, another TraindeckError, or OSError where the ledger cannot be written.
    """
    plan: Plan | None
    spec = (read_json(managed / "run.json") if managed else None) or {}
    if managed and _same(spec.get("script"), recipe.path):
        accept = "--accept-no-privacy" in spec.get("command", ())
        run, plan = managed.name, Plan.read(managed)
        if recipe.accounting and plan is None:
            raise TraindeckError(f"{managed} has no usable privacy.json")
    elif rank and (rank.run or rank.number):
        run, plan = rank.run or run, make(recipe, params)
    else:
        plan = make(recipe, params)
        gate.check_parts(ledgers, run, recipe, accept)
        gate.admit(
            gate.ledger_for(ledgers, recipe),
            run,
            recipe.name,
            plan,
            earlier=inherited(params, "", ledgers.parent),
            accept_no_privacy=accept,
            instead=recipe.private_choices(),
            who=Identity.of(os.getpid()),
        )
    if rank and rank.number:
        return Begun(run, plan, None, None)
    if plan is not None:
        return Begun(run, plan, Spending(plan, ledgers, run, tell, recipe=recipe.name), None)
    return Begun(
        run,
        None,
        None,
        lambda contents: gate.use_without_privacy(ledgers, run, recipe.name, contents, accept),
    )


def _same(script: object, path: Path) -> bool:
    """Whether the script that was launched is this one."""
    return isinstance(script, str) and os.path.realpath(script) == os.path.realpath(path)
