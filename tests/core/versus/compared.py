"""Homes with made-up runs of both sides, as a comparison leaves them: no framework needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.tui.federated_runs import write_coordinator, write_status
from tests.tui.homes import NOW, make_run
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.models.bundle import BUNDLE
from traindeck.core.run.points import PointWriter

DEVICES = ["a processor of tests, 2 cores"]
FRAMEWORKS = {"torch": "torch", "tf": "tensorflow", "syft": "syft", "serve": "other"}
TWIN_PARAMS = {"epochs": 30, "batch_size": 32, "lr": 0.1, "resume": None}


def ran(
    home: Home,
    number: int,
    recipe: str,
    role: str,
    params: Mapping[str, Any],
    points: Mapping[str, list[float]],
    *,
    first_metric: float = 2.0,
    **more: Any,
) -> str:
    """A finished run of a comparison; `points` has the values of each series, from step 1 on."""
    run_id = make_run(
        home,
        number,
        recipe=recipe,
        name=recipe,
        framework=FRAMEWORKS[recipe.partition("-")[0]],
        params=dict(params),
        command=["traindeck", "run", recipe],
        device="cpu",
        index=False,
        **more,
    )
    folder = home.runs / run_id
    write_json(folder / "user.json", {"tags": ["versus", f"versus:{role}"]})
    started = NOW - 100_000 + 60 * number + 1
    writer = PointWriter(folder)
    for series, values in points.items():
        for step, value in enumerate(values, 1):
            writer.add(step, {series: value}, when=started + first_metric + step - 1)
    writer.close()
    Catalogue(home).sync(folder)
    return run_id


def made_twins(home: Home, repeats: int = 3) -> list[str]:
    """Runs of torch-digits and tf-digits by turns: the latter takes longer to its first metric."""
    ids = []
    for seed in range(repeats):
        for side, recipe in enumerate(("torch-digits", "tf-digits")):
            accuracy = [0.5 + 0.1 * step + 0.003 * seed + 0.01 * side for step in range(5)]
            loss = [2.0 / step + 0.01 * seed + 0.1 * side for step in range(1, 6)]
            ids.append(
                ran(
                    home,
                    10 + 2 * seed + side,
                    recipe,
                    "twin",
                    {**TWIN_PARAMS, "seed": seed, "mode": ("eager", "graph")[side]},
                    {"test/accuracy": accuracy, "train/loss": loss},
                    first_metric=(3.0, 6.0)[side] + 0.1 * seed,
                )
            )
    return ids


def made_steps(
    home: Home, mode: str = "eager", *, skew: float = 0.0, speeds: tuple[float, float] = (9e3, 4e3)
) -> None:
    """Runs of the measuring recipes; `skew` is what one framework's losses are off by."""
    for seed in range(3):
        for side, recipe in enumerate(("torch-steps", "tf-steps")):
            ran(
                home,
                40 + 2 * seed + side,
                recipe,
                f"steps:{mode}",
                {"mode": mode, "seed": seed, "seconds": 1.5, "batch_size": 128, "threads": 1},
                {
                    "loss": [2.4 / step + seed + skew * side for step in range(1, 6)],
                    "first_step_seconds": [0.02 + 0.3 * side + 0.001 * seed],
                    "compile_seconds": [0.01 + 0.3 * side],
                    "examples_per_second": [speeds[side] + 50 * seed],
                    "cpu_ms_per_step": [1.0 + side],
                    "memory_mb": [300.0 + 400 * side],
                    "load": [0.5],
                },
            )


def made_mixed(home: Home, factors: tuple[float, float], mode: str = "eager") -> None:
    """Runs at bfloat16 beside those of `made_steps`, so many times as fast at the same seed."""
    for seed in range(3):
        for side, recipe in enumerate(("torch-steps", "tf-steps")):
            speed = (9e3, 4e3)[side] + 50 * seed
            ran(
                home,
                50 + 2 * seed + side,
                recipe,
                f"steps:{mode}:bfloat16",
                {"mode": mode, "seed": seed, "precision": "bfloat16"},
                {
                    "loss": [2.5 / step + seed for step in range(1, 6)],
                    "examples_per_second": [speed * factors[side]],
                    "cpu_ms_per_step": [(1.0 + side) / factors[side]],
                },
            )


def made_scaling(home: Home, role: str = "scaling:mnist") -> None:
    """Runs of `torch-mnist` alone, by one worker and by two."""
    for seed in range(3):
        for workers, speed in ((1, 1000.0), (2, 1400.0 + 100 * seed)):
            ran(
                home,
                80 + 2 * seed + workers,
                "torch-mnist",
                f"{role}:{workers}",
                {"epochs": 1, "batch_size": 512, "lr": 0.05, "workers": workers, "seed": seed},
                {"examples_per_second": [1.0, speed, speed + 10, speed - 10, 2 * speed]},
            )


def made_server(home: Home, number: int, bundle: Path, role: str = "serve") -> str:
    """A server of a bundle that was asked for two seconds and stopped."""
    return ran(
        home,
        number,
        "serve",
        role,
        {"models": f"{bundle.parent.name}={bundle}", "port": 0},
        {"serve/memory_mb": [90.0, 92.0], "serve/p50_ms": [0.5, 0.2]},
        first_metric=1.5,
        state="stopped",
    )


def made_mistakes(home: Home) -> None:
    for side, recipe in enumerate(("torch-mistakes", "tf-mistakes")):
        words = {"shape": 11 + 20 * side, "dtype": 15, "nan": 0, "nan, asked for": 10}
        series = {f"mistake/{name}/words": [float(count)] for name, count in words.items()}
        run_id = ran(home, 60 + side, recipe, "mistakes", {}, {**series, "tracing/refused": [2.0]})
        tracing = {"a loop": {"raised": True}, "a branch": {"raised": side == 0}}
        artifacts = home.runs / run_id / "artifacts"
        artifacts.mkdir()
        write_json(artifacts / "mistakes.json", {"mistakes": {}, "tracing": tracing})


def made_federation(home: Home) -> str:
    """A federated run of three rounds, in each of which its three owners trained for 0.05 s."""
    run_id = ran(
        home,
        70,
        "syft-fedavg",
        "federated",
        {"dataset": "digits", "rounds": 5, "examples": 0, "seed": 0},
        {"test/accuracy": [0.4, 0.8]},
    )
    folder = home.runs / run_id
    (folder / "federation").mkdir()
    write_coordinator(folder, rounds=3, total=3, phase="done")
    for owner in (1, 2, 3):
        write_status(folder, owner, seconds=0.05, bytes_out={"update": 30_000, "control": 3_000})
    return run_id


def made_bundle(home: Home, recipe: str, formats: Mapping[str, Any]) -> Path:
    """A bundle of a run of the recipe, by what it says alone."""
    folder = home.models / recipe / "1"
    folder.mkdir(parents=True)
    write_json(
        folder / BUNDLE,
        {
            "format": 1,
            "name": recipe,
            "version": 1,
            "created": NOW,
            "formats": dict(formats),
            "files": {},
            "run": {"id": "x", "recipe": recipe},
        },
    )
    os.utime(folder, (NOW, NOW))
    return folder


def a_format(path: str, error: float, size: int, p50: float) -> dict[str, Any]:
    return {
        "path": path,
        "parity": {"largest_error": error, "agreement": 1.0},
        "latency": {"1": {"p50": p50}},
        "bytes": size,
    }
