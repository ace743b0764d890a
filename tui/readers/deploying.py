"""What commands and forms of exporting and serving come to: one request for both."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.names import free_name
from traindeck.core.launch import LaunchRequest
from traindeck.core.recipe.find import find_recipe
from traindeck.core.recipe.params import Value
from traindeck.core.serving import RECIPE as SERVE
from traindeck.core.serving import Target

EXPORT = "export"


def export_request(
    home: Home, doc: RunDoc, values: Mapping[str, Value], on: str = "cpu"
) -> LaunchRequest:
    """To make a bundle of a run. Raises NotFoundError where the recipe is not there."""
    return LaunchRequest(
        recipe=find_recipe(home, EXPORT),
        params={**values, "run": doc["path"]},
        on=on,
        name=f"export {values.get('name') or doc['name']}",
    )


def serve_request(
    home: Home, found: Sequence[Target], values: Mapping[str, Value], name: str | None = None
) -> LaunchRequest:
    """To serve models, or what `config` among the values says."""
    named = "serve " + " ".join(one.name for one in found) if found else SERVE
    models = shlex.join(f"{one.name}={one.folder}" for one in found)
    return LaunchRequest(
        recipe=find_recipe(home, SERVE),
        params={**({"models": models} if found else {}), **values},
        name=name or free_name(home, named),
    )
