"""Recipes of a data set called toy, one private and one not, and commands that run them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

Command = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """# /// script
# dependencies = []
# [tool.traindeck]
# name = "private"
# dataset = "toy"
# privacy = "dp-sgd"
# [tool.traindeck.accounting]
# records = 10000
# [tool.traindeck.params.epsilon]
# type = "float"
# default = 1.0
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 500
# [tool.traindeck.params.steps]
# type = "int"
# default = 100
# [tool.traindeck.params.seconds]
# type = "float"
# default = 0.0
# [tool.traindeck.params.noise_seed]
# type = "int"
# default = -1
# [tool.traindeck.params.resumed]
# type = "int"
# default = 0
# [tool.traindeck.params.fingerprint]
# type = "str"
# default = ""
# ///
import time
from traindeck.core import track

with track.start() as run:
    if run.params.fingerprint:
        run.use(run.params.fingerprint)
    run.resumed(run.params.resumed)
    for step in range(run.params.resumed, run.plan.mechanism.steps + (run.params.seconds < 0)):
        if not run.spend():
            print("checkpoint saved")
            run.over_budget()
        time.sleep(max(0, run.params.seconds))
        run.log(step, {"private/loss": 1.0})
        if run.should_stop():
            break
"""
RESUME = """# [tool.traindeck.params.resume]
# type = "path"
"""
PLAIN = """# /// script
# [tool.traindeck]
# name = "plain"
# dataset = "toy"
# [tool.traindeck.params.fingerprint]
# type = "str"
# default = ""
# ///
from traindeck.core import track
with track.start() as run:
    if run.params.fingerprint:
        run.use(run.params.fingerprint)
    run.log(0, {"loss": 1.0})
"""


def run(traindeck: Command, *words: str, code: int = 0) -> dict[str, Any]:
    doc: dict[str, Any] = json.loads(traindeck("run", *words, "--wait", "--json", code=code).stdout)
    return doc


def shown(traindeck: Command, name: str = "toy") -> dict[str, Any]:
    state: dict[str, Any] = json.loads(traindeck("budget", "show", name, "--json").stdout)
    return state
