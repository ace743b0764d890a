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
# pair = "cancer-dp"
# accounting = {records = 569, unit = "example", sampler = "poisson"}
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
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import cancer, datasets
from traindeck.recipes.shared.training.dp import canaries
from traindeck.recipes.shared.training.dp.loop import announce, check_records, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.loop import Tested

MOMENTUM = 0.9
AVERAGING = 0.95


def main(run: track.Run) -> None:
    p, plan = run.params, run.plan
    resume = checkpoints.find(p.resume, ".npz") if p.resume else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.device == "gpu" else "3")
    data = needs.data(cancer.load)
    records = len(data.train_x)
    check_records(run, records, "patients")
    with needs.framework("tensorflow"):
        import tensorflow as tf
        from tensorflow.keras import layers

        from traindeck.recipes.shared.training.dp import tf as dp_tf
        from traindeck.recipes.shared.training.dp.tf_state import Training

    needs.tensorflow_device(run.device)
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

    def evaluate() -> Tested:
        """The average of the weights on the test patients."""
        outputs = training.average(test_x, training=False)
        loss = float(tf.reduce_mean(losses(test_y, outputs)))
        hits = tf.equal(tf.squeeze(outputs, 1) > 0, test_y > 0.5)
        right = int(tf.math.count_nonzero(hits))
        return Tested(loss, right / len(test_x), cancer.interval(right, len(test_x)))

    clipped = dp_tf.ClippedGradients(model, plan.clipping_norm, losses)
    test = dp_tf.self_test(clipped, records, examples) if p.self_test else None
    randomness = Randomness(p.noise_seed, stream=training.step)
    count = canaries.COUNT if p.audit else 0
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, count)
    announce(run, randomness, run.device, "patients")
    for step in private_steps(run, training, randomness, evaluate, test, planted):
        batch = step.randomness.poisson_batch(planted.records, step.rate)
        result = clipped(*examples(planted.among(batch)))
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, planted.sum(clipped.weights)]
        gradients = dp_tf.noisy_mean(sums, step.noise, plan.batch_size, step.randomness)
        planted.step(gradients.pop())
        training.update(gradients)
        step.gave(result)

    low, high = (tf.constant(end, tf.float32) for end in cancer.ends())
    width = high - low
    training.leave(lambda x: tf.clip_by_value(2 * (x - low) / width - 1, -1, 1), cancer.SERVED)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
