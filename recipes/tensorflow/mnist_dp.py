# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.19", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "tf-mnist-dp"
# title = "MNIST CNN with DP-SGD (TensorFlow)"
# description = "Reads handwritten digits, 98 % of them right, and tells little of any one image."
# framework = "tensorflow"
# task = "image classification"
# dataset = "mnist"
# privacy = "dp-sgd"
# devices = ["cpu", "gpu"]
# tags = ["cnn", "private"]
# headline = "test/accuracy"
# pair = "mnist-dp"
# accounting = {records = 60000, unit = "example", sampler = "poisson"}
# [tool.traindeck.params]
# epsilon = {type = "float", default = 2.93, min = 0.0, help = "the whole run's; inf: no privacy"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.1, min = 1e-9, help = "most that an image adds"}
# clipping = {type = "choice", default = "fixed", help = """\
#   adaptive: follows a quantile of the gradients' norms""", choices = ["fixed", "adaptive"]}
# clipping_quantile = {type = "float", default = 0.5, min = 0.0, max = 1.0, help = "left unclipped"}
# clipping_lr = {type = "float", default = 0.2, min = 1e-6, max = 10.0, help = "how fast it moves"}
# count_noise = {type = "float", default = 0.0, min = 0.0, help = "its count's; 0: batch_size / 20"}
# batch_size = {type = "int", default = 2048, min = 1, max = 60000, help = "images a step, mean"}
# epochs = {type = "float", default = 40.0, min = 0.001, max = 10000.0, help = "may be a fraction"}
# noise = {type = "choice", default = "independent", choices = ["independent", "banded"]}
# bands = {type = "int", default = 8, min = 1, max = 64, help = "of banded noise: steps it spans"}
# lr = {type = "float", default = 3.0, min = 1e-6, max = 1000.0, help = "learning rate"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "decides the first weights"}
# noise_seed = {type = "int", default = -1, min = -1, help = "-1: true noise; else not private"}
# self_test = {type = "bool", default = true, help = "check gradients, noise and sampling first"}
# strategy = {type = "choice", default = "none", choices = ["none", "mirrored", "multiworker"]}
# workers = {type = "int", default = 1, min = 1, max = 256, help = "that share each batch"}
# data_dir = {type = "path", help = "folder of MNIST's four IDX files; else as in tf-mnist"}
# audit = {type = "bool", default = false, help = "add canaries, for `traindeck audit`"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# ///
"""Train a small convolutional network on MNIST with differential privacy, in TensorFlow.

DP-SGD (M. Abadi et al., CCS 2016) with the tanh network of N. Papernot et al.: Tempered sigmoid
activations for deep learning with differential privacy, AAAI 2021. The weights that are tested
and kept as a result are a running average of the trained ones, which costs no privacy.
"""

import os
from functools import partial
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, mnist
from traindeck.recipes.shared.training.dp import banded, canaries
from traindeck.recipes.shared.training.dp.loop import announce, check_records, private_steps
from traindeck.recipes.shared.training.loop import Tested
from traindeck.recipes.shared.training.parallel.cluster import in_cluster

MOMENTUM, AVERAGING = 0.9, 0.99


def main(run: track.Run) -> None:
    p, plan = run.params, run.plan
    resume = checkpoints.find(p.resume, ".npz") if p.resume else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.device == "gpu" else "3")
    data = needs.data(mnist.load, p.data_dir)
    records = len(data.train_x)
    check_records(run, records, "images")
    in_cluster(run, p.strategy, p.workers)
    with needs.framework("tensorflow"):
        import tensorflow as tf
        from tensorflow.keras import layers

        from traindeck.recipes.shared.training.dp import tf as dp_tf
        from traindeck.recipes.shared.training.dp.tf_state import Training
        from traindeck.recipes.shared.training.parallel.tf import Replicas
        from traindeck.recipes.shared.training.parallel.tf_dp import clipped_gradients

    replicas = Replicas(run, p.strategy, p.workers)
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    train_x, test_x = tf.constant(data.train_x), tf.constant(data.test_x)
    train_y, test_y = tf.constant(data.train_y, tf.int32), tf.constant(data.test_y, tf.int32)

    def pixels(images: Any) -> Any:
        """Bytes (n, 28, 28) to floats (n, 28, 28, 1), by MNIST's published mean and deviation."""
        return (tf.cast(images[..., tf.newaxis], tf.float32) / 255 - 0.1307) / 0.3081

    def examples(chosen: Any) -> tuple[Any, Any]:
        """Training images and labels by their indices."""
        indices = tf.constant(chosen, tf.int32)
        return pixels(tf.gather(train_x, indices)), tf.gather(train_y, indices)

    # First weights from -1/√inputs to 1/√inputs, of each layer its own.
    small = partial(tf.keras.initializers.VarianceScaling, 1 / 3, "fan_in", "uniform")
    tf.keras.utils.set_random_seed(p.seed)
    network = [
        layers.Input((28, 28, 1)),
        layers.ZeroPadding2D(3),
        layers.Conv2D(16, 8, strides=2, activation="tanh", kernel_initializer=small()),
        layers.MaxPool2D(2, strides=1),  # 28×28 → 14×14 → 13×13
        layers.Conv2D(32, 4, strides=2, activation="tanh", kernel_initializer=small()),
        layers.MaxPool2D(2, strides=1),  # 13×13 → 5×5 → 4×4
        layers.Flatten(),
        layers.Dense(32, activation="tanh", kernel_initializer=small()),
        layers.Dense(10, kernel_initializer=small()),
    ]
    with replicas.scope():
        model = tf.keras.Sequential(network)
    training = Training(run, model, p.lr, MOMENTUM, AVERAGING)
    if resume:
        training.resume(resume)

    @tf.function(jit_compile=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def test_step(x: Any, y: Any) -> tuple[Any, Any]:
        """Summed loss and number of hits of a batch."""
        logits = training.average(pixels(x), training=False)
        hits = tf.equal(tf.argmax(logits, 1, tf.int32), y)
        return tf.reduce_sum(dp_tf.cross_entropy(y, logits)), tf.reduce_sum(tf.cast(hits, tf.int32))

    def evaluate() -> Tested:
        """Mean loss and accuracy over the test images."""
        parts = [slice(at, at + 1000) for at in range(0, len(test_x), 1000)]
        tested = [test_step(test_x[part], test_y[part]) for part in parts]
        loss, hits = (sum(map(float, each)) for each in zip(*tested, strict=True))
        return Tested(loss / len(test_x), hits / len(test_x))

    micro_batch = 4096 if run.device == "gpu" else dp_tf.MICRO_BATCH
    clipped = clipped_gradients(replicas, model, training.clipping_norm, micro_batch)
    test = dp_tf.self_test(clipped, records, examples) if p.self_test else None
    randomness = banded.randomness(plan, p.noise_seed, training.step, MOMENTUM)
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, p.audit * canaries.COUNT)
    announce(run, randomness, run.device, "images")
    for step in private_steps(run, training, randomness, evaluate, test, planted):
        clipped.clip_to(step.clipping_norm)
        batch = step.randomness.poisson_batch(planted.records, step.rate)
        result = clipped(*examples(planted.among(batch)))
        step.follow(result.norms)
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, planted.sum(clipped.weights)]
        gradients = dp_tf.noisy_mean(sums, step.noise, plan.batch_size, step.randomness)
        planted.step(gradients.pop())
        training.update(gradients)
        step.gave(result)
    training.leave(pixels, mnist.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
