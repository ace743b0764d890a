"""What DP-SGD in TensorFlow knows of layers: which it can use, and what to use instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_WITHOUT_WEIGHTS = (  # layers that treat each example by itself
    "Activation",
    "Add",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "Concatenate",
    "Cropping1D",
    "Cropping2D",
    "ELU",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "LayerNormalization",
    "LeakyReLU",
    "Maximum",
    "MaxPooling1D",
    "MaxPooling2D",
    "Minimum",
    "Multiply",
    "Permute",
    "RMSNormalization",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "Subtract",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
)
_OPERATIONS = ("Add", "Cumsum", "Multiply", "OnesLike", "Subtract")  # keras.ops of single tensors
_WITH_WEIGHTS = (
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Embedding",
    "LayerNormalization",
    "RMSNormalization",
)
_INSTEAD = {  # of layers that are known here and cannot be used
    "BatchNorm": "it mixes a batch's examples; use GroupNormalization(scale=False, center=False)",
    "GroupNormalization": "set scale=False and center=False, or use LayerNormalization",
    "Attention": "use MultiHeadAttention",
    "RNN": "it shares weights over steps; use Conv2D",
    "LSTM": "it shares weights over steps; use Conv2D",
    "GRU": "it shares weights over steps; use Conv2D",
    "Bidirectional": "it shares weights over steps; use Conv2D",
    "Conv": "use Conv2D",
    "EinsumDense": "use Dense",
    "PReLU": "use LeakyReLU or ELU",
    "Drop": "leave it out: noise and clipping keep a model from learning too much by heart",
    "Lambda": "what it does cannot be seen; use a layer with a name of its own",
    "Sequential": "put its layers into the model itself",
    "Functional": "put its layers into the model itself",
    "GetItem": "what it takes cannot be seen; use a layer, as Cropping1D",
    "BroadcastTo": "let each input have the examples first",
}


class UnsupportedLayer(Exception):
    """A layer whose per-example gradients are not known here; says which and what to use."""


def weighted(model: Any) -> list[Any]:
    """The layers that hold the model's weights, those within attention too.

    Raises UnsupportedLayer for the first layer that cannot be used.
    """
    ends = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if [len(end) for end in ends] != [1, 1]:
        raise UnsupportedLayer(
            f"{model.name} ({type(model).__name__}) does not lead from one Input to one output: use"
            " Sequential, or Model(inputs, outputs)"
        )
    operations = getattr(model, "operations", model.layers)
    layers = [layer for layer in operations if type(layer).__name__ != "InputLayer"]
    for layer in layers:
        problem = _problem(layer)
        if problem:
            raise UnsupportedLayer(f"{_called(layer)} {problem}")
        if any(None in shape[1:] for shape in _inputs(layer)):
            raise UnsupportedLayer(
                f"{_called(layer)} has inputs of any size: give Input its whole shape"
            )
    owners: dict[int, str] = {}
    for place, layer in enumerate(layers):
        if any(layer is earlier for earlier in layers[:place]):
            raise UnsupportedLayer(f"{_called(layer)} is used twice: give each place its own layer")
        for variable in getattr(layer, "weights", ()):
            if id(variable) in owners:
                raise UnsupportedLayer(
                    f"{_called(layer)} shares weights with {owners[id(variable)]}:"
                    " give each its own"
                )
            owners[id(variable)] = _called(layer)
    for entry in model.get_config()["layers"]:
        if len(entry.get("inbound_nodes", [])) > 1:
            raise UnsupportedLayer(f"{entry['name']} is used twice: give each place its own layer")
    return [part for layer in layers for part in _parts(layer)]


def _called(layer: Any) -> str:
    return f"{layer.name} ({type(layer).__name__})"


def _inputs(layer: Any) -> list[Any]:
    """Their shapes, examples first."""
    given = layer.input if isinstance(layer.input, list | tuple) else [layer.input]
    return [one.shape for one in given]


def _parts(layer: Any) -> Iterator[Any]:
    """The layer itself or, of attention, the maps that have its weights."""
    if type(layer).__name__ == "MultiHeadAttention":
        yield from (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
    elif getattr(layer, "weights", ()):
        yield layer


def _problem(layer: Any) -> str:
    """Why a layer cannot be used, and what can be instead; empty for one that can."""
    kind, home = type(layer).__name__, type(layer).__module__
    if home.startswith("keras.src.ops."):
        return _problem_of_operation(layer, kind)
    known = (
        (kind in _WITHOUT_WEIGHTS and not layer.weights)
        or kind in _WITH_WEIGHTS
        or kind == "MultiHeadAttention"
    )
    if known and not home.startswith("keras.src.layers."):
        return f"is no {kind} of Keras 3 itself: use that one"
    if not known:
        return _unknown(kind)
    if _across_examples(layer):
        return "works along axis 0, across examples: use another axis"
    if kind == "MultiHeadAttention":
        return _problem_of_attention(layer)
    return _problem_of_weights(layer, kind)


def _unknown(kind: str) -> str:
    fitting = [advice for word, advice in _INSTEAD.items() if word in kind]
    advice = fitting[0] if fitting else "use Dense, Conv2D, Embedding, LayerNormalization,"
    advice = advice if fitting else f"{advice} MultiHeadAttention and layers without weights"
    return f"has no per-example gradients here: {advice}"


def _across_examples(layer: Any) -> bool:
    """Whether an axis that a layer works along is that of the examples."""
    axis = getattr(layer, "axis", -1)
    ranks = [len(shape) for shape in _inputs(layer)]
    axes = axis if isinstance(axis, list | tuple) else [axis]
    return any(one is None or one % rank == 0 for one in axes for rank in ranks)


def _problem_of_operation(layer: Any, kind: str) -> str:
    if kind not in _OPERATIONS:
        return _unknown(kind)
    if kind == "Cumsum" and _across_examples(layer):
        return "works along axis 0, across examples: use another axis"
    if len({len(shape) for shape in _inputs(layer)}) > 1:
        return "takes tensors of unlike rank, which may mix examples: reshape them"
    return ""


def _problem_of_attention(layer: Any) -> str:
    if any(len(shape) != 3 for shape in _inputs(layer)) or layer._attention_axes != (1,):
        return "does not look from positions to positions: give it inputs (n, positions, features)"
    if layer.dropout:
        return "has dropout: set dropout=0"
    if getattr(layer, "use_gate", False) or getattr(layer, "_use_gate", False):
        return "has a gate: set use_gate=False"
    problems = (_problem_of_weights(part, "Dense") for part in _parts(layer))
    return next(filter(None, problems), "")


def _problem_of_weights(layer: Any, kind: str) -> str:
    if layer.compute_dtype != "float32":
        return f"computes in {layer.compute_dtype}, too coarse to clip by: use float32"
    if getattr(layer, "data_format", None) == "channels_first":
        return "has its channels first: use channels_last"
    if getattr(layer, "groups", 1) != 1 and kind == "Conv2D":
        return f"has groups={layer.groups}: use groups=1"
    if getattr(layer, "depth_multiplier", 1) != 1:
        return f"has depth_multiplier={layer.depth_multiplier}: use depth_multiplier=1"
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return "has adapters or quantized weights: use it as it was made"
    if kind.endswith("Normalization") and layer.weights:
        axis = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
        [rank] = {len(shape) for shape in _inputs(layer)}
        if [one % rank for one in axis] != [rank - 1]:
            return "scales along other axes than the last: use axis=-1"
        if getattr(layer, "rms_scaling", False):
            return "has rms_scaling: use RMSNormalization"
    of = ("kernel", "bias", "activity", "embeddings", "gamma", "beta")
    if any(getattr(layer, f"{each}_regularizer", None) for each in of):
        return "has a regularizer, which is no example's: let the optimizer decay the weights"
    return ""
