"""Which recipes are set side by side, and which runs of them are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import NotFoundError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.recipe.find import find_recipe
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe

USUAL = ("torch-digits", "tf-digits")
TAG = "versus"
"""On every run that is made to be compared: those alone ran by turns, one at a time."""

LOAD_TAG = "load:"
"""Before the machine's load as such a run began, the mean of the minute before."""

SHORT = {"torch": "torch", "tensorflow": "tf"}
"""What the measuring recipes of a framework are called after."""
LABELS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "syft": "PySyft"}

MODES = {"torch": ("eager", "graph"), "tensorflow": ("eager", "graph", "xla")}
ROLES = ("twin", "steps", "mistakes", "bundle", "serve", "dp", "plain", "federated", "scaling")
SAMPLES = {"quick": 3, "full": 5}
MIXED = ("eager", "graph")
"""Modes in which steps are also run at bfloat16."""
_FEDERATED: dict[str, Value] = {"dataset": "digits", "rounds": 5, "examples": 0}
_SCALED: dict[str, Value] = {"epochs": 1, "batch_size": 512, "lr": 0.05}
_SHARED_OUT: dict[str, dict[str, Value]] = {"tensorflow": {"strategy": "multiworker"}}
"""What more a framework must be told to share a batch out to workers."""
_NOT_COMPARED = ("seed", "resume", "mode", "noise_seed")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its recipe, and how it is called."""

    label: str
    recipe: Recipe

    @property
    def framework(self) -> str:
        return self.recipe.framework


@dataclass(frozen=True, slots=True)
class Task:
    """Runs that are wanted of one recipe: `repeats` of them, each with another seed.

    role    what they are evidence of: `twin`, `steps:eager`, `steps:eager:bfloat16`, `mistakes`,
            `bundle`, `serve`, `dp`, `plain`, `federated`, `scaling:mnist:2`
    params  beside the seed
    tell    whether its seed can be set
    on      where, as of `run`
    """

    role: str
    side: int
    recipe: str
    params: Mapping[str, Value] = field(default_factory=dict)
    repeats: int = 3
    tell: bool = True
    on: str = "cpu"

    @property
    def turns(self) -> str:
        """Tasks of which this is the same are run by turns: they are set side by side."""
        return ":".join(self.role.split(":")[:2])

    @property
    def tags(self) -> list[str]:
        return [TAG, f"{TAG}:{self.role}"]


@dataclass(frozen=True, slots=True)
class Suite:
    """Two sides, and all runs that are wanted of them.

    params  what both recipes are given
    full    whether the long ones are among them
    only    roles, each before its colon: others are not wanted; empty: all are
    """

    sides: tuple[Side, Side]
    params: Mapping[str, Value] = field(default_factory=dict)
    full: bool = False
    only: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, str]:
        return self.sides[0].label, self.sides[1].label

    @property
    def typed(self) -> str:
        """What is typed behind `traindeck versus run` for these two."""
        names = tuple(
            side.recipe.origin if _by_path(side) else side.recipe.name for side in self.sides
        )
        words = [] if names == USUAL else list(names)
        words += [f"-p {name}={value}" for name, value in self.params.items()]
        return " ".join(words)

    def tasks(self) -> list[Task]:
        """By what they are evidence of, the sides in turn."""
        repeats = SAMPLES["full" if self.full else "quick"]
        wanted = [
            Task("twin", at, self._name(at), self.params, repeats, "seed" in side.recipe.params)
            for at, side in enumerate(self.sides)
        ]
        modes = [MODES.get(side.framework, ()) for side in self.sides]
        for mode in ("eager", "graph", "xla"):
            wanted += [
                Task(f"steps:{mode}", at, f"{self._short(at)}-steps", {"mode": mode}, repeats)
                for at in (0, 1)
                if mode in modes[at]
            ]
            if mode in (MIXED if self.full else MIXED[:1]):
                mixed: dict[str, Value] = {"mode": mode, "precision": "bfloat16"}
                wanted += [
                    Task(f"steps:{mode}:bfloat16", at, f"{self._short(at)}-steps", mixed, repeats)
                    for at in (0, 1)
                    if mode in modes[at]
                ]
        for at in (0, 1):
            if modes[at]:
                wanted.append(Task("mistakes", at, f"{self._short(at)}-mistakes", {}, 1, False))
        for at in (0, 1):
            wanted.append(Task("bundle", at, "export", {}, 1, False))
        if self.full:
            wanted += self._long(modes, repeats)
        return [
            task for task in wanted if not self.only or task.role.partition(":")[0] in self.only
        ]

    def _long(self, modes: list[tuple[str, ...]], repeats: int) -> list[Task]:
        """Servers of the bundles, then what is of the frameworks, whatever the two recipes:
        private recipes, federations, one worker and two.
        """
        wanted = [Task("serve", at, "serve", {}, 3, False) for at in (0, 1)]
        for role, epsilon in (("dp", 3.0), ("plain", float("inf"))):
            wanted += [
                Task(role, at, f"{self._short(at)}-cancer-dp", {"epsilon": epsilon}, repeats)
                for at in (0, 1)
                if modes[at]
            ]
        federated = {"torch": "syft-fedavg", "tensorflow": "syft-fedavg-tf"}
        wanted += [
            Task("federated", at, federated[side.framework], _FEDERATED, 3)
            for at, side in enumerate(self.sides)
            if modes[at]
        ]
        for workers in (1, 2):
            for at, side in enumerate(self.sides):
                if modes[at]:
                    own = {**_SCALED, **_SHARED_OUT.get(side.framework, {}), "workers": workers}
                    name, on = f"{self._short(at)}-mnist", f"cpu*{workers}"
                    wanted.append(Task(f"scaling:mnist:{workers}", at, name, own, 3, on=on))
        return wanted

    def _name(self, at: int) -> str:
        side = self.sides[at]
        return str(side.recipe.path) if _by_path(side) else side.recipe.name

    def _short(self, at: int) -> str:
        return SHORT[self.sides[at].framework]


def suite(
    home: Home, names: tuple[str, str] | None, params: Mapping[str, Value], full: bool = False
) -> Suite:
    """The suite of two recipes, by name or path; of the usual twins without any.

    Raises NotFoundError or HeaderError for a recipe, UsageError where they are one and the same,
    ParamError for a parameter that one of them does not take.
    """
    first, second = (find_recipe(home, name) for name in names or USUAL)
    if first.path == second.path:
        raise UsageError(f"{first.name} is compared with another recipe, not with itself")
    for recipe in (first, second):
        recipe.validate(params)
    if first.framework != second.framework:
        labels = [LABELS.get(each.framework, each.name) for each in (first, second)]
    else:
        labels = [first.name, second.name]
    return Suite((Side(labels[0], first), Side(labels[1], second)), params, full)


def twin(home: Home, recipe: Recipe) -> Recipe:
    """The other recipe of a pair. Raises NotFoundError where there is none."""
    from traindeck.core.recipe.find import shelf

    for other in shelf(home)[0]:
        if recipe.pair and other.pair == recipe.pair and other.name != recipe.name:
            return other
    raise NotFoundError(f"{recipe.name} has no twin: name two recipes")


def setting(params: Mapping[str, Any], shared: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """What of a run's parameters must be equal for two runs to be compared."""
    return tuple(sorted((name, repr(value)) for name, value in params.items() if name in shared))


def shared_params(one: Recipe, other: Recipe) -> frozenset[str]:
    """The parameters that both recipes have and that make them do the same."""
    return frozenset(one.params.keys() & other.params.keys()) - set(_NOT_COMPARED)


def _by_path(side: Side) -> bool:
    return side.recipe.origin.endswith(".py") and Path(side.recipe.origin).is_file()
