"""What Flower's apps are given, and their rounds as they end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traindeck.core import track
from traindeck.recipes.shared.federated.flower.board import Board, FlowerRound
from traindeck.recipes.shared.federated.flower.deployment import Deployment, FlowerError
from traindeck.recipes.shared.federated.scientist import publishing

LOOK_SECONDS = 0.1


def write_images(path: Path, x: NDArray[np.uint8], y: NDArray[np.uint8], brightest: int) -> None:
    """Write images (n, …) and labels (n,) as the app reads them; for this user alone."""
    path.touch(mode=0o600)
    np.savez(path, x=x.reshape(len(x), -1), y=y, scale=brightest)


def rounds(run: track.Run, deployment: Deployment, board: Board) -> Iterator[FlowerRound]:
    """Each round as it ends, until all have or a stop is asked for.

    Raises FlowerError when the federation cannot go on.
    """
    stopping = False
    while not (board.done or stopping):
        over = deployment.over()
        board.meet(deployment.missing(), deployment.numbers)
        board.lose(deployment.gone())
        board.measure({name: node.pid for name, node in deployment.nodes.items()})
        yield from board.look()
        if board.failure:
            raise FlowerError(board.failure)
        if over and not board.done:
            raise FlowerError(f"the run ended early: {deployment.said('run')}")
        stopping = run.should_stop()
        time.sleep(LOOK_SECONDS)


def leave(run: track.Run, aggregator: Path, dataset: str) -> None:
    """Leave the model of the last round, if there was one, as the run's servable."""
    path = aggregator / "weights.npz"
    if path.exists() and not run.should_stop():
        with np.load(path, allow_pickle=False) as file:
            publishing.arrays(run, [file[name] for name in file.files], dataset)
