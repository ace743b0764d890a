"""What a script that a data owner has approved uses: the data in, one update a round out.

    with job.session() as here:
        data = here.data()
        for round in here.rounds():
            ...  # train from round.weights
            round.send(update, examples=len(data["x"]), loss=loss)

The script runs in a process of the owner's and speaks with nobody but its owner's gate, over a
socket pair. What it sends there is checked, clipped and masked or encrypted by the gate before any
of it leaves.

Alone, for trying a script out: TRAINDECK_JOB names a folder with `job.json` (owner, owners, data:
path of an .npz file); `log`, `sent` and `result` then write into it, and there are no rounds.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from traindeck.recipes.shared.federated.post import wire

SOCKET = "TRAINDECK_JOB_SOCKET"  # the descriptor of our end
ALONE = "TRAINDECK_JOB"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class JobRound:
    """One round: the model as the aggregator gave it, and the way for this owner's update.

    number   from 1
    weights  float32 (d,), all parameters of the model in one row
    """

    number: int
    weights: npt.NDArray[np.float32]
    _here: JobSession

    def send(self, update: Array, *, examples: int, loss: float) -> None:
        """Give this owner's update, (d,): new weights less those given, to the owner's gate.

        examples and loss are for the owner's own eyes; examples also weigh the update, and are
        masked with it. Raises PermissionError when the gate refuses, saying why.
        """
        body = np.ascontiguousarray(update, np.float64).tobytes()
        facts = {"type": "update", "round": self.number, "examples": examples, "loss": loss}
        self._here._say(facts, body)


class JobSession:
    """A job at one owner: who it is at, what it was asked, and where its results go.

    tls: certificate and key (PEM) of the owners, for talk among their jobs, where that is allowed.
    """

    def __init__(self, facts: dict[str, Any], wired: socket.socket | None, folder: Path) -> None:
        self.owner: str = facts["owner"]
        self.owners: list[str] = facts["owners"]
        self.tls: dict[str, str] | None = facts.get("tls")
        self.params: dict[str, Any] = json.loads(Path("params.json").read_text())
        self._data = Path(facts["data"])
        self._wire = wired
        self._folder = folder

    def data(self) -> dict[str, Array]:
        """The arrays of the owner's private data set, by their names."""
        with np.load(self._data, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def log(self, **numbers: float) -> None:
        """Numbers for the owner's own status; they never leave the owner."""
        if self._wire is None:
            with (self._folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(numbers) + "\n")
        else:
            wire.send(self._wire, {"type": "log", "numbers": numbers})

    def sent(self, count: int) -> None:
        """So many more bytes went to other owners' jobs, over the ports that were agreed.

        The owner, who does not see them leave, adds them to its count of what has left it, as
        ciphertext: shares inside TLS. They are as the library of the script counted them.
        """
        if self._wire is None:
            with (self._folder / "sent.jsonl").open("a") as counts:
                counts.write(f"{count}\n")
        else:
            wire.send(self._wire, {"type": "sent", "bytes": count})

    def result(self, **result: Any) -> None:
        """What the data scientist is to get of this owner: JSON-able, once, sealed by the gate."""
        if self._wire is None:
            (self._folder / "result.json").write_text(json.dumps(result))
        else:
            self._say({"type": "result", "result": result})

    def rounds(self) -> Iterator[JobRound]:
        """The rounds as the aggregator begins them, until it ends."""
        while self._wire is not None:
            facts, body = wire.receive(self._wire)
            if facts["type"] == "end":
                return
            yield JobRound(facts["number"], np.frombuffer(body, "<f4").copy(), self)

    def _say(self, facts: dict[str, Any], body: bytes = b"") -> None:
        assert self._wire is not None
        wire.send(self._wire, facts, body)
        answer, _ = wire.receive(self._wire)
        if answer.get("refused"):
            raise PermissionError(f"refused by the owner: {answer['refused']}")


@contextmanager
def session() -> Iterator[JobSession]:
    """The job that this script runs in. Raises RuntimeError outside of one."""
    if SOCKET in os.environ:
        with socket.socket(fileno=int(os.environ.pop(SOCKET))) as wired:
            facts, _ = wire.receive(wired)
            yield JobSession(facts, wired, Path.cwd())
    elif ALONE in os.environ:
        folder = Path(os.environ[ALONE])
        yield JobSession(json.loads((folder / "job.json").read_text()), None, folder)
    else:
        raise RuntimeError("this script is run by a data owner that has approved it, not by hand")
