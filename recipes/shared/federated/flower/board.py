"""From what Flower's apps write down to what the screen shows of the federation."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from traindeck.core.federation.status import Coordinator, OwnerFile, State

JOURNAL = "journal.jsonl"
MEASURE_SECONDS = 1.0
UNKNOWN = "an owner that has not spoken yet"

ENCRYPTION = {
    "secagg": "Flower's SecAgg+: weights under masks modulo 2^32, inside TLS.",
    "transport": "TLS between each owner and the aggregator.",
}
VISIBLE = {
    "secagg": "The aggregator can read the sum of all owners' weights. Flower draws each mask from"
    " a seed of 32 bits, which a determined aggregator can search for.",
    "transport": "The aggregator can read each owner's weights and number of examples.",
}


class Journal:
    """A file of JSON lines, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read(self) -> list[dict[str, Any]]:
        """What is new; a line that is not whole yet comes the next time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return [line for line in map(json.loads, whole.splitlines()) if isinstance(line, dict)]


@dataclass
class FlowerRound:
    """A finished round."""

    number: int
    seconds: float
    loss: float
    accuracy: float
    lost: list[str]


@dataclass
class Board:
    """All parties' status files of one federation.

    folder: the run's federation folder; samples: each owner's number of examples.
    """

    folder: Path
    samples: Mapping[str, int]
    aggregation: str
    rounds_total: int
    threshold: int
    coordinator: Coordinator = field(init=False)
    owners: dict[str, OwnerFile] = field(init=False)
    failure: str = field(default="", init=False)
    done: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.coordinator = Coordinator(
            self.folder / "coordinator.json",
            aggregation=self.aggregation,
            engine="flower",
            encryption=ENCRYPTION[self.aggregation],
            visible=VISIBLE[self.aggregation],
            rounds_total=self.rounds_total,
            threshold=self.threshold,
            owners=[{"name": name, "state": "warming", "reason": ""} for name in self.samples],
        )
        self.owners = {
            name: OwnerFile(
                self.owner_folder(name) / "status.json", name, samples=samples, approval=""
            )
            for name, samples in self.samples.items()
        }
        self._journals = {name: Journal(self.owner_folder(name) / JOURNAL) for name in self.samples}
        self._aggregator = Journal(self.aggregator_folder / JOURNAL)
        self._gone: set[str] = set()
        self._nodes: dict[str, str] = {}  # Flower's number of a node → whose it is
        self._waited: list[str] = []  # numbers of the nodes that are waited for in a round
        self._measured = 0.0
        self.coordinator.write()
        for owner in self.owners.values():
            owner.write()

    def owner_folder(self, name: str) -> Path:
        return _private(self.folder / "owners" / name)

    @property
    def aggregator_folder(self) -> Path:
        return _private(self.folder / "flower")

    @property
    def finished(self) -> int:
        """The last round that is over; 0 before the first."""
        return int(self.coordinator.rounds[-1]["number"]) if self.coordinator.rounds else 0

    def meet(self, missing: list[str], numbers: Mapping[str, str]) -> None:
        """Learn whose node has which of Flower's numbers, and show who has not joined yet."""
        news = numbers.keys() - self._nodes.keys()
        self._nodes.update(numbers)
        if self.coordinator.phase == "warming":
            self.coordinator.enter("warming", missing)
        elif news:
            self._show_waited()

    def look(self) -> list[FlowerRound]:
        """Read what is new, show it, and give the rounds that have finished meanwhile."""
        for name, journal in self._journals.items():
            for line in journal.read():
                self._owner_said(self.owners[name], line)
        finished = []
        for line in self._aggregator.read():
            if line["type"] == "waiting":
                self.coordinator.round, self._waited = line["round"], line["nodes"]
                self._show_waited()
            elif line["type"] == "round":
                finished.append(self._finish(line))
            elif line["type"] == "failed":
                self.failure = self._named(line["reason"])
            elif line["type"] == "done":
                self.done = True
        self.coordinator.write(now=bool(finished))
        for owner in self.owners.values():
            owner.write(now=bool(finished))
        return finished

    def measure(self, pids: Mapping[str, int]) -> None:
        """See what each owner's processes use, once a second."""
        if time.monotonic() - self._measured < MEASURE_SECONDS:
            return
        self._measured = time.monotonic()
        for name, pid in pids.items():
            owner = self.owners[name]
            cpu_seconds, memory = _used(pid)
            owner.pid, owner.memory = pid, memory
            owner.cpu_seconds = max(owner.cpu_seconds, cpu_seconds)

    def lose(self, gone: Mapping[str, str]) -> None:
        """Show which owners are lost for good, and why."""
        for name, reason in gone.items():
            if name in self.owners and name not in self._gone:
                self._gone.add(name)
                self._lost(name, reason)

    def end(self, failure: str, stopped: bool) -> None:
        """Show how it ended."""
        for name, owner in self.owners.items():
            if name not in self._gone:
                self._set(owner, "ended")
                owner.write()
        reason = failure or ("stopped on request" if stopped else "")
        self.coordinator.enter("failed" if failure else "done", reason=reason)
        self.coordinator.write()

    def _owner_said(self, owner: OwnerFile, line: dict[str, Any]) -> None:
        if node := line.get("node"):
            self._nodes[node] = owner.name
        if line["round"] > owner.round:
            owner.round, owner.bytes_round = line["round"], {}
        if line["type"] == "message" and owner.name not in self._gone:
            self._set(owner, "training")
        elif line["type"] == "trained":
            owner.loss, owner.seconds = line["loss"], line["seconds"]
        elif line["type"] == "sent":
            for kind, size in line["bytes"].items():
                if size:
                    owner.left(kind, size)

    def _show_waited(self) -> None:
        names = [self._name(node) for node in self._waited]
        for name, owner in self.owners.items():
            if name not in self._gone and name in self._nodes.values():
                self._set(owner, "training" if name in names else "sent")
        self.coordinator.enter("training", names)

    def _finish(self, line: dict[str, Any]) -> FlowerRound:
        self.lose({self._name(node): reason for node, reason in line["late"].items()})
        lost = set(self._gone)
        for node, reason in line["wrong"].items():
            if (name := self._name(node)) in self.owners and name not in lost:
                self._lost(name, reason)
                lost.add(name)
        self.coordinator.rounds.append(
            {
                "number": line["round"],
                "seconds": line["seconds"],
                "accuracy": line["accuracy"],
                "lost": sorted(lost),
                "states": {name: "lost" if name in lost else "sent" for name in self.owners},
            }
        )
        return FlowerRound(
            line["round"], line["seconds"], line["loss"], line["accuracy"], sorted(lost)
        )

    def _lost(self, name: str, reason: str) -> None:
        self.coordinator.owner(name, "lost", reason)
        self.coordinator.write()
        self.owners[name].enter("lost", reason)

    def _set(self, owner: OwnerFile, state: State) -> None:
        owner.state = state
        self.coordinator.owner(owner.name, state)

    def _name(self, node: str) -> str:
        return self._nodes.get(node, UNKNOWN)

    def _named(self, text: str) -> str:
        def name(match: re.Match[str]) -> str:
            number = match["number"]
            return self._name(number) if match["said"] or number in self._nodes else number

        return re.sub(r"\b(?P<said>node )?(?P<number>\d+)\b", name, text)


def _private(folder: Path) -> Path:
    """A folder, made if needed, that this user alone can enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _used(pid: int) -> tuple[float, int]:
    """CPU seconds and bytes of memory of a process and all that came of it; 0 once it has gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0.0, 0
    seconds, memory = 0.0, 0
    for one in family:
        try:
            spent = one.cpu_times()
            memory += one.memory_info().rss
        except psutil.Error:
            continue
        seconds += spent.user + spent.system + spent.children_user + spent.children_system
    return seconds, memory
