"""Makes the pictures beside this file from real runs in a home of its own.

    TRAINDECK_DATA=/where/mnist/is python screenshots/make.py

Takes about twenty minutes; words after it (sweeps, federation, models, versus, runs) make only
those.
Each picture is what the app shows at that moment, as SVG and PNG.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import resvg_py
from textual.pilot import Pilot

from traindeck.core import control
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.federation.inbox import APPROVE, RunInbox, decide
from traindeck.core.federation.reader import FederationReader
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.models.client import Client
from traindeck.core.models.shelf import Shelf
from traindeck.core.privacy import budget
from traindeck.core.recipe.find import find_recipe
from traindeck.core.recipe.params import Value
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity
from traindeck.core.run.state import ENDED
from traindeck.core.serving import awaited, targets
from traindeck.core.sweeps import begin
from traindeck.core.sweeps.study import SweepRequest
from traindeck.core.versus.pairs import suite
from traindeck.core.versus.queue import run_missing
from traindeck.tui.app import TraindeckApp
from traindeck.tui.readers.deploying import export_request, serve_request
from traindeck.tui.screens.models.screen import ModelsScreen
from traindeck.tui.screens.recipes.sweep import SweepFormScreen
from traindeck.tui.screens.run.screen import RunScreen
from traindeck.tui.widgets.sweep_form import SweepRow

HERE = Path(__file__).parent
PRIVATE = "torch-mnist-dp"
SIZE = (120, 34)
TALL = (140, 66)


def start(home: Home, name: str, on: str = "cpu", label: str = "", **params: Value) -> RunDoc:
    recipe = find_recipe(home, name)
    return launch(home, LaunchRequest(recipe=recipe, params=params, on=on, name=label or None))


def wait(doc: RunDoc, *states: str) -> None:
    run = RunFolder(Path(doc["path"]))
    while run.state()[0] not in (states or ENDED):
        time.sleep(0.1)


def prepare(home: Home) -> RunDoc:
    """Real runs in every state that a day brings; returns a private one that is still training."""
    budget.create(home, "mnist", 8.0, 1e-5, "example", None)
    for epsilon in (0.5, 1.0):
        label = f"epsilon {epsilon:g}"
        wait(start(home, PRIVATE, label=label, epsilon=epsilon, epochs=2, audit=True))
    for lr in (0.002, 0.01, 0.05):
        wait(start(home, "torch-digits", label=f"digits lr={lr:g}", lr=lr, epochs=30))
    wait(start(home, "tf-digits", epochs=20))
    failing = LaunchRequest(
        command=[sys.executable, "-c", "raise SystemExit('no such file: x.csv')"]
    )
    wait(launch(home, failing))
    stopped = start(home, "torch-digits", label="stopped early", epochs=1000)
    wait(stopped, "running")
    time.sleep(8)
    control.stop(Path(stopped["path"]))
    wait(stopped)
    private = start(home, PRIVATE, on="cpu:1", label="epsilon 2.93", audit=True)
    live = start(home, "torch-digits", "cpu:0", "small steps", epochs=1000, batch_size=2, lr=0.002)
    wait(live, "running")
    waiting = launch(home, LaunchRequest(command=["sleep", "9"], on="cpu:0", name="waits its turn"))
    wait(waiting, "queued")
    points = Path(private["path"]) / "points.bin"
    while not points.exists() or points.stat().st_size < 28 * 700:
        time.sleep(0.2)
    return private


async def picture(pilot: Pilot[object], name: str) -> None:
    await asyncio.sleep(2.5)
    await pilot.pause()
    svg = pilot.app.export_screenshot(title="traindeck")
    (HERE / f"{name}.svg").write_text(svg)
    image = resvg_py.svg_to_bytes(svg_string=svg, zoom=1, monospace_family="DejaVu Sans Mono")
    (HERE / f"{name}.png").write_bytes(bytes(image))
    print(f"{name}.svg {name}.png")


async def until(seen: Callable[[], bool]) -> None:
    while not seen():
        await asyncio.sleep(0.2)


async def take_federation(home: Home) -> None:
    """A script that waits for its owners, and the rounds once they have read it."""
    doc = start(home, "syft-fedavg", label="four hospitals", owners=4, alpha=1.0, approval="hand")
    path = Path(doc["path"])
    inbox = RunInbox(path)
    run = RunFolder(path)
    await until(lambda: len(inbox.read()) == 4 or run.state()[0] in ENDED)
    if run.state()[0] in ENDED:
        raise SystemExit(f"the federation ended: {run.state()[1]}")
    app = TraindeckApp(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("i")
        await picture(pilot, "inbox")
        await pilot.press("escape")
        for request in inbox.read():
            decide(request, APPROVE, sha256=request.sha256)
        reader = FederationReader(path)
        await until(lambda: len(federation.rounds if (federation := reader.read()) else ()) > 8)
        app.open_runs([doc["id"]])
        await until(lambda: isinstance(app.screen, RunScreen))
        await until(lambda: app.screen.check_action("tab", ("federation",)) is True)
        await pilot.press("F")
        await picture(pilot, "federation")
    wait(doc)


def search(home: Home) -> None:
    """A sweep of a recipe that learns in seconds."""
    request = SweepRequest(
        recipe=find_recipe(home, "torch-digits"),
        typed={"lr": "log:1e-3..1", "batch_size": "32,64,128", "epochs": "6"},
        trials=16,
        series="test/accuracy",
        pruner="median",
        at_once=2,
        seed=3,
    )
    folder = begin.begin(home, request)
    while folder.driven():
        time.sleep(0.2)


async def take_sweep(home: Home) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("S")
        await until(lambda: app.screen.name == "sweeps")
        await asyncio.sleep(3)
        await pilot.press("D", "D")
        await picture(pilot, "sweeps")
        await pilot.press("2")
        await asyncio.sleep(1)
        await pilot.press("slash", *"torch-cancer-dp", "enter", "ctrl+g")
        await until(lambda: isinstance(app.screen, SweepFormScreen))
        await asyncio.sleep(2)
        app.screen.query_one("#sweep-lr", SweepRow).control.value = "log:0.1..10"
        app.screen.query_one("#sweep-trials", SweepRow).control.value = "10"
        app.screen.query_one("#sweep-sampler", SweepRow).control.value = "random"
        await asyncio.sleep(8)  # what the trials would cost is worked out
        await picture(pilot, "sweep-form")


def export_and_serve(home: Home) -> tuple[RunDoc, str]:
    """Models of real runs, some of several versions, and the server of one with its address."""
    digits = start(home, "torch-digits", label="digits", epochs=20)
    patients = start(home, "torch-cancer-dp", label="patients", steps=200, self_test=False)
    for doc, times in ((digits, 2), (patients, 1)):
        wait(doc)
        for _ in range(times):
            wait(launch(home, export_request(home, doc, {})))
    shelf = Shelf(home)
    shelf.label("digits", "stable", 1)
    shelf.label("digits", "canary", 2)
    server = launch(
        home, serve_request(home, targets(home, ["digits"]), {"port": 0, "grpc_port": 0})
    )
    return server, awaited(Path(server["path"]))["http"]


async def take_models(home: Home) -> None:
    """The models, then one of them under load: four clients that ask as fast as they can."""
    server, url = export_and_serve(home)
    stop = threading.Event()
    images = np.random.default_rng(0).integers(0, 17, (8, 8, 8), np.uint8)

    def ask() -> None:
        client = Client(url)
        while not stop.is_set():
            client.infer("digits", {"image": images})
            time.sleep(0.01)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    app = TraindeckApp(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, ModelsScreen) and app.screen.current is not None)
        for client in clients:
            client.start()
        await asyncio.sleep(40)
        await picture(pilot, "models")
        await pilot.press("J")
        await until(lambda: isinstance(app.screen, RunScreen))
        await picture(pilot, "serving")
    stop.set()
    for client in clients:
        client.join()
    control.stop(Path(server["path"]))
    wait(server)


def compare(home: Home) -> None:
    """All that `traindeck versus run --full` measures."""
    run_missing(home, suite(home, None, {}, full=True), lambda *_: None)


async def take_versus(home: Home) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=TALL) as pilot:
        await pilot.press("ampersand")
        await until(lambda: app.screen.name == "versus")
        await asyncio.sleep(3)
        await picture(pilot, "versus")


async def take(home: Home, private: RunDoc) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=SIZE) as pilot:
        await picture(pilot, "runs")
        await pilot.press("2")
        await asyncio.sleep(1)
        await pilot.press("slash", *PRIVATE, "enter")
        await asyncio.sleep(6)  # what the launch would cost is worked out
        await picture(pilot, "recipes")
        await pilot.press("3")
        await asyncio.sleep(6)
        await picture(pilot, "devices")
        await pilot.press("p")
        await asyncio.sleep(4)
        await picture(pilot, "privacy")
        await pilot.press("1")
        app.open_runs([private["id"]])
        await picture(pilot, "run")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.make()
        os.environ["TRAINDECK_HOME"] = folder
        wanted = sys.argv[1:] or ["sweeps", "federation", "models", "versus", "runs"]
        if "sweeps" in wanted:
            search(home)
            asyncio.run(take_sweep(home))
        if "federation" in wanted:
            asyncio.run(take_federation(home))
        if "models" in wanted:
            asyncio.run(take_models(home))
        if "versus" in wanted:
            compare(home)
            asyncio.run(take_versus(home))
        if "runs" in wanted:
            asyncio.run(take(home, prepare(home)))
        runs = [RunFolder(path) for path in home.runs.iterdir()]
        for run in runs:
            if run.state()[0] not in ENDED:
                control.kill(run.path)
        for run in runs:
            supervisor = identity(run.spec() or {}, "supervisor")
            while supervisor and supervisor.alive():
                time.sleep(0.1)


if __name__ == "__main__":
    main()
