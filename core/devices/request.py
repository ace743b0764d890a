"""What `--on` asks for, which slots that takes, and what is handed out.

A slot is one thing that a run claims for itself alone: a core ("cpu-0"), a GPU or a MIG slice
("gpu-<uuid>"), a TPU chip ("tpu-0"). Plain `cpu` claims nothing: such runs share all cores, pinned
ones included. A run on a GPU claims no cores.
"""

from __future__ import annotations

import string
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from traindeck.core.base.errors import UsageError
from traindeck.core.devices.assignment import (
    Assignment,
    HardwareMissing,
    Wait,
    looked_for,
    what_gpus,
)
from traindeck.core.devices.inventory import Inventory
from traindeck.core.devices.model import Accelerator
from traindeck.core.devices.ranges import format_ranges, parse_ranges

FORMS = "cpu, cpu:0-1, cpu*2, gpu, gpu:0, gpu:UUID, gpu*2 or tpu"
_UUID_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-_/")

# Below this much in use a GPU counts as idle: what a driver keeps for itself and a desktop draws.
_IDLE_BYTES = 1 << 30


class RequestError(UsageError):
    """The text names no device, whatever machine it is for. The message is for people."""


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What `--on` asks for; `str` gives it back in its shortest form.

    cores   the cores named, for cpu:…
    gpus    the GPUs named, for gpu:…, each an index "0", a slice "0:1", or a UUID or its beginning
    count   how many are asked for where none is named; None for plain `cpu`, which claims nothing,
            and for `tpu`, which takes all chips
    """

    kind: Literal["cpu", "gpu", "tpu"]
    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    count: int | None = None

    def __str__(self) -> str:
        if self.cores:
            return f"cpu:{format_ranges(self.cores)}"
        if self.gpus:
            return f"gpu:{','.join(self.gpus)}"
        if self.count is None or (self.kind == "gpu" and self.count == 1):
            return self.kind
        return f"{self.kind}*{self.count}"

    def candidates(self, inventory: Inventory) -> Candidates:
        """The slots this can be met from. Raises HardwareMissing."""
        if self.kind == "cpu":
            return _cpu_candidates(self, inventory)
        if self.kind == "tpu":
            return _tpu_candidates(inventory)
        return _gpu_candidates(self, inventory)


@dataclass(frozen=True, slots=True)
class Candidates:
    """`count` of `slots` are needed, the first that are free; none at all for a shared device."""

    slots: tuple[str, ...]
    count: int


def parse_request(text: str) -> DeviceRequest:
    """Read what `--on` says. Raises RequestError."""
    text = text.strip()
    head = text.partition(":")[0].partition("*")[0]
    kind, sign = head.strip().lower(), text[len(head) : len(head) + 1]
    rest = text[len(head) + 1 :].strip()
    if kind == "cuda":
        raise RequestError(f'"{text}": say gpu instead of cuda')
    if kind not in ("cpu", "gpu", "tpu"):
        raise RequestError(f'"{text}" is not a device: use {FORMS}')
    if not sign:
        return DeviceRequest(kind, count=1 if kind == "gpu" else None)  # type: ignore[arg-type]
    if kind == "tpu":
        raise RequestError(f'"{text}": a run takes all TPU chips of a machine, so say tpu')
    if sign == "*":
        return DeviceRequest(kind, count=_count(text, rest))  # type: ignore[arg-type]
    if kind == "cpu":
        try:
            return DeviceRequest("cpu", cores=parse_ranges(rest))
        except ValueError as error:
            raise RequestError(f'"{text}": {error}') from None
    return DeviceRequest("gpu", gpus=_gpu_names(text, rest))


def assign(
    request: DeviceRequest, free_slots: Collection[str], inventory: Inventory
) -> Assignment | Wait:
    """Choose from the free slots, or say what there is to wait for. Raises HardwareMissing.

    Of cores the lowest numbered are taken, one of each physical core before its hyperthreads; of
    GPUs the lowest numbered, those whose memory somebody already uses last. Changes nothing.
    """
    wanted = request.candidates(inventory)
    chosen = tuple(slot for slot in wanted.slots if slot in free_slots)[: wanted.count]
    if len(chosen) < wanted.count:
        return Wait(_reason(request, wanted, free_slots, inventory))
    if request.kind == "cpu":
        if not chosen:
            return Assignment("cpu", "cpu", None, (), ())
        cores = tuple(sorted(_core(slot) for slot in chosen))
        slots = tuple(_core_slot(core) for core in cores)
        return Assignment(f"cpu:{format_ranges(cores)}", "cpu", cores, (), slots)
    if request.kind == "tpu":
        return Assignment("tpu", "tpu", None, (), chosen)
    gpus = [gpu for gpu in inventory.gpus if gpu.slot in chosen]
    label = "gpu:" + ",".join(gpu.label.removeprefix("gpu:") for gpu in gpus)
    return Assignment(label, "gpu", None, tuple(g.uuid for g in gpus), tuple(g.slot for g in gpus))


def _cpu_candidates(request: DeviceRequest, inventory: Inventory) -> Candidates:
    cpu = inventory.cpu
    usable = cpu.usable_cores
    if request.cores:
        missing = [core for core in request.cores if core not in usable]
        if missing:
            raise HardwareMissing(
                f"{request}: no core {format_ranges(missing)} to use; "
                f"this process may use {format_ranges(usable)} of {cpu.logical_cores} cores"
            )
        return Candidates(tuple(map(_core_slot, request.cores)), len(request.cores))
    if request.count is None:
        return Candidates((), 0)
    if request.count > len(usable):
        raise HardwareMissing(
            f"{request}: this process may use only {len(usable)} "
            f"{_cores(len(usable))} ({format_ranges(usable)})"
        )
    rank: dict[int, int] = {}  # which hyperthread of its physical core
    seen: dict[int, int] = {}
    for core, sibling in zip(usable, cpu.siblings, strict=True):
        rank[core] = seen.get(sibling, 0)
        seen[sibling] = rank[core] + 1
    ordered = sorted(usable, key=lambda core: (rank[core], core))
    return Candidates(tuple(map(_core_slot, ordered)), request.count)


def _tpu_candidates(inventory: Inventory) -> Candidates:
    if not inventory.tpus:
        raise HardwareMissing(f"tpu: this machine has no TPU{looked_for(inventory, 'TPU')}")
    slots = tuple(chip.slot for chip in inventory.tpus)
    return Candidates(slots, len(slots))


def _gpu_candidates(request: DeviceRequest, inventory: Inventory) -> Candidates:
    if not inventory.gpus:
        raise HardwareMissing(f"{request}: {what_gpus(inventory)}")
    if request.gpus:
        return _named_gpus(request, inventory)
    count = request.count or 1
    usable = [gpu for gpu in inventory.gpus if not gpu.split]
    if count > 1:
        # CUDA shows a process one MIG slice at most, and no library trains across makers.
        usable = _largest_group([gpu for gpu in usable if gpu.slice is None])
    if len(usable) < count:
        hint = " (a run can use several whole GPUs but only one MIG slice)" if count > 1 else ""
        raise HardwareMissing(f"{request}: {what_gpus(inventory)}{hint}")
    # A stable sort: within the same use the lower number comes first.
    usable.sort(key=lambda gpu: (gpu.memory_used_bytes or 0) >= _IDLE_BYTES)
    return Candidates(tuple(gpu.slot for gpu in usable), count)


def _largest_group(gpus: list[Accelerator]) -> list[Accelerator]:
    groups: dict[str, list[Accelerator]] = {}
    for gpu in gpus:
        groups.setdefault(gpu.vendor, []).append(gpu)
    return max(groups.values(), key=len, default=[])


def _named_gpus(request: DeviceRequest, inventory: Inventory) -> Candidates:
    chosen: dict[str, Accelerator] = {}
    for name in request.gpus:
        matching = _matching(name, inventory)
        if not matching:
            raise HardwareMissing(f"gpu:{name} does not exist: {what_gpus(inventory)}")
        usable = [gpu for gpu in matching if not gpu.split]
        if not usable:
            raise HardwareMissing(
                f"gpu:{name} is in MIG mode and has no slices: make some with nvidia-smi mig -cgi"
            )
        if len(request.gpus) == 1 and matching[0].split:
            return Candidates(tuple(gpu.slot for gpu in usable), 1)  # any slice of it
        if len(usable) > 1:
            labels = ", ".join(gpu.label for gpu in usable)
            raise HardwareMissing(f"gpu:{name} could be any of {labels}: name one")
        chosen[usable[0].slot] = usable[0]
    gpus = list(chosen.values())
    if len(gpus) > 1 and (any(gpu.slice is not None for gpu in gpus) or _mixed(gpus)):
        raise HardwareMissing(
            f"{request}: a run can use several whole GPUs of one maker, or one MIG slice"
        )
    return Candidates(tuple(chosen), len(chosen))


def _mixed(gpus: list[Accelerator]) -> bool:
    return len({gpu.vendor for gpu in gpus}) > 1


def _matching(name: str, inventory: Inventory) -> list[Accelerator]:
    """The GPUs that a name stands for; for a GPU in MIG mode itself and its slices."""
    index, _, number = name.partition(":")
    if index.isdecimal():
        return [
            gpu
            for gpu in inventory.gpus
            if gpu.index == int(index) and (not number or gpu.slice == int(number))
        ]
    exact = [gpu for gpu in inventory.gpus if gpu.uuid.lower() == name.lower()]
    begins = [gpu for gpu in inventory.gpus if gpu.uuid.lower().startswith(name.lower())]
    matching = exact or begins
    if len(matching) == 1 and matching[0].split:
        return [gpu for gpu in inventory.gpus if gpu.index == matching[0].index]
    return matching


def _reason(
    request: DeviceRequest, wanted: Candidates, free_slots: Collection[str], inventory: Inventory
) -> str:
    if request.kind == "tpu":
        return "the TPU is in use"
    taken = [slot for slot in wanted.slots if slot not in free_slots]
    if wanted.count > 1 and request.count is not None:
        free = len(wanted.slots) - len(taken)
        things = "cores" if request.kind == "cpu" else "GPUs"
        return f"{free} of the {wanted.count} {things} it needs {_are(free)} free"
    if request.kind == "cpu":
        numbers = [_core(slot) for slot in taken]
        return f"{_cores(len(numbers))} {format_ranges(numbers)} {_are(len(numbers))} in use"
    labels = [gpu.label for gpu in inventory.gpus if gpu.slot in taken]
    return f"{', '.join(labels)} {_are(len(labels))} in use"


def _count(text: str, digits: str) -> int:
    if not _is_number(digits) or int(digits) == 0:
        raise RequestError(f'"{text}": after * comes how many, at least 1')
    return int(digits)


def _gpu_names(text: str, names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_gpu_name(text, part.strip()) for part in names.split(",")))


def _gpu_name(text: str, name: str) -> str:
    index, colon, number = name.partition(":")
    if _is_number(index) and (not colon or _is_number(number)):
        return f"{int(index)}:{int(number)}" if colon else str(int(index))
    if len(name) < 4 or not _UUID_CHARACTERS.issuperset(name) or not name[0].isalnum():
        raise RequestError(f'"{text}": "{name}" is neither a GPU number nor a UUID')
    return name


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4


def _cores(count: int) -> str:
    return "core" if count == 1 else "cores"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _core_slot(core: int) -> str:
    return f"cpu-{core}"


def _core(slot: str) -> int:
    return int(slot.removeprefix("cpu-"))
