"""What others call EfficientNet-Lite0's tensors, in the words of the package's file.

From timm (`tf_efficientnet_lite0`, https://github.com/huggingface/pytorch-image-models) and from
Keras, as keras.applications names layers of its EfficientNets and
https://github.com/sebastian-sz/efficientnet-lite-keras those of the Lite ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.recipes.shared.training.data.idx import DataError
from traindeck.recipes.shared.training.pretrained import weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]

Stages = Sequence[tuple[int, int, int, int, int]]
TIMM = "tf_efficientnet_lite0"
_NORM = ("weight", "bias", "running_mean", "running_var")
_KERAS = {
    "convolution": {"kernel": "weight"},
    "depthwise": {"depthwise_kernel": "weight", "kernel": "weight"},
    "linear": {"kernel": "weight", "bias": "bias"},
    "norm": dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), _NORM, strict=True)),
}


def ours(found: weights.Found, stages: Stages) -> Tensors:
    """A file's tensors by the package's names; those that no layer has keep their own.

    Raises DataError for names of timm's where it is not known which of its two networks they are
    of: one pads as TensorFlow does, the other, of the same shapes, does not.
    """
    tensors = found.read()
    if "conv_stem.weight" in tensors:
        if not (found.saw or _is_timms_tf(found.path)):
            raise DataError(
                f"{found.path}: by its names it is timm's, which has two such networks, and only"
                f" {TIMM} is this one: keep its config.json beside it"
            )
        parts = {"convolution": ("weight",), "depthwise": ("weight",), "norm": _NORM}
        named = {
            f"{timm}.{part}": (f"{own}.{part}", "")
            for own, kind, timm, _ in _layers(stages)
            for part in (*parts.get(kind, ("weight", "bias")), "num_batches_tracked")
        }
    elif any(name.startswith("stem_conv/") for name in tensors):
        named = {
            f"{keras}/{theirs}": (f"{own}.{part}", kind if part == "weight" else "")
            for own, kind, _, keras in _layers(stages)
            for theirs, part in _KERAS[kind].items()
        }
    else:
        return tensors
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        own, kind = named.get(name, (name, ""))
        renamed[own] = _turned(tensor, kind)
    return renamed


def _is_timms_tf(path: Path) -> bool:
    try:
        config = json.loads(path.with_name("config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return path.name.startswith(f"{TIMM}-")  # as timm's own releases are called
    return isinstance(config, dict) and config.get("architecture") == TIMM


def _turned(tensor: Any, kind: str) -> Any:
    """A kernel's outputs and inputs first, as PyTorch has them."""
    axes = {"convolution": (3, 2, 0, 1), "depthwise": (2, 3, 0, 1), "linear": (1, 0)}.get(kind, ())
    return tensor.transpose(axes) if tensor.ndim == len(axes) else tensor


def _layers(stages: Stages) -> Iterator[tuple[str, str, str, str]]:
    """Each layer as the package, by its kind, timm and Keras call it."""
    yield "_conv_stem", "convolution", "conv_stem", "stem_conv"
    yield "_bn0", "norm", "bn1", "stem_bn"
    number = 0
    for stage, (count, _, _, expansion, _) in enumerate(stages):
        for place in range(count):
            ours, timm = f"_blocks.{number}.", f"blocks.{stage}.{place}."
            keras = f"block{stage + 1}{chr(ord('a') + place)}_"
            wide = expansion > 1
            if wide:
                yield f"{ours}_expand_conv", "convolution", f"{timm}conv_pw", f"{keras}expand_conv"
                yield f"{ours}_bn0", "norm", f"{timm}bn1", f"{keras}expand_bn"
            yield f"{ours}_depthwise_conv", "depthwise", f"{timm}conv_dw", f"{keras}dwconv"
            yield f"{ours}_bn1", "norm", f"{timm}bn{1 + wide}", f"{keras}bn"
            flat = "conv_pwl" if wide else "conv_pw"
            yield f"{ours}_project_conv", "convolution", f"{timm}{flat}", f"{keras}project_conv"
            yield f"{ours}_bn2", "norm", f"{timm}bn{2 + wide}", f"{keras}project_bn"
            number += 1
    yield "_conv_head", "convolution", "conv_head", "top_conv"
    yield "_bn1", "norm", "bn2", "top_bn"
    yield "_fc", "linear", "classifier", "predictions"
