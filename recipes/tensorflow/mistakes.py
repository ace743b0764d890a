# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.19", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "tf-mistakes"
# title = "Mistakes and what is said of them (TensorFlow)"
# description = "Counts the words of the errors for the same mistakes; tries what tracing refuses."
# framework = "tensorflow"
# task = "measuring"
# devices = ["cpu"]
# tags = ["measuring", "quick"]
# headline = "mistake/shape/words"
# pair = "mistakes"
# ///
"""Make three mistakes in TensorFlow and count the words of each error; try what tracing refuses."""

import os
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import mistakes, needs


def main(run: track.Run) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with needs.framework("tensorflow"):
        import tensorflow as tf
        from tensorflow.keras import layers

    layer, x = layers.Dense(10), tf.ones((8, 64))
    layer.build((None, 64))

    def nan_caught() -> None:
        tf.debugging.check_numerics(tf.sqrt(tf.constant([-1.0])), "loss")

    def branch(x: Any) -> Any:
        if tf.reduce_sum(x) > 0:
            return x
        return -x

    def loop(x: Any) -> Any:
        while tf.reduce_sum(x) < 1e4:
            x = x * 2
        return x

    def reads(x: Any) -> Any:
        return x * float(tf.reduce_sum(x))

    def numpy(x: Any) -> Any:
        return tf.constant(x.numpy() * 2)

    def traced(made: Any) -> Any:
        return tf.function(made)(x)

    mistakes.record(
        run,
        {
            "shape": lambda: layer(tf.ones((8, 63))),
            "dtype": lambda: tf.matmul(tf.ones((8, 64), tf.float64), layer.kernel),
            "nan": lambda: float(tf.reduce_sum(tf.sqrt(tf.constant([-1.0])))),
            "nan, asked for": nan_caught,
        },
        {
            "branch on a value": lambda: traced(branch),
            "loop until a value": lambda: traced(loop),
            "value read as a number": lambda: traced(reads),
            "numpy inside": lambda: traced(numpy),
        },
    )


if __name__ == "__main__":
    with track.start() as run:
        main(run)
