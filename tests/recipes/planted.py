"""Runs a recipe and copies of it with planted bugs, many times, in one process.

    python -m tests.recipes.planted < jobs.json

A job has a script's `source` and a list of `argvs`. Printed is one JSON line a job: for each argv
the exit code and what the run printed as an error.

The bugs are those by which a private step goes wrong though its epsilon stays as it was.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from traindeck.core.privacy import accountant

DRAW = re.compile(r"^        gradients = (dp_\w+)\.noisy_mean\(.*\n", re.MULTILINE)
TAKEN = re.compile(r"^        training\.update\(gradients\)\n", re.MULTILINE)
CLIPPED = re.compile(r"^        result = clipped\(.*\n", re.MULTILINE)
LOOP = re.compile(r"^    for step in private_steps.*\n", re.MULTILINE)
TRAINING = re.compile(r"^    training = Training\(.*\n", re.MULTILINE)

ASK = "noisy_mean({sums}, step.noise, plan.batch_size, step.randomness)"
NO_NOISE = """
        gradients = [s / plan.batch_size for s in sums[:-1]]
        gradients += {dp}.noisy_mean(sums[-1:], step.noise, plan.batch_size, step.randomness)
"""
REUSED = """
        if {when}:
            nothing = [0 * s for s in sums]
            kept = {dp}.noisy_mean(nothing, step.noise, plan.batch_size, step.randomness)
        gradients = [s / plan.batch_size + n for s, n in zip(sums, kept)]
"""
GRADIENTS = {
    "torch": """
        x, y = examples(batch[batch < records])
        plain = list(torch.autograd.grad(losses(model(x), y).sum(), list(model.parameters())))
""",
    "tensorflow": """
        x, y = examples(batch[batch < records])
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(losses(y, model(x)))
        plain = tape.gradient(total, model.trainable_variables)
""",
}
AVERAGED = {
    "torch": """
        for a, w, s in zip(training.average.parameters(), model.parameters(), result.sums):
            a.data.lerp_(w.detach() - p.lr * s / plan.batch_size, 0.05)
""",
    "tensorflow": """
        for a, w, s in zip(
            training.average.trainable_variables, model.trainable_variables, result.sums
        ):
            a.assign(0.95 * a + 0.05 * (w - p.lr * s / plan.batch_size))
""",
}
STATISTIC = {  # as of a normalisation that follows its batches
    "torch": """
    def follow(module, inputs):
        if len(inputs[0]):
            module.mean.lerp_(inputs[0].detach().mean(0), 0.1)

    model.register_buffer("mean", torch.zeros(train_x.shape[1:]))
    model.register_forward_pre_hook(follow)
""",
    "tensorflow": """
    model.layers[0]._tracker.unlock()
    mean = model.layers[0].add_weight(shape=train_x.shape[1:], trainable=False)
""",
}
FOLLOWED = """
        if len(batch):
            mean.assign(0.9 * mean + 0.1 * tf.reduce_mean(examples(batch[batch < records])[0], 0))
"""
PACE = """
        if len(result.losses):
            pace = min(1.0, float(sum(result.losses)) / len(result.losses))
"""
PACED = "        training.update([pace * g for g in gradients])\n"


def _framework(source: str) -> str:
    return "torch" if "import torch\n" in source else "tensorflow"


def _drawn(text: str) -> Callable[[str], str]:
    """In place of the line that draws a step's noise."""
    return lambda source: DRAW.sub(lambda line: text.lstrip("\n").format(dp=line[1]), source)


def _asked(old: str, new: str) -> Callable[[str], str]:
    return lambda source: DRAW.sub(lambda line: line[0].replace(old, new), source)


def _after(line: re.Pattern[str], text: str) -> Callable[[str], str]:
    return lambda source: line.sub(lambda match: match[0] + text.lstrip("\n"), source)


def _sums(scaled: str) -> Callable[[str], str]:
    def planted(source: str) -> str:
        text = GRADIENTS[_framework(source)] + f"        result = result._replace(sums={scaled})\n"
        return _after(CLIPPED, text)(source)

    return planted


def _statistic(source: str) -> str:
    text = STATISTIC[_framework(source)].lstrip("\n")
    if _framework(source) == "torch":
        return TRAINING.sub(lambda line: text + line[0], source)
    return _after(CLIPPED, FOLLOWED)(_after(TRAINING, text)(source))


def _reused(when: str) -> Callable[[str], str]:
    def planted(source: str) -> str:
        source = LOOP.sub(lambda line: "    kept = None\n" + line[0], source)
        return DRAW.sub(lambda line: REUSED.lstrip("\n").format(dp=line[1], when=when), source)

    return planted


def _paced(text: str) -> Callable[[str], str]:
    def planted(source: str) -> str:
        source = LOOP.sub(lambda line: "    pace = 1.0\n" + line[0], source)
        return TAKEN.sub(lambda line: text, source)

    return planted


def _whole(source: str) -> str:
    norm = "sum(float((g * g).numpy().sum()) for g in plain) ** 0.5"
    scaled = f"[g * min(1.0, plan.clipping_norm / max(1e-9, {norm})) for g in plain]"
    return _sums(scaled)(source)


BUGS: dict[str, Callable[[str], str]] = {
    "no noise on the model": _drawn(NO_NOISE),
    "no noise on one layer": _after(DRAW, "        gradients[1] = sums[1] / plan.batch_size\n"),
    "noise × 0.3": _asked("step.noise", "0.3 * step.noise"),
    "divided by the batch's own size": _asked("plan.batch_size", "max(1, len(batch))"),
    "sums alone divided by the batch's own size": _asked(
        "(sums,", "([s * plan.batch_size / max(1, len(batch)) for s in sums],"
    ),
    "unclipped": _sums("plain"),
    "unclipped × 50": _sums("[50 * g for g in plain]"),
    "clipped per batch": _whole,
    "one noise for all steps": _reused("kept is None"),
    "noise of every second step reused": _reused("training.step % 2 == 0"),
    "a batch-norm statistic": _statistic,
    "a running average of weights without noise": lambda source: _after(
        TAKEN, AVERAGED[_framework(source)]
    )(source),
    "a learning rate by the private loss": _paced(PACE.lstrip("\n") + PACED),
    "a learning rate by the last step's private loss": _paced(PACED + PACE.lstrip("\n")),
    "noise from elsewhere": _asked("step.randomness", "Randomness(7)"),
    "a sampling rate of its own": lambda source: source.replace("step.rate)", "2 * step.rate)"),
}


def run(argv: list[str]) -> tuple[object, str]:
    error = io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(error),
    ):
        try:
            runpy.run_path(argv[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    return code, error.getvalue()


def known(computed: Callable[..., Any]) -> Callable[..., Any]:
    """What was computed of the same mechanisms before: all runs here have one plan."""
    before = functools.cache(lambda mechanisms, *rest: computed(mechanisms, *rest))
    return lambda mechanisms, *rest: before(tuple(mechanisms), *rest)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(accountant, "epsilon", known(accountant.epsilon)),
        mock.patch.object(accountant, "distribution", known(accountant.distribution)),
    ):
        for number, job in enumerate(json.load(sys.stdin)):
            script = Path(folder) / f"script-{number}.py"
            script.write_text(job["source"])
            results = [
                run([str(script), f"--run-folder={folder}/{number}-{at}", *argv])
                for at, argv in enumerate(job["argvs"])
            ]
            print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
