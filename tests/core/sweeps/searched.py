"""A small recipe to search, and sweeps of it that are driven here and now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.conftest import until
from traindeck.core.base.home import Home
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.sweeps import driver, study
from traindeck.core.sweeps.study import Design, SweepFolder, SweepRequest
from traindeck.core.sweeps.trials import Runs, Trial, trials

TINY = """\
# /// script
# [tool.traindeck]
# name = "tiny"
# title = "Tiny"
# headline = "test/accuracy"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.1
# min = 0.0
# max = 10.0
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 64
# [tool.traindeck.params.optimizer]
# type = "choice"
# default = "sgd"
# choices = ["sgd", "adam"]
# [tool.traindeck.params.seconds]
# type = "float"
# default = 0.0
# [tool.traindeck.params.fails]
# type = "bool"
# default = false
# [tool.traindeck.params.seed]
# type = "int"
# default = 0
# ///
import math
import time
from traindeck.core import track

with track.start() as run:
    p = run.params
    if p.fails:
        raise SystemExit(7)
    top = 1 - (math.log10(p.lr) + 2) ** 2 / 10 - (p.batch_size != 128) / 100 + p.seed / 1000
    for step in range(5):
        run.log(step, {"test/accuracy": top - 0.3 / (step + 1)})
        time.sleep(p.seconds)
        late = time.monotonic() + 60
        while p.lr < 1e-8 and step == 3 and not run.should_stop() and time.monotonic() < late:
            time.sleep(0.02)  # hopeless: it goes on until it is pruned, on a slow machine too
        if run.should_stop():
            break
"""
LOG_LR = "log:1e-4..1e-1"


def tiny(folder: Path) -> Recipe:
    path = folder / "tiny.py"
    path.write_text(TINY)
    recipe = read_recipe(path)
    assert recipe is not None
    return recipe


def asked(recipe: Recipe, **more: Any) -> SweepRequest:
    typed = {"lr": LOG_LR, **more.pop("typed", {})}
    wanted = {"series": "test/accuracy", "trials": 4, "seed": 1, "at_once": 2, **more}
    return SweepRequest(recipe=recipe, typed=typed, **wanted)


def known(folder: SweepFolder) -> list[Trial]:
    design = folder.design()
    return trials(design, Runs(folder.home, design).update())


def ended(folder: SweepFolder) -> list[Trial]:
    """Wait until nobody drives the sweep any more; its trials."""
    until(lambda: not folder.driven(), "the sweep's end")
    return known(folder)


def searched(home: Home, request: SweepRequest) -> SweepFolder:
    """A sweep that was driven to its end."""
    folder = study.create(home, request)
    driver.start(folder)
    ended(folder)
    return folder


def driver_pid(folder: SweepFolder) -> int | None:
    """The driver's process, while it lives and has said so."""
    pid = folder.said().get("pid")
    if not folder.driven() or not isinstance(pid, int):
        return None
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return pid if os.fsencode(folder.path) in words else None


def a_design(**more: Any) -> Design:
    """The design of a sweep that is nowhere."""
    fields: dict[str, Any] = {
        "id": "00000001",
        "name": "none",
        "script": None,
        "origin": "",
        "command": ("true", "{lr}"),
        "typed": {"lr": LOG_LR},
        "trials": 10,
        "series": "loss",
        "direction": "minimize",
    }
    return Design(**{**fields, **more})
