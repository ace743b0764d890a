"""Whether a format answers as the servable that it was made of: over all test records.

Silent differences are what hurts: an int8 model of scattering features that is right 8.5 % of
the time is written, loads and runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindeck.core.base.errors import TraindeckError
from traindeck.recipes.shared.deploy import trial

LEAST_AGREEMENT = 0.99
LARGEST_ERROR = 1e-4  # of float32
_CHATTER = re.compile(r"[IW]\d{4} |WARNING: All log messages before absl").match
LOOK_SECONDS = 0.2
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class Untried(TraindeckError):
    """A format does not run at all."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a format answered.

    outputs  by name, (n, …) for all records
    latency  as a bundle has it
    facts    what the runtime told besides: of microcontrollers, arena_bytes and operators
    """

    outputs: Mapping[str, NDArray[Any]]
    latency: dict[str, Any]
    facts: dict[str, Any]


def attempt(
    runtime: str,
    model: Path,
    records: Path,
    python: str = sys.executable,
    stopping: Callable[[], bool] = lambda: False,
) -> Tried:
    """Run a format over all records in a process of its own. Raises Untried when it does not run.

    records   a folder, see `Records.write`
    stopping  is asked meanwhile whether to end it
    """
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory(prefix="traindeck-trial-") as folder:
        command = [python, trial.__file__, runtime, str(model), str(records), folder]
        code, said = _run(command, environment, stopping)
        if code:
            raise Untried(f"does not run: {_last(code, said)}")
        latency = json.loads(Path(folder, "trial.json").read_text())
        names, facts = latency.pop("outputs"), latency.pop("facts")
        outputs = {name: np.load(Path(folder, f"{k}.npy")) for k, name in enumerate(names)}
    return Tried(outputs, latency, facts)


def _run(
    command: Sequence[str], environment: Mapping[str, str], stopping: Callable[[], bool]
) -> tuple[int, str]:
    """A command's exit code, and what it said on stderr."""
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=said
        ) as process:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_SECONDS)
                if stopping():
                    process.kill()
        said.seek(0)
        return process.returncode, said.read().decode("utf-8", "replace")


def _last(code: int, stderr: str) -> str:
    """What a process that failed said last, but for TensorFlow's chatter."""
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = [line for line in lines if not _CHATTER(line)]
    return said[-1][:400] if said else f"exit code {code}"


def compare(
    reference: Mapping[str, NDArray[Any]],
    answers: Mapping[str, NDArray[Any]],
    labels: NDArray[Any] | None,
) -> dict[str, Any]:
    """largest_error, agreement of the decision, accuracy (where labels are known), records.

    Outputs are matched by name, or in their order where the format has no names.
    """
    if all(name == f"output_{k}" for k, name in enumerate(answers)):
        answers = dict(zip(reference, answers.values(), strict=False))
    error, agreements, finite = 0.0, [], True
    for name, right in reference.items():
        got = answers.get(name)
        if got is None or got.shape != right.shape:
            return {"largest_error": None, "agreement": 0.0, "records": len(right)}
        difference = np.abs(got.astype(np.float64) - right.astype(np.float64))
        finite = finite and bool(np.isfinite(difference).all())
        error = max(error, float(difference.max(initial=0.0)))
        agreements.append(float(np.mean(_agree(got, right))))
    first = next(iter(reference))
    facts: dict[str, Any] = {
        "largest_error": error if finite else None,
        "agreement": min(agreements) if finite else 0.0,
        "records": len(reference[first]),
    }
    if labels is not None and finite:
        facts["accuracy"] = float(np.mean(decided(answers[first]) == labels.reshape(-1)))
    return facts


def decided(values: NDArray[Any]) -> NDArray[Any]:
    """The class of each record: the likeliest of several, or whether the one is above a half."""
    flat = values.reshape(len(values), -1)
    chosen: NDArray[Any] = flat.argmax(1) if flat.shape[1] > 1 else flat[:, 0] > 0.5
    return chosen


def _agree(got: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Of probabilities the decision; of other numbers, whether they are within a hundredth."""
    if right.size and right.min() >= 0 and right.max() <= 1:
        return np.asarray(decided(got) == decided(right))
    near = np.isclose(got, right, rtol=0.01, atol=0.01)
    return np.asarray(near.reshape(len(right), -1).all(1))


def problem(facts: Mapping[str, Any], exact: bool) -> str:
    """Why a format is refused; empty when it may be used."""
    error, agreement = facts["largest_error"], facts["agreement"]
    if error is None:
        return "gives other outputs, of another shape, or what is no number"
    if agreement < LEAST_AGREEMENT:
        right = f", {facts['accuracy']:.1%} of them right" if "accuracy" in facts else ""
        return (
            f"decides as the model in {agreement:.2%} of {facts['records']} test records{right};"
            f" {LEAST_AGREEMENT:.0%} are needed"
        )
    if exact and error > LARGEST_ERROR:
        return f"differs by up to {error:.2g} from the model; {LARGEST_ERROR:g} is allowed"
    return ""
