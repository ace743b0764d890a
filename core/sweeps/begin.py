"""Beginning a sweep and letting it go on: it is priced, what it may spend is held, it is driven."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from traindeck.core.base.errors import MissingError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.sweeps import driver, selection, study
from traindeck.core.sweeps.price import Held, Price, charge_selection, price
from traindeck.core.sweeps.study import Design, SweepFolder, SweepRequest


def check_installed() -> None:
    """Raises MissingError where there is no optuna."""
    missing = [name for name in ("optuna", "cmaes") if find_spec(name) is None]
    if missing:
        raise MissingError(f"sweeps need {' and '.join(missing)}: pip install 'traindeck[sweep]'")


def priced(home: Home, request: SweepRequest) -> Price | None:
    """What a sweep would cost; None where nothing is accounted for.

    Raises UsageError for a sweep that cannot be, PlanError, LedgerDamaged and OSError.
    """
    space = study.check(request)
    if request.select:
        selection.check(request.sampler, request.pruner, request.seeds, request.series)
        if request.recipe is None or request.recipe.chosen(space.fixed).accounting is None:
            raise UsageError("--private-select is for recipes that account for their privacy")
    if request.recipe is None:
        return None
    runs = request.runs(space)
    costs = price(home, request.recipe, space, runs, select=request.select)
    if request.select and costs is not None and costs.charged >= runs:
        raise UsageError(
            f"--private-select: the best alone would be charged as {costs.charged} runs, all"
            f" {runs} seen as {runs}: leave it out, it pays for many trials of a larger epsilon"
        )
    return costs


def begin(home: Home, request: SweepRequest) -> SweepFolder:
    """Begin a sweep: it goes on without us.

    Raises UsageError, BudgetRefused where it does not fit into its data set's budget, SweepError
    and OSError; nothing is left of it then.
    """
    space = study.check(request)
    costs = priced(home, request)
    folder = study.create(home, request, costs.to_json() if costs else None)
    try:
        if request.recipe is not None:
            if request.select:
                charge_selection(home, folder.design(), request.recipe, space)
            else:
                held = Held(home, folder.design(), request.recipe, space)
                held.hold(request.runs(space))
        driver.start(folder)
    except BaseException:
        if not folder.driven():
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return folder


def go_on(folder: SweepFolder) -> bool:
    """Drive a sweep whose design was changed; False where it is driven already. Raises OSError."""
    return driver.start(folder)


def extend(folder: SweepFolder, more: int) -> Design:
    """Let a sweep have so many trials more, priced anew.

    Raises UsageError, BudgetRefused where they do not fit, and SweepError.
    """
    design = folder.design()
    if design.select:
        raise UsageError("what was selected privately is one draw: begin another sweep")
    recipe, space = design.recipe(), design.space()
    study.check_trials(design.trials + more, more)
    costs = None
    if recipe is not None:
        runs = (design.trials + more) * design.seeds
        costs = price(folder.home, recipe, space, runs)
        if folder.driven():
            held = Held(folder.home, design, recipe, space)
            held.hold(held.count() + more * design.seeds)
    return study.extend(folder, more, costs.to_json() if costs else None)
