"""Private selection: nobody sees more than the best, and its conditions are enforced."""

from __future__ import annotations

import os
import signal
import statistics
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import until
from tests.core.sweeps.private_search import asked, with_budget
from tests.core.sweeps.searched import driver_pid, ended, known
from traindeck.core.base.errors import BudgetRefused, UsageError
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.privacy import accountant
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run.folder import RunFolder
from traindeck.core.sweeps import begin, driver, selection, study
from traindeck.core.sweeps.price import charge_selection
from traindeck.core.sweeps.removal import remove
from traindeck.core.sweeps.space import SpaceError
from traindeck.core.sweeps.study import SweepFolder, SweepRequest
from traindeck.core.sweeps.trials import Runs


def selecting(recipe: Recipe, trials: int = 40, **more: Any) -> SweepRequest:
    request = asked(recipe, trials, **{"epsilon": "1.0", **more.pop("typed", {})})
    return replace(request, **{"sampler": "random", "select": True, **more})


def begun(home: Home, request: SweepRequest, count: int) -> SweepFolder:
    """A private selection whose number of trials is not left to chance."""
    costs = begin.priced(home, request)
    assert costs is not None and request.recipe is not None
    folder = study.create(home, request, costs.to_json())
    charge_selection(home, folder.design(), request.recipe, study.check(request))
    selection.hidden(folder)
    write_json(folder.path / "hidden" / "count.json", {"count": count})
    driver.start(folder)
    return folder


def test_only_the_best_is_ever_shown(home: Home, recipe: Recipe) -> None:
    ledger = with_budget(home, 5.0)
    folder = begun(home, selecting(recipe, typed={"seconds": "0.02"}), 4)
    seen: dict[str, float] = {}
    place = Home(folder.path / "hidden")

    def look() -> bool:
        if over := not folder.driven():
            return over
        assert len(known(folder)) <= 1
        if place.runs.is_dir():
            runs = Runs(place, folder.design()).update()
            seen.update({one.run: float(one.values["lr"]) for one in runs})
        return False

    until(look, "the sweep's end")
    [trial] = known(folder)
    assert trial.number == 0 and trial.state == "complete"
    assert trial.values["lr"] == max(seen.values())
    assert not (folder.path / "hidden").exists()
    assert [path.name for path in home.runs.iterdir()] == [trial.attempts[0].run]
    assert (RunFolder(home.runs / trial.attempts[0].run).spec() or {})["name"] == "private"
    [charge] = ledger.account().runs
    assert charge.id == folder.id and charge.settled == charge.reserved
    assert charge.reserved == 20 * (folder.design().price or {})["charged"] < 20 * 40
    assert ledger.verify() == []


def test_it_is_charged_no_less_than_its_theorem_says_and_less_than_all() -> None:
    noise = accountant.noise_multiplier(1.0, 1e-5, 0.0683, 585)
    run = Mechanism(noise, 0.0683, 585, "poisson")
    runs = accountant.selection_runs(run, 1e-5, 8.0, 40)
    assert runs < 40 / 3
    for delta in (1e-5, 1e-7, 1e-10):
        best = accountant.repeat_and_select(run, delta, 40)
        assert accountant.epsilon([run] * runs, delta) >= best


def test_its_conditions_are_enforced(home: Home, recipe: Recipe) -> None:
    for more, why in (
        ({"sampler": "tpe"}, "drawn at random"),
        ({"pruner": "median"}, "run to their end"),
        ({"series": "private/loss"}, "is of private data"),
        ({"trials": 2}, "all 2 seen as 2: leave it out"),
    ):
        with pytest.raises(UsageError, match=why):
            begin.begin(home, selecting(recipe, **more))
    with pytest.raises(SpaceError, match="has the same private plan"):
        begin.begin(home, selecting(recipe, typed={"epsilon": "0.1,0.2"}))
    with_budget(home, 1.5)
    with pytest.raises(BudgetRefused):
        begin.begin(home, selecting(recipe))
    assert study.sweeps(home) == []


def test_the_number_is_geometric_from_the_systems_randomness() -> None:
    drawn = [selection.geometric(10) for _ in range(20_000)]
    assert min(drawn) == 1
    assert statistics.fmean(drawn) == pytest.approx(10, rel=0.05)
    assert drawn.count(1) / len(drawn) == pytest.approx(0.1, abs=0.01)
    assert selection.geometric(1) == 1


@pytest.mark.slow
def test_a_killed_driver_draws_no_other_number(home: Home, recipe: Recipe) -> None:
    ledger = with_budget(home, 5.0)
    folder = begun(home, selecting(recipe, typed={"seconds": "0.05"}), 3)
    hidden = Home(folder.path / "hidden")
    until(lambda: Runs(hidden, folder.design()).update(), "a trial")
    os.kill(until(lambda: driver_pid(folder), "the driver"), signal.SIGKILL)
    until(lambda: not folder.driven())
    assert selection.count(folder, folder.design()) == 3
    driver.start(folder)
    assert len(ended(folder)) == 1
    driver.start(folder)  # what is over stays so
    assert len(ended(folder)) == 1
    assert len(ledger.account().runs) == 1
    remove(folder)
    assert [one.id for one in ledger.account().runs] == [folder.id]
