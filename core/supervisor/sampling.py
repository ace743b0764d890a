"""What the run uses, once a second, into device.bin."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from traindeck.core.base.process import Identity
from traindeck.core.devices.family import is_supervisors
from traindeck.core.devices.proctree import TreeSampler
from traindeck.core.run.points import PointWriter, summarize

SAMPLE_SECONDS = 1.0


class Sampler:
    """Samples what a keeper started (or, when it was killed, the run itself) and its GPUs."""

    def __init__(
        self, folder: Path, keeper: Identity | None, child: Identity, gpus: tuple[str, ...]
    ) -> None:
        root = keeper or child
        self._tree = TreeSampler(root.pid, include_root=keeper is None, apart=is_supervisors)
        self._gpus = gpus
        self._writer: PointWriter | None = None
        with contextlib.suppress(OSError):
            self._writer = PointWriter(folder, "device")
        self._due = 0.0
        self._number = max((s["step"] + 1 for s in summarize(folder, "device").values()), default=0)

    def tick(self) -> None:
        """Sample if it is time."""
        now = time.monotonic()
        if self._writer is None or now < self._due:
            return
        self._due = now + SAMPLE_SECONDS
        with contextlib.suppress(OSError):
            self._writer.add(self._number, self._values())
            self._writer.flush()
        self._number += 1

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()

    def _values(self) -> dict[str, float]:
        usage = self._tree.sample()
        values: dict[str, float] = {
            "cpu_percent": usage.cpu_percent,
            f"memory_{usage.memory_kind}_bytes": usage.memory_bytes,
            "threads": usage.threads,
            "processes": usage.processes,
        }
        if usage.read_bytes is not None and usage.write_bytes is not None:
            values["io_read_bytes"] = usage.read_bytes
            values["io_write_bytes"] = usage.write_bytes
        if self._gpus:
            from traindeck.core.devices.inventory import sample_gpus

            values.update(sample_gpus(self._gpus))
        return values
