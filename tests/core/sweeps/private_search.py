"""A private recipe to search, and a budget for it."""

from __future__ import annotations

from traindeck.core.base.home import Home
from traindeck.core.privacy import budget
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.sweeps.study import SweepRequest

PRIVATE = """\
# /// script
# [tool.traindeck]
# name = "private"
# title = "P"
# dataset = "toy"
# privacy = "dp-sgd"
# headline = "test/accuracy"
# [tool.traindeck.accounting]
# records = 10000
# [tool.traindeck.params.epsilon]
# type = "float"
# default = 1.0
# [tool.traindeck.params.clipping_norm]
# type = "float"
# default = 1.0
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 500
# [tool.traindeck.params.steps]
# type = "int"
# default = 20
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.1
# [tool.traindeck.params.seconds]
# type = "float"
# default = 0.0
# ///
import time
from traindeck.core import track

with track.start() as run:
    for step in range(run.plan.mechanism.steps):
        if not run.spend():
            run.over_budget()
        run.log(step, {"test/accuracy": run.params.lr})
        time.sleep(run.params.seconds)
        if run.should_stop():
            break
"""


def asked(recipe: Recipe, trials: int = 4, **typed: str) -> SweepRequest:
    return SweepRequest(
        recipe=recipe,
        typed={"lr": "0.0..1.0", "epsilon": "0.2", **typed},
        trials=trials,
        series="test/accuracy",
        at_once=2,
        seed=1,
    )


def with_budget(home: Home, epsilon: float) -> Ledger:
    budget.create(home, "toy", epsilon, 1e-5, "example", None)
    return Ledger(home.ledger, "toy")
