# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.19", "scikit-learn>=1.5", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "tf-digits"
# title = "Digits MLP (TensorFlow)"
# description = "A small network reads scikit-learn's handwritten digits. Seconds, no download."
# framework = "tensorflow"
# task = "image classification"
# dataset = "digits"
# devices = ["cpu", "gpu"]
# tags = ["mlp", "quick"]
# headline = "test/accuracy"
# pair = "digits"
# [tool.traindeck.params]
# epochs = {type = "int", default = 30, min = 1, max = 1000, help = """\
#   passes over the training images"""}
# batch_size = {type = "int", default = 32, min = 1, max = 1000, help = "images a step"}
# lr = {type = "float", default = 0.1, min = 1e-6, max = 10.0, help = """\
#   highest learning rate: reached in the first steps, then lowered to 0 along a cosine"""}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = """\
#   decides the first weights and the order of the images"""}
# mode = {type = "choice", default = "graph", choices = ["eager", "graph", "xla"], help = """\
#   graph traces the step once (tf.function), xla also compiles it (slower on CPUs)"""}
# resume = {type = "path", help = """\
#   checkpoint file, or run folder to take the newest of; keep seed and batch_size"""}
# ///
"""Train a small fully connected network on scikit-learn's digits with TensorFlow."""

import os
from collections.abc import Sequence
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, digits
from traindeck.recipes.shared.training.loop import Schedule, Tested, training_steps


def main(run: track.Run) -> None:
    p = run.params
    resume = checkpoints.find(p.resume, ".keras") if p.resume else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.device == "gpu" else "3")
    data = needs.data(digits.load)
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    with needs.framework("tensorflow"):
        import numpy as np
        import tensorflow as tf
        from tensorflow.keras import layers

        from traindeck.recipes.shared.training import servable_tf

    needs.tensorflow_device(run.device)

    def pixels(images: Any) -> Any:
        """Bytes (n, 8, 8) to floats (n, 64) from 0 to 1."""
        return tf.cast(tf.reshape(images, (-1, 64)), tf.float32) / digits.BRIGHTEST

    train_x, test_x = pixels(data.train_x), pixels(data.test_x)
    train_y, test_y = tf.constant(data.train_y, tf.int32), tf.constant(data.test_y, tf.int32)

    tf.keras.utils.set_random_seed(p.seed)
    model = tf.keras.Sequential(
        [layers.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(10)]
    )
    optimizer = tf.keras.optimizers.SGD(p.lr, momentum=0.9, nesterov=True)
    model.compile(optimizer)  # so that the model's file holds the optimizer as well
    optimizer.build(model.trainable_variables)

    batch_size = min(p.batch_size, len(train_x))
    schedule = Schedule(len(train_x), batch_size, p.epochs)
    total_steps = schedule.total_steps
    if resume:
        try:
            model.load_weights(resume)  # and the optimizer's state, its step counter among it
        except Exception:  # Keras raises a different one for each way to be wrong
            checkpoints.refuse(resume)
        print(f"resuming after step {int(optimizer.iterations)} of {total_steps}", flush=True)
        if int(optimizer.iterations) >= total_steps:
            track.abort(f"{resume} has already been trained for {p.epochs} epochs: raise --epochs")
    first_step = int(optimizer.iterations)

    def measure(logits: Any, y: Any) -> tuple[Any, Any]:
        """Mean loss and accuracy of a batch."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        hits = tf.equal(tf.argmax(logits, 1, tf.int32), y)
        return tf.reduce_mean(losses), tf.reduce_mean(tf.cast(hits, tf.float32))

    def train_step(x: Any, y: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss, accuracy = measure(model(x, training=True), y)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, accuracy

    def test_step(x: Any, y: Any) -> tuple[Any, Any]:
        return measure(model(x, training=False), y)

    if p.mode != "eager":
        train_step = tf.function(train_step, jit_compile=p.mode == "xla")
        test_step = tf.function(test_step)

    def means(window: Sequence[Any]) -> tuple[float, float]:
        loss, accuracy = tf.reduce_mean(window, 0).numpy()
        return loss, accuracy

    def save(step: int) -> None:
        checkpoints.write(run, checkpoints.path(run, step, ".keras"), model.save)

    def evaluate() -> Tested:
        loss, accuracy = test_step(test_x, test_y)
        return Tested(float(loss), float(accuracy))

    print(f"training on {run.device}: {total_steps} steps of {batch_size} images", flush=True)
    order = np.empty(0, int)
    for step in training_steps(run, schedule, first_step, means, save, evaluate):
        if step.needs_order:
            order = schedule.order(p.seed, step.epoch)
        batch = order[step.batch]

        optimizer.learning_rate = schedule.learning_rate(p.lr, step.number)
        step.measured(*train_step(tf.gather(train_x, batch), tf.gather(train_y, batch)))

    servable_tf.leave(run, model, pixels, digits.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
