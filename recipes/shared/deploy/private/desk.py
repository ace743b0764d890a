"""Private inference beside a server: its models' parts, and the process that does the sums."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from traindeck.core.base.errors import UsageError
from traindeck.core.models.private import joined, parted
from traindeck.recipes.shared.deploy.private import linear
from traindeck.recipes.shared.deploy.private.worker import LENGTH
from traindeck.recipes.shared.deploy.serving.errors import invalid
from traindeck.recipes.shared.deploy.serving.store import Model, Store

_WORKER = (sys.executable, "-m", "traindeck.recipes.shared.deploy.private.worker")
_KEY = 64
MOST_ROWS = 64


class Desk:
    """Answers `/v1/models/NAME/private` (what the client runs, or ciphertexts) and `…/keys`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._parts: dict[Path, linear.Linear] = {}

    def asked(self, name: str, body: bytes) -> bytes:
        """The parts of a model where nothing is sent, else the answers. Raises Refused."""
        model = self._model(name)
        if not body:
            told = {
                "before": base64.b64encode(model.before).decode(),
                "after": base64.b64encode(model.after).decode(),
                "size": model.weights.shape[0],
                "places": model.weights.shape[1],
                "outputs": model.outputs,
            }
            return json.dumps(told).encode()
        try:
            key, *queries = parted(body)
        except ValueError as error:
            raise invalid(f"the encrypted query is torn: {error}") from None
        if len(key) != _KEY or not 0 < len(queries) <= MOST_ROWS:
            raise invalid(f"a query is a key's name and 1 to {MOST_ROWS} ciphertexts")
        return joined(
            self._work(b"ask", key, model.weights.tobytes(), model.bias.tobytes(), *queries)
        )

    def keys(self, name: str, body: bytes) -> bytes:
        """Keep a public key; its name. Raises Refused."""
        self._model(name)
        return self._work(b"key", body)[0]

    def close(self) -> None:
        """End the process; one that is asked later starts another."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.kill()
            for pipe in (worker.stdin, worker.stdout):
                with suppress(OSError):  # what it was not sent any more
                    if pipe is not None:
                        pipe.close()
            worker.wait()

    def _model(self, name: str) -> linear.Linear:
        _, number = self._store.get(name)
        folder = next(one.folder for one in self._store.status(name) if one.number == number)
        if folder not in self._parts:
            try:
                self._parts[folder] = linear.read(folder / "model.onnx")
            except UsageError as error:
                raise invalid(str(error)) from None
        return self._parts[folder]

    def _work(self, *parts: bytes) -> list[bytes]:
        """Have the worker do it; one that dies of what it was given is replaced."""
        data = joined(parts)
        with self._lock:
            if self._worker is not None and self._worker.poll() is not None:
                self.close()
            if self._worker is None:
                self._worker = subprocess.Popen(
                    _WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            assert self._worker.stdin and self._worker.stdout
            try:
                self._worker.stdin.write(len(data).to_bytes(LENGTH, "little") + data)
                self._worker.stdin.flush()
                size = int.from_bytes(self._worker.stdout.read(LENGTH), "little")
                answer = parted(self._worker.stdout.read(size))
            except (OSError, ValueError):
                answer = []
            if not answer:
                self.close()
                raise invalid("this is no ciphertext and no key of TenSEAL's")
        word, *rest = answer
        if word != b"ok":
            raise invalid(rest[0].decode("utf-8", "replace"))
        return rest


def check(models: list[Model]) -> None:
    """Raise UsageError for a model that cannot be asked in private."""
    for model in models:
        wanted = model.wanted()
        if wanted:
            try:
                linear.read(wanted[max(wanted)] / "model.onnx")
            except UsageError as error:
                raise UsageError(f"{model.name}: {error}") from None
