# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.19", "scikit-learn>=1.5", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "tf-steps"
# title = "Training steps by the clock (TensorFlow)"
# description = "Times the steps of one small network, by the same numbers in each framework."
# framework = "tensorflow"
# task = "measuring"
# dataset = "digits"
# devices = ["cpu", "gpu"]
# tags = ["measuring", "quick"]
# headline = "examples_per_second"
# pair = "steps"
# [tool.traindeck.params]
# mode = {type = "choice", default = "eager", choices = ["eager", "graph", "xla"], help = """\
#   graph traces the step once (tf.function), xla also compiles it"""}
# precision = {type = "choice", default = "float32", choices = ["float32", "bfloat16"], help = """\
#   bfloat16: mixed, weights and loss stay float32"""}
# seconds = {type = "float", default = 1.5, min = 0.1, max = 600.0, help = "of steady steps"}
# batch_size = {type = "int", default = 128, min = 1, max = 1000, help = "images a step"}
# threads = {type = "int", default = 1, min = 1, max = 256, help = "that compute at a time"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "first weights and order"}
# ///
"""Time the training steps of a small network in TensorFlow: the first, then the steady ones."""

import os
from collections.abc import Callable
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import measuring, needs


def main(run: track.Run) -> None:
    p = run.params
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.device == "gpu" else "3")
    data_x, data_y = needs.data(lambda: measuring.batches(p.seed, p.batch_size))
    with needs.framework("tensorflow"):
        import tensorflow as tf
        from tensorflow.keras import layers

    tf.config.threading.set_intra_op_parallelism_threads(p.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    needs.tensorflow_device(run.device)
    x, y = tf.unstack(tf.constant(data_x)), tf.unstack(tf.constant(data_y))

    if p.precision == "bfloat16":
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    first, second, third, last = measuring.WIDTHS
    model = tf.keras.Sequential(
        [
            layers.Input((first,)),
            layers.Dense(second, activation="relu"),
            layers.Dense(third, activation="relu"),
            layers.Dense(last),
        ]
    )
    model.set_weights(measuring.weights(p.seed))
    optimizer = tf.keras.optimizers.SGD(measuring.LEARNING_RATE)
    optimizer.build(model.trainable_variables)

    def train_step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = tf.cast(model(x, training=True), tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    if p.mode != "eager":
        train_step = tf.function(train_step, jit_compile=p.mode == "xla")

    def step(number: int) -> Callable[[], float]:
        at = number % len(x)
        loss = train_step(x[at], y[at])
        return lambda: float(loss)

    print(f"training on {run.device}, {p.mode}, {p.precision}", flush=True)
    measuring.measure(run, step, data_x.shape[1], p.seconds)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
