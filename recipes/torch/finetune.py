# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "numpy>=2.0", "traindeck"]
# [tool.traindeck]
# name = "torch-finetune"
# title = "A pretrained network's head, adapters or all of it, plain or private (PyTorch)"
# description = "Public weights, private data: what ImageNet's network sees, told apart anew."
# framework = "torch"
# task = "image classification"
# dataset = "fashion-mnist"
# devices = ["cpu", "gpu"]
# tags = ["pretrained", "private"]
# headline = "test/accuracy"
# pair = "finetune"
# [tool.traindeck.params]
# dp = {type = "choice", default = "none", choices = ["none", "example"], help = """\
#   example: epsilon for each training image, by DP-SGD; not for what the weights saw before"""}
# layers = {type = "choice", default = "head", choices = ["head", "lora", "all"], help = """\
#   that are trained: a new last one, adapters of rank 4 as well, or the whole network"""}
# dataset = {type = "choice", default = "fashion-mnist", choices = ["fashion-mnist", "mnist"]}
# weights = {type = "path", help = "EfficientNet-Lite0's .safetensors or .pth; else a package's"}
# weights_sha256 = {type = "str", help = "that this file must have; else any, and it is printed"}
# epochs = {type = "int", default = 10, min = 1, max = 10000, help = "over the training images"}
# batch_size = {type = "int", default = 512, min = 1, max = 60000, help = "images a step"}
# lr = {type = "float", default = 20.0, min = 1e-6, max = 10000.0, help = "learning rate"}
# epsilon = {type = "float", default = inf, min = 0.0, help = "the whole run's, with dp"}
# noise_multiplier = {type = "float", default = 0.0, min = 0.0, help = "0: found from epsilon"}
# delta = {type = "float", default = 1e-5, min = 0.0, max = 1.0, help = "chance outside epsilon"}
# clipping_norm = {type = "float", default = 0.3, min = 1e-9, help = "most that an image adds"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "decides the images' order"}
# noise_seed = {type = "int", default = -1, min = -1, help = "-1: true noise; else not private"}
# self_test = {type = "bool", default = true, help = "with dp, check gradients, noise and sampling"}
# data_dir = {type = "path", help = "folder of the four IDX files; else $TRAINDECK_DATA/<dataset>"}
# audit = {type = "bool", default = false, help = "with dp, canaries for `traindeck audit`"}
# resume = {type = "path", help = "checkpoint file, or run folder to take the newest of"}
# [tool.traindeck.when.dp.example]
# privacy = "dp-sgd"
# accounting = {records = 60000, unit = "example", sampler = "poisson", pretrained = "ImageNet-1k"}
# defaults = {epsilon = 3.0, batch_size = 8192, epochs = 14, lr = 120.0}
# [tool.traindeck.when.layers.lora]
# defaults = {batch_size = 512, epochs = 1, lr = 0.1, clipping_norm = 4.0}
# [tool.traindeck.when.layers.all]
# defaults = {batch_size = 512, epochs = 1, lr = 0.02, clipping_norm = 4.0}
# ///
"""Train what a pretrained network sees in images, in PyTorch: its head, adapters, or all of it.

Of EfficientNet-Lite0 the head alone is trained on features that are computed once; layers=lora and
layers=all train below them too, with the normalisation of its pretraining. With dp=example it is
DP-SGD; the network saw ImageNet-1k before, which no epsilon covers.
"""

import os
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets
from traindeck.recipes.shared.training.dp import canaries
from traindeck.recipes.shared.training.dp.loop import announce, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.loop import Schedule, Tested, training_steps
from traindeck.recipes.shared.training.pretrained import lite0

MOMENTUM = 0.9
AVERAGING = 0.9


def main(run: track.Run) -> None:
    p, private = run.params, run.params.dp == "example"
    resume = checkpoints.find(p.resume, ".pt") if p.resume else None
    data, served = lite0.images(run)
    net = lite0.load(run, p.weights, p.weights_sha256)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait sleep: see torch-mnist
    with needs.framework("torch"):
        import torch

        from traindeck.recipes.shared.training import servable_torch
        from traindeck.recipes.shared.training.dp import torch as dp_torch
        from traindeck.recipes.shared.training.dp.torch_state import Training
        from traindeck.recipes.shared.training.pretrained import head_torch as head
        from traindeck.recipes.shared.training.pretrained import tuned_torch as tuned

    device = needs.torch_device(run.device)
    at_once = lite0.AT_ONCE[p.layers]
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    # What is derived from an image shares its budget: its features are no other data set.
    model, before, train_x, test_x = tuned.start(net, data, p.layers, p.seed, device)
    train_y, test_y = (torch.tensor(y, device=device).long() for y in (data.train_y, data.test_y))

    def examples(chosen: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Features, or images, and labels of training images by their indices."""
        indices = torch.as_tensor(chosen, dtype=torch.long, device=device)
        return train_x[indices].float(), train_y[indices]

    if not private:
        optimizer = torch.optim.SGD(head.trained(model), p.lr, MOMENTUM, nesterov=True)
        schedule = Schedule(len(train_x), min(p.batch_size, len(train_x)), p.epochs)
        first = head.resumed(resume, model, optimizer, schedule)
        save = head.saving(run, model, optimizer)
        print(f"training on {device}: {schedule.total_steps} steps", flush=True)
        for each in training_steps(
            run, schedule, first, head.means, save, lambda: head.tested(model, test_x, test_y)
        ):
            if each.needs_order:
                order = schedule.order(p.seed, each.epoch)
            optimizer.param_groups[0]["lr"] = schedule.learning_rate(p.lr, each.number)
            x, y = examples(order[each.batch])
            each.measured(*head.descend(model, optimizer, x, y, at_once))
        servable_torch.leave(run, model, before, served)
        return

    plan, records = run.plan, len(train_x)
    training = Training(run, model, p.lr, MOMENTUM, AVERAGING)
    if resume:
        training.resume(resume)
    clipped = dp_torch.ClippedGradients(
        model, plan.clipping_norm, micro_batch=at_once, alike=p.layers != "head"
    )
    test = dp_torch.self_test(clipped, records, examples) if p.self_test else None
    randomness = Randomness(p.noise_seed, stream=training.step)
    count = canaries.COUNT * p.audit
    planted = canaries.Canaries(records, plan.clipping_norm, MOMENTUM, count)
    announce(run, randomness, device, "images")

    def evaluate() -> Tested:
        return head.tested(training.average, test_x, test_y)

    for step in private_steps(run, training, randomness, evaluate, test, planted):
        batch = step.randomness.poisson_batch(planted.records, step.rate)
        result = clipped(*examples(planted.among(batch)))
        # Divided by the expected size, whatever the batch holds, and be it nothing.
        sums = [*result.sums, torch.from_numpy(planted.sum(clipped.weights)).to(device)]
        gradients = dp_torch.noisy_mean(sums, step.noise, plan.batch_size, step.randomness)
        planted.step(gradients.pop().cpu())
        training.update(gradients)
        step.gave(result)

    training.leave(before, served)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
