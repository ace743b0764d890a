"""Recipes: one plain script each, described by its header, see `recipe_header`.

The header is the one source of the recipe's parameters: the launch form, `traindeck run -p` and the
script's own flags are all made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from traindeck.core.params import Param, ParamError, Value


@dataclass(frozen=True, slots=True)
class Accounting:
    """What a private recipe declares once and for all, whatever its parameters.

    records   a public bound on the number of training records; never counted from the data
    unit      whose privacy is meant: one example, one user or one owner
    sampler   how batches are drawn, see `privacy.mechanism.Mechanism`
    """

    records: int
    unit: str = "example"
    sampler: str = "poisson"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A script that can be launched, as its header describes it.

    environment  of a framework that cannot live beside the others: its own Python environment,
                 `envs/<environment>` in the home or the folder that TRAINDECK_<ENVIRONMENT> names
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
    params: Mapping[str, Param] = field(default_factory=dict)
    accounting: Accounting | None = None
    dependencies: tuple[str, ...] = ()
    requires_python: str = ""
    environment: str = ""
    origin: str = ""

    def trains_on(self, params: Mapping[str, Value]) -> str:
        """The data set whose budget a run spends: of the parameter `dataset` where there is one."""
        return str(params.get("dataset") or self.dataset)

    def defaults(self) -> dict[str, Value]:
        return {name: param.default for name, param in self.params.items()}

    def validate(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Fill the defaults in and check every value, parsing those that are text.

        Raises ParamError naming the first unknown or unusable parameter.
        """
        for name in given:
            if name not in self.params:
                known = ", ".join(self.params) or "none"
                raise ParamError(f"{self.name} has no parameter {name!r}; it has: {known}")
        values = self.defaults()
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
