"""Reading recipes: the PEP 723 header of a script, and the scripts of folders.

The header is read as text (inline script metadata, https://peps.python.org/pep-0723/), never by
importing or running the script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from traindeck.core.base.grace import MOST_GRACE, is_grace
from traindeck.core.recipe.accounting import SAMPLERS, UNITS, Accounting
from traindeck.core.recipe.header import Header, HeaderError
from traindeck.core.recipe.params import PARAM_TYPES, Param, ParamError
from traindeck.core.recipe.recipe import BrokenRecipe, Recipe, Variant

FRAMEWORKS = ("torch", "tensorflow", "syft", "other")
DEVICE_KINDS = ("cpu", "gpu", "tpu")
RESERVED_PARAMS = ("device", "run_folder", "help")

_HEADER_BYTES = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PARAM_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RECIPE_KEYS: dict[str, type] = {
    "name": str,
    "title": str,
    "description": str,
    "framework": str,
    "task": str,
    "dataset": str,
    "privacy": str,
    "devices": list,
    "tags": list,
    "headline": str,
    "grace": float,
    "keep_checkpoints": int,
    "pair": str,
    "params": dict,
    "accounting": dict,
    "when": dict,
    "environment": str,
    "parts": str,
    "packages": list,
}
_IN_WORDS = {str: "text", list: "a list", dict: "a table", float: "a number", int: "a whole number"}
_ACCOUNTING_KEYS = ("records", "of", "unit", "sampler", "pretrained")
_PRIVATE = ("dp-sgd", "dp-fedavg")
_VARIANT_KEYS: dict[str, type] = {
    "dataset": str,
    "privacy": str,
    "accounting": dict,
    "defaults": dict,
}
_PARAM_KEYS = ("type", "default", "min", "max", "choices", "help")


def read_recipe(path: Path, origin: str = "", *, bare: bool = False) -> Recipe | None:
    """Read one script's header.

    A script without a `[tool.traindeck]` table is None, or, if `bare` ones are wanted, a recipe
    without parameters, of which is known what it needs, and that may use any device. Raises
    HeaderError when there is a header and it cannot be used.
    """
    header = Header.find(path, _text(path))
    if header is not None and header.table is not None:
        return _recipe(header, origin)
    if not bare:
        return None
    return Recipe(
        name=path.stem,
        path=path,
        title=f"{path.name} (no header)",
        devices=DEVICE_KINDS,
        dependencies=_dependencies(header) if header else (),
        requires_python=_requires_python(header) if header else "",
        origin=origin,
    )


def line_with(path: Path, words: str) -> int:
    """The first line of a script that has these words; 1 where none has."""
    lines = _text(path).split("\n")
    return next((number for number, line in enumerate(lines, 1) if words in line), 1)


def discover(
    folders: Iterable[tuple[Path, str, bool]],
) -> tuple[list[Recipe], list[BrokenRecipe]]:
    """List the recipes of several folders: (folder, how to call it, whether bare scripts count).

    Sub-folders are searched; bare scripts count only directly in a folder. A name that an earlier
    recipe already has makes the later one broken.
    """
    recipes: dict[str, Recipe] = {}
    broken: list[BrokenRecipe] = []
    seen: set[Path] = set()
    for folder, origin, bare in folders:
        for path in _scripts(folder):
            real = path.resolve()
            if real in seen:
                continue
            seen.add(real)
            try:
                recipe = read_recipe(path, origin, bare=bare and path.parent == folder)
                if recipe is None:
                    continue
                if recipe.name in recipes:
                    other = recipes[recipe.name].path
                    line = _line_of(path, "name")
                    raise HeaderError(path, line, f"the name {recipe.name!r} is taken by {other}")
                recipes[recipe.name] = recipe
            except HeaderError as error:
                broken.append(BrokenRecipe(path, error.line, error.reason))
    return sorted(recipes.values(), key=lambda recipe: recipe.name), broken


def _scripts(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(folder)
        if not any(part.startswith((".", "_")) for part in relative.parts) and path.is_file():
            yield path


def _line_of(path: Path, key: str) -> int:
    header = Header.find(path, _text(path))
    return header.line(key) if header else 1


def _text(path: Path) -> str:
    """The script's beginning, a byte order mark and carriage returns left out."""
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER_BYTES)
    except OSError as error:
        raise HeaderError(path, 1, f"cannot be read: {error.strerror}") from None
    return data.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def _dependencies(header: Header) -> tuple[str, ...]:
    given = header.toml.get("dependencies", [])
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise HeaderError(header.path, header.first_line, "dependencies must be a list of texts")
    return tuple(given)


def _requires_python(header: Header) -> str:
    given = header.toml.get("requires-python", "")
    if not isinstance(given, str):
        why = "requires-python must be text, such as '>=3.11'"
        raise HeaderError(header.path, header.first_line, why)
    return given


