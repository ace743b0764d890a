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
# [tool.traindeck.params.epochs]
# type = "int"
# default = 30
# min = 1
# max = 1000
# help = "passes over the training images"
# [tool.traindeck.params.batch_size]
# type = "int"
# default = 32
# min = 1
# max = 1000
# help = "images a step"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.1
# min = 0.000001
# max = 10.0
# help = "highest learning rate: reached in the first steps, then lowered to 0 along a cosine"
# [tool.traindeck.params.seed]
# type = "int"
# default = 0
# min = 0
# max = 999999
# help = "decides the first weights and the order of the images"
# [tool.traindeck.params.mode]
# type = "choice"
# default = "graph"
# choices = ["eager", "graph", "xla"]
# help = "graph traces the step once (tf.function), xla also compiles it (slower on CPUs)"
# [tool.traindeck.params.resume]
# type = "path"
# help = "checkpoint file, or run folder to take the newest of; keep seed and batch_size"
# ///
"""Train a small fully connected network on scikit-learn's digits with TensorFlow."""

import math
import os
import time
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, digits

WARMUP = 0.1  # share of all steps in which the learning rate rises
LOG_EVERY = 10  # reading a loss waits for the device: every step would slow a GPU down


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

    gpus = tf.config.list_physical_devices("GPU")
    if run.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not gpus:
        track.abort("TensorFlow finds no GPU that it can use: check its driver and CUDA libraries")
    else:
        tf.config.experimental.set_memory_growth(gpus[0], True)  # else it takes all the memory

    train_x = tf.constant(data.train_x.reshape(-1, 64) / digits.BRIGHTEST, tf.float32)
    test_x = tf.constant(data.test_x.reshape(-1, 64) / digits.BRIGHTEST, tf.float32)
    train_y, test_y = tf.constant(data.train_y, tf.int32), tf.constant(data.test_y, tf.int32)

    tf.keras.utils.set_random_seed(p.seed)
    model = tf.keras.Sequential(
        [layers.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(10)]
    )
    optimizer = tf.keras.optimizers.SGD(p.lr, momentum=0.9, nesterov=True)
    model.compile(optimizer)  # so that the model's file holds the optimizer as well
    optimizer.build(model.trainable_variables)

    batch_size = min(p.batch_size, len(train_x))
    steps_per_epoch = len(train_x) // batch_size  # what remains comes in another epoch's shuffle
    total_steps: int = p.epochs * steps_per_epoch
    if resume:
        try:
            model.load_weights(resume)  # and the optimizer's state, its step counter among it
        except Exception:  # Keras raises a different one for each way to be wrong
            checkpoints.refuse(resume)
        print(f"resuming after step {int(optimizer.iterations)} of {total_steps}", flush=True)
        if int(optimizer.iterations) >= total_steps:
            track.abort(f"{resume} has already been trained for {p.epochs} epochs: raise --epochs")
    first_step = int(optimizer.iterations)

    def learning_rate(step: int) -> float:
        warmup = min(1.0, (step + 1) / (WARMUP * total_steps))
        return float(p.lr) * warmup * 0.5 * (1 + math.cos(math.pi * step / total_steps))

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

    print(f"training on {run.device}: {total_steps} steps of {batch_size} images", flush=True)
    order = np.empty(0, int)
    window: list[tuple[Any, Any]] = []  # loss and accuracy of each step since the last log
    window_began = epoch_began = time.perf_counter()
    for step in range(first_step, total_steps):
        epoch, at = divmod(step, steps_per_epoch)
        if at == 0 or step == first_step:  # by seed and epoch alone, so that a resumed run agrees
            order = np.random.default_rng((p.seed, epoch)).permutation(len(train_x))
        batch = order[at * batch_size : (at + 1) * batch_size]

        optimizer.learning_rate = learning_rate(step)
        window.append(train_step(tf.gather(train_x, batch), tf.gather(train_y, batch)))

        done = step + 1
        run.progress(done, total_steps)
        stopping = run.should_stop()
        epoch_over = stopping or done % steps_per_epoch == 0
        if epoch_over or len(window) == LOG_EVERY:
            train_loss, train_accuracy = tf.reduce_mean(window, 0).numpy()
            seconds = (time.perf_counter() - window_began) / len(window)
            run.log(done, {"train/loss": train_loss, "train/accuracy": train_accuracy})
            run.log(done, {"step_seconds": seconds, "examples_per_second": batch_size / seconds})
            window, window_began = [], time.perf_counter()

        if epoch_over:
            checkpoints.write(run, checkpoints.path(run, done, ".keras"), model.save)
            test_loss, test_accuracy = map(float, test_step(test_x, test_y))
            run.log(done, {"test/loss": test_loss, "test/accuracy": test_accuracy})
            now = time.perf_counter()
            print(
                f"epoch {done / steps_per_epoch:.4g}/{p.epochs}  test loss {test_loss:.4f}"
                f"  test accuracy {test_accuracy:.4f}  {now - epoch_began:.1f} s",
                flush=True,
            )
            if stopping:
                print(f"stopped on request after step {done} of {total_steps}", flush=True)
                break
            window_began = epoch_began = now


if __name__ == "__main__":
    with track.start() as run:
        main(run)
