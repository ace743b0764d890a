"""The run that is exported: its servable, and what a bundle says of where it comes from."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import NotFoundError
from traindeck.core.base.files import read_json
from traindeck.core.catalogue.document import RunDoc, document
from traindeck.core.models import servable
from traindeck.core.privacy.bounds import at_most
from traindeck.core.run.folder import RunFolder

NOT_COVERED = "trained without differential privacy: what it tells of any record has no bound"
_PRIVACY = (
    "epsilon",
    "delta",
    "unit",
    "relation",
    "accountant",
    "sampler",
    "noise_multiplier",
    "steps",
    "label",
    "exposed",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A run, its servable, and the facts of both.

    run       as bundles have it: id, recipe, framework, git, data (its key), accuracy …
    privacy   whether it is covered, by which epsilon, or why not
    private   whether its training data must not leave any trace but what an epsilon covers
    dataset   by name; data_dir: where it was, if that was said
    """

    servable: servable.Servable
    doc: RunDoc
    run: dict[str, Any]
    privacy: dict[str, Any]
    private: bool
    dataset: str
    data_dir: str | None


def read(folder: Path, named: str = "") -> Source:
    """A run by its folder. Raises NotFoundError, TraindeckError as `servable.find`."""
    here = RunFolder(folder)
    spec, doc = here.spec(), document(here)
    if spec is None or doc is None:
        raise NotFoundError(f"{folder} is no folder of a run, or a damaged one")
    found = servable.find(folder, named)
    provenance = read_json(folder / "source" / "provenance.json") or {}
    params = dict(spec.get("params", {}))
    dataset = str(params.get("dataset") or spec.get("dataset") or "")
    data: dict[str, Any] = {"name": dataset}
    if found.data:
        data["key"] = found.data
    headline = doc["metrics"].get(doc["headline"] or "")
    accuracy = doc["metrics"].get("test/accuracy")
    run = {
        "id": doc["id"],
        "name": doc["name"],
        "recipe": doc["recipe"],
        "framework": doc["framework"],
        "params": _public(params),
        "git": provenance.get("git"),
        "packages": provenance.get("packages") or {},
        "data": data,
        "state": doc["state"],
    }
    if accuracy:
        run["accuracy"] = accuracy["last"]
    elif headline:
        run["headline"] = {doc["headline"]: headline["last"]}
    how = spec.get("privacy", "none")
    private = how != "none" or bool(spec.get("ledger"))
    given = params.get("data_dir")
    return Source(
        found,
        doc,
        run,
        _privacy(doc, how),
        private,
        dataset,
        str(given) if given else None,
    )


def _public(params: dict[str, Any]) -> dict[str, Any]:
    """Without paths, which are of this machine; an infinite epsilon is null in JSON."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in params.items()
        if not (isinstance(value, str) and os.sep in value)
    }


def _privacy(doc: RunDoc, how: str) -> dict[str, Any]:
    said = doc["privacy"]
    if said is None or said.get("epsilon") is None:
        words = NOT_COVERED
        if how not in ("none", "dp-sgd", "dp-fedavg"):
            words = f"{how} hid the data while it was trained; {NOT_COVERED}"
        return {"covered": False, "words": words}
    kept = {key: said[key] for key in _PRIVACY if said.get(key) not in (None, "")}
    words = (
        f"epsilon {at_most(said['epsilon'])} at delta {said['delta']:g} for each {said['unit']}"
        f" ({said['relation']}), by {said['accountant']}"
    )
    if said.get("label"):
        words += f". Do not rely on it: {said['label']}"
    return {"covered": not said.get("label"), "words": words, **kept}
