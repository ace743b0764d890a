"""Repeating a run, with other values for some of its parameters."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traindeck.core.base.home import Home
from traindeck.core.launch import RESUME, LaunchError, LaunchRequest
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.read import read_recipe
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.recipe.typed import changed
from traindeck.core.run.folder import DAMAGED, RunFolder
from traindeck.core.run.spec import Spec


def again(home: Home, run_id: str, params: Mapping[str, Value], **changes: Any) -> LaunchRequest:
    """The request that repeats a run, with other values for some of its parameters.

    Its tags are kept but that of its sweep, and its name, numbered where runs have it. The recipe
    is read anew from where it was. Raises LaunchError when it has gone.
    """
    from traindeck.core.catalogue.names import free_name

    folder = RunFolder(home.runs / run_id)
    spec = folder.spec()
    if spec is not None and "imported" in spec:
        why = f"it was imported from {spec['imported']['tool']}, which keeps no command"
        raise LaunchError(f"run {run_id} cannot be repeated: {why}")
    if spec is None or "python" not in spec:
        raise LaunchError(f"run {run_id} cannot be repeated: {DAMAGED}")
    recipe = None
    if script := spec.get("script"):
        path = Path(home.moved(script))
        recipe = read_recipe(path, spec.get("origin", ""), bare=True) if path.exists() else None
        if recipe is None:
            kept = home.runs / run_id / "source" / path.name
            raise LaunchError(f"{path} has gone; as it was launched it is kept in {kept}")
    command = () if recipe else changed(spec["argv"], params, spec["cwd"])
    arguments = list(spec.get("arguments") or ())
    if recipe and arguments:
        own_names = set(recipe.params)
        passed_on = {key: value for key, value in params.items() if key not in own_names}
        arguments = changed([str(recipe.path), *arguments], passed_on, spec["cwd"])[1:]
        params = {key: value for key, value in params.items() if key in own_names}
    known = set(recipe.params) if recipe else set()
    if not (recipe and arguments):
        known |= set(spec["params"])
    own = {
        key: home.moved(value) if isinstance(value, str) else value
        for key, value in spec["params"].items()
        if value is not None and key in known
    }
    if recipe and (resumed := spec.get("resumed")):
        own[RESUME] = resumed
    if not recipe:
        own, params = {}, {}
    typed = {key: _absolute(recipe, key, value) for key, value in params.items()}
    if recipe and recipe.chosen(own).params != recipe.chosen({**own, **typed}).params:
        was = recipe.chosen(own).defaults()  # nobody typed these, and others hold now
        own = {key: value for key, value in own.items() if value != was.get(key)}
    trial = f"sweep-{(spec.get('sweep') or {}).get('id')}"  # of a sweep this run is no part
    fields: dict[str, Any] = {
        "recipe": recipe,
        "command": command,
        "arguments": arguments,
        "parse": spec.get("parse") or (),
        "params": {**own, **typed},
        "on": spec["on"],
        "name": changes.get("name") or free_name(home, spec["name"]),
        "tags": [tag for tag in folder.tags() if tag != trial],
        "python": _python(spec),
        "isolated": bool(spec.get("isolated")),
        "cwd": spec["cwd"],
        "grace": spec["grace"] if "--grace" in _options(spec["command"]) else None,
        "again_of": run_id,
    }
    fields.update({key: value for key, value in changes.items() if value is not None})
    return LaunchRequest(**fields)


def _options(command: list[str]) -> list[str]:
    """What was typed before the command that a run is of."""
    return command[: command.index("--")] if "--" in command else command


def _python(spec: Spec) -> str | None:
    """What `--python` has to name for the same interpreter; None where that is ours."""
    python = spec.get("python", "")
    if spec.get("isolated"):
        from traindeck.core.recipe.isolated import base_of

        python = base_of(python) or ""
    return python if python and _is_other(python) else None


def _absolute(recipe: Recipe | None, name: str, value: Value) -> Value:
    """A path that was typed here means the same where the run was launched."""
    param = recipe.params.get(name) if recipe else None
    if param and param.type == "path" and isinstance(value, str) and value:
        if name == RESUME and not os.path.lexists(value):  # it may be a run's id
            return value
        return str(Path(value).absolute())
    return value


def _is_other(python: str) -> bool:
    """Whether this is another environment's interpreter, not ours by another name."""
    return Path(python).parent != Path(sys.executable).parent
