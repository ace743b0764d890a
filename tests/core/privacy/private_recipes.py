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
# [tool.traindeck.params.until]
# type = "int"
# default = 0
"""
_header, _, _body = RECIPE.replace('"private"', '"again"').partition("# ///\nimport time\n")
_uses = _body.split("    run.resumed")[0]
RESUMING = f"{_header}{RESUME}# ///\nfrom pathlib import Path\n{_uses}"
RESUMING += """\
    done = 0
    if run.params.resume:
        place = Path(run.params.resume)
        place = place / "artifacts" if (place / "artifacts").is_dir() else place
        path = max(place.glob("checkpoint-*.pt")) if place.is_dir() else place
        done = int(path.read_text())
        run.resumed(done, path)
    while done < (run.params.until or run.plan.mechanism.steps):
        if not run.spend():
            run.over_budget()
        done += 1
    path = run.artifacts / f"checkpoint-{done:08d}.pt"
    path.write_text(str(done))
    run.seal(path)
"""
"""Takes `until` steps, leaves a checkpoint that holds their number, and can be resumed."""
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
PAUSE = """
    import time
    while not run.should_stop():
        time.sleep(0.02)
"""


def run(traindeck: Command, *words: str, code: int = 0) -> dict[str, Any]:
    doc: dict[str, Any] = json.loads(traindeck("run", *words, "--wait", "--json", code=code).stdout)
    return doc


def shown(traindeck: Command, name: str = "toy") -> dict[str, Any]:
    state: dict[str, Any] = json.loads(traindeck("budget", "show", name, "--json").stdout)
    return state
