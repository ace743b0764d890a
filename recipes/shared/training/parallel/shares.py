"""A run's device, shared out to its ranks: of a CPU cores, of GPUs one each."""

from __future__ import annotations

import os
from collections.abc import Sequence

from traindeck.core import track

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_GPUS = "CUDA_VISIBLE_DEVICES"


def cores_of(number: int, count: int, cores: Sequence[int]) -> list[int]:
    """Rank `number`'s cores of those of the run; all of them where there are too few to share."""
    if len(cores) < count:
        return list(cores)
    return list(cores[number * len(cores) // count : (number + 1) * len(cores) // count])


def own_cores() -> list[int]:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def environment(number: int, count: int, device: str, cores: Sequence[int]) -> dict[str, str]:
    """The variables that hold rank `number` of `count` to its share of the run's device.

    cores  its own. As many threads, or fewer where the environment says so, but never none

    Ends the process (4) where there are fewer GPUs than ranks.
    """
    threads = max(1, len(cores) if len(cores) < len(own_cores()) else len(cores) // count)
    shares = {name: str(min(threads, _number(name, threads))) for name in _THREADS}
    if device != "gpu":
        return shares
    given = os.environ.get(_GPUS)
    gpus = given.split(",") if given else [str(each) for each in range(count)]
    if len(gpus) < count:
        slots = ",".join(f"gpu:{each}" for each in range(count))
        track.abort(f"{count} workers need a GPU each, and the run has {len(gpus)}: --on {slots}")
    return shares | {_GPUS: gpus[number], "HIP_VISIBLE_DEVICES": "0"}


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() and int(text) else otherwise
