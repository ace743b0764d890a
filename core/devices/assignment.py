"""What a run was given, and the environment that holds it to that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from traindeck.core.base.errors import MissingError
from traindeck.core.devices.inventory import Inventory


class HardwareMissing(MissingError):
    """This machine will never have what is asked for. The message says what it has."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a run was given.

    label   "cpu", "cpu:0-1", "gpu:0", as lists show it and `--on` takes it
    cores   the cores to pin it to, None to leave it free on all
    gpus    UUIDs of its GPUs
    slots   what it holds
    """

    label: str
    kind: Literal["cpu", "gpu", "tpu"]
    cores: tuple[int, ...] | None
    gpus: tuple[str, ...]
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. The reason is for people."""

    reason: str


def environment(assignment: Assignment, inventory: Inventory) -> dict[str, str]:
    """The variables that hold a run to its device; what it is pinned to is `assignment.cores`.

    Raises HardwareMissing when a GPU it was given is gone.
    """
    cores = assignment.cores
    threads = str(inventory.cpu.threads if cores is None else len(cores))
    variables = {
        "TRAINDECK_DEVICE": assignment.kind,
        # TensorFlow heeds only the last two, everything built on OpenMP or BLAS the others.
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
    }
    if assignment.kind != "gpu":
        return variables | {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}
    return variables | {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        **_visible(assignment, inventory),
    }


def _visible(assignment: Assignment, inventory: Inventory) -> dict[str, str]:
    looked_up = [inventory.find(uuid) for uuid in assignment.gpus]
    gpus = [gpu for gpu in looked_up if gpu is not None]
    if len(gpus) < len(looked_up):
        raise HardwareMissing(f"{assignment.label} is gone: {what_gpus(inventory)}")
    if all(gpu.vendor == "nvidia" for gpu in gpus):
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in gpus),
            "HIP_VISIBLE_DEVICES": "-1",
        }
    if all(gpu.vendor == "amd" for gpu in gpus):
        # ROCR filters first; the others then count from 0 among what it left. HIP reads CUDA's
        # variable too, so the two must agree.
        first = min(gpu.index for gpu in inventory.gpus if gpu.vendor == "amd")
        left = ",".join(str(number) for number in range(len(gpus)))
        return {
            "ROCR_VISIBLE_DEVICES": ",".join(
                gpu.uuid if gpu.uuid.startswith("GPU-") else str(gpu.index - first) for gpu in gpus
            ),
            "HIP_VISIBLE_DEVICES": left,
            "CUDA_VISIBLE_DEVICES": left,
        }
    return {}


def what_gpus(inventory: Inventory) -> str:
    if not inventory.gpus:
        return f"this machine has no GPU{looked_for(inventory, 'NVIDIA', 'AMD')}"
    return "this machine has " + ", ".join(
        f"{gpu.label} ({gpu.name}{', split into MIG slices' if gpu.split else ''})"
        for gpu in inventory.gpus
    )


def looked_for(inventory: Inventory, *makers: str) -> str:
    notes = [note for note in inventory.notes if note.startswith(makers)]
    return f" ({'; '.join(notes)})" if notes else ""
