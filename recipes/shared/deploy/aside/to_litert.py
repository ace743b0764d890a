"""PyTorch's exported program to LiteRT, where litert-torch is installed.

    python to_litert.py MODEL.pt2 OUT.tflite INPUTS [dynamic | int8 CALIBRATION]

INPUTS is JSON: {"image": {"dtype": "uint8", "shape": [28, 28]}}. The batch becomes 1. CALIBRATION
is a folder with an array for each input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(model: str, out: str, inputs: dict[str, Any], how: str, calibration: str) -> None:
    import litert_torch
    import torch

    module = torch.export.load(model).module()
    example = {
        name: torch.zeros(1, *like["shape"], dtype=getattr(torch, like["dtype"]))
        for name, like in inputs.items()
    }
    litert_torch.convert(module, sample_kwargs=example).export(out)
    if how:
        quantize(out, how, calibration)


def quantize(path: str, how: str, calibration: str) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(path)
    if how == "int8":
        made.load_quantization_recipe(recipe.static_wi8_ai8())
        arrays = {file.stem: np.load(file) for file in sorted(Path(calibration).glob("*.npy"))}
        key = next(iter(Interpreter(path).get_signature_list()))
        count = len(next(iter(arrays.values())))
        examples = [{name: a[k : k + 1] for name, a in arrays.items()} for k in range(count)]
        result = made.quantize(made.calibrate({key: examples}))
    else:
        made.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        result = made.quantize()
    result.export_model(path, overwrite=True)


if __name__ == "__main__":
    words = [*sys.argv[1:], "", ""]
    main(words[0], words[1], json.loads(words[2]), words[3], words[4])
