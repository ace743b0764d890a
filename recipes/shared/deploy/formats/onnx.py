"""ONNX, of a .pt2 by torch.onnx and of a SavedModel by tf2onnx: names and a free batch are kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from traindeck.recipes.shared.training import needs

OPSET = 18


def make(kind: str, model: Path, target: Path) -> None:
    """Write an ONNX file. Raises whatever the converters do."""
    if kind == "pt2":
        _of_pt2(model, target)
    elif kind == "onnx":
        shutil.copyfile(model, target)
    else:
        _of_saved_model(model, target)


def _of_pt2(model: Path, target: Path) -> None:
    with needs.framework("torch"):
        import torch

    program = torch.export.load(model)
    signature = program.graph_signature
    outputs = program.call_spec.out_spec
    made = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=list(signature.user_inputs),
        output_names=list(outputs.context) if outputs is not None and outputs.context else None,
    )
    assert made is not None
    made.save(target, external_data=False)


def _of_saved_model(model: Path, target: Path) -> None:
    with needs.framework("tensorflow"):
        import onnx
        import tensorflow as tf
        import tf2onnx
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2,
        )

    loaded = tf.saved_model.load(str(model))  # its variables live as long as it does
    signature = loaded.signatures["serving_default"]
    # Frozen first: constants that a function captured would else become inputs.
    frozen = convert_variables_to_constants_v2(signature)
    inputs = [tensor.name for tensor in frozen.inputs]
    outputs = [tensor.name for tensor in frozen.outputs]
    made: Any
    made, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(), input_names=inputs, output_names=outputs, opset=OPSET
    )
    # A signature's outputs are in the order of their names.
    names = dict(zip(outputs, sorted(signature.structured_outputs), strict=True))
    names |= {name: name.rpartition(":")[0] for name in inputs}
    _rename(made.graph, names)
    onnx.save(made, target)


def _rename(graph: Any, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
