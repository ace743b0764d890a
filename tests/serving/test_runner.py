"""Limits on what waits, and requests that are run together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from traindeck.recipes.shared.deploy.serving.errors import Refused, invalid
from traindeck.recipes.shared.deploy.serving.limits import Limits
from traindeck.recipes.shared.deploy.serving.runner import Batcher, Runner


class Doubles:
    """Twice its input; waits for `go`, and refuses 13."""

    kind = "fake"

    def __init__(self) -> None:
        self.signatures: dict[str, Any] = {}
        self.go = threading.Event()
        self.began = threading.Event()
        self.sizes: list[int] = []

    def run(
        self, signature: str, inputs: Mapping[str, Any], outputs: Sequence[str] = ()
    ) -> dict[str, Any]:
        self.began.set()
        self.go.wait(30)
        x = inputs["x"]
        self.sizes.append(len(x))
        if (x == 13).any():
            raise invalid("13")
        return {"y": 2 * x}


def rows(*values: float) -> dict[str, Any]:
    return {"x": np.array(values).reshape(-1, 1)}


async def test_more_than_the_queue_holds_are_turned_away() -> None:
    backend, runner = Doubles(), Runner(Limits(queue=2))
    first = [asyncio.create_task(runner.run(backend, "s", rows(n))) for n in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="2 requests are waiting already") as caught:
        await runner.run(backend, "s", rows(3))
    assert caught.value.status == 503
    backend.go.set()
    assert [one["y"].item() for one in await asyncio.gather(*first)] == [2, 4]
    assert runner.running == 0
    assert (await runner.run(backend, "s", rows(3)))["y"].item() == 6


async def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends() -> None:
    backend, runner = Doubles(), Runner(Limits(queue=1, seconds=0.05))
    with pytest.raises(Refused, match=r"not answered within 0.05 seconds") as caught:
        await runner.run(backend, "s", rows(1))
    assert caught.value.status == 504
    assert runner.running == 1
    backend.go.set()
    while runner.running:
        await asyncio.sleep(0.01)


async def test_those_that_come_together_run_together() -> None:
    backend, runner = Doubles(), Batcher(Limits(), 1, 8)
    backend.go.set()
    asked = [runner.run(backend, "s", rows(n, n)) for n in range(6)]
    made = await asyncio.gather(*asked)
    assert [one["y"].ravel().tolist() for one in made] == [[2 * n, 2 * n] for n in range(6)]
    assert sorted(backend.sizes) == [4, 8]


async def test_one_bad_request_fails_no_other() -> None:
    backend, runner = Doubles(), Batcher(Limits(), 1, 8)
    backend.go.set()
    asked = [runner.run(backend, "s", rows(n)) for n in (1, 13, 3)]
    good, bad, other = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(bad, Refused)
    assert isinstance(good, dict) and isinstance(other, dict)
    assert (good["y"].item(), other["y"].item()) == (2, 6)


async def test_those_of_other_shapes_run_by_themselves() -> None:
    backend, runner = Doubles(), Batcher(Limits(), 1, 8)
    backend.go.set()
    wide = {"x": np.ones((1, 2))}
    await asyncio.gather(runner.run(backend, "s", rows(1)), runner.run(backend, "s", wide))
    assert backend.sizes == [1, 1]
