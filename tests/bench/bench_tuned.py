"""What training below a pretrained network's head costs: CPU milliseconds an image, by framework.

    python tests/bench/bench_tuned.py [--only WORDS] [--images N]

A step's gradient of EfficientNet-Lite0 at the size that the recipes enlarge images to, with
adapters or of all layers, plain and clipped image by image, in parts as the recipes take them. Of
random weights: how long it takes does not go by what they are. One framework after the other, in
processes of their own, on one thread; CPU time, so that others' work does not count.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}


def milliseconds(step: Callable[[], Any], images: int) -> float:
    """Of CPU time an image; the first time is not counted."""
    step()
    began = time.process_time()
    step()
    return 1000 * (time.process_time() - began) / images


def steps(framework: str, layers: str, images: int) -> dict[str, Callable[[], Any]]:
    import numpy as np

    from tests.recipes.random_weights import lite0_tensors, safetensors
    from traindeck.recipes.shared.training.pretrained import lite0, weights

    with tempfile.TemporaryDirectory() as folder:
        path = safetensors(Path(folder) / "lite0.safetensors", lite0_tensors())
        net = lite0.network(weights.find(lite0.PUBLISHED, str(path), None))
    part = lite0.AT_ONCE[layers]
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (images, 28, 28)).astype(np.float32)
    labels = chance.integers(0, 10, images)
    if framework == "torch":
        import torch

        from traindeck.recipes.shared.training.dp import torch as dp_torch
        from traindeck.recipes.shared.training.pretrained import head_torch, tuned_torch

        model = tuned_torch.Tuned(net, layers, 28, 0)
        optimizer = torch.optim.SGD(head_torch.trained(model), 1e-6)
        clipped = dp_torch.ClippedGradients(model, 1.0, micro_batch=part, alike=True)
        x, y = torch.from_numpy(pixels), torch.from_numpy(labels)
        return {
            "plain": lambda: head_torch.descend(model, optimizer, x, y, part),
            "dp": lambda: clipped(x, y),
        }
    import tensorflow as tf

    from traindeck.recipes.shared.training.dp import tf as dp_tf
    from traindeck.recipes.shared.training.pretrained import head_tf, tuned_tf

    model = tuned_tf.tuned(net, layers, 28, 0)
    model.compile(tf.keras.optimizers.SGD(1e-6))
    clipped = dp_tf.ClippedGradients(model, 1.0, micro_batch=part, alike=True)
    descend = head_tf.descending(model, part)
    x, y = tf.constant(pixels), tf.constant(labels, tf.int32)
    return {"plain": lambda: descend(x, y), "dp": lambda: clipped(x, y)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="as `torch lora`")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        for how, step in steps(*given.here, given.images).items():
            print(f"| {' | '.join(given.here)} | {how} | {milliseconds(step, given.images):.1f} |")
        return
    print("| framework | layers | | CPU ms an image |")
    print("| --- | --- | --- | --- |", flush=True)
    for framework in ("torch", "tensorflow"):
        for layers in ("lora", "all"):
            if given.only in f"{framework} {layers}":
                words = [sys.executable, __file__, "--here", framework, layers]
                words += ["--images", str(given.images)]
                subprocess.run(words, env=os.environ | ONE_THREAD, check=True)


if __name__ == "__main__":
    main()
