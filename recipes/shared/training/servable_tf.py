"""A trained Keras model as it is served: a SavedModel, names kept, any number of records.

Its input is what clients have, such as bytes of an image; what prepares it is part of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from traindeck.core import track
from traindeck.core.models.bundle import FLOAT
from traindeck.recipes.shared.training.data.served import OUTPUT, Served

Before = Callable[[Any], Any]
"""Raw input as floats (n, …), to what the model takes."""


def leave(run: track.Run, model: Any, before: Before, served: Served) -> None:
    """Leave the run's servable: the model after `before`, its outputs made probabilities.

    model  a Keras model or layer; gives (n, classes) logits, or (n, 1): that of the second of two

    Where it takes whole numbers it can be asked with floats as well, by another signature: what
    microcontrollers run is made of that, since they cannot turn the one into the other. Of several
    ranks the first leaves it.
    """
    if run.rank and run.rank.number:
        return

    def answer(raw: Any) -> dict[str, Any]:
        logits = model(before(tf.cast(raw, tf.float32)), training=False)
        if logits.shape[1] == 1:
            logits = tf.concat([tf.zeros_like(logits), logits], 1)
        return {OUTPUT: tf.nn.softmax(logits)}

    def write(folder: Path) -> None:
        archive = tf.keras.export.ExportArchive()
        archive.track(model)
        if isinstance(before, tf.keras.layers.Layer):  # it has variables too
            archive.track(before)
        dtype = tf.as_dtype(served.tensor["dtype"])
        endpoints = {"serve": dtype} if dtype.is_floating else {"serve": dtype, FLOAT: tf.float32}
        for name, kind in endpoints.items():
            spec = tf.TensorSpec((None, *served.tensor["shape"]), kind, name=served.name)
            archive.add_endpoint(name, lambda raw: answer(raw), [spec])
        archive.write_out(folder, verbose=False)

    run.servable(write, served.inputs, served.outputs)
