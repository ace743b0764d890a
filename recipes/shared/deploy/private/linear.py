"""A linear model in three parts: what comes before its one layer, the layer, what comes after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from traindeck.core.base.errors import UsageError

_LAYERS = ("MatMul", "Gemm")
_WEIGHTED = (*_LAYERS, "Conv", "ConvTranspose", "Einsum", "LSTM", "GRU", "RNN", "Attention")
"""Ops that hold weights: outside the layer they would be given away."""


@dataclass(frozen=True, slots=True)
class Linear:
    """`before` and `after` are ONNX models, empty where there is nothing to do.

    weights  (values, places); bias (places,)
    outputs  names of what `after` gives
    """

    before: bytes
    after: bytes
    weights: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    outputs: list[str]


def read(path: Path) -> Linear:
    """The parts of a model. Raises UsageError where it is not linear."""
    import onnx

    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
    except Exception as error:  # protobuf's and onnx's own
        raise UsageError(f"{path} is no ONNX model that can be read: {error}") from None
    graph = model.graph
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    weighted = [node for node in graph.node if node.op_type in _WEIGHTED]
    if len(weighted) != 1 or weighted[0].op_type not in _LAYERS or len(graph.input) != 1:
        raise UsageError(
            f"{path} is not linear: it has {len(weighted)} layers with weights, and private"
            " inference takes one MatMul or Gemm over one input"
        )
    [layer] = weighted
    weights, bias, end = _layer(graph, layer, constants, path)
    given, outputs = graph.input[0].name, [one.name for one in graph.output]
    extractor = onnx.utils.Extractor(model)
    before = after = b""
    if layer.input[0] != given:
        before = extractor.extract_model([given], [layer.input[0]]).SerializeToString()
    if outputs != [end]:
        after = extractor.extract_model([end], outputs).SerializeToString()
    return Linear(before, after, weights, bias, outputs)


def _layer(
    graph: Any, layer: Any, constants: dict[str, Any], path: Path
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    """Weights and bias of the layer, and the name of what it gives."""
    if layer.input[1] not in constants or constants[layer.input[1]].ndim != 2:
        raise UsageError(f"{path} is not linear: its layer's weights are not a constant matrix")
    weights = constants[layer.input[1]].astype(np.float64)
    said = {one.name: one for one in layer.attribute}
    if layer.op_type == "Gemm":
        if said.get("transA") and said["transA"].i:
            raise UsageError(f"{path} is not linear in a record: its layer mixes records")
        weights = weights.T if said.get("transB") and said["transB"].i else weights
        weights = weights * (said["alpha"].f if "alpha" in said else 1.0)
    bias, end = np.zeros(weights.shape[1]), layer.output[0]
    if layer.op_type == "Gemm" and len(layer.input) > 2:
        scale = said["beta"].f if "beta" in said else 1.0
        bias = bias + scale * constants[layer.input[2]].astype(np.float64)
    following = [node for node in graph.node if end in node.input]
    if len(following) == 1 and following[0].op_type == "Add":
        [other] = [name for name in following[0].input if name != end] or [""]
        if other in constants and constants[other].size in (1, weights.shape[1]):
            bias = bias + constants[other].astype(np.float64).ravel()
            end = following[0].output[0]
    return weights, bias, end