def _recipe(header: Header, origin: str) -> Recipe:
    table = header.table or {}
    for key, value in table.items():
        if key not in _RECIPE_KEYS:
            known = ", ".join(_RECIPE_KEYS)
            raise header.error(key, f"unknown key {key!r}; known are {known}")
        kind = _RECIPE_KEYS[key]
        if not isinstance(value, (int, float) if kind is float else kind) or value is True:
            raise header.error(key, f"{key} must be {_IN_WORDS[kind]}, not {value!r}")
    name = table.get("name", header.path.stem)
    if not _NAME.fullmatch(name):
        raise header.error("name", f"name {name!r} may hold only letters, digits, '.', '_' and '-'")
    pair = table.get("pair")
    if pair is not None and not _NAME.fullmatch(pair):
        raise header.error("pair", f"pair {pair!r} may hold only letters, digits, '.', '_' and '-'")
    framework = table.get("framework", "other")
    if framework not in FRAMEWORKS:
        raise header.error(
            "framework", f"framework {framework!r} is not one of {', '.join(FRAMEWORKS)}"
        )
    devices = _texts(header, table, "devices", ["cpu"])
    for device in devices:
        if device not in DEVICE_KINDS:
            raise header.error(
                "devices", f"device {device!r} is not one of {', '.join(DEVICE_KINDS)}"
            )
    keep = table.get("keep_checkpoints")
    if keep is not None and (isinstance(keep, bool) or keep < 1):
        raise header.error("keep_checkpoints", f"keep_checkpoints {keep!r} is not from 1 on")
    grace = table.get("grace")
    if grace is not None and not is_grace(grace):
        raise header.error("grace", f"grace {grace!r} is not from 0 to {MOST_GRACE:g} seconds")
    params = {key: _param(header, key, spec) for key, spec in table.get("params", {}).items()}
    for key, param in params.items():
        if param.type == "bool" and f"no_{key}" in params:
            raise header.error(
                "type", f"no_{key} is taken: it is the flag that unsets {key}", f"params.{key}"
            )
    return Recipe(
        name=name,
        path=header.path,
        title=table.get("title", name),
        description=table.get("description", ""),
        framework=framework,
        task=table.get("task", ""),
        dataset=table.get("dataset", ""),
        privacy=table.get("privacy", "none"),
        devices=devices,
        tags=_texts(header, table, "tags", []),
        headline=table.get("headline"),
        grace=None if grace is None else float(grace),
        keep_checkpoints=keep,
        pair=pair,
        params=params,
        accounting=_accounting(header, table),
        variants=_variants(header, table, params),
        dependencies=_dependencies(header),
        requires_python=_requires_python(header),
        environment=_environment(header, table, "environment"),
        parts=_environment(header, table, "parts"),
        packages=_texts(header, table, "packages", []),
        origin=origin,
    )


def _accounting(header: Header, table: dict[str, Any], where: str = "") -> Accounting | None:
    """Of the recipe, or of the variant whose table is meant and stands there in the header."""
    given = table.get("accounting")
    private = table.get("privacy", "none") in _PRIVATE
    if given is None:
        if private:
            place = ".".join(part for part in ("tool.traindeck", where, "accounting") if part)
            raise header.error(
                "privacy", f"privacy {table['privacy']!r} needs a table [{place}]", where
            )
        return None
    if not private:
        raise header.error(
            "accounting", f"accounting is for privacy {' or '.join(map(repr, _PRIVATE))}", where
        )
    if not (table.get("dataset") or (header.table and header.table.get("dataset"))):
        why = "a private recipe names its dataset: it has the budget"
        raise header.error("privacy", why, where)
    for key in given:
        if key not in _ACCOUNTING_KEYS:
            known = ", ".join(_ACCOUNTING_KEYS)
            why = f"accounting: unknown key {key!r}; known are {known}"
            raise header.error("accounting", why, where)
    records = given.get("records")
    if isinstance(records, bool) or not isinstance(records, int) or records < 1:
        why = "accounting: records must be a whole number from 1 on"
        raise header.error("accounting", why, where)
    if not isinstance(given.get("of", ""), str):
        raise header.error("accounting", "accounting: of must be a data set's name", where)
    if not isinstance(given.get("pretrained", ""), str):
        raise header.error("accounting", "accounting: pretrained must be a text", where)
    accounting = Accounting(**given)
    for key, allowed in (("unit", UNITS), ("sampler", SAMPLERS)):
        if getattr(accounting, key) not in allowed:
            why = f"{key} {getattr(accounting, key)!r} is not one of {', '.join(allowed)}"
            raise header.error("accounting", f"accounting: {why}", where)
    return accounting


