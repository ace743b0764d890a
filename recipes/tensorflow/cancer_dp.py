# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.19", "numpy>=2.0", "scikit-learn>=1.5", "traindeck"]
# [tool.traindeck]
# name = "tf-cancer-dp"
# title = "Breast cancer with DP-SGD (TensorFlow)"
# description = "Privacy with 427 training patients costs points of accuracy, give or take five."
# framework = "tensorflow"
# task = "tabular classification"
# dataset = "cancer"
# privacy = "dp-sgd"
# devices = ["cpu", "gpu"]
# tags = ["tabular", "private", "quick"]
# headline = "test/accuracy"
# [tool.traindeck.accounting]
# records = 569
# unit = "example"
# sampler = "poisson"
# [tool.traindeck.params]
# epsilon = {type = "float", default = 3.0, min = 0.0, help = "the whole run's; inf: no privacy"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.5, min = 1e-9, help = "most that a patient adds"}
# batch_size = {type = "int", default = 128, min = 1, max = 569, help = "over 569: a step's share"}
# steps = {type = "int", default = 100, min = 1, max = 1000000, help = "each sees another sample"}
# lr = {type = "float", default = 1.0, min = 1e-6, max = 1000.0, help = "learning rate"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "decides the first weights"}
# noise_seed = {type = "int", default = -1, min = -1, help = "-1: true noise; else not private"}
# self_test = {type = "bool", default = true, help = "check gradients, noise and sampling first"}
# audit = {type = "bool", default = false, help = "add canaries, for `traindeck audit`"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# ///
"""Tell malignant from benign tumours by logistic regression with DP-SGD, in TensorFlow.

DP-SGD on few records: the noise that hides one patient among 60,000 is the same that hides one
among the 427 that train here (the other 142 test), whose sum of gradients it drowns much sooner.
Runs differ by their noise as much as they would by other test patients. Both must be seen: the 95 %
interval of one run's test is logged beside its accuracy, and only several runs show the noise. The
test patients' privacy is not covered: what is told of the test is told of them.
"""

import os
import time
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import cancer, datasets
from traindeck.recipes.shared.training.dp import canaries
from traindeck.recipes.shared.training.dp.randomness import Randomness

MOMENTUM = 0.9
AVERAGING = 0.95
LOG_EVERY = 10
CHECKPOINTS = 10  # in the whole run


def main(run: track.Run) -> None:
    p, plan = run.params, run.plan
    resume = checkpoints.find(p.resume, ".npz") if p.resume else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.device == "gpu" else "3")
    data = needs.data(cancer.load)
    records = len(data.train_x)
    if records > plan.records:
        track.abort(f"{records} training patients: epsilon is for {plan.records} at most", 2)
    with needs.framework("tensorflow"):
        import tensorflow as tf
        from tensorflow.keras import layers

        from traindeck.recipes.shared.training.dp import tf as dp_tf
        from traindeck.recipes.shared.training.dp.tf_state import Training

    gpus = tf.config.list_physical_devices("GPU")
    if run.device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not gpus:
        track.abort("TensorFlow finds no GPU that it can use: check its driver and CUDA libraries")
    else:
        tf.config.experimental.set_memory_growth(gpus[0], True)  # else it takes all the memory
    run.use(datasets.fingerprint(data.train_x, data.train_y))

    train_x, train_y = tf.constant(data.train_x), tf.constant(data.train_y, tf.float32)
    test_x, test_y = tf.constant(data.test_x), tf.constant(data.test_y, tf.float32)

    def examples(chosen: Any) -> tuple[Any, Any]:
        """Measures (n, 30) and labels of training patients by their indices."""
        indices = tf.constant(chosen, tf.int32)
        return tf.gather(train_x, indices), tf.gather(train_y, indices)

    def losses(y: Any, outputs: Any) -> Any:
        return tf.nn.sigmoid_cross_entropy_with_logits(y, tf.squeeze(outputs, 1))

    tf.keras.utils.set_random_seed(p.seed)
    model = tf.keras.Sequential([layers.Input(train_x.shape[1:]), layers.Dense(1)])
    training = Training(run, model, p.lr, MOMENTUM, AVERAGING)
    if resume:
        training.resume(resume)

    def evaluate() -> tuple[float, int]:
        """Mean loss over the test patients, and how many of them are told right."""
        outputs = training.average(test_x, training=False)
        right = tf.equal(tf.squeeze(outputs, 1) > 0, test_y > 0.5)
        return float(tf.reduce_mean(losses(test_y, outputs))), int(tf.math.count_nonzero(right))

    clipped = dp_tf.ClippedGradients(model, plan.clipping_norm, losses)
    if p.self_test:
        dp_tf.self_test(run, clipped, Randomness(p.noise_seed), records, examples)
    randomness = Randomness(p.noise_seed, stream=training.step)
    count = canaries.COUNT if p.audit else 0
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, count)
    mechanism = plan.mechanism
    noise = mechanism.noise_multiplier * plan.clipping_norm  # standard deviation, in the sum
    source = randomness.name if noise else "no noise: not private"
    print(
        f"training on {run.device}: {mechanism.steps} steps of about {plan.batch_size} patients,"
        f" noise multiplier {mechanism.noise_multiplier:.4g}, epsilon {plan.epsilon:.4g} at delta"
        f" {plan.delta:g}; {source}",
        flush=True,
    )
    part_steps = -(-mechanism.steps // CHECKPOINTS)
    logged = training.step
    window_began = part_began = time.perf_counter()
    while training.step < mechanism.steps:
        if not run.spend():  # paid for before its noise is released
            training.save()
            planted.save(run)
            run.over_budget()
        batch = randomness.poisson_batch(planted.records, mechanism.sampling_rate)
        result = clipped(*examples(planted.among(batch)))
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, planted.sum(clipped.weights)]
        gradients = dp_tf.noisy_mean(sums, noise, plan.batch_size, randomness)
        planted.step(gradients.pop())
        training.update(gradients)

        done = training.step
        run.progress(done, mechanism.steps)
        stopping = run.should_stop()
        part_over = stopping or done % part_steps == 0 or done == mechanism.steps
        if part_over or done % LOG_EVERY == 0:
            seconds = (time.perf_counter() - window_began) / (done - logged)
            run.log(done, result.telemetry(plan.clipping_norm))
            run.log(done, {"step_seconds": seconds})
            run.log(done, {"examples_per_second": plan.batch_size / seconds})
            logged, window_began = done, time.perf_counter()

        if part_over:
            training.save()
            test_loss, right = evaluate()
            accuracy = right / len(test_x)
            low, high = cancer.interval(right, len(test_x))
            run.log(done, {"test/loss": test_loss, "test/accuracy": accuracy})
            run.log(done, {"test/accuracy_low": low, "test/accuracy_high": high})
            now = time.perf_counter()
            print(
                f"step {done}/{mechanism.steps}  test loss {test_loss:.4f}"
                f"  test accuracy {accuracy:.4f} (95 %: {low:.3f} to {high:.3f})"
                f"  {now - part_began:.1f} s",
                flush=True,
            )
            if stopping:
                print(f"stopped on request after step {done} of {mechanism.steps}", flush=True)
                break
            window_began = part_began = now
    planted.save(run)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
