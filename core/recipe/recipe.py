"""Recipes: one plain script each, described by its header, see `read`.

The header is the one source of the recipe's parameters: the launch form, `traindeck run -p` and the
script's own flags are all made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from traindeck.core.recipe.accounting import Accounting
from traindeck.core.recipe.params import Param, ParamError, Value


@dataclass(frozen=True, slots=True)
class Variant:
    """What a recipe is where its choice `param` has this value: what differs, and no more.

    params      those whose default differs, by name
    dataset     whose budget is spent; with `{dataset}` in it, which is what the parameter `dataset`
                says, it is that data by another name
    privacy     if it differs; accounting is then that of this privacy, or none
    """

    param: str
    value: str
    params: Mapping[str, Param] = field(default_factory=dict)
    dataset: str = ""
    privacy: str = ""
    accounting: Accounting | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A script that can be launched, as its header describes it.

    variants     what it is by the value of a choice; all else is as where none of them holds
    pair         its twin in another framework, to compare with, names the same pair
    grace        seconds from a stop to SIGKILL, where the user says none
    keep_checkpoints  how many of its own a run leaves; None: what the user says, else all
    also         other names of its data set, by which other choices would know it
    environment  the Python environment that the script runs in, see `environments`; empty: ours
    parts        the one that the script runs its parts in, of a framework that cannot live
                 beside the others
    packages     what is installed into that environment
    """

    name: str
    path: Path
    title: str
    description: str = ""
    framework: str = "other"
    task: str = ""
    dataset: str = ""
    privacy: str = "none"
    devices: tuple[str, ...] = ("cpu",)
    tags: tuple[str, ...] = ()
    headline: str | None = None
    grace: float | None = None
    keep_checkpoints: int | None = None
    pair: str | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    accounting: Accounting | None = None
    variants: tuple[Variant, ...] = ()
    also: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    requires_python: str = ""
    environment: str = ""
    parts: str = ""
    packages: tuple[str, ...] = ()
    origin: str = ""

    def chosen(self, given: Mapping[str, Value]) -> Recipe:
        """The recipe as these values make it: its defaults, privacy, accounting and data set."""
        params, dataset = self.params, str(given.get("dataset") or self.dataset)
        if "dataset" in params:
            dataset = str(given.get("dataset") or params["dataset"].default or self.dataset)
        chosen, names = replace(self, dataset=dataset), {dataset}
        for one in self.variants:
            name = one.dataset.replace("{dataset}", dataset)
            if name != one.dataset:
                names.add(name)
            if given.get(one.param, params[one.param].default) == one.value:
                chosen = replace(
                    chosen,
                    params={**chosen.params, **one.params},
                    dataset=name or chosen.dataset,
                    privacy=one.privacy or chosen.privacy,
                    accounting=one.accounting if one.privacy else chosen.accounting,
                )
        also = sorted(names - {chosen.dataset}) if chosen.dataset in names else ()
        return replace(chosen, also=tuple(also))

    def forms(self) -> list[Recipe]:
        """All that the recipe can be, by its choices of a data set and of what changes it."""
        choices = self.params["dataset"].choices if "dataset" in self.params else ()
        variants = [{}, *({one.param: one.value} for one in self.variants)]
        return [
            self.chosen({**data, **variant})
            for data in [{"dataset": choice} for choice in choices] or [{}]
            for variant in variants
        ]

    def private_choices(self) -> str:
        """What is typed to make a run of the recipe private; empty when no choice does."""
        return " or ".join(f"-p {one.param}={one.value}" for one in self.variants if one.accounting)

    def defaults_elsewhere(self, name: str) -> str:
        """In words, where a parameter has another default, and which."""
        return ", ".join(
            f"{one.params[name].default} with {one.param}={one.value}"
            for one in self.variants
            if name in one.params
        )

    def defaults(self) -> dict[str, Value]:
        return {name: param.default for name, param in self.params.items()}

    def validate(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Fill in the defaults of what is chosen and check every value, parsing those of text.

        Raises ParamError naming the first unknown or unusable parameter.
        """
        for name in given:
            if name not in self.params:
                known = ", ".join(self.params) or "none"
                raise ParamError(f"{self.name} has no parameter {name!r}; it has: {known}")
        values = self.chosen(given).defaults()
        for name, value in given.items():
            param = self.params[name]
            values[name] = param.parse(value) if isinstance(value, str) else param.check(value)
        return values

    def argv(self, values: Mapping[str, Value]) -> list[str]:
        """The flags that pass these values to the script."""
        flags = []
        for name, param in self.params.items():
            value = values.get(name)
            if value is None:
                continue
            if param.type == "bool":
                flags.append(param.flag if value else "--no-" + param.flag[2:])
            else:
                flags.append(f"{param.flag}={value}")
        return flags


@dataclass(frozen=True, slots=True)
class BrokenRecipe:
    """A script whose header cannot be used, and why."""

    path: Path
    line: int
    reason: str
