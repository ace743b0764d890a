"""Checkpoints of a federation: the model, and a seal by which its home knows whose rounds it holds.

Rounds have one epsilon only together with rounds of the same owners, data and noise. What ties a
private checkpoint to them is an HMAC (RFC 2104, SHA-256) under the secret of the home, over all of
the checkpoint, the owners' data and a nonce of its own: to whoever has not that secret it is a
random number, which tells neither of the data nor whether two checkpoints are of the same. A
changed checkpoint is refused as well, and one of another home.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from traindeck.core import track
from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.secret import home_secret
from traindeck.recipes.shared.federated.errors import Failed
from traindeck.recipes.shared.federated.job import mlp
from traindeck.recipes.shared.training import checkpoints
from traindeck.recipes.shared.training.data import datasets

NONCE = 16  # bytes


@dataclass
class Trained:
    """A model after so many rounds: its weights (d,), and the velocity (d,) of server momentum.

    clipping_norm  of the next round, where it moves by noisy counts; 0 where it stays
    """

    weights: mlp.Row
    velocity: Any
    round: int = 0
    clipping_norm: float = 0.0


class Checkpoints:
    """The checkpoints of one run.

    kind   what rounds must have in common, in words that may be read by anyone
    owned  the owners' arrays, by owner, to which those of a private run are tied; None: no privacy

    Raises Failed when the home's secret cannot be used.
    """

    def __init__(
        self, run: track.Run, kind: str, owned: Mapping[str, Mapping[str, Any]] | None
    ) -> None:
        self._run, self._kind = run, kind
        self._key = b""
        if owned is not None:
            try:
                secret = home_secret(run.ledgers.parent)
            except TraindeckError as error:
                raise Failed(str(error)) from None
            held = [[name, datasets.fingerprint(*own.values())] for name, own in owned.items()]
            self._key = _mac(secret, b"traindeck federation 1", repr(held).encode())

    def write(self, model: Trained) -> None:
        """Keep a model, see `checkpoints.write`."""
        content = {"weights": model.weights, "velocity": model.velocity}
        facts: dict[str, Any] = {"round": model.round, "kind": self._kind}
        if model.clipping_norm:
            facts["clipping_norm"] = model.clipping_norm
        if self._key:
            nonce = secrets.token_bytes(NONCE)
            facts |= {"nonce": nonce.hex(), "seal": self._seal(model, nonce)}

        def save(part: Path) -> None:
            np.savez(part, **content, **facts)

        checkpoints.write(self._run, checkpoints.path(self._run, model.round, ".npz"), save)

    def read(self, path: Path, like: Trained) -> Trained:
        """The model of a checkpoint, of the form of `like`.

        Ends the recipe for what is no checkpoint of it, and of rounds that are not of its kind.
        """
        try:
            with np.load(path, allow_pickle=False) as state:
                model = Trained(
                    state["weights"].astype(np.float32).reshape(like.weights.shape),
                    state["velocity"].astype(np.float64).reshape(like.velocity.shape),
                    int(state["round"]),
                    float(state["clipping_norm"]) if "clipping_norm" in state else 0.0,
                )
                was = str(state["kind"])
                nonce, seal = (str(state[n]) if n in state else "" for n in ("nonce", "seal"))
                salt = bytes.fromhex(nonce)
        except Exception:  # numpy raises a different one for each way to be wrong
            checkpoints.refuse(path)
        why = ""
        if was != self._kind:
            why = f"was trained {was}, not {self._kind}"
        elif self._key and not hmac.compare_digest(seal.encode(), self._seal(model, salt).encode()):
            why = "was trained on other data of the owners, in another home, or was changed since"
        if why:
            why += ": its rounds and these have no common epsilon"
            track.abort(f"--resume: {path} {why}", 2)
        return model

    def _seal(self, model: Trained, nonce: bytes) -> str:
        numbers = hashlib.sha256(model.weights.tobytes() + model.velocity.tobytes()).digest()
        norm = [model.clipping_norm] if model.clipping_norm else []  # as it was sealed before
        facts = repr((nonce, self._kind, model.round, *norm)).encode()
        return _mac(self._key, facts, numbers).hex()


def _mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(len(p).to_bytes(8) + p for p in parts), "sha256")
