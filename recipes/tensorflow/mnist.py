# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.19", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "tf-mnist"
# title = "MNIST CNN (TensorFlow)"
# description = "A small convolutional network reads handwritten digits, 99 % of them right."
# framework = "tensorflow"
# task = "image classification"
# dataset = "mnist"
# devices = ["cpu", "gpu"]
# tags = ["cnn", "baseline"]
# headline = "test/accuracy"
# pair = "mnist"
# [tool.traindeck.params]
# epochs = {type = "int", default = 4, min = 1, max = 1000, help = """\
#   passes over the training images"""}
# batch_size = {type = "int", default = 128, min = 1, max = 10000, help = "images a step"}
# lr = {type = "float", default = 0.1, min = 1e-6, max = 10.0, help = """\
#   highest learning rate: reached in the first steps, then lowered to 0 along a cosine"""}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = """\
#   decides the first weights and the order of the images"""}
# mode = {type = "choice", default = "graph", choices = ["eager", "graph", "xla"], help = """\
#   graph traces the step once (tf.function), xla also compiles it (slower on CPUs)"""}
# strategy = {type = "choice", default = "none", choices = ["none","mirrored","multiworker","tpu"]}
# workers = {type = "int", default = 1, min = 1, max = 256, help = "with mirrored, multiworker"}
# data_dir = {type = "path", help = """\
#   folder of MNIST's four IDX files; else $TRAINDECK_DATA/mnist, the cache or a download"""}
# resume = {type = "path", help = """\
#   checkpoint file, or run folder to take the newest of; keep seed and batch_size"""}
# ///
"""Train a small convolutional network on MNIST with TensorFlow."""

import os
from collections.abc import Sequence
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, mnist
from traindeck.recipes.shared.training.loop import Schedule, Tested, training_steps
from traindeck.recipes.shared.training.parallel.cluster import in_cluster


def main(run: track.Run) -> None:
    p = run.params
    resume = checkpoints.find(p.resume, ".keras") if p.resume else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.device == "gpu" else "3")
    data = needs.data(mnist.load, p.data_dir)
    in_cluster(run, p.strategy, p.workers)
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    with needs.framework("tensorflow"):
        import numpy as np
        import tensorflow as tf
        from tensorflow.keras import layers

        from traindeck.recipes.shared.training import servable_tf
        from traindeck.recipes.shared.training.parallel.tf import Replicas

    replicas = Replicas(run, p.strategy, p.workers)
    train_x, train_y = tf.constant(data.train_x), tf.constant(data.train_y, tf.int32)
    test_x, test_y = tf.constant(data.test_x), tf.constant(data.test_y, tf.int32)

    tf.keras.utils.set_random_seed(p.seed)
    with replicas.scope():
        model = tf.keras.Sequential(
            [
                layers.Input((28, 28, 1)),
                layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),  # 28×28 → 14×14
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.MaxPool2D(2),  # 14×14 → 7×7
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dense(10),
            ]
        )
        optimizer = tf.keras.optimizers.SGD(p.lr, momentum=0.9, nesterov=True)
        model.compile(optimizer)  # so that the model's file holds the optimizer as well
        optimizer.build(model.trainable_variables)

    batch_size = min(p.batch_size, len(train_x))
    schedule = Schedule(len(train_x), batch_size, p.epochs)
    first_step, total_steps = 0, schedule.total_steps
    if resume:
        try:
            model.load_weights(resume)  # and the optimizer's state, its step counter among it
        except Exception:  # Keras raises a different one for each way to be wrong
            checkpoints.refuse(resume)
        first_step = int(optimizer.iterations.numpy())
        print(f"resuming after step {first_step} of {total_steps}", flush=True)
        if first_step >= total_steps:
            track.abort(f"{resume} has already been trained for {p.epochs} epochs: raise --epochs")

    def pixels(images: Any) -> Any:
        """Bytes (n, 28, 28) to floats (n, 28, 28, 1) from 0 to 1."""
        return tf.cast(images[..., tf.newaxis], tf.float32) / 255

    def measure(logits: Any, y: Any) -> tuple[Any, Any]:
        """Mean loss and accuracy of a batch."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        hits = tf.equal(tf.argmax(logits, 1, tf.int32), y)
        return tf.reduce_mean(losses), tf.reduce_mean(tf.cast(hits, tf.float32))

    def train_step(x: Any, y: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss, accuracy = measure(model(pixels(x), training=True), y)
            share = replicas.share(loss)
        gradients = tape.gradient(share, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, accuracy

    def test_step(x: Any, y: Any) -> tuple[Any, Any]:
        return measure(model(pixels(x), training=False), y)

    train_steps = replicas.over(train_step, p.mode)
    if p.mode != "eager":
        test_step = tf.function(test_step, reduce_retracing=True)

    def means(window: Sequence[Any]) -> tuple[float, float]:
        loss, accuracy = tf.reduce_mean(window, 0).numpy()
        return loss, accuracy

    def save(step: int) -> None:
        checkpoints.write(run, checkpoints.path(run, step, ".keras"), model.save)

    def evaluate() -> Tested:
        """Mean loss and accuracy over the test images."""
        loss = accuracy = 0.0
        for at in range(0, len(test_x), 1000):
            x, y = test_x[at : at + 1000], test_y[at : at + 1000]
            batch_loss, batch_accuracy = test_step(x, y)
            loss += float(batch_loss) * len(x) / len(test_x)
            accuracy += float(batch_accuracy) * len(x) / len(test_x)
        return Tested(loss, accuracy)

    print(f"training on {run.device}: {total_steps} steps of {batch_size} images", flush=True)
    order = np.empty(0, int)
    for step in training_steps(run, schedule, first_step, means, save, evaluate, replicas):
        if step.needs_order:
            order = schedule.order(p.seed, step.epoch)
        batch = order[step.batch]
        optimizer.learning_rate = schedule.learning_rate(p.lr, step.number)
        step.measured(*train_steps(tf.gather(train_x, batch), tf.gather(train_y, batch)))

    servable_tf.leave(run, replicas.plain(model), pixels, mnist.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
