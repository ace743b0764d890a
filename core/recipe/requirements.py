"""Whether an interpreter has what a script's header asks for, and what mends it.

`dependencies` and `requires-python` are those of inline script metadata
(https://peps.python.org/pep-0723/): markers, extras and version bounds count.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from traindeck.core.base.errors import MissingError
from traindeck.core.base.installed import installed, normal
from traindeck.core.base.interpreter import Interpreter, ask, ours
from traindeck.core.recipe.header import HeaderError
from traindeck.core.recipe.read import line_with
from traindeck.core.recipe.recipe import Recipe

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass(frozen=True, slots=True)
class Lack:
    """What an interpreter lacks of what a recipe asks for.

    wrong    in words, that it is too old or too new; empty when it is neither
    missing  the requirements that it does not meet, without their markers
    """

    recipe: str
    python: str
    wrong: str = ""
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.wrong or self.missing)

    @property
    def words(self) -> str:
        missing = f"needs {', '.join(self.missing)}" if self.missing else ""
        return "; ".join(part for part in (self.wrong, missing) if part)

    @property
    def mend(self) -> str:
        """What to do; a command can be pasted into a shell."""
        if self.wrong:
            return "run it with another interpreter (--python), or with --isolated"
        return shlex.join([self.python, "-m", "pip", "install", *self.missing])

    def error(self) -> MissingError:
        other = "" if self.wrong else "run it with --isolated, or: "
        return MissingError(f"{self.recipe} {self.words}; {other}{self.mend}")


def lacks(recipe: Recipe, python: str | None = None) -> Lack:
    """What `python`, or our own interpreter, lacks for a recipe.

    Raises HeaderError for a requirement that is none, MissingError for a Python that does not
    answer.
    """
    if not (recipe.dependencies or recipe.requires_python):
        return Lack(recipe.name, "")
    try:
        interpreter = ask(python) if python else ours()
    except (OSError, ValueError) as error:
        raise MissingError(f"{recipe.name} cannot be run with {python}: {error}") from None
    wrong = ""
    if not accepts(recipe, interpreter.number):
        wrong = f"needs Python {recipe.requires_python}, and {interpreter.executable} is"
        wrong = f"{wrong} {interpreter.number}"
    missing = tuple(_missing(parsed(recipe), interpreter))
    return Lack(recipe.name, interpreter.executable, wrong, missing)


def accepts(recipe: Recipe, version: str) -> bool:
    """Whether a Python version is one that the recipe's `requires-python` allows."""
    if not recipe.requires_python:
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        wanted = SpecifierSet(recipe.requires_python)
    except InvalidSpecifier:
        why = f"requires-python: {recipe.requires_python!r} is no version specifier"
        raise _wrong(recipe, "requires-python", why) from None
    return wanted.contains(version, prereleases=True)


def parsed(recipe: Recipe) -> list[Requirement]:
    """The recipe's requirements. Raises HeaderError for one that is none."""
    if not recipe.dependencies:
        return []
    from packaging.requirements import InvalidRequirement, Requirement

    requirements = []
    for text in recipe.dependencies:
        try:
            requirements.append(Requirement(text))
        except InvalidRequirement:
            why = f"dependencies: {text!r} is no requirement; they look like 'numpy>=2'"
            raise _wrong(recipe, text, why) from None
    return requirements


def bare(requirement: Requirement) -> str:
    """A requirement without its marker, which was looked at."""
    plain = copy(requirement)
    plain.marker = None
    return str(plain)


def _missing(requirements: Sequence[Requirement], interpreter: Interpreter) -> Iterator[str]:
    there = installed(interpreter.paths) if requirements else {}
    markers = dict(interpreter.markers)
    for requirement in requirements:
        marker = requirement.marker
        if marker and not marker.evaluate({**markers, "extra": ""}):
            continue
        if not _met(requirement, there, interpreter, set()):
            yield bare(requirement)


def _met(
    requirement: Requirement,
    there: dict[str, str],
    interpreter: Interpreter,
    seen: set[tuple[str, str]],
) -> bool:
    """Whether it is installed within its bounds, and what each of its extras needs is."""
    from packaging.version import InvalidVersion, Version

    name = normal(requirement.name)
    if name not in there:
        return False
    try:
        version = Version(there[name])
    except InvalidVersion:  # of before PEP 440: nobody can compare it
        return True
    if not requirement.specifier.contains(version, prereleases=True):
        return False
    wanted = {(name, normal(extra)) for extra in requirement.extras} - seen
    seen |= wanted
    return all(
        _met(needed, there, interpreter, seen)
        for _, extra in wanted
        for needed in _of_extra(name, extra, interpreter)
    )


def _of_extra(name: str, extra: str, interpreter: Interpreter) -> Iterator[Requirement]:
    """What an installed distribution needs for one of its extras."""
    from importlib.metadata import Distribution

    from packaging.requirements import InvalidRequirement, Requirement

    for found in Distribution.discover(name=name, path=list(interpreter.paths)):
        for text in found.requires or ():
            try:
                needed = Requirement(text)
            except InvalidRequirement:
                continue
            marker, markers = needed.marker, dict(interpreter.markers)
            if (
                marker
                and marker.evaluate({**markers, "extra": extra})
                and not marker.evaluate({**markers, "extra": ""})
            ):
                yield needed
        return


def _wrong(recipe: Recipe, key: str, reason: str) -> HeaderError:
    """The error at the header's line that has `key`."""
    return HeaderError(recipe.path, line_with(recipe.path, key), reason)
