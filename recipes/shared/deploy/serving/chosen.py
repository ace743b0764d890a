"""What a serving run's parameters mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

from traindeck.core.base.errors import UsageError
from traindeck.core.base.home import Home
from traindeck.core.serving import targets
from traindeck.recipes.shared.deploy.serving import config
from traindeck.recipes.shared.deploy.serving.limits import Limits
from traindeck.recipes.shared.deploy.serving.store import Model


def models(home: Home, p: SimpleNamespace, words: Sequence[str]) -> list[Model]:
    """What to serve. Raises NotFoundError, UsageError."""
    if bool(p.config) == bool(words):
        raise UsageError("say what is to be served: models, or --config FILE, and not both")
    prefer = "" if p.format == "auto" else p.format
    if p.config:
        return config.read(Path(p.config).expanduser(), prefer)
    policy, count, numbers = config.policy(p.versions)
    return [
        Model(
            target.name,
            target.folder,
            "single" if target.single else policy,
            count,
            numbers,
            prefer=prefer,
        )
        for target in targets(home, words)
    ]


def changed(p: SimpleNamespace) -> Callable[[], list[Model] | None]:
    """What is asked now and then for other models: a config file, which may change."""
    if not p.config:
        return lambda: None
    return config.Watched(Path(p.config).expanduser(), "" if p.format == "auto" else p.format)


def limits(p: SimpleNamespace) -> Limits:
    return Limits(
        body=p.max_body_mb << 20,
        rows=p.max_rows,
        queue=p.max_queue,
        seconds=p.timeout,
        nan=p.nan,
    )
