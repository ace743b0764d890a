"""LiteRT (TensorFlow Lite): float32, and with weights or all numbers in fewer bits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.core.base.errors import UsageError
from traindeck.core.models.bundle import FLOAT
from traindeck.recipes.shared.training import needs

if TYPE_CHECKING:
    from traindeck.recipes.shared.deploy.calibration import Calibration


def make(
    kind: str, model: Path, target: Path, how: str = "", calibration: Calibration | None = None
) -> None:
    """Write a .tflite.

    how  empty for float32; dynamic, f16, int8; micro: int8, from int8 to int8

    Raises UsageError for what cannot be made, and whatever the converter does.
    """
    target.parent.mkdir(exist_ok=True)
    if kind == "litert":
        shutil.copyfile(model, target)
    else:
        target.write_bytes(_of_saved_model(model, how, calibration))


def _of_saved_model(model: Path, how: str, calibration: Calibration | None) -> bytes:
    import numpy as np

    with needs.framework("tensorflow"):
        import tensorflow as tf

    key = "serving_default"
    if how == "micro":
        key = _float_signature(tf.saved_model.load(str(model)).signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(model), signature_keys=[key])
    if how:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if how == "f16":
        converter.target_spec.supported_types = [tf.float16]
    if calibration is not None:
        kind = np.float32 if how == "micro" else None

        def examples() -> Iterator[dict[str, Any]]:
            for k in range(calibration.count):
                arrays = calibration.inputs.items()
                yield {name: np.asarray(array[k : k + 1], kind) for name, array in arrays}

        converter.representative_dataset = examples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if how == "micro":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    written: bytes = converter.convert()
    return written


def _float_signature(signatures: Any) -> str:
    """The one that takes floats, which can become int8 without a cast."""
    import tensorflow as tf

    for key in (FLOAT, "serving_default"):
        if key in signatures:
            specs = signatures[key].structured_input_signature[1].values()
            if all(spec.dtype == tf.float32 for spec in specs):
                return key
    raise UsageError(
        "--for micro: the model takes whole numbers, which microcontrollers cannot turn into int8"
        f" (CAST is refused there), and has no second signature {FLOAT!r} that takes floats"
    )
