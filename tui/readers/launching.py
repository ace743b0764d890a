"""What the launch form asks of core. All that reads files is for threads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from traindeck.core.base.format import size
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.devices.assignment import Wait
from traindeck.core.devices.inventory import Inventory
from traindeck.core.devices.request import RequestError, assign, parse_request
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.queue.slots import holders
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe
from traindeck.tui.settings import read_settings

_CORES_LISTED = 4
"""So many cores at most are offered one by one."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing to ask for: `on` as `--on` takes it, what that is, and whether it is free now.

    `status` says it in words; `free` is None where the question has no answer (a shared device).
    """

    on: str
    what: str
    status: str
    free: bool | None


@dataclass(frozen=True, slots=True)
class Devices:
    """What there is and who holds it, at one moment.

    taken   for each slot that is held, the run's id
    """

    inventory: Inventory
    taken: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def look(cls, home: Home, known: Devices | None = None) -> Devices:
        """Look at the slots, and at the hardware too unless it is known. Touches drivers."""
        if known is not None:
            return cls(known.inventory, holders(home))
        from traindeck.core.devices.inventory import discover

        return cls(discover(), holders(home))

    def explain(self, on: str, kinds: Sequence[str]) -> str:
        """What a request would get now, in words.

        Raises RequestError or HardwareMissing when it can never be met here, by a recipe that runs
        on these kinds of device (on any if none is named).
        """
        request = parse_request(on)
        if kinds and request.kind not in kinds:
            raise RequestError(f"this recipe runs on {', '.join(kinds)}, not on {request.kind}")
        wanted = request.candidates(self.inventory)
        if not wanted.count:
            shared = f"shared with other runs, {_counted(self.inventory.cpu.threads, 'thread')}"
            return shared if self._few_cores else f"{shared} · cpu:0-1 also works"
        given = assign(request, set(wanted.slots) - set(self.taken), self.inventory)
        if isinstance(given, Wait):
            return f"waits in the queue: {given.reason}"
        return "free now" if given.label == str(request) else f"free now: {given.label}"

    def offers(self, kinds: Sequence[str], names: Mapping[str, str]) -> list[Offer]:
        """What a recipe that runs on these kinds can ask for here; `names` of runs by id."""
        kinds = kinds or ("cpu", "gpu", "tpu")
        offers: list[Offer] = []
        if "cpu" in kinds:
            offers += self._cpu()
        if "gpu" in kinds:
            offers += self._gpus(names)
        if "tpu" in kinds and self.inventory.tpus:
            chip = self.inventory.tpus[0]
            offers.append(Offer("tpu", chip.name, *self._held(chip.slot, names)))
        if "cpu" in kinds and self._few_cores:
            for core in self.inventory.cpu.usable_cores:
                held = self._held(f"cpu-{core}", names)
                offers.append(Offer(f"cpu:{core}", "this core to itself", *held))
        return offers

    @property
    def _few_cores(self) -> bool:
        return len(self.inventory.cpu.usable_cores) <= _CORES_LISTED

    def _cpu(self) -> list[Offer]:
        cpu = self.inventory.cpu
        cores = cpu.usable_cores
        free = sum(f"cpu-{core}" not in self.taken for core in cores)
        offers = [Offer("cpu", "all cores, with other runs", "shared", None)]
        for count in _steps(len(cores)):
            status = f"{free} of {len(cores)} free"
            what = f"{_counted(count, 'core')} to itself"
            offers.append(Offer(f"cpu*{count}", what, status, free >= count))
        return offers

    def _gpus(self, names: Mapping[str, str]) -> list[Offer]:
        gpus = [gpu for gpu in self.inventory.gpus if not gpu.split]
        offers = []
        if len(gpus) > 1:
            free = sum(gpu.slot not in self.taken for gpu in gpus)
            offers.append(
                Offer("gpu", "whichever is free", f"{free} of {len(gpus)} free", free > 0)
            )
        for gpu in gpus:
            memory = gpu.memory_total_bytes
            what = gpu.name if memory is None else f"{gpu.name}, {size(memory)}"
            offers.append(Offer(gpu.label, what, *self._held(gpu.slot, names)))
        return offers

    def _held(self, slot: str, names: Mapping[str, str]) -> tuple[str, bool]:
        if slot not in self.taken:
            return "free", True
        run = self.taken[slot]
        return f"taken by {' '.join(filter(None, (names.get(run, ''), run))) or 'another'}", False


def start(
    home: Home,
    recipe: Recipe,
    params: Mapping[str, Value],
    *,
    on: str,
    name: str,
    tags: Sequence[str],
    accept_no_privacy: bool = False,
    isolated: bool = False,
    again: LaunchRequest | None = None,
) -> RunDoc:
    """Launch what the form says; interpreter and folder are those of the run that it repeats.

    Raises TraindeckError or ParamError.
    """
    settings = read_settings(home.settings)
    request = replace(
        again or LaunchRequest(),
        recipe=recipe,
        params=params,
        on=on,
        name=name or None,
        tags=tags,
        accept_no_privacy=accept_no_privacy,
        isolated=isolated,
        usual_grace=settings.grace,
        keep_checkpoints=settings.keep_checkpoints,
    )
    return launch(home, request)


def launch_again(home: Home, run: str, changes: str, name: str) -> RunDoc:
    """Launch a run again by another name, as no sweep's trial, some parameters changed.

    changes  `name=value`, separated by spaces

    Raises TraindeckError.
    """
    from traindeck.core.again import again

    pairs = (word.partition("=") for word in changes.split())
    params: dict[str, Value] = {key.replace("-", "_"): value for key, _, value in pairs}
    return launch(home, again(home, run, params, name=name, tags=()))


def _steps(cores: int) -> list[int]:
    """1, 2, 4, … and all of them."""
    powers = [1 << bit for bit in range(cores.bit_length())]
    return sorted({*powers, cores})


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
