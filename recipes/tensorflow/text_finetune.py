# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.19", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "tf-text-finetune"
# title = "A pretrained transformer's head on sentences, plain or private (TensorFlow)"
# description = "Public weights, private data: good or bad, by a linear layer on MiniLM's features."
# framework = "tensorflow"
# task = "text classification"
# dataset = "films"
# devices = ["cpu", "gpu"]
# tags = ["pretrained", "text", "private"]
# headline = "test/accuracy"
# pair = "text-finetune"
# [tool.traindeck.params]
# dp = {type = "choice", default = "none", choices = ["none", "example"], help = """\
#   example: epsilon for each sentence, by DP-SGD; not for what the weights saw before"""}
# weights = {type = "path", help = "folder of all-MiniLM-L6-v2, .safetensors and vocab.txt"}
# weights_sha256 = {type = "str", help = "that its weights must have; else any, and it is printed"}
# epochs = {type = "int", default = 20, min = 1, max = 10000, help = "over the sentences"}
# batch_size = {type = "int", default = 128, min = 1, max = 10000, help = "sentences a step"}
# lr = {type = "float", default = 5.0, min = 1e-6, max = 10000.0, help = "learning rate"}
# epsilon = {type = "float", default = inf, min = 0.0, help = "the whole run's, with dp"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 1.0, min = 1e-9, help = "most that a sentence adds"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "decides the sentences' order"}
# noise_seed = {type = "int", default = -1, min = -1, help = "-1: true noise; else not private"}
# self_test = {type = "bool", default = true, help = "with dp, check gradients, noise and sampling"}
# data_dir = {type = "path", help = "folder of vaderSentiment's source, or train.csv and test.csv"}
# audit = {type = "bool", default = false, help = "with dp, canaries for `traindeck audit`"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# [tool.traindeck.when.dp.example]
# privacy = "dp-sgd"
# accounting = {records = 10000, unit = "example", sampler = "poisson", pretrained = "web text"}
# defaults = {epsilon = 3.0, batch_size = 10000}
# ///
"""Train a linear layer on what a pretrained transformer reads in sentences, in TensorFlow.

The transformer, all-MiniLM-L6-v2, stays as it was published: features are computed once and kept.
With dp=example it is DP-SGD; what the transformer has read before, no epsilon covers.
"""

import os
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import films
from traindeck.recipes.shared.training.dp import canaries
from traindeck.recipes.shared.training.dp.loop import announce, check_records, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.loop import Schedule, Tested, training_steps
from traindeck.recipes.shared.training.pretrained import minilm, weights

MOMENTUM = 0.9
AVERAGING = 0.9


def main(run: track.Run) -> None:
    p, private = run.params, run.params.dp == "example"
    resume = checkpoints.find(p.resume, ".npz" if private else ".keras") if p.resume else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if run.device == "gpu" else "3")
    data = needs.data(films.load, p.data_dir)
    if private:
        check_records(run, len(data.train_x), "sentences")
        weights.of_private_data(run, "each training sentence")
    net = minilm.load(run, p.weights, p.weights_sha256)
    with needs.framework("tensorflow"):
        import tensorflow as tf

        from traindeck.recipes.shared.training import servable_tf
        from traindeck.recipes.shared.training.dp import tf as dp_tf
        from traindeck.recipes.shared.training.dp.tf_state import Training
        from traindeck.recipes.shared.training.pretrained import head_tf as head
        from traindeck.recipes.shared.training.pretrained.minilm_tf import MiniLM

    needs.tensorflow_device(run.device)
    run.use(films.fingerprint(data))
    # What is derived from a sentence shares its budget: its features are no other data set.
    features = minilm.features(net, data, MiniLM(net).computed)
    train_x, test_x = (tf.constant(x, tf.float32) for x in features)
    train_y, test_y = (tf.constant(y, tf.int32) for y in (data.train_y, data.test_y))
    model = head.zeros(minilm.FEATURES, len(films.CLASSES))

    def examples(chosen: Any) -> tuple[Any, Any]:
        """Features and labels of training sentences by their indices."""
        indices = tf.constant(chosen, tf.int32)
        return tf.gather(train_x, indices), tf.gather(train_y, indices)

    if not private:
        optimizer = tf.keras.optimizers.SGD(p.lr, momentum=MOMENTUM, nesterov=True)
        model.compile(optimizer)  # so that the model's file holds the optimizer as well
        optimizer.build(model.trainable_variables)
        schedule = Schedule(len(train_x), min(p.batch_size, len(train_x)), p.epochs)
        first, save = head.resumed(resume, model, schedule), head.saving(run, model)

        def train_step(x: Any, y: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                loss, accuracy = head.measured(model(x), y)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return loss, accuracy

        traced_step = tf.function(train_step)
        print(f"training on {run.device}: {schedule.total_steps} steps", flush=True)
        for each in training_steps(
            run, schedule, first, head.means, save, lambda: head.tested(model, test_x, test_y)
        ):
            if each.needs_order:
                order = schedule.order(p.seed, each.epoch)
            optimizer.learning_rate = schedule.learning_rate(p.lr, each.number)
            each.measured(*traced_step(*examples(order[each.batch])))
        servable_tf.leave(run, model, lambda x: x, films.served(minilm.FEATURES))
        return

    plan, records = run.plan, len(train_x)
    training = Training(run, model, p.lr, MOMENTUM, AVERAGING)
    if resume:
        training.resume(resume)
    clipped = dp_tf.ClippedGradients(model, plan.clipping_norm, micro_batch=4096)
    test = dp_tf.self_test(clipped, records, examples) if p.self_test else None
    randomness = Randomness(p.noise_seed, stream=training.step)
    count = canaries.COUNT * p.audit
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, count)
    announce(run, randomness, run.device, "sentences")

    def evaluate() -> Tested:
        return head.tested(training.average, test_x, test_y)

    for step in private_steps(run, training, randomness, evaluate, test, planted):
        batch = step.randomness.poisson_batch(planted.records, step.rate)
        result = clipped(*examples(planted.among(batch)))
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, planted.sum(clipped.weights)]
        gradients = dp_tf.noisy_mean(sums, step.noise, plan.batch_size, step.randomness)
        planted.step(gradients.pop())
        training.update(gradients)
        step.gave(result)

    training.leave(lambda x: x, films.served(minilm.FEATURES))


if __name__ == "__main__":
    with track.start() as run:
        main(run)