def _variants(
    header: Header, table: dict[str, Any], params: dict[str, Param]
) -> tuple[Variant, ...]:
    """`[tool.traindeck.when.<choice>.<value>]`: what differs where the choice has that value."""
    variants = []
    for name, values in table.get("when", {}).items():
        if name not in params or not params[name].choices or not isinstance(values, dict):
            why = f"when: {name!r} is no parameter of type 'choice'"
            raise header.error(name, why, f"when.{name}")
        for value, differs in values.items():
            where = f"when.{name}.{value}"
            if value not in params[name].choices or not isinstance(differs, dict):
                known = ", ".join(params[name].choices)
                why = f"when: {name} = {value!r} is not one of {known}"
                raise header.error(value, why, where)
            variants.append(_variant(header, table, params, name, value))
    return tuple(variants)


def _variant(
    header: Header, table: dict[str, Any], params: dict[str, Param], name: str, value: str
) -> Variant:
    where = f"when.{name}.{value}"
    differs = table["when"][name][value]
    for key, given in differs.items():
        if key not in _VARIANT_KEYS:
            known = ", ".join(_VARIANT_KEYS)
            raise header.error(key, f"when: unknown key {key!r}; known are {known}", where)
        if not isinstance(given, _VARIANT_KEYS[key]):
            raise header.error(key, f"when: {key} cannot be {given!r}", where)
    if "{dataset}" in differs.get("dataset", "") and "dataset" not in params:
        why = "when: {dataset} is for recipes that have a parameter 'dataset'"
        raise header.error("dataset", why, where)
    changed = {}
    for key, default in differs.get("defaults", {}).items():
        if key not in params or key == "dataset" or key in table["when"]:
            why = f"when: {key!r} is no parameter whose default could differ"
            raise header.error("defaults", why, where)
        try:
            changed[key] = replace(params[key], default=params[key].check(default))
        except ParamError as error:
            raise header.error("defaults", f"when: default of {error}", where) from None
    privacy, accounting = "", None
    if "privacy" in differs or "accounting" in differs:
        privacy = differs.get("privacy", table.get("privacy", "none"))
        accounting = _accounting(header, {**differs, "privacy": privacy}, where)
    return Variant(name, value, changed, differs.get("dataset", ""), privacy, accounting)


def _environment(header: Header, table: dict[str, Any], key: str) -> str:
    name = str(table.get(key, ""))
    if name and not _NAME.fullmatch(name):
        why = f"{key} {name!r} may hold only letters, digits, '.', '_' and '-'"
        raise header.error(key, why)
    return name


def _texts(header: Header, table: dict[str, Any], key: str, default: list[str]) -> tuple[str, ...]:
    values = table.get(key, default)
    if not all(isinstance(value, str) for value in values):
        raise header.error(key, f"{key} must be a list of texts")
    return tuple(values)


def _param(header: Header, name: str, spec: Any) -> Param:
    where = f"params.{name}"

    def wrong(key: str, why: str) -> HeaderError:
        return header.error(key, f"parameter {name!r}: {why}", where)

    if not isinstance(spec, dict):
        raise header.error(name, f"parameter {name!r} must be a table [tool.traindeck.{where}]")
    if not _PARAM_NAME.fullmatch(name) or name in RESERVED_PARAMS:
        why = "reserved" if name in RESERVED_PARAMS else "not of lower-case letters, digits and '_'"
        raise header.error(name, f"the parameter name {name!r} is {why}", where)
    for key in spec:
        if key not in _PARAM_KEYS:
            raise wrong(key, f"unknown key {key!r}; known are {', '.join(_PARAM_KEYS)}")
    kind = spec.get("type")
    if kind not in PARAM_TYPES:
        raise wrong("type", f"type {kind!r} is not one of {', '.join(PARAM_TYPES)}")
    for key in ("min", "max"):
        bound = spec.get(key)
        number = isinstance(bound, int | float) and not isinstance(bound, bool)
        if bound is not None and not (number and kind in ("int", "float")):
            raise wrong(key, f"{key} must be a number, of an int or float")
    choices = spec.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise wrong("choices", "choices must be a list of texts")
    if (kind == "choice") != bool(choices):
        raise wrong("choices", "type 'choice' and choices go together")
    default = spec.get("default")
    if default is None and kind not in ("str", "path"):
        raise wrong("default", "a default is needed")
    if not isinstance(spec.get("help", ""), str):
        raise wrong("help", "help must be text")
    param = Param(
        name=name,
        type=kind,
        default=default,
        min=spec.get("min"),
        max=spec.get("max"),
        choices=tuple(choices),
        help=spec.get("help", ""),
    )
    if param.min is not None and param.max is not None and param.min > param.max:
        raise wrong("min", "min is above max")
    try:
        return replace(param, default=param.check(default))
    except ParamError as error:
        raise header.error("default", f"default of {error}", where) from None
