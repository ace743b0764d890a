"""Going on from a private run's checkpoint: its steps and those to come need one epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traindeck.core import track
from traindeck.core.base.errors import USAGE
from traindeck.core.privacy.plan import Plan

USUAL: dict[str, Any] = {
    "unit": "example",
    "sampler": "poisson",
    "bands": 1,
    "clipping": "fixed",
    "max_batch": 0,
}
"""What a checkpoint says only where it is otherwise: there were checkpoints before."""


def kind(plan: Plan) -> dict[str, Any]:
    """What all steps of a run have in common, kept with each checkpoint."""
    own = {
        "unit": plan.unit,
        "sampler": plan.mechanism.sampler,
        "bands": plan.mechanism.bands,
        "clipping": "adaptive" if plan.adaptive else "fixed",
        "max_batch": plan.mechanism.max_batch,
    }
    return {
        "noise_multiplier": plan.mechanism.noise_multiplier,
        "sampling_rate": plan.mechanism.sampling_rate,
        "clipping_norm": plan.clipping_norm,
        "seeded": plan.seeded,
        **{name: value for name, value in own.items() if value != USUAL[name]},
    }


def go_on(run: track.Run, path: Path, step: int, was: Mapping[str, Any]) -> None:
    """Count the steps that a checkpoint of this kind holds as those of the run.

    Ends the process (2) where they are of another kind, and (4) where none are left.
    """
    then = USUAL | dict(was)
    for name, value in (USUAL | kind(run.plan)).items():
        if then.get(name) != value:
            track.abort(
                f"--resume: {path} was trained with {name} {then.get(name)}, not {value}: its"
                " steps and these have no common epsilon",
                USAGE,
            )
    total = run.plan.mechanism.steps
    if step >= total:
        track.abort(f"{path} has already been trained for all of the {total} steps")
    print(f"resuming after step {step} of {total} from {path}", flush=True)
    run.resumed(step, path)
