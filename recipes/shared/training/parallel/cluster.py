"""Ranks of TensorFlow's MultiWorkerMirroredStrategy: each is told of all by TF_CONFIG."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping

from traindeck.core import track
from traindeck.core.base.errors import USAGE
from traindeck.recipes.shared.training.parallel.launch import in_ranks
from traindeck.recipes.shared.training.parallel.loopback import Loopback


def in_cluster(run: track.Run, strategy: str, workers: int) -> None:
    """Go on as one of so many ranks where the strategy is multiworker; see `launch.in_ranks`.

    They have a network of their own where that can be had, and nothing can be downloaded there.
    """
    if strategy == "none" and workers > 1:
        track.abort(f"{workers} workers need --strategy mirrored or multiworker", USAGE)
    if strategy != "multiworker":
        return
    if workers == 1 or run.rank is not None:
        in_ranks(run, workers)
        return
    try:
        network = Loopback()
    except OSError as error:
        print(f"warning: workers listen on all interfaces, unguarded: {error}", flush=True)
        in_ranks(run, workers, extra=_Cluster(workers))
    else:
        try:
            in_ranks(run, workers, extra=_Cluster(workers), inside=network.enter())
        finally:
            network.close()


class _Cluster:
    """TF_CONFIG of each rank."""

    def __init__(self, count: int) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        self._addresses = ["{}:{}".format(*each.getsockname()) for each in sockets]
        for each in sockets:
            each.close()

    def __call__(self, number: int) -> Mapping[str, str]:
        task = {"type": "worker", "index": number}
        return {"TF_CONFIG": json.dumps({"cluster": {"worker": self._addresses}, "task": task})}
