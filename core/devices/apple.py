"""The GPU of an Apple silicon Mac: best effort.

There is one, it shares the machine's memory, and what it is doing can be read only by root through
powermetrics. So it is listed, can be trained on, and shows no figures.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from traindeck.core.devices.model import Accelerator, AcceleratorUse

_UUID = "apple-0"


class AppleDriver:
    """The GPU of an Apple silicon Mac, if this is one. See `model.Driver`."""

    def __init__(self) -> None:
        system = os.uname()
        self._here = (system.sysname, system.machine) == ("Darwin", "arm64")
        if self._here:
            self.notes: tuple[str, ...] = (
                "Apple: GPU utilization, power and temperature need root (powermetrics)",
            )
        else:
            platform = f"{system.sysname} {system.machine}"
            self.notes = (f"Apple: not an Apple silicon Mac (looked at the platform: {platform})",)

    def accelerators(self) -> list[Accelerator]:
        if not self._here:
            return []
        chip = sysctl("machdep.cpu.brand_string") or "Apple silicon"
        memory = sysctl("hw.memsize")
        return [
            Accelerator(
                kind="gpu",
                vendor="apple",
                index=0,
                uuid=_UUID,
                name=f"{chip} GPU (shares the machine's memory)",
                memory_total_bytes=int(memory) if memory and memory.isdecimal() else None,
            )
        ]

    def use(self, only: Collection[str] | None = None) -> list[AcceleratorUse]:
        if not self._here or (only is not None and _UUID not in only):
            return []
        return [AcceleratorUse(kind="gpu", index=0, uuid=_UUID)]

    def close(self) -> None:
        self._here = False


def sysctl(name: str) -> str | None:
    """A kernel value by name, or None where it cannot be had."""
    import subprocess

    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
