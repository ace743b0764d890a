"""Files of weights with the shapes of the published ones and random numbers in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traindeck.recipes.shared.training.pretrained import lite0

Tensors = dict[str, NDArray[np.generic]]
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film", "##s", "!", "the")
_TYPES = {"float32": "F32", "float16": "F16"}


def safetensors(path: Path, tensors: Tensors) -> Path:
    """Write a file as the package safetensors does."""
    header, at = {}, 0
    for name, array in tensors.items():
        end = at + array.nbytes
        kind = _TYPES[str(array.dtype)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(array.tobytes())
    return path


def lite0_tensors(seed: int = 0) -> Tensors:
    chance = np.random.default_rng(seed)
    made: Tensors = {}

    def convolution(name: str, norm: str, *shape: int) -> None:
        scale = (2 / np.prod(shape[1:])) ** 0.5
        made[f"{name}.weight"] = chance.normal(0, scale, shape).astype(np.float32)
        for part in ("weight", "running_var"):
            made[f"{norm}.{part}"] = chance.uniform(0.5, 1.5, shape[0]).astype(np.float32)
        for part in ("bias", "running_mean"):
            made[f"{norm}.{part}"] = chance.normal(0, 0.1, shape[0]).astype(np.float32)

    convolution("_conv_stem", "_bn0", 32, 3, 3, 3)
    number, inputs = 0, 32
    for count, size, _, expansion, outputs in lite0.STAGES:
        for _ in range(count):
            name, inner = f"_blocks.{number}", inputs * expansion
            if expansion > 1:
                convolution(f"{name}._expand_conv", f"{name}._bn0", inner, inputs, 1, 1)
            convolution(f"{name}._depthwise_conv", f"{name}._bn1", inner, 1, size, size)
            convolution(f"{name}._project_conv", f"{name}._bn2", outputs, inner, 1, 1)
            number, inputs = number + 1, outputs
    convolution("_conv_head", "_bn1", 1280, inputs, 1, 1)
    made["_fc.weight"] = chance.normal(0, 0.05, (1000, 1280)).astype(np.float32)
    made["_fc.bias"] = chance.normal(0, 0.1, 1000).astype(np.float32)
    return made


def minilm(folder: Path, layers: int = 6) -> Path:
    """A folder of a MiniLM that knows few words."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    chance = np.random.default_rng(0)
    made: Tensors = {}

    def normal(name: str, *shape: int) -> None:
        values = chance.standard_normal(shape, np.float32) * np.float32(0.05)
        made[name] = values.astype(np.float16)

    def norm(name: str) -> None:
        made[f"{name}.weight"] = chance.uniform(0.5, 1.5, 384).astype(np.float16)
        normal(f"{name}.bias", 384)

    def linear(name: str, inputs: int, outputs: int) -> None:
        normal(f"{name}.weight", outputs, inputs)
        normal(f"{name}.bias", outputs)

    for name, rows in (("word", len(WORDS)), ("position", 512), ("token_type", 2)):
        normal(f"embeddings.{name}_embeddings.weight", rows, 384)
    norm("embeddings.LayerNorm")
    for number in range(layers):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", 384, 384)
        linear(f"{layer}.attention.output.dense", 384, 384)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", 384, 1536)
        linear(f"{layer}.output.dense", 1536, 384)
        norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", 384, 384)
    safetensors(folder / "model.safetensors", made)
    return folder
