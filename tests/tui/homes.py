"""Homes with runs in them, as the supervisor leaves them on disk: real folders, real catalogue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.base.ids import encode
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.queue.placement import claim
from traindeck.core.run.events import append
from traindeck.core.run.folder import RunFolder, encode_exit
from traindeck.core.run.points import PROGRESS, PointWriter
from traindeck.core.run.spec import new_spec
from traindeck.core.run.state import LIVE, boottime

NOW = 1_800_000_000.0
"""The time on the wall in these tests."""


def make_home(root: Path) -> Home:
    home = Home(root)
    home.make()
    return home


def make_run(
    home: Home,
    number: int,
    *,
    state: str = "finished",
    name: str = "",
    reason: str = "",
    age: float | None = None,
    now: float = NOW,
    seconds: float = 83.0,
    epochs: float | None = None,
    metric: float | None = None,
    epsilon: float | None = None,
    recipe: str | None = "torch-mnist",
    index: bool = True,
    **more: Any,
) -> str:
    """Makes run `number` (a higher one is newer) and returns its id.

    A live one is supervised by this process, so that it counts as alive. `epochs` is how many of 10
    are done.
    """
    me = Identity.of(os.getpid())
    assert me is not None
    run_id = encode(40_000_000_000 + number)
    folder = home.runs / run_id
    folder.mkdir()
    created = now - (age if age is not None else 100_000 - 60 * number)
    live = state in LIVE
    spec = new_spec(
        id=run_id,
        name=name or f"mnist-{number}",
        recipe=recipe,
        script=None,
        framework="torch",
        headline="test/accuracy",
        privacy="none" if epsilon is None else "dp-sgd",
        dataset="mnist",
        params={"lr": 0.25, "epochs": 10},
        argv=["true"],
        command=["traindeck", "run", recipe or "--", "-p", "lr=0.25"],
        cwd="/",
        python="python",
        on="cpu*2",
        device="cpu:0-1",
        grace=10.0,
        claim=claim("cpu", ("cpu",)).to_json(),
        launcher=me.to_json(),
        supervisor=me.to_json(),
        state=state if live else "running",
        reason=reason if live else "",
        started=created + 1,
        started_boottime=boottime() - seconds,
    )
    write_json(folder / "run.json", {**spec, "created": created, **more})
    if not live:
        code = {"finished": 0, "stopped": 0, "failed": 1}.get(state)
        verdict = {
            "state": state,
            "reason": reason,
            "exit_code": code,
            "ended": created + seconds,
            "seconds": seconds,
        }
        (folder / "exit.json").write_bytes(encode_exit(verdict))
    if metric is not None or epochs is not None:
        writer = PointWriter(folder)
        if metric is not None:
            writer.add(1, {"test/accuracy": metric - 0.1, "train/loss": 1.5})
            writer.add(2, {"test/accuracy": metric, "train/loss": 0.75})
        if epochs is not None:
            writer.add(0, {PROGRESS: 10.0}, when=now - seconds)
            writer.add(int(epochs), {PROGRESS: 10.0}, when=now)
        writer.close()
    if epsilon is not None:
        from tests.tui.private_runs import MECHANISM, write_plan

        write_plan(folder)
        event = MECHANISM.to_json()
        append(folder / "events.jsonl", "spend", event=event, epsilon=epsilon, delta=1e-5)
    if index:
        Catalogue(home).sync(folder)
    return run_id


RATES = (0.003, 0.01, 0.03, 0.1, 0.3)


def fill(home: Home, count: int, now: float = NOW, *, seeds: bool = False) -> None:
    """Many ended runs: the catalogue is written once, at the end.

    With `seeds`, each run has one of `RATES` and a seed of its own.
    """
    states = ("finished", "finished", "finished", "failed", "stopped")
    for number in range(count):
        make_run(
            home,
            number,
            state=states[number % len(states)],
            metric=0.9 + 0.09 * (number % 97) / 97,
            epochs=10,
            age=86_400 + 60 * (count - number),
            now=now,
            recipe="torch-mnist" if number % 3 else "tf-mnist",
            index=False,
            **(_seeded(number) if seeds else {}),
        )
    Catalogue(home).reindex()


def _seeded(number: int) -> dict[str, Any]:
    params = {"lr": RATES[number % len(RATES)], "epochs": 10, "seed": number, "mode": "graph"}
    return {"params": params}


def state_of(home: Home, run_id: str) -> str:
    return RunFolder(home.runs / run_id).state()[0]
